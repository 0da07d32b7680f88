//! What labels a table's rows.

/// Rows of a data set: ImageNet has 1,431,167.
pub(super) const MOST_ROWS: usize = 1 << 24;

/// A label as a column holds it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Label {
    Number(i64),
    Text(String),
}

impl Label {
    pub(super) fn shown(&self) -> String {
        match self {
            Label::Number(number) => number.to_string(),
            Label::Text(text) => text.clone(),
        }
    }
}
