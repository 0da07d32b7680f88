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
