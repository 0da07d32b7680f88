//! Caffe's `.caffemodel`: a `NetParameter` with the blobs of all layers.
//!
//! Read are the three forms of a layer that Caffe has had: `layer` (since 2014, called V2 here),
//! `layers` of `V1LayerParameter`, and `layers` around a `V0LayerParameter` (2013). Tensors are in
//! the order of the file and named after layer and blob:
//!
//! | layer | blobs |
//! |---|---|
//! | Convolution, InnerProduct, Deconvolution, PReLU and others | `NAME.weight`, `NAME.bias`, `NAME.2`, ... |
//! | BatchNorm | `NAME.mean`, `NAME.variance`, `NAME.scale_factor` |
//! | Scale | `NAME.weight`, `NAME.bias` |
//! | Bias | `NAME.bias` |
//!
//! Mean and variance of a BatchNorm layer are sums: divided by the scale factor they are what the
//! layer uses.
//!
//! Values are as the file has them: filters `[out, in, height, width]`, matrices `[out, in]`
//! (those of an InnerProduct layer with `transpose` are transposed to that), and in the first layer
//! blue before green before red where Caffe's own tools fed the images. A blob of a
//! fully connected layer that has four extents, `[1, 1, out, in]`, is listed without the first two,
//! and a vector `[1, 1, 1, n]` as `[n]`.

use super::protobuf::{Elements, Problem, count, oriented};
use super::{Format, GraphLayer, TensorInfo, TensorReader};
use bytes::Bytes;
use prost::Message;
use std::collections::HashSet;

/// Opens the bytes of a file.
pub(super) fn open(bytes: Bytes) -> Result<CaffeFile, Problem> {
    let net = Net::decode(bytes)?;
    let mut file = CaffeFile { tensors: Vec::new(), blobs: Vec::new(), graph: Vec::new() };
    let mut names = HashSet::new();
    for message in net.layers_v1 {
        file.add(LayerV1::decode(message)?.into_layer(), &mut names)?;
    }
    for message in net.layers {
        file.add(Layer::decode(message)?, &mut names)?;
    }
    if file.tensors.is_empty() { Err(Problem::Other) } else { Ok(file) }
}

/// An open `.caffemodel`.
pub(super) struct CaffeFile {
    tensors: Vec<TensorInfo>,
    blobs: Vec<Blob>,
    graph: Vec<GraphLayer>,
}

struct Blob {
    elements: Elements,
    /// Whether the file has `[in, out]`.
    transposed: bool,
}

impl CaffeFile {
    fn add(&mut self, layer: Layer, names: &mut HashSet<String>) -> Result<(), Problem> {
        let kind = Kind::of(&layer.kind);
        self.graph.extend(graph_layer(&layer.kind));
        let is_transposed = layer.inner_product.as_ref().is_some_and(|of| of.transpose);
        for (number, message) in layer.blobs.iter().enumerate() {
            let name = format!("{}.{}", text(&layer.name), kind.blob(&layer, number));
            let (shape, elements) = blob(message, &name)?;
            let mut shape = kind.shape(number, shape);
            let transposed = is_transposed && number == 0 && shape.len() == 2;
            if transposed {
                shape.reverse();
            }
            if !names.insert(name.clone()) {
                return Err(Problem::Content(format!(
                    "two layers have parameters `{name}`: rename one of them with Caffe"
                )));
            }
            self.tensors.push(TensorInfo { name, shape, element: elements.kind() });
            self.blobs.push(Blob { elements, transposed });
        }
        Ok(())
    }
}

impl TensorReader for CaffeFile {
    fn format(&self) -> Format {
        Format::Caffe
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn graph(&self) -> &[GraphLayer] {
        &self.graph
    }

    fn read(&mut self, index: usize) -> Result<Vec<f32>, String> {
        let Blob { elements, transposed } = &self.blobs[index];
        Ok(oriented(elements.values(), &self.tensors[index].shape, *transposed))
    }
}

/// Shape and elements of a `BlobProto`; `name` is for errors.
pub(super) fn blob(message: &Bytes, name: &str) -> Result<(Vec<usize>, Elements), Problem> {
    let header = BlobHeader::decode(message.clone())?;
    let legacy = [header.num, header.channels, header.height, header.width];
    let extents: Vec<i64> = if legacy.iter().any(Option::is_some) {
        legacy.iter().map(|extent| extent.unwrap_or_default().into()).collect()
    } else {
        header.shape.unwrap_or_default().dim
    };
    let shape: Option<Vec<usize>> = extents.iter().map(|&e| usize::try_from(e).ok()).collect();
    let doubles = Elements::repeated::<PackedBlob, UnpackedBlob, f64>(
        message,
        |blob| blob.double_data,
        |blob| blob.double_data,
    )?;
    let elements = if doubles.len() > 0 {
        doubles
    } else {
        Elements::repeated::<PackedBlob, UnpackedBlob, f32>(
            message,
            |blob| blob.data,
            |blob| blob.data,
        )?
    };
    match shape {
        Some(shape) if count(&shape) == Some(elements.len()) => Ok((shape, elements)),
        _ => Err(Problem::Content(format!(
            "`{name}` has shape {extents:?} and {} values: the file is damaged; download it again",
            elements.len()
        ))),
    }
}

/// The layers whose blobs are not simply weight and bias, or not always of four extents.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Convolution,
    InnerProduct,
    BatchNorm,
    Scale,
    Bias,
    Other,
}

