//! The messages of onnx.proto, with the fields that are written.

use prost::Message;

/// `TensorProto.DataType`.
pub(super) const FLOAT: i32 = 1;
pub(super) const UINT8: i32 = 2;
const INT64: i32 = 7;

/// `ModelProto` without its graph.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ModelProto {
    #[prost(int64, tag = "1")]
    pub ir_version: i64,
    #[prost(string, tag = "2")]
    pub producer: String,
    #[prost(string, tag = "3")]
    pub producer_version: String,
    #[prost(message, repeated, tag = "8")]
    pub opsets: Vec<OperatorSet>,
    #[prost(message, repeated, tag = "14")]
    pub metadata: Vec<Entry>,
}

/// `OperatorSetIdProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OperatorSet {
    #[prost(string, tag = "1")]
    pub domain: String,
    #[prost(int64, tag = "2")]
    pub version: i64,
}

/// `StringStringEntryProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Entry {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

/// `GraphProto` without its initializers.
#[derive(Clone, PartialEq, Message)]
pub(super) struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    pub nodes: Vec<Node>,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(message, repeated, tag = "11")]
    pub inputs: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    pub outputs: Vec<ValueInfo>,
}

/// `NodeProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Node {
    #[prost(string, repeated, tag = "1")]
    pub inputs: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub outputs: Vec<String>,
    #[prost(string, tag = "3")]
    pub name: String,
    #[prost(string, tag = "4")]
    pub kind: String,
    #[prost(message, repeated, tag = "5")]
    pub attributes: Vec<Attribute>,
}

/// `AttributeProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Attribute {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(float, optional, tag = "2")]
    float: Option<f32>,
    #[prost(int64, optional, tag = "3")]
    int: Option<i64>,
    #[prost(message, optional, tag = "5")]
    tensor: Option<Tensor>,
    #[prost(int64, repeated, tag = "8")]
    ints: Vec<i64>,
    #[prost(int32, tag = "20")]
    kind: i32,
}

pub(super) fn float(name: &str, value: f32) -> Attribute {
    Attribute { name: name.into(), float: Some(value), kind: 1, ..Attribute::default() }
}

pub(super) fn int(name: &str, value: i64) -> Attribute {
    Attribute { name: name.into(), int: Some(value), kind: 2, ..Attribute::default() }
}

pub(super) fn ints(name: &str, values: &[i64]) -> Attribute {
    Attribute { name: name.into(), ints: values.to_vec(), kind: 7, ..Attribute::default() }
}

pub(super) fn tensor(name: &str, value: Tensor) -> Attribute {
    Attribute { name: name.into(), tensor: Some(value), kind: 4, ..Attribute::default() }
}

/// `TensorProto` of a constant.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Tensor {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(bytes = "vec", tag = "9")]
    raw: Vec<u8>,
}

impl Tensor {
    pub fn of_floats(shape: &[usize], values: &[f32]) -> Tensor {
        let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let dims = shape.iter().map(|&extent| extent as i64).collect();
        Tensor { dims, data_type: FLOAT, raw }
    }

    pub fn of_ints(shape: &[usize], values: &[i64]) -> Tensor {
        let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let dims = shape.iter().map(|&extent| extent as i64).collect();
        Tensor { dims, data_type: INT64, raw }
    }
}

/// `TensorProto` without its data.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TensorHeader {
    #[prost(int64, repeated, tag = "1")]
    pub dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    #[prost(string, tag = "8")]
    pub name: String,
}

/// `ValueInfoProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ValueInfo {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    kind: Option<Type>,
}

impl ValueInfo {
    /// A tensor; an extent of `None` is the number of images.
    pub fn new(name: &str, element: i32, shape: &[Option<usize>]) -> ValueInfo {
        let extent = |extent: &Option<usize>| match extent {
            Some(extent) => Dimension { value: Some(*extent as i64), name: None },
            None => Dimension { value: None, name: Some("batch".into()) },
        };
        let shape = TensorShape { dims: shape.iter().map(extent).collect() };
        let tensor = Some(TensorType { element, shape: Some(shape) });
        ValueInfo { name: name.into(), kind: Some(Type { tensor }) }
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

/// `TypeProto`.
#[derive(Clone, PartialEq, Message)]
struct Type {
    #[prost(message, optional, tag = "1")]
    tensor: Option<TensorType>,
}

/// `TypeProto.Tensor`.
#[derive(Clone, PartialEq, Message)]
struct TensorType {
    #[prost(int32, tag = "1")]
    element: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<TensorShape>,
}

/// `TensorShapeProto`.
#[derive(Clone, PartialEq, Message)]
struct TensorShape {
    #[prost(message, repeated, tag = "1")]
    dims: Vec<Dimension>,
}

/// `TensorShapeProto.Dimension`.
#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(int64, optional, tag = "1")]
    value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
}

/// The key of a field that begins with its length.
pub(super) fn key(field: u32, into: &mut Vec<u8>) {
    varint(u64::from(field << 3 | 2), into);
}

/// A number of seven bits a byte, the lowest first.
pub(super) fn varint(value: u64, into: &mut Vec<u8>) {
    prost::encoding::encode_varint(value, into);
}
