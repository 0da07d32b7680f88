//! Renders a network's specification as a table, as JSON, or as a diagram like the paper's
//! Figure 2.

mod figure;
mod table;

pub use figure::diagram;
pub use table::table;

use crate::{Model, ModelRow};
use layers::{RowInfo, Spec, SpecError};
use serde_json::{Value, json};

/// The network for the HTML report: its name, its diagram and its rows.
///
/// # Errors
/// If its rows do not fit together.
pub fn model(spec: &Spec) -> Result<Model, SpecError> {
    let row = |row: RowInfo| ModelRow {
        name: row.name,
        summary: row.summary,
        output: row.output.to_string(),
        parameters: row.parameters,
        macs: row.macs,
    };
    let rows = spec.describe()?.into_iter().map(row).collect();
    Ok(Model { name: spec.name.clone(), diagram: diagram(spec)?, rows })
}

/// The network as JSON: `model` (its name), `input` (height, width and channels), `rows`, and the
/// totals of all rows: `parameters`, and `macs` (multiply-accumulates per image).
///
/// # Errors
/// If its rows do not fit together.
pub fn json(spec: &Spec) -> Result<Value, SpecError> {
    let row = |row: &RowInfo| {
        json!({
            "name": row.name,
            "summary": row.summary,
            "output": row.output.dims(),
            "parameters": row.parameters,
            "macs": row.macs,
        })
    };
    Ok(json!({
        "model": spec.name,
        "input": spec.input,
        "rows": spec.describe()?.iter().map(row).collect::<Vec<_>>(),
        "parameters": spec.parameters()?,
        "macs": spec.macs()?,
    }))
}
