//! Text inside HTML and SVG.

/// Escapes text for HTML and XML.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Characters that neither HTML nor XML allows.
            '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}' => {
                escaped.push('\u{fffd}');
            }
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// A standalone SVG file: inserts the style after the tag `head`.
///
/// Browsers show it in light or dark colours by preference. Viewers without support for that or for
/// CSS variables show light colours, as the style contains literal colours.
pub fn standalone(svg: &str, head: &str, style: &str) -> String {
    const COLORS: &str = include_str!("colors.css");
    // The file has two palettes in braces, then the classes that refer to them.
    let mut parts = COLORS.split(":root {").skip(1).map(|part| part.split_once('}'));
    let mut palette = || parts.next().flatten().expect("a palette");
    let ((light, _), (dark, rest)) = (palette(), palette());
    let (_, series) = rest.split_once('}').expect("the end of the dark palette");
    let rules = format!("{series}{style}").replace("--c:", "color:");
    let [light, dark] = [light, dark].map(|palette| substituted(&rules, palette));
    let dark = format!("@media (prefers-color-scheme: dark) {{{dark}}}");
    let style = format!("<style>:root {{ color-scheme: light dark; }}{light}{dark}</style>");
    let svg = svg.replacen(head, &format!("{head}{style}"), 1) + "\n";
    svg.replace("var(--c)", "currentColor")
}

/// The rules with a palette's colours in place of its variables.
fn substituted(rules: &str, palette: &str) -> String {
    let variables = palette.split(';').filter_map(|line| line.trim().split_once(": "));
    variables.fold(rules.to_string(), |rules, (name, color)| {
        rules.replace(&format!("var({name})"), color)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standalone_file_contains_light_and_dark_colours() {
        let style = ".line { stroke: var(--c); fill: var(--soft); }\n";
        let svg =
            standalone("<svg><title></title><text style=\"fill:var(--c)\"/>", "</title>", style);
        assert!(svg.starts_with("<svg><title></title><style>:root { color-scheme: light dark; }"));
        let (light, dark) = svg.split_once("@media (prefers-color-scheme: dark) {").unwrap();
        for (rules, blue, soft) in [(light, "#1f5fa8", "#5b6270"), (dark, "#7db3f2", "#a2a9b5")] {
            assert!(rules.contains(&format!(".s1 {{ color: {blue}; }}")), "{rules}");
            let line = format!(".line {{ stroke: currentColor; fill: {soft}; }}");
            assert!(rules.contains(&line), "{rules}");
        }
        assert!(dark.ends_with("}</style><text style=\"fill:currentColor\"/>\n"), "{dark}");
        assert!(!svg.contains("--"), "{svg}");
    }

    #[test]
    fn markup_and_control_characters_are_escaped() {
        assert_eq!(
            escape("<b class='x'>&\"\u{1}"),
            "&lt;b class=&#39;x&#39;&gt;&amp;&quot;\u{fffd}"
        );
    }
}
