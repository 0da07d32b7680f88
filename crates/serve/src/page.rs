//! The page: what it is made of lies beside this file. It loads its style and its script from here
//! and nothing from elsewhere, and asks the same questions as any other program.

/// The page.
pub const HTML: &str = include_str!("page.html");
/// What makes it work.
pub const SCRIPT: &str = include_str!("page.js");

/// The reports' style, and what this page adds.
pub fn style() -> String {
    format!("{}{}", report::STYLE, include_str!("page.css"))
}
