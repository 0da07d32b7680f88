//! A network as a table of text.

use files::numbers::grouped;
use layers::{RowInfo, Spec, SpecError};

/// One line per row: its summary, the shape of its output for one image, parameters, and
/// multiply-accumulates per image; then the totals.
///
/// # Errors
/// If its rows do not fit together.
pub fn table(spec: &Spec) -> Result<String, SpecError> {
    let rows = spec.describe()?;
    let width = |column: fn(&RowInfo) -> usize| rows.iter().map(column).max().unwrap_or(0);
    let names = width(|row| row.name.len()).max("row".len());
    let summaries = width(|row| row.summary.len()).max("what".len());
    let mut text = format!(
        "{}: images of {} x {} x {}\n\n{:names$}  {:summaries$}  {:>15}  {:>12}  {:>15}\n",
        spec.name,
        spec.input[0],
        spec.input[1],
        spec.input[2],
        "row",
        "what",
        "output",
        "parameters",
        "MACs",
    );
    let dash = |n: usize| if n == 0 { String::new() } else { grouped(n) };
    for row in &rows {
        let line = format!(
            "{:names$}  {:summaries$}  {:>15}  {:>12}  {:>15}",
            row.name,
            row.summary,
            row.output.to_string(),
            dash(row.parameters),
            dash(row.macs),
        );
        text += line.trim_end();
        text += "\n";
    }
    let (parameters, macs) = (spec.parameters()?, spec.macs()?);
    text += &format!(
        "{:names$}  {:summaries$}  {:>15}  {:>12}  {:>15}\n\n",
        "total",
        "",
        "",
        grouped(parameters),
        grouped(macs),
    );
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_table_has_its_totals() {
        let text = table(&models::find("alexnet").unwrap()).unwrap();
        assert!(text.starts_with("alexnet: images of 227 x 227 x 3\n\nrow"), "{text}");
        assert!(text.contains("60,965,224") && text.contains("724,406,816"), "{text}");
        assert!(text.contains("55 x 55 x 96"), "{text}");
    }
}
