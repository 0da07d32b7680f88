//! The nodes of a graph, and which tensors its layers use.

use super::Tensor;
use crate::import::GraphLayer;
use crate::import::protobuf::Problem;
use bytes::Bytes;
use prost::Message;
use std::collections::{HashMap, HashSet};

/// The epsilon of batch normalisation: the default of ONNX, PyTorch and this program.
const EPSILON: f32 = 1e-5;

/// `ModelProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Model {
    #[prost(message, optional, tag = "7")]
    pub graph: Option<Graph>,
    #[prost(message, repeated, tag = "14")]
    metadata: Vec<Entry>,
}

/// `StringStringEntryProto`.
#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

impl Model {
    /// The model's metadata, text by name.
    pub fn metadata(&self) -> HashMap<String, String> {
        self.metadata.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect()
    }
}

/// `GraphProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Graph {
    #[prost(message, repeated, tag = "1")]
    nodes: Vec<Node>,
    #[prost(bytes = "bytes", repeated, tag = "5")]
    pub initializers: Vec<Bytes>,
}

/// `NodeProto`.
#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "4")]
    kind: String,
    #[prost(message, repeated, tag = "5")]
    attributes: Vec<Attribute>,
}

/// `AttributeProto`.
#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(float, optional, tag = "2")]
    float: Option<f32>,
    #[prost(int64, optional, tag = "3")]
    int: Option<i64>,
    #[prost(bytes = "bytes", optional, tag = "5")]
    tensor: Option<Bytes>,
    #[prost(int64, repeated, tag = "8")]
    ints: Vec<i64>,
}

/// How a layer uses a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Use {
    /// Its index.
    pub tensor: usize,
    /// Whether it is a matrix `[in, out]`.
    pub transposed: bool,
    /// Whether it is added to the layer's output, one value for each channel.
    pub is_bias: bool,
    /// What its values are multiplied by.
    pub factor: f32,
}

impl Use {
    pub fn as_it_is(tensor: usize) -> Use {
        Use { tensor, transposed: false, is_bias: false, factor: 1.0 }
    }
}

/// A tensor under one of its names.
#[derive(Clone, Copy)]
struct Value {
    tensor: usize,
    /// Whether a node has transposed it.
    transposed: bool,
}

impl Graph {
    /// Checks that batch normalisation has the epsilon of this program's networks.
    pub fn check_epsilon(&self) -> Result<(), Problem> {
        let mut norms = self.nodes.iter().filter(|node| node.kind == "BatchNormalization");
        let epsilon = |node: &Node| node.attribute("epsilon").and_then(|it| it.float);
        match norms.find_map(|node| epsilon(node).filter(|epsilon| *epsilon != EPSILON)) {
            None => Ok(()),
            Some(other) => Err(Problem::Content(format!(
                "its batch normalisation has an epsilon of {other:e}; only {EPSILON:e} is read"
            ))),
        }
    }

    /// The layers that distinguish networks with equal parameter shapes.
    pub fn layers(&self) -> Vec<GraphLayer> {
        let layer = |node: &Node| match node.kind.as_str() {
            "Conv" | "Gemm" | "MatMul" => Some(GraphLayer::Weighted),
            "LRN" => Some(GraphLayer::Lrn),
            "MaxPool" | "AveragePool" => Some(GraphLayer::Pool),
            _ => None,
        };
        self.nodes.iter().filter_map(layer).collect()
    }

    /// The tensors of the `Constant` nodes, each with the name of the node's output.
    pub fn constants(&self) -> Result<Vec<Tensor>, Problem> {
        let mut tensors = Vec::new();
        for node in self.nodes.iter().filter(|node| node.kind == "Constant") {
            let value = node.attribute("value").and_then(|value| value.tensor.as_ref());
            if let (Some(message), Some(name)) = (value, node.output.first()) {
                tensors.push(Tensor::decode(message)?.named(name));
            }
        }
        Ok(tensors)
    }

    /// The tensors that layers use, each once, in the order of nodes and inputs.
    pub fn uses(&self, tensors: &[Tensor]) -> Vec<Use> {
        let mut walk =
            Walk { tensors, values: HashMap::new(), layers: HashMap::new(), uses: Vec::new() };
        for (tensor, of) in tensors.iter().enumerate() {
            walk.values.insert(of.name(), Value { tensor, transposed: false });
        }
        self.nodes.iter().for_each(|node| walk.node(node));
        let mut seen = HashSet::new();
        walk.uses.retain(|of| seen.insert(of.tensor));
        walk.uses
    }
}

