//! A locally connected layer, for which ONNX has no operator: the pixels of every window are
//! gathered, and one batch of matrix products multiplies them by the filters of their output pixel.
//!
//! With P output pixels, G groups, F filters a group and K pixels and channels of a window:
//!
//! ```text
//! x         [batch, C, H, W]  padded, flattened, gathered  [batch, P G, K] -> [P G, batch, K]
//! filters   [P G F, C/G, kh, kw]                           [P, G, F, K]    -> [P G, K, F]
//! product   [P G, batch, F]  -> [P, G, batch, F] -> [batch, G, F, P] -> [batch, G F, H', W']
//! ```

use super::graph::Graph;
use super::proto;
use layers::Local;

/// Adds its nodes; `output` is height, width and filters.
pub(super) fn add(graph: &mut Graph, local: &Local, output: &[usize]) {
    let of = |what: &str| format!("{}.{what}", local.name);
    let [height, width, channels] = graph.shape[..] else { unreachable!("maps") };
    let [top, bottom, left, right] = local.pad.sides();
    let padded = [height + top + bottom, width + left + right];
    let (pixels, groups) = (output[0] * output[1], local.groups);
    let filters = local.filters / groups;
    let terms = local.window * local.window * channels / groups;
    let [p, g, f, k] = [pixels, groups, filters, terms].map(|n| n as i64);

    if padded != [height, width] {
        let pads = [0, 0, top, left, 0, 0, bottom, right].map(|side| side as i64);
        let pads = graph.ints(&of("pads"), &[8], &pads);
        graph.node("Pad", &[&pads], &of("padded"), vec![]);
    }
    graph.node("Flatten", &[], &of("flat"), vec![proto::int("axis", 1)]);
    let indices = indices(local, channels, padded, output);
    let indices = graph.ints(&of("indices"), &[pixels * groups, terms], &indices);
    graph.node("Gather", &[&indices], &of("windows"), vec![proto::int("axis", 1)]);
    graph.node("Transpose", &[], &of("columns"), vec![proto::ints("perm", &[1, 0, 2])]);

    let filters = graph.reshaped(&of("weight"), &of("filters"), &[p, g, f, k]);
    let filters = graph.transposed(&filters, &of("transposed"), &[0, 1, 3, 2]);
    let filters = graph.reshaped(&filters, &of("matrices"), &[p * g, k, f]);
    graph.node("MatMul", &[&filters], &of("products"), vec![]);

    let products = graph.value();
    let apart = graph.reshaped(&products, &of("apart"), &[p, g, -1, f]);
    let images = graph.transposed(&apart, &of("images"), &[2, 1, 3, 0]);
    let [rows, columns] = [output[0] as i64, output[1] as i64];
    let maps = graph.reshaped(&images, &of("maps"), &[-1, g * f, rows, columns]);
    let bias = graph.reshaped(&of("bias"), &of("pixels"), &[p, g * f]);
    let bias = graph.transposed(&bias, &of("channels"), &[1, 0]);
    let bias = graph.reshaped(&bias, &of("biases"), &[1, g * f, rows, columns]);
    graph.begin(&maps);
    graph.node("Add", &[&bias], &local.name, vec![]);
}

/// The places of each window's pixels in a flattened image `[channels, rows, columns]`: for every
/// output pixel and group, channel by channel as the filters are.
fn indices(local: &Local, channels: usize, padded: [usize; 2], output: &[usize]) -> Vec<i64> {
    let mut indices = Vec::new();
    for (y, x) in (0..output[0]).flat_map(|y| (0..output[1]).map(move |x| (y, x))) {
        for channel in 0..channels {
            for row in 0..local.window {
                let at = (channel * padded[0] + y * local.stride + row) * padded[1];
                indices.extend((0..local.window).map(|c| (at + x * local.stride + c) as i64));
            }
        }
    }
    indices
}
