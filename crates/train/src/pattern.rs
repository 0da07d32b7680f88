//! Patterns that stand for names of layers.

/// Whether a name fits a pattern in which `*` stands for any run of letters. Takes time in
/// proportion to the product of their lengths, whatever the pattern.
pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    // The leftmost place of each part leaves the most for those after it.
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("conv1", "conv1", true),
            ("conv1", "conv10", false),
            ("*", "", true),
            ("*", "fc6", true),
            ("conv*", "conv12", true),
            ("conv*", "fc6", false),
            ("*v*2", "conv12", true),
            ("*v*2", "conv21", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*ab*b", "abab", true),
            ("**1", "conv1", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} and {name}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_time() {
        let (pattern, name) = ("*a".repeat(40) + "*b", "a".repeat(200));
        assert!(!fits(&pattern, &name) && fits(&pattern, &(name + "b")));
    }
}
