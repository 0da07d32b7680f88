//! The user's options about labels and class names.

use regex_lite::Regex;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The sources of labels and class names, if not only folder names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Labelling {
    /// A table (.csv or .tsv) with one row per image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The table's column of file names or ids: its name, or its number from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_column: Option<String>,
    /// The table's column of labels: its name, or its number from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_column: Option<String>,
    /// A regular expression whose only group is the label. It is matched against the file name, or,
    /// if it contains a `/`, against the path below the folder of images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// A file with class names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_names: Option<PathBuf>,
}

impl Labelling {
    /// Whether no option is set.
    pub fn is_default(&self) -> bool {
        *self == Labelling::default()
    }

    /// Whether labels come from a table or a pattern.
    pub fn gives_labels(&self) -> bool {
        self.file.is_some() || self.from.is_some()
    }

    /// Checks that the options are consistent.
    ///
    /// # Errors
    /// A message: both a table and a pattern, columns without a table, or a pattern that is not a
    /// regular expression with one group.
    pub fn check(&self) -> Result<(), String> {
        if self.file.is_some() && self.from.is_some() {
            return Err("labels come from a table or from file names, not from both".into());
        }
        if self.file.is_none() && (self.image_column.is_some() || self.label_column.is_some()) {
            return Err("columns require a table of labels: name the table, too".into());
        }
        self.pattern().map(|_| ())
    }

    /// The compiled expression, if there is one.
    pub(super) fn pattern(&self) -> Result<Option<Regex>, String> {
        let Some(text) = &self.from else { return Ok(None) };
        let regex = Regex::new(text).map_err(|error| format!("`{text}`: {error}"))?;
        match regex.captures_len() {
            2 => Ok(Some(regex)),
            groups => Err(format!(
                "`{text}` has {} groups; exactly one is required, the label, as in `^([a-z]+)\\.`",
                groups - 1
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inconsistent_options_are_rejected() {
        let from = |text: &str| Labelling { from: Some(text.into()), ..Labelling::default() };
        assert_eq!(Labelling::default().check(), Ok(()));
        assert_eq!(from("^([a-z]+)\\.").check(), Ok(()));
        for (text, said) in [("(", "`(`"), ("cat", "0 groups"), ("(a)(b)", "2 groups")] {
            let error = from(text).check().unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        let both = Labelling { file: Some("a.csv".into()), ..from("(a)") };
        assert!(both.check().unwrap_err().contains("not from both"));
        let column = Labelling { label_column: Some("x".into()), ..Labelling::default() };
        assert!(column.check().unwrap_err().contains("name the table"));
    }
}