impl Node {
    fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    fn float(&self, name: &str) -> f32 {
        self.attribute(name).and_then(|attribute| attribute.float).unwrap_or(1.0)
    }
}

/// What is known before a node; nodes are in an order in which their inputs come first.
struct Walk<'g> {
    tensors: &'g [Tensor],
    values: HashMap<&'g str, Value>,
    /// Output channels of the layers so far to which an Add may add a bias, by their output's name.
    layers: HashMap<&'g str, i64>,
    uses: Vec<Use>,
}

impl<'g> Walk<'g> {
    fn node(&mut self, node: &'g Node) {
        match node.kind.as_str() {
            "Identity" => self.rename(node, false),
            "Transpose" => {
                let order = node.attribute("perm").map_or(&[][..], |order| &order.ints);
                let is_matrix = |value: Value| self.tensors[value.tensor].dims().len() == 2;
                if matches!(order, [] | [1, 0]) && self.input(node, 0).is_some_and(is_matrix) {
                    self.rename(node, true);
                }
            }
            "Conv" => {
                if let Some(weight) = self.input(node, 1) {
                    self.uses.push(Use::as_it_is(weight.tensor));
                    self.layer(node, self.tensors[weight.tensor].dims().first());
                    self.bias(node, 2, 1.0);
                }
            }
            "Gemm" => {
                let is_flag = |attribute: &Attribute| attribute.int.is_some_and(|int| int != 0);
                let transposed = !node.attribute("transB").is_some_and(is_flag);
                self.matrix(node, transposed, node.float("alpha"));
                self.bias(node, 2, node.float("beta"));
            }
            "MatMul" => self.matrix(node, true, 1.0),
            "BatchNormalization" => {
                let inputs = (1..5).filter_map(|at| self.input(node, at));
                let uses: Vec<Use> = inputs.map(|value| Use::as_it_is(value.tensor)).collect();
                self.uses.extend(uses);
            }
            "Add" => self.add(node),
            _ => {}
        }
    }

    fn input(&self, node: &Node, at: usize) -> Option<Value> {
        self.values.get(node.input.get(at)?.as_str()).copied()
    }

    fn rename(&mut self, node: &'g Node, transposes: bool) {
        if let (Some(value), Some(name)) = (self.input(node, 0), node.output.first()) {
            let transposed = value.transposed != transposes;
            self.values.insert(name, Value { transposed, ..value });
        }
    }

    fn layer(&mut self, node: &'g Node, channels: Option<&i64>) {
        if let (Some(name), Some(&channels)) = (node.output.first(), channels) {
            self.layers.insert(name, channels);
        }
    }

    /// The weights of a layer that multiplies matrices, its second input; `is_in_out` if the node
    /// takes them as `[in, out]`.
    fn matrix(&mut self, node: &'g Node, is_in_out: bool, factor: f32) {
        let Some(Value { tensor, transposed }) = self.input(node, 1) else { return };
        let &[rows, columns] = self.tensors[tensor].dims() else { return };
        let transposed = transposed != is_in_out;
        self.uses.push(Use { tensor, transposed, is_bias: false, factor });
        self.layer(node, Some(if transposed { &columns } else { &rows }));
    }

    fn bias(&mut self, node: &Node, at: usize, factor: f32) {
        if let Some(Value { tensor, .. }) = self.input(node, at) {
            self.uses.push(Use { tensor, transposed: false, is_bias: true, factor });
        }
    }

    fn add(&mut self, node: &Node) {
        let [a, b] = &node.input[..] else { return };
        let (layer, at) = match (self.layers.get(a.as_str()), self.layers.get(b.as_str())) {
            (Some(layer), None) => (layer, 1),
            (None, Some(layer)) => (layer, 0),
            _ => return,
        };
        let is_vector = |value: Value| {
            let dims = self.tensors[value.tensor].dims();
            dims.contains(layer) && dims.iter().all(|extent| extent == layer || *extent == 1)
        };
        if self.input(node, at).is_some_and(is_vector) {
            self.bias(node, at, 1.0);
        }
    }
}
