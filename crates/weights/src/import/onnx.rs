//! ONNX's `.onnx`: a `ModelProto`, whose graph has tensors (`initializer`) and the nodes that use
//! them.
//!
//! First come the tensors that the graph's layers use, in the order of the nodes and of their
//! inputs, then the other initializers in the order of the file. The
//! layers are Conv, Gemm, MatMul and BatchNormalization (scale, bias, mean, variance), and an Add of
//! a vector after one of the first three, which is its bias. Names are the initializers'. A tensor
//! behind a `Constant` node is listed if a layer uses it, under the node's output name.
//!
//! Matrices are `[out, in]`, as PyTorch and Caffe have them: the weights of a Gemm with `transB = 0`
//! and of a MatMul, which are `[in, out]` in the file, are transposed. Biases are `[out]` without
//! extents of one around them. A Gemm's `alpha` and `beta` are multiplied into its weights and bias.
//! All else is as the file has it.
//!
//! Data in other files (`external_data`) is read from the model's own folder only.

mod graph;
mod tensor;

use super::protobuf::{Problem, oriented};
use super::{Format, GraphLayer, TensorInfo, TensorReader, exported};
use bytes::Bytes;
use graph::{Model, Use};
use prost::Message;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use tensor::{Data, Tensor};

/// Opens the bytes of a file that lies in `folder`.
pub(super) fn open(bytes: Bytes, folder: &Path) -> Result<OnnxFile, Problem> {
    let model = Model::decode(bytes)?;
    let metadata = model.metadata();
    let graph = model.graph.ok_or(Problem::Other)?;
    if !metadata.contains_key(exported::ABOUT) {
        graph.check_epsilon()?;
    }
    let mut tensors = Vec::new();
    for message in &graph.initializers {
        tensors.push(Tensor::decode(message)?);
    }
    let initializers = tensors.len();
    tensors.extend(graph.constants()?);
    let mut names = HashSet::new();
    if let Some(twice) = tensors.iter().find(|tensor| !names.insert(tensor.name())) {
        let name = twice.name();
        return Err(Problem::Content(format!("two tensors are called `{name}`: export it again")));
    }
    let uses = graph.uses(&tensors);
    let used: HashSet<usize> = uses.iter().map(|of| of.tensor).collect();
    let graph = graph.layers();
    let mut file = OnnxFile { tensors: Vec::new(), sources: Vec::new(), graph, metadata };
    for of in uses {
        file.add(&tensors[of.tensor], of, folder)?;
    }
    let others = (0..initializers).filter(|index| !used.contains(index));
    for index in others {
        file.add(&tensors[index], Use::as_it_is(index), folder)?;
    }
    if file.tensors.is_empty() { Err(Problem::Other) } else { Ok(file) }
}

/// An open `.onnx` file.
pub(super) struct OnnxFile {
    tensors: Vec<TensorInfo>,
    sources: Vec<Source>,
    graph: Vec<GraphLayer>,
    metadata: HashMap<String, String>,
}

struct Source {
    /// None of a tensor that is not read.
    data: Option<Data>,
    /// Whether the file has `[in, out]`.
    transposed: bool,
    factor: f32,
}

impl OnnxFile {
    fn add(&mut self, tensor: &Tensor, of: Use, folder: &Path) -> Result<(), Problem> {
        let name = tensor.name().to_string();
        let element = tensor.element();
        let mut shape = tensor.shape()?;
        let data = if element.is_float() { Some(tensor.data(&shape, folder)?) } else { None };
        if of.is_bias {
            let mut extents = shape.iter().filter(|&&extent| extent != 1);
            shape = match (extents.next(), extents.next()) {
                (Some(&out), None) => vec![out],
                (None, _) => vec![1],
                _ => shape,
            };
        }
        if of.transposed {
            shape.reverse();
        }
        self.tensors.push(TensorInfo { name, shape, element });
        self.sources.push(Source { data, transposed: of.transposed, factor: of.factor });
        Ok(())
    }
}

impl TensorReader for OnnxFile {
    fn format(&self) -> Format {
        Format::Onnx
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn graph(&self) -> &[GraphLayer] {
        &self.graph
    }

    fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    fn read(&mut self, index: usize) -> Result<Vec<f32>, String> {
        let Source { data, transposed, factor } = &self.sources[index];
        let TensorInfo { name, shape, element } = &self.tensors[index];
        let data = data.as_ref().ok_or_else(|| element.not_float(name))?;
        let mut values = oriented(data.values()?, shape, *transposed);
        if *factor != 1.0 {
            values.iter_mut().for_each(|value| *value *= factor);
        }
        Ok(values)
    }
}
