//! The label of a row.

/// The limit of rows in a data set; ImageNet has 1,431,167.
pub(super) const MAX_ROWS: usize = 1 << 24;

/// A label as stored in a column.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RowLabel {
    Number(i64),
    Text(String),
}

impl RowLabel {
    pub(super) fn text(&self) -> String {
        match self {
            RowLabel::Number(number) => number.to_string(),
            RowLabel::Text(text) => text.clone(),
        }
    }
}
