//! ONNX models: opset 17, for any number of images.
//!
//! The graph begins with `input`, floats `[batch, 3, height, width]` of red, green and blue after
//! mean and scale, or with `image`, bytes `[batch, height, width, 3]`; it ends with `logits` or
//! `probabilities`. Its initializers are the network's parameters and nothing else: constants of
//! other kinds are nodes.
//!
//! * `proto`: the messages of onnx.proto
//! * `graph`: nodes, one after the other
//! * `rows`: the nodes of each kind of row
//! * `local`: those of a locally connected layer

mod graph;
mod local;
mod proto;
mod rows;

use super::dropout::Folded;
use super::out::{Out, Written};
use super::tensors::ExportTensor;
use super::{ExportOptions, Exported};
use crate::import::exported;
use crate::{About, Mean};
use augment::{ExifMode, View};
use graph::Graph;
use prost::Message;
use proto::{Entry, GraphProto, ModelProto, OperatorSet, TensorHeader, ValueInfo, varint};

/// The version of the operators: 17 is the first with LayerNormalization.
const OPSET: i64 = 17;

/// The version of the file's form that belongs to it.
const IR_VERSION: i64 = 8;

/// A serialized message is smaller than 2 GiB, which protobuf's libraries enforce.
const LONGEST: u64 = i32::MAX as u64;

/// A model without its initializers.
pub(super) struct Model {
    /// The encoded fields of the model, but for its graph.
    head: Vec<u8>,
    /// The encoded fields of the graph, but for its initializers.
    graph: Vec<u8>,
}

