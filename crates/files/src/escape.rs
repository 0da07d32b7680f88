//! Makes control characters visible: names of files and classes are untrusted, and a terminal would
//! interpret control characters.

use std::borrow::Cow;
use std::fmt::Write;

/// Replaces control characters and bidirectional formatting characters by escapes such as `\u001b`;
/// line breaks and tabs stay. In a JSON string, the result is equivalent.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_control) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_control(letter) {
            let _ = write!(escaped, "\\u{:04x}", letter as u32);
        } else {
            escaped.push(letter)
        }
    }
    Cow::Owned(escaped)
}

/// As [`escape`], for a name on one line: line breaks and tabs are also replaced.
pub fn on_one_line(name: &str) -> Cow<'_, str> {
    if !name.contains(['\n', '\t']) {
        return escape(name);
    }
    Cow::Owned(escape(name).replace('\n', "\\u000a").replace('\t', "\\u0009"))
}

/// Whether a terminal may interpret a character: C0, DEL, C1, and Unicode's line separators and
/// bidirectional formatting characters. All are below U+10000.
pub fn is_control(letter: char) -> bool {
    match letter {
        '\n' | '\t' => false,
        '\u{61c}' | '\u{200e}' | '\u{200f}' => true,
        '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        _ => letter.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_is_left_and_json_is_equivalent() {
        let name = "a\u{1b}[31mb\u{7f}\r\u{9b}2J\u{202e}gpj\u{2066}x\u{0}";
        let shown = escape(name);
        assert_eq!(shown, "a\\u001b[31mb\\u007f\\u000d\\u009b2J\\u202egpj\\u2066x\\u0000");
        let json = serde_json::json!({ "class": name, "ä": "日本\tπ 😀" }).to_string();
        let (shown, back) = (escape(&json), |text: &str| -> serde_json::Value {
            serde_json::from_str(text).unwrap()
        });
        assert!(!shown.contains(is_control));
        assert_eq!(back(&shown), back(&json));
        assert_eq!(on_one_line("a\n\x1b\tb"), "a\\u000a\\u001b\\u0009b");
        assert!(matches!(on_one_line("Ä 日本"), Cow::Borrowed(_)));
        assert!(matches!(escape("plain\ttext,\nÄ 日本 😀\n"), Cow::Borrowed(_)));
    }
}