impl Kind {
    fn of(kind: &[u8]) -> Kind {
        match kind {
            b"Convolution" | b"Deconvolution" | b"conv" => Kind::Convolution,
            b"InnerProduct" | b"innerproduct" => Kind::InnerProduct,
            b"BatchNorm" => Kind::BatchNorm,
            b"Scale" => Kind::Scale,
            b"Bias" => Kind::Bias,
            _ => Kind::Other,
        }
    }

    /// What blob `number` is called.
    fn blob(self, layer: &Layer, number: usize) -> String {
        let is_bias = match self {
            Kind::Bias => number == 0,
            // The factors of a layer with two inputs are its second input.
            Kind::Scale => number == 1 || layer.bottom.len() == 2,
            _ => number == 1,
        };
        match (self, number) {
            (Kind::BatchNorm, 0) => "mean".into(),
            (Kind::BatchNorm, 1) => "variance".into(),
            (Kind::BatchNorm, 2) => "scale_factor".into(),
            (_, 0 | 1) if is_bias => "bias".into(),
            (_, 0) => "weight".into(),
            (_, number) => number.to_string(),
        }
    }

    /// A blob's shape without the ones that fill old files' shapes up to four extents.
    fn shape(self, number: usize, shape: Vec<usize>) -> Vec<usize> {
        let kept = match self {
            Kind::Convolution if number == 0 => return shape,
            Kind::InnerProduct if number == 0 => 2,
            _ => 1,
        };
        match shape[..] {
            [1, 1, height, width] if kept == 2 => vec![height, width],
            [1, 1, 1, width] => vec![width],
            _ => shape,
        }
    }
}

/// A layer's kind in all three forms of a layer.
fn graph_layer(kind: &[u8]) -> Option<GraphLayer> {
    match kind {
        b"Convolution" | b"conv" | b"InnerProduct" | b"innerproduct" => Some(GraphLayer::Weighted),
        b"LRN" | b"lrn" => Some(GraphLayer::Lrn),
        b"Pooling" | b"pool" => Some(GraphLayer::Pool),
        _ => None,
    }
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

// The messages of caffe.proto, with the fields that are needed here. Names are bytes: proto2 does
// not check that a string is UTF-8.

/// `NetParameter`.
#[derive(Clone, PartialEq, Message)]
struct Net {
    #[prost(bytes = "bytes", repeated, tag = "2")]
    layers_v1: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "100")]
    layers: Vec<Bytes>,
}

/// `LayerParameter`.
#[derive(Clone, PartialEq, Message)]
struct Layer {
    #[prost(bytes = "bytes", tag = "1")]
    name: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    kind: Bytes,
    #[prost(bytes = "bytes", repeated, tag = "3")]
    bottom: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "7")]
    blobs: Vec<Bytes>,
    #[prost(message, optional, tag = "117")]
    inner_product: Option<InnerProduct>,
}

/// `InnerProductParameter`.
#[derive(Clone, PartialEq, Message)]
struct InnerProduct {
    #[prost(bool, tag = "6")]
    transpose: bool,
}

/// `V1LayerParameter`.
#[derive(Clone, PartialEq, Message)]
struct LayerV1 {
    #[prost(message, optional, tag = "1")]
    layer: Option<LayerV0>,
    #[prost(bytes = "bytes", tag = "4")]
    name: Bytes,
    #[prost(int32, tag = "5")]
    kind: i32,
    #[prost(bytes = "bytes", repeated, tag = "6")]
    blobs: Vec<Bytes>,
    #[prost(message, optional, tag = "17")]
    inner_product: Option<InnerProduct>,
}

/// `V0LayerParameter`.
#[derive(Clone, PartialEq, Message)]
struct LayerV0 {
    #[prost(bytes = "bytes", tag = "1")]
    name: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    kind: Bytes,
    #[prost(bytes = "bytes", repeated, tag = "50")]
    blobs: Vec<Bytes>,
}

impl LayerV1 {
    fn into_layer(self) -> Layer {
        match self.layer {
            Some(LayerV0 { name, kind, blobs }) => Layer { name, kind, blobs, ..Layer::default() },
            None => {
                let kind: &[u8] = match self.kind {
                    4 | 39 => b"Convolution", // CONVOLUTION, DECONVOLUTION
                    14 => b"InnerProduct",
                    15 => b"LRN",
                    17 => b"Pooling",
                    _ => b"",
                };
                let LayerV1 { name, blobs, inner_product, .. } = self;
                let (kind, bottom) = (Bytes::from_static(kind), Vec::new());
                Layer { name, kind, bottom, blobs, inner_product }
            }
        }
    }
}

/// `BlobProto` without its numbers.
#[derive(Clone, PartialEq, Message)]
struct BlobHeader {
    #[prost(int32, optional, tag = "1")]
    num: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    channels: Option<i32>,
    #[prost(int32, optional, tag = "3")]
    height: Option<i32>,
    #[prost(int32, optional, tag = "4")]
    width: Option<i32>,
    #[prost(message, optional, tag = "7")]
    shape: Option<BlobShape>,
}

/// `BlobShape`.
#[derive(Clone, PartialEq, Message)]
struct BlobShape {
    #[prost(int64, repeated, tag = "1")]
    dim: Vec<i64>,
}

/// `BlobProto`'s numbers where they are packed, as they always were.
#[derive(Clone, PartialEq, Message)]
struct PackedBlob {
    #[prost(bytes = "bytes", repeated, tag = "5")]
    data: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "8")]
    double_data: Vec<Bytes>,
}

/// `BlobProto`'s numbers, packed or not.
#[derive(Clone, PartialEq, Message)]
struct UnpackedBlob {
    #[prost(float, repeated, tag = "5")]
    data: Vec<f32>,
    #[prost(double, repeated, tag = "8")]
    double_data: Vec<f64>,
}
