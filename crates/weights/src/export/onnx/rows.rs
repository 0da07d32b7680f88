//! The nodes of each kind of row. Maps are `[batch, channels, height, width]`, units `[batch,
//! units]`.

use super::super::dropout::Folded;
use super::graph::Graph;
use super::{local, proto};
use layers::{Conv, Lrn, Pool, Row};

/// Adds the nodes of all rows.
///
/// # Errors
/// A sentence, if there are none for a row.
pub(super) fn add(graph: &mut Graph, folded: &Folded) -> Result<(), String> {
    for (row, info) in folded.spec.rows.iter().zip(&folded.rows) {
        let output = info.output.dims().to_vec();
        self::row(graph, row, &info.name, &output)?;
        graph.shape = output;
    }
    Ok(())
}

fn row(graph: &mut Graph, row: &Row, name: &str, output: &[usize]) -> Result<(), String> {
    let of = |what: &str| format!("{name}.{what}");
    match row {
        Row::Conv(conv) => self::conv(graph, conv),
        Row::Local(local) => local::add(graph, local, output),
        Row::Linear(_) => {
            if graph.is_maps() {
                graph.node("Flatten", &[], &of("flat"), vec![proto::int("axis", 1)]);
            }
            let (weight, bias) = (of("weight"), of("bias"));
            graph.node("Gemm", &[&weight, &bias], name, vec![proto::int("transB", 1)]);
        }
        Row::Relu(_) => graph.node("Relu", &[], name, vec![]),
        Row::Logistic(_) => graph.node("Sigmoid", &[], name, vec![]),
        Row::Tanh(tanh) => {
            scale(graph, tanh.inner, &of("inner"));
            graph.node("Tanh", &[], name, vec![]);
            scale(graph, tanh.outer, &of("outer"));
        }
        Row::LeakyRelu(leaky) => {
            graph.node("LeakyRelu", &[], name, vec![proto::float("alpha", leaky.slope)]);
        }
        Row::Prelu(_) => {
            let mut slope = of("weight");
            if let [_, _, channels] = graph.shape[..] {
                slope = graph.reshaped(&slope, &of("slope"), &[channels as i64, 1, 1]);
            }
            graph.node("PRelu", &[&slope], name, vec![]);
        }
        Row::Gelu(_) => gelu(graph, name),
        Row::Lrn(lrn) if lrn.within_channel => within(graph, lrn, name),
        Row::Lrn(lrn) => across(graph, lrn, name),
        Row::BatchNorm(norm) => {
            let inputs = ["weight", "bias", "running_mean", "running_var"].map(of);
            let inputs = inputs.each_ref().map(String::as_str);
            let epsilon = proto::float("epsilon", norm.epsilon);
            graph.node("BatchNormalization", &inputs, name, vec![epsilon]);
        }
        Row::LayerNorm(norm) => {
            let is_maps = graph.is_maps();
            if is_maps {
                let order = vec![proto::ints("perm", &[0, 2, 3, 1])];
                graph.node("Transpose", &[], &of("last"), order);
            }
            let (weight, bias) = (of("weight"), of("bias"));
            let attributes = vec![proto::int("axis", -1), proto::float("epsilon", norm.epsilon)];
            graph.node("LayerNormalization", &[&weight, &bias], name, attributes);
            if is_maps {
                let order = vec![proto::ints("perm", &[0, 3, 1, 2])];
                graph.node("Transpose", &[], &of("first"), order);
            }
        }
        Row::Pool(pool) => self::pool(graph, pool, name, output),
        Row::Dropout(dropout) if dropout.inverted => {}
        Row::Dropout(dropout) => scale(graph, 1.0 - dropout.drop, name),
        Row::Custom(custom) => {
            let kind = custom.kind();
            return Err(format!(
                "`{name}` is a custom layer of kind `{kind}`, for which ONNX has no operator: export \
                 the weights to .safetensors"
            ));
        }
        Row::Exchange(_) | Row::LrnPool(_) => {
            return Err(format!("`{name}` is a row of one tower: export the whole network"));
        }
    }
    Ok(())
}

