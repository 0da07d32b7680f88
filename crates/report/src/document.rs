//! A page around its contents: head, style, footer.

use crate::markup::escape;

/// Colours, dark and light, and the style of headings, boxes, bars and rows, shared with the
/// server's page.
pub const STYLE: &str = concat!(include_str!("colors.css"), include_str!("page.css"));

/// A self-contained page with a heading; `header` and `main` are HTML.
pub(crate) fn document(title: &str, header: &str, main: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{title}</title>\n\
         <style>\n{STYLE}{}{}{}</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>\n\
         {header}</header>\n<main>\n{main}</main>\n<footer>Made by alexnet. This file is \
         self-contained: it loads nothing from elsewhere.</footer>\n</body>\n</html>\n",
        include_str!("plot.css"),
        include_str!("matrix.css"),
        include_str!("diagram.css"),
    )
}
