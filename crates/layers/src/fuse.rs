//! Rewrites rows into fewer, faster ones that compute the same.
//!
//! Models are written for reading; what runs is decided here, and nowhere else.

use crate::rows::Row;
use crate::spec::Spec;

/// The network as it runs: a ReLU right after a layer with weights becomes part of it, which saves
/// a pass over the activations in each direction.
pub fn fuse(spec: &Spec) -> Spec {
    let mut rows: Vec<Row> = Vec::with_capacity(spec.rows.len());
    for row in &spec.rows {
        match (row, rows.last_mut()) {
            (Row::Relu(_), Some(Row::Conv(conv))) => conv.relu = true,
            (Row::Relu(_), Some(Row::Local(local))) => local.relu = true,
            (Row::Relu(_), Some(Row::Linear(linear))) => linear.relu = true,
            _ => rows.push(row.clone()),
        }
    }
    Spec { rows, ..spec.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::window;

    #[test]
    fn a_relu_joins_what_it_follows_and_nothing_else() {
        let spec = Spec::image("net", 8, 8, 3)
            .conv("conv1", 4, window(3))
            .relu()
            .pool(window(2))
            .relu()
            .local("local2", 4, window(3))
            .relu()
            .linear("fc2", 5)
            .relu()
            .linear("fc3", 2);
        let fused = fuse(&spec);
        let kinds: Vec<&str> = fused
            .rows
            .iter()
            .map(|row| match row {
                Row::Conv(conv) if conv.relu => "conv+relu",
                Row::Local(local) if local.relu => "local+relu",
                Row::Linear(linear) if linear.relu => "linear+relu",
                Row::Linear(_) => "linear",
                Row::Pool(_) => "pool",
                Row::Relu(_) => "relu",
                _ => "other",
            })
            .collect();
        assert_eq!(kinds, ["conv+relu", "pool", "relu", "local+relu", "linear+relu", "linear"]);
    }
}
