//! The page. It loads only its style and script, from this server, and uses the same HTTP interface
//! as other programs.

/// The page's HTML.
pub const HTML: &str = include_str!("page.html");
/// The page's script.
pub const SCRIPT: &str = include_str!("page.js");

/// The style of the report page, with additions.
pub fn style() -> String {
    format!("{}{}", report::STYLE, include_str!("page.css"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A browser runs no line of a script that declares a name twice.
    #[test]
    fn names_of_the_script_are_declared_once() {
        let name = |line: &'static str| {
            let rest = line.strip_prefix("async ").unwrap_or(line);
            let rest =
                ["function ", "const ", "let "].iter().find_map(|word| rest.strip_prefix(word));
            rest?.split(|letter: char| !letter.is_alphanumeric()).next()
        };
        let mut names: Vec<&str> = SCRIPT.lines().filter_map(name).collect();
        assert!(names.len() > 20, "{names:?}");
        names.sort_unstable();
        let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
        assert_eq!(twice, None);
    }
}
