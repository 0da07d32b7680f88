//! Comma-separated values (RFC 4180). All tables are written with these rows.
//!
//! Spreadsheets evaluate a cell that starts with `=`, `+`, `-` or `@` as a formula, even in
//! quotation marks, and names of files and classes are untrusted. Such a text is prefixed with an
//! apostrophe, which spreadsheets hide: `=1+1` becomes `"'=1+1"`. Numbers are unchanged.

use std::fmt::{Display, Write};

/// A row of a table.
#[derive(Clone, Debug, Default)]
pub struct CsvRow(String);

impl CsvRow {
    /// A row without cells.
    pub fn new() -> CsvRow {
        CsvRow::default()
    }

    /// Adds a text cell.
    pub fn text(mut self, text: &str) -> CsvRow {
        self.push_text(text);
        self
    }

    /// Adds text cells.
    pub fn texts<T: AsRef<str>>(mut self, texts: impl IntoIterator<Item = T>) -> CsvRow {
        texts.into_iter().for_each(|text| self.push_text(text.as_ref()));
        self
    }

    /// Adds a number cell.
    pub fn number(self, number: impl Display) -> CsvRow {
        self.numbers([number])
    }

    /// Adds number cells.
    pub fn numbers<N: Display>(mut self, numbers: impl IntoIterator<Item = N>) -> CsvRow {
        for number in numbers {
            let _ = write!(self.0, "{number},");
        }
        self
    }

    /// Adds a number cell, empty for `None`.
    pub fn optional<N: Display>(self, number: Option<N>) -> CsvRow {
        match number {
            Some(number) => self.number(number),
            None => self.text(""),
        }
    }

    /// The row as a line with its line feed.
    pub fn line(mut self) -> String {
        self.0.pop();
        self.0 + "\n"
    }

    fn push_text(&mut self, text: &str) {
        let is_formula = is_formula(text);
        if is_formula || text.contains([',', '"', '\n', '\r']) {
            let apostrophe = if is_formula { "'" } else { "" };
            let _ = write!(self.0, "\"{apostrophe}{}\",", text.replace('"', "\"\""));
        } else {
            let _ = write!(self.0, "{text},");
        }
    }
}

/// Whether a spreadsheet may evaluate a text as a formula. Fullwidth characters count, too; a
/// number such as `-0.5` does not.
fn is_formula(text: &str) -> bool {
    const FIRST: [char; 10] =
        ['=', '+', '-', '@', '\t', '\r', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];
    let is_number = || {
        let digits = text.trim_start_matches(['+', '-']);
        digits.starts_with(|first: char| first.is_ascii_digit()) && text.parse::<f64>().is_ok()
    };
    text.starts_with(FIRST) && !is_number()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_if_necessary() {
        for (text, cell) in [
            ("cat", "cat"),
            ("dog, large", "\"dog, large\""),
            ("6\" pipe", "\"6\"\" pipe\""),
            ("two\nlines", "\"two\nlines\""),
            ("=1+1", "\"'=1+1\""),
            ("+49", "+49"),
            ("-0.5", "-0.5"),
            ("-1e3", "-1e3"),
            ("--1", "\"'--1\""),
            ("-inf", "\"'-inf\""),
            ("+cmd|' /C calc'!A0", "\"'+cmd|' /C calc'!A0\""),
            ("-2+3,4", "\"'-2+3,4\""),
            ("@SUM(\"a\")", "\"'@SUM(\"\"a\"\")\""),
            ("\t=1", "\"'\t=1\""),
            ("\r=1", "\"'\r=1\""),
            ("\u{ff1d}1", "\"'\u{ff1d}1\""),
            ("a=b", "a=b"),
            ("", ""),
        ] {
            assert_eq!(CsvRow::new().text(text).line(), format!("{cell}\n"), "{text}");
        }
    }

    #[test]
    fn a_row_has_a_cell_per_value() {
        let row = CsvRow::new().number(7).texts(["a", "=b"]).numbers([-0.5, 1e-9]).text("");
        assert_eq!(row.line(), "7,a,\"'=b\",-0.5,0.000000001,\n");
    }
}
