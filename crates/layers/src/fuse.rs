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

/// Rows with the names of the specification's rows that they compute.
#[derive(Clone, Debug)]
pub(crate) struct NamedRows {
    pub spec: Spec,
    /// One for each row of `spec`.
    pub names: Vec<RowNames>,
}

/// The rows that a fused row computes: all from the first to the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowNames {
    pub first: String,
    pub last: String,
}

impl NamedRows {
    /// The rows of a specification as they are.
    pub fn as_written(spec: &Spec) -> NamedRows {
        let names = spec.names().into_iter().map(RowNames::of_one).collect();
        NamedRows { spec: spec.clone(), names }
    }

    /// The first `count` rows.
    pub fn first(&self, count: usize) -> NamedRows {
        let rows = self.spec.rows[..count].to_vec();
        NamedRows { spec: Spec { rows, ..self.spec.clone() }, names: self.names[..count].to_vec() }
    }
}

impl RowNames {
    fn of_one(name: String) -> RowNames {
        RowNames { first: name.clone(), last: name }
    }
}

/// The fused network.
pub fn fuse(spec: &Spec) -> Spec {
    fuse_except(spec, &[]).spec
}

/// The fused network, in which the rows called `own` have outputs of their own: no later row is
/// fused into them.
pub(crate) fn fuse_except(spec: &Spec, own: &[&str]) -> NamedRows {
    let mut rows: Vec<Row> = Vec::with_capacity(spec.rows.len());
    let mut names: Vec<RowNames> = Vec::with_capacity(spec.rows.len());
    for (row, name) in spec.rows.iter().zip(spec.names()) {
        match names.last_mut() {
            Some(above) if !own.contains(&above.last.as_str()) && fuse_into(&mut rows, row) => {
                above.last = name;
            }
            _ => {
                rows.push(row.clone());
                names.push(RowNames::of_one(name));
            }
        }
    }
    mask_gradients(&mut rows);
    NamedRows { spec: Spec { rows, ..spec.clone() }, names }
}

/// Fuses `row` into the last of `rows`, if they fit.
fn fuse_into(rows: &mut [Row], row: &Row) -> bool {
    match (row, rows) {
        (Row::Relu(_), [.., Row::Conv(conv)]) => conv.relu = true,
        (Row::Relu(_), [.., Row::Local(local)]) => local.relu = true,
        (Row::Relu(_), [.., Row::Linear(linear)]) => linear.relu = true,
        (Row::Pool(pool), [.., Row::Conv(conv), last @ Row::Lrn(_)]) => {
            let &mut Row::Lrn(lrn) = &mut *last else { unreachable!() };
            let (region, reduction) = (lrn.region(), pool.reduction());
            if !lrn_pool::Geometry::fits(region, lrn.size, conv.filters, reduction) {
                return false;
            }
            *last = Row::LrnPool(LrnPool { lrn, pool: pool.clone() });
        }
        _ => return false,
    }
    true
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
    fn a_row_with_an_output_of_its_own_is_left_apart() {
        let net = image().conv("conv1", 4, window(3)).relu().lrn().pool(window(2));
        let net = net.conv("conv2", 4, window(1)).relu().batch_norm().relu().linear("fc3", 2);
        let apart = |own: &[&str]| {
            let fused = fuse_except(&net, own);
            assert_eq!(fused.spec.rows.len(), fused.names.len());
            let names = fused.names.iter().map(|names| {
                if names.first == names.last {
                    names.first.clone()
                } else {
                    format!("{}..{}", names.first, names.last)
                }
            });
            names.collect::<Vec<_>>().join(" ")
        };
        // The second ReLU keeps its name though the first is no row any more.
        let tail = "batch_norm2 relu2b fc3";
        assert_eq!(apart(&[]), format!("conv1..relu1 lrn1..pool1 conv2..relu2 {tail}"));
        let outputs = ["relu1", "pool1", "relu2", "relu2b", "fc3", "no row"];
        assert_eq!(apart(&outputs), apart(&[]), "these are outputs of fused rows");
        assert_eq!(apart(&["conv1"]), format!("conv1 relu1 lrn1 pool1 conv2..relu2 {tail}"));
        assert_eq!(apart(&["lrn1"]), format!("conv1..relu1 lrn1 pool1 conv2..relu2 {tail}"));
        assert_eq!(
            apart(&["conv2", "lrn1"]),
            format!("conv1..relu1 lrn1 pool1 conv2 relu2 {tail}")
        );
        assert_eq!(fuse_except(&net, &[]).spec, fuse(&net));
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
