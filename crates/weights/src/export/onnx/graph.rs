//! A graph's nodes, each of which takes the output of the one before.

use super::proto::{self, Attribute, Node, Tensor};
use std::collections::HashSet;

/// The nodes so far.
pub(super) struct Graph {
    nodes: Vec<Node>,
    /// The name of the value that the next node takes.
    value: String,
    /// Its shape for one image, channels last: height, width, channels; or units.
    pub shape: Vec<usize>,
    /// The names of all values, each of which a graph has once.
    names: HashSet<String>,
}

impl Graph {
    /// A graph on images of this height, width and number of channels, which are the value `input`.
    /// No node's output has that name or one of `others`: the initializers' and the graph's output.
    pub fn new(image: [usize; 3], input: &str, others: impl IntoIterator<Item = String>) -> Graph {
        let names = others.into_iter().chain([input.to_string()]).collect();
        Graph { nodes: Vec::new(), value: input.into(), shape: image.to_vec(), names }
    }

    /// Continues with the value of this name.
    pub fn begin(&mut self, value: &str) {
        self.value = value.into();
    }

    /// The name of the value that the next node takes.
    pub fn value(&self) -> String {
        self.value.clone()
    }

    /// Whether it is feature maps, and not units.
    pub fn is_maps(&self) -> bool {
        self.shape.len() == 3
    }

    /// A node that takes the last value and `others`, and whose output is called `name`, with a
    /// number if another value is.
    pub fn node(&mut self, kind: &str, others: &[&str], name: &str, attributes: Vec<Attribute>) {
        let last = self.value();
        let inputs: Vec<&str> = [&[last.as_str()][..], others].concat();
        self.value = self.side(kind, &inputs, name, attributes);
    }

    /// A node beside: it takes `inputs`, and the next node does not take its output unless it is
    /// named. Returns the output's name.
    pub fn side(
        &mut self,
        kind: &str,
        inputs: &[&str],
        name: &str,
        attributes: Vec<Attribute>,
    ) -> String {
        let name = self.unused(name);
        self.nodes.push(Node {
            inputs: inputs.iter().map(|input| input.to_string()).collect(),
            outputs: vec![name.clone()],
            name: name.clone(),
            kind: kind.into(),
            attributes,
        });
        name
    }

    fn unused(&mut self, name: &str) -> String {
        let numbered = (2u32..).map(|number| format!("{name}_{number}"));
        let mut all = [name.to_string()].into_iter().chain(numbered);
        let unused = all.find(|name| !self.names.contains(name)).expect("one is not used");
        self.names.insert(unused.clone());
        unused
    }

    /// A constant; returns its name.
    pub fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        let value = proto::tensor("value", Tensor::of_floats(shape, values));
        self.side("Constant", &[], name, vec![value])
    }

    /// A constant number; returns its name.
    pub fn scalar(&mut self, name: &str, value: f32) -> String {
        self.floats(name, &[], &[value])
    }

    /// A constant of integers; returns its name.
    pub fn ints(&mut self, name: &str, shape: &[usize], values: &[i64]) -> String {
        let value = proto::tensor("value", Tensor::of_ints(shape, values));
        self.side("Constant", &[], name, vec![value])
    }

    /// `value` in another shape, of which one extent may be -1; returns its name.
    pub fn reshaped(&mut self, value: &str, name: &str, shape: &[i64]) -> String {
        let shape = self.ints(&format!("{name}.shape"), &[shape.len()], shape);
        self.side("Reshape", &[value, &shape], name, vec![])
    }

    /// `value` with its dimensions in another order; returns its name.
    pub fn transposed(&mut self, value: &str, name: &str, order: &[i64]) -> String {
        self.side("Transpose", &[value], name, vec![proto::ints("perm", order)])
    }

    /// All nodes; the output of the last is called `output`.
    pub fn finish(mut self, output: &str) -> Vec<Node> {
        if let Some(last) = self.nodes.last_mut() {
            last.outputs = vec![output.into()];
        }
        self.nodes
    }
}
