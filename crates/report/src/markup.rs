//! Text inside HTML and SVG.

/// The text with what would be markup spelled out.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // What neither HTML nor XML allows.
            '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' => escaped.push('\u{fffd}'),
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// An SVG with a style of its own, to stand alone: `head` is the tag after which it may come.
pub fn standalone(svg: &str, head: &str, style: &str) -> String {
    let colors = include_str!("colors.css");
    svg.replacen(head, &format!("{head}<style>{colors}{style}</style>"), 1) + "\n"
}

/// A share as a percentage: `38.62 %`.
pub fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// 60965224 as `60,965,224`.
pub fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (idx, digit) in digits.chars().enumerate() {
        if idx > 0 && (digits.len() - idx).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_markup_and_no_control_character_is_left() {
        assert_eq!(
            escape("<b class='x'>&\"\u{1}"),
            "&lt;b class=&#39;x&#39;&gt;&amp;&quot;\u{fffd}"
        );
    }
}