/// Multiplies by a factor, unless it is one.
fn scale(graph: &mut Graph, factor: f32, name: &str) {
    if factor != 1.0 {
        let factor = graph.scalar(&format!("{name}.factor"), factor);
        graph.node("Mul", &[&factor], name, vec![]);
    }
}

fn conv(graph: &mut Graph, conv: &Conv) {
    let [top, bottom, left, right] = conv.pad.sides().map(|side| side as i64);
    let attributes = vec![
        proto::ints("kernel_shape", &[conv.window as i64; 2]),
        proto::ints("strides", &[conv.stride as i64; 2]),
        proto::ints("pads", &[top, left, bottom, right]),
        proto::int("group", conv.groups as i64),
    ];
    let (weight, bias) = (format!("{}.weight", conv.name), format!("{}.bias", conv.name));
    graph.node("Conv", &[&weight, &bias], &conv.name, attributes);
}

/// x / 2 (1 + erf(x / sqrt 2)); opset 17 has no operator for it.
fn gelu(graph: &mut Graph, name: &str) {
    let x = graph.value();
    let of = |what: &str| format!("{name}.{what}");
    let factor = graph.scalar(&of("root"), std::f32::consts::FRAC_1_SQRT_2);
    graph.node("Mul", &[&factor], &of("scaled"), vec![]);
    graph.node("Erf", &[], &of("erf"), vec![]);
    let one = graph.scalar(&of("one"), 1.0);
    graph.node("Add", &[&one], &of("sum"), vec![]);
    graph.node("Mul", &[&x], &of("product"), vec![]);
    let half = graph.scalar(&of("half"), 0.5);
    graph.node("Mul", &[&half], name, vec![]);
}

/// Pooling with the padding written out: ONNX's runtimes differ in what `ceil_mode` means. Padded
/// pixels count neither for a maximum nor for an average.
fn pool(graph: &mut Graph, pool: &Pool, name: &str, output: &[usize]) {
    let after = |out: usize, extent: usize| {
        let end = (out - 1) * pool.stride + pool.window;
        end.saturating_sub(extent + pool.pad) as i64
    };
    let before = pool.pad as i64;
    let ends = [after(output[0], graph.shape[0]), after(output[1], graph.shape[1])];
    let mut attributes = vec![
        proto::ints("kernel_shape", &[pool.window as i64; 2]),
        proto::ints("strides", &[pool.stride as i64; 2]),
        proto::ints("pads", &[before, before, ends[0], ends[1]]),
    ];
    if pool.average {
        attributes.push(proto::int("count_include_pad", 0));
    }
    let kind = if pool.average { "AveragePool" } else { "MaxPool" };
    graph.node(kind, &[], name, attributes);
}

/// Normalisation across channels, tower by tower. ONNX divides alpha by the size of the window.
fn across(graph: &mut Graph, lrn: &Lrn, name: &str) {
    let of = |what: &str| format!("{name}.{what}");
    let channels = graph.shape.last().copied().unwrap_or(1);
    if lrn.towers == 1 {
        return one_tower(graph, lrn, name, channels);
    }
    let tower = channels / lrn.towers;
    let x = graph.value();
    let axes = graph.ints(&of("axes"), &[1], &[1]);
    let mut parts = Vec::new();
    for at in 0..lrn.towers {
        let own = of(&format!("tower{at}"));
        let bound = |end: usize, what: &str| (vec![(end * tower) as i64], format!("{own}.{what}"));
        let [(begin, begin_name), (end, end_name)] = [bound(at, "begin"), bound(at + 1, "end")];
        let begin = graph.ints(&begin_name, &[1], &begin);
        let end = graph.ints(&end_name, &[1], &end);
        let slice = format!("{own}.x");
        let slice = graph.side("Slice", &[&x, &begin, &end, &axes], &slice, vec![]);
        graph.begin(&slice);
        one_tower(graph, lrn, &own, tower);
        parts.push(graph.value());
    }
    let rest: Vec<&str> = parts[1..].iter().map(String::as_str).collect();
    graph.begin(&parts[0]);
    graph.node("Concat", &rest, name, vec![proto::int("axis", 1)]);
}

