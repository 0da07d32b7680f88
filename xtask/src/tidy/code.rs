//! Blanks comments and literals in Rust source.

/// `text` with spaces in place of comments and of string and character literals. Line numbers stay
/// the same.
pub fn of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        // The end of the comment or literal that starts here; `at` if none does.
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => end_of_line(&chars, at),
            '/' if chars.get(at + 1) == Some(&'*') => end_of_block(&chars, at),
            '"' => end_of_string(&chars, at),
            '\'' => end_of_char(&chars, at),
            'r' if !is_inside_word(&chars, at) => end_of_raw_string(&chars, at),
            _ => at,
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

fn end_of_line(chars: &[char], at: usize) -> usize {
    chars[at..].iter().position(|&c| c == '\n').map_or(chars.len(), |len| at + len)
}

fn end_of_block(chars: &[char], start: usize) -> usize {
    let (mut depth, mut at) = (0, start);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn end_of_string(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// The end of a character literal; `at` if the quote starts a lifetime.
fn end_of_char(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), Some(_)) => {
            chars[at + 3..].iter().position(|&c| c == '\'').map_or(at, |len| at + len + 4)
        }
        (Some(_), Some('\'')) => at + 3,
        _ => at,
    }
}

/// The end of a raw string, `r"..."` or `r#"..."#`; `at` if the `r` does not start one.
fn end_of_raw_string(chars: &[char], at: usize) -> usize {
    let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
    if chars.get(at + 1 + hashes) != Some(&'"') {
        return at;
    }
    let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let body = at + 2 + hashes;
    let end = chars[body..].windows(close.len()).position(|window| window == close);
    end.map_or(chars.len(), |len| body + len + close.len())
}

/// Whether the character at `at` continues a word. A single `b` before it does not count, as it may
/// be the prefix of a byte string: `br"..."`.
fn is_inside_word(chars: &[char], at: usize) -> bool {
    let before = |back: usize| at.checked_sub(back).map(|at| chars[at]);
    let in_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    in_word(before(1)) && (before(1) != Some('b') || in_word(before(2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The remaining code, with single spaces.
    fn blanked(text: &str) -> String {
        of(text).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_and_strings_are_blank() {
        assert_eq!(blanked("a // b\nc /* d /* e */ f */ g"), "a c g");
        assert_eq!(blanked(r#"let s = "a \" // b"; c"#), "let s = ; c");
        assert_eq!(blanked("let s = r#\"a \" b\"#; let t = br\"c\"; d"), "let s = ; let t = b ; d");
        assert_eq!(
            blanked("rest(for_r, 'r', '\\'', '\"', '\\u{1F600}', x)"),
            "rest(for_r, , , , , x)"
        );
    }

    #[test]
    fn lifetimes_are_kept() {
        assert_eq!(blanked("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
    }

    #[test]
    fn line_numbers_stay_the_same() {
        let text = "a /*\n\n*/ b \"\n\" // c\nd";
        assert_eq!(of(text).lines().count(), text.lines().count());
    }
}
