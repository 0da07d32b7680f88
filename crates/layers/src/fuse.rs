//! Rewrites rows into fewer, faster ones that compute the same.
//!
//! All fusion decisions are made here. Every rewrite saves passes over activations; results are
//! bit-identical to those of the unfused rows.
//!
//! | rows | become | saves |
//! |---|---|---|
//! | conv, local or linear, relu | one row | a pass forward |
//! | conv, \[relu,\] lrn, pool | conv and one row | the normalised map and both gradients |
//! | conv, relu, pool | the pool's gradient takes the ReLU's mask | a pass backward |

use crate::rows::{Conv, LrnPool, Row};
use crate::spec::Spec;
use kernels::lrn_pool;

/// The fused network.
pub fn fuse(spec: &Spec) -> Spec {
    let mut rows: Vec<Row> = Vec::with_capacity(spec.rows.len());
    for row in &spec.rows {
        match (row, &mut rows[..]) {
            (Row::Relu(_), [.., Row::Conv(conv)]) => conv.relu = true,
            (Row::Relu(_), [.., Row::Local(local)]) => local.relu = true,
            (Row::Relu(_), [.., Row::Linear(linear)]) => linear.relu = true,
            (Row::Pool(pool), [.., Row::Conv(conv), last @ Row::Lrn(_)]) => {
                let &mut Row::Lrn(lrn) = &mut *last else { unreachable!() };
                let (region, reduction) = (lrn.region(), pool.reduction());
                if lrn_pool::Geometry::fits(region, lrn.size, conv.filters, reduction) {
                    *last = Row::LrnPool(LrnPool { lrn, pool: pool.clone() });
                } else {
                    rows.push(row.clone());
                }
            }
            _ => rows.push(row.clone()),
        }
    }
    mask_gradients(&mut rows);
    Spec { rows, ..spec.clone() }
}

/// Moves the backward mask of a convolution's ReLU into the pooling row after it.
fn mask_gradients(rows: &mut [Row]) {
    for at in 1..rows.len() {
        if let [Row::Conv(conv @ Conv { relu: true, .. }), after] = &mut rows[at - 1..=at]
            && let Row::Pool(pool) | Row::LrnPool(LrnPool { pool, .. }) = after
        {
            (conv.masked, pool.relu) = (true, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::{Lrn, window};

    /// The kind of a row, with what was fused into it.
    fn kind(row: &Row) -> &'static str {
        match row {
            Row::Conv(conv) if conv.masked => "conv+relu, masked",
            Row::Conv(conv) if conv.relu => "conv+relu",
            Row::Conv(_) => "conv",
            Row::Local(local) if local.relu => "local+relu",
            Row::Linear(linear) if linear.relu => "linear+relu",
            Row::Linear(_) => "linear",
            Row::LrnPool(both) if both.pool.relu => "mask+lrn+pool",
            Row::LrnPool(_) => "lrn+pool",
            Row::Lrn(_) => "lrn",
            Row::Pool(pool) if pool.relu => "mask+pool",
            Row::Pool(_) => "pool",
            Row::Relu(_) => "relu",
            _ => "other",
        }
    }

    fn kinds(spec: &Spec) -> Vec<&'static str> {
        fuse(spec).rows.iter().map(kind).collect()
    }

    fn image() -> Spec {
        Spec::image("net", 8, 8, 3)
    }

    #[test]
    fn a_relu_is_fused_into_the_layer_right_before_it_only() {
        let spec = image().conv("conv1", 4, window(3)).tanh().pool(window(2)).relu();
        let spec = spec.local("local2", 4, window(2)).relu();
        let spec = spec.linear("fc2", 5).relu().linear("fc3", 2);
        let tail = ["local+relu", "linear+relu", "linear"];
        assert_eq!(kinds(&spec), [&["conv", "other", "pool", "relu"][..], &tail].concat());
    }

    #[test]
    fn lrn_and_pooling_after_a_convolution_become_one_row() {
        let conv = image().conv("conv1", 4, window(3));
        assert_eq!(kinds(&conv.clone().lrn().pool(window(2)).relu()), ["conv", "lrn+pool", "relu"]);
        let spec = conv.clone().relu().lrn().pool(window(2));
        assert_eq!(kinds(&spec), ["conv+relu, masked", "mask+lrn+pool"]);
        let apart = conv.clone().relu().lrn().average_pool(window(2));
        assert_eq!(kinds(&apart), ["conv+relu", "lrn", "pool"]);
        let within = Lrn { within_channel: true, ..Lrn::default() };
        let apart = conv.clone().lrn_with(within).pool(window(2));
        assert_eq!(kinds(&apart), ["conv", "lrn", "pool"]);
        // The tanh's gradient needs its output, which must not be written over.
        assert_eq!(kinds(&conv.tanh().lrn().pool(window(2))), ["conv", "other", "lrn", "pool"]);
    }

    #[test]
    fn a_pool_applies_the_relu_mask_of_the_convolution_before_it() {
        let spec = image().conv("conv1", 4, window(3)).relu().average_pool(window(2));
        assert_eq!(kinds(&spec), ["conv+relu, masked", "mask+pool"]);
        let spec = image().conv("conv1", 4, window(3)).pool(window(2)).relu();
        assert_eq!(kinds(&spec), ["conv", "pool", "relu"]);
    }
}