fn one_tower(graph: &mut Graph, lrn: &Lrn, name: &str, channels: usize) {
    let size = lrn.size as f32;
    if lrn.size % 2 == 1 {
        let alpha = if lrn.divide_alpha { lrn.alpha } else { lrn.alpha * size };
        let attributes = vec![
            proto::float("alpha", alpha),
            proto::float("beta", lrn.beta),
            proto::float("bias", lrn.k),
            proto::int("size", lrn.size as i64),
        ];
        return graph.node("LRN", &[], name, attributes);
    }
    // ONNX's window of even size has one more channel above its centre, and this program's one more
    // below: averages over channels, as rows of an image.
    let x = graph.value();
    graph.node("Mul", &[&x], &format!("{name}.square"), vec![]);
    let pixels = (graph.shape[0] * graph.shape[1]) as i64;
    let square = graph.value();
    let rows = [-1, 1, channels as i64, pixels];
    let flat = graph.reshaped(&square, &format!("{name}.rows"), &rows);
    graph.begin(&flat);
    let (before, after) = ((lrn.size / 2) as i64, (lrn.size - 1 - lrn.size / 2) as i64);
    average(graph, [lrn.size as i64, 1], [before, 0, after, 0], &format!("{name}.flat_mean"));
    let mean = graph.value();
    let maps = [-1, channels as i64, graph.shape[0] as i64, graph.shape[1] as i64];
    let mean = graph.reshaped(&mean, &format!("{name}.mean"), &maps);
    graph.begin(&mean);
    divide(graph, lrn, if lrn.divide_alpha { 1.0 } else { size }, &x, name);
}

/// Normalisation over pixels of one channel; pixels beyond the edge count as zeros.
fn within(graph: &mut Graph, lrn: &Lrn, name: &str) {
    let x = graph.value();
    graph.node("Mul", &[&x], &format!("{name}.square"), vec![]);
    let (before, after) = ((lrn.size / 2) as i64, (lrn.size - 1 - lrn.size / 2) as i64);
    let pads = [before, before, after, after];
    average(graph, [lrn.size as i64; 2], pads, &format!("{name}.mean"));
    let terms = if lrn.divide_alpha { 1.0 } else { (lrn.size * lrn.size) as f32 };
    divide(graph, lrn, terms, &x, name);
}

/// Averages over whole windows, with zeros beyond the edge.
fn average(graph: &mut Graph, window: [i64; 2], pads: [i64; 4], name: &str) {
    let attributes = vec![
        proto::ints("kernel_shape", &window),
        proto::ints("strides", &[1, 1]),
        proto::ints("pads", &pads),
        proto::int("count_include_pad", 1),
    ];
    graph.node("AveragePool", &[], name, attributes);
}

/// x / (k + alpha terms m)^beta of x and the mean square m, the last value.
fn divide(graph: &mut Graph, lrn: &Lrn, terms: f32, x: &str, name: &str) {
    let of = |what: &str| format!("{name}.{what}");
    let alpha = graph.scalar(&of("alpha"), lrn.alpha * terms);
    graph.node("Mul", &[&alpha], &of("scaled"), vec![]);
    let k = graph.scalar(&of("k"), lrn.k);
    graph.node("Add", &[&k], &of("sum"), vec![]);
    let beta = graph.scalar(&of("beta"), lrn.beta);
    graph.node("Pow", &[&beta], &of("power"), vec![]);
    let power = graph.value();
    let y = graph.side("Div", &[x, &power], name, vec![]);
    graph.begin(&y);
}