/// The model of a network with these tensors.
///
/// # Errors
/// A sentence, if a row has no ONNX operators, or the file would be too large for the format.
pub(super) fn model(
    exported: &Exported,
    metadata: &[(&'static str, String)],
    tensors: &[ExportTensor<'_>],
    options: &ExportOptions,
) -> Result<Model, String> {
    let about = &exported.about;
    let [height, width, _] = about.model.input;
    let folded = Folded::new(&about.model, true)?;
    let input = if options.preprocess {
        ValueInfo::new("image", proto::UINT8, &[None, Some(height), Some(width), Some(3)])
    } else {
        ValueInfo::new("input", proto::FLOAT, &[None, Some(3), Some(height), Some(width)])
    };
    let output = if options.probabilities { "probabilities" } else { "logits" };
    let names = tensors.iter().map(|tensor| tensor.name.clone()).chain([output.to_string()]);
    let mut graph = Graph::new([height, width, 3], input.name(), names);
    if options.preprocess {
        preprocess(&mut graph, exported);
    }
    rows::add(&mut graph, &folded)?;
    if options.probabilities {
        graph.node("Softmax", &[], "softmax", vec![proto::int("axis", 1)]);
    }
    let classes = about.classes.len();
    let graph = GraphProto {
        nodes: graph.finish(output),
        name: about.model.name.clone(),
        inputs: vec![input],
        outputs: vec![ValueInfo::new(output, proto::FLOAT, &[None, Some(classes)])],
    };
    let model = ModelProto {
        ir_version: IR_VERSION,
        opsets: vec![OperatorSet { domain: String::new(), version: OPSET }],
        producer: "alexnet".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        metadata: entries(exported, metadata, options),
    };
    let model = Model { head: model.encode_to_vec(), graph: graph.encode_to_vec() };
    let (head, starts) = model.starts(tensors);
    check_length(length(&head, &starts, tensors))?;
    Ok(model)
}

/// Checks the length of a whole file.
fn check_length(bytes: u64) -> Result<(), String> {
    if bytes <= LONGEST {
        return Ok(());
    }
    Err(format!(
        "it would take {bytes} bytes, and an ONNX file less than 2 GiB: export it to .safetensors"
    ))
}

/// Bytes of the centre crop to the network's input: mean and scale, channels first.
fn preprocess(graph: &mut Graph, exported: &Exported) {
    let Exported { about, mean } = exported;
    let [height, width, _] = about.model.input;
    graph.node("Cast", &[], "float", vec![proto::int("to", proto::FLOAT.into())]);
    let (shape, values) = match about.input.mean {
        Mean::Color => (vec![3], mean.values.clone()),
        Mean::Image => {
            let side = about.input.side.unwrap_or(height.max(width));
            let View { top, left, .. } = View::centre((side, side), (height, width));
            let row = |y: usize| &mean.values[3 * ((top + y) * side + left)..][..3 * width];
            (vec![height, width, 3], (0..height).flat_map(row).copied().collect())
        }
    };
    let mean = graph.floats("mean", &shape, &values);
    graph.node("Sub", &[&mean], "centred", vec![]);
    let scale = about.input.scale.channels().map(|scale| scale as f32);
    let scale = graph.floats("scale", &[3], &scale);
    graph.node("Mul", &[&scale], "scaled", vec![]);
    graph.node("Transpose", &[], "input", vec![proto::ints("perm", &[0, 3, 1, 2])]);
}

/// The model's metadata: this program's, and the same for people and other programs.
fn entries(
    exported: &Exported,
    metadata: &[(&'static str, String)],
    options: &ExportOptions,
) -> Vec<Entry> {
    let Exported { about, mean } = exported;
    let [height, width, _] = about.model.input;
    let side = about.input.side.unwrap_or(height.max(width));
    let json = |texts: &[String]| serde_json::to_string(texts).expect("texts");
    let mean = match about.input.mean {
        Mean::Color => format!("{:?}", mean.values),
        Mean::Image => format!("the mean image in {}", exported::MEAN),
    };
    let mut all = vec![
        ("classes", json(&about.classes)),
        ("input", input_text(about, options.preprocess)),
        ("side", side.to_string()),
        ("mean", mean),
        ("scale", format!("{:?}", about.input.scale.channels())),
        ("exif", about.input.exif.to_string()),
    ];
    let names = if about.class_names.is_empty() { &about.classes } else { &about.class_names };
    all.push(("class_names", json(names)));
    all.extend(metadata.iter().cloned());
    all.into_iter().map(|(key, value)| Entry { key: key.into(), value }).collect()
}

/// What the graph expects of an image.
fn input_text(about: &About, preprocess: bool) -> String {
    let [height, width, _] = about.model.input;
    let side = about.input.side.unwrap_or(height.max(width));
    let turned = match about.input.exif {
        ExifMode::Apply => ", turned as its EXIF orientation tells,",
        ExifMode::Ignore => "",
    };
    let crop = format!(
        "an image{turned} whose shorter side is resized to {side} pixels, of which the centre of \
         {side} x {side}, and of that the centre of {height} x {width}"
    );
    if preprocess {
        format!("{crop}, as bytes [batch, {height}, {width}, 3], red, green, blue")
    } else {
        format!(
            "(pixel - mean) x scale of {crop}; pixels from 0 to 255, red, green, blue; [batch, 3, \
             {height}, {width}]"
        )
    }
}

impl Model {
    /// What comes before all initializers, and before the data of each: keys and lengths of the
    /// fields around it.
    fn starts(&self, tensors: &[ExportTensor<'_>]) -> (Vec<u8>, Vec<Vec<u8>>) {
        const GRAPH: u32 = 7;
        const INITIALIZER: u32 = 5;
        const RAW_DATA: u32 = 9;
        let start = |tensor: &ExportTensor<'_>| {
            let dims = tensor.shape.iter().map(|&extent| extent as i64).collect();
            let name = tensor.name.clone();
            let mut inner = TensorHeader { dims, data_type: proto::FLOAT, name }.encode_to_vec();
            proto::key(RAW_DATA, &mut inner);
            varint(tensor.bytes(), &mut inner);
            let mut start = Vec::new();
            proto::key(INITIALIZER, &mut start);
            varint(inner.len() as u64 + tensor.bytes(), &mut start);
            [start, inner].concat()
        };
        let starts: Vec<Vec<u8>> = tensors.iter().map(start).collect();
        let mut head = self.head.clone();
        proto::key(GRAPH, &mut head);
        varint(length(&self.graph, &starts, tensors), &mut head);
        head.extend(&self.graph);
        (head, starts)
    }
}

/// The bytes of `before` and of all initializers.
fn length(before: &[u8], starts: &[Vec<u8>], tensors: &[ExportTensor<'_>]) -> u64 {
    let starts: usize = starts.iter().map(Vec::len).sum();
    (before.len() + starts) as u64 + tensors.iter().map(ExportTensor::bytes).sum::<u64>()
}

/// Writes a model with its initializers.
pub(super) fn write(model: &Model, tensors: &[ExportTensor<'_>], out: &mut Out<'_>) -> Written {
    let (head, starts) = model.starts(tensors);
    out.expect(length(&head, &starts, tensors));
    out.write(&head)?;
    for (start, tensor) in starts.iter().zip(tensors) {
        out.write(start)?;
        out.write(bytemuck::cast_slice(&tensor.values()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
