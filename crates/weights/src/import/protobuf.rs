//! What Caffe's and ONNX's files have in common: each is one protobuf message.
//!
//! Messages are decoded from [`Bytes`], so large fields are slices of the file in memory and not
//! copies. A float leaves the file when its tensor is read.

use super::{ElementType, Source};
use bytes::Bytes;
use prost::Message;

/// A serialized message is smaller than 2 GiB, which protobuf's own libraries enforce.
const LONGEST: u64 = i32::MAX as u64;

/// Why a file could not be opened as a message of one kind.
pub(super) enum Problem {
    /// The bytes are no such message, or not the whole of one.
    Decode(String),
    /// They decode, but hold none of the fields that make it one.
    Other,
    /// It is one, and cannot be used; a sentence.
    Content(String),
}

impl From<prost::DecodeError> for Problem {
    fn from(error: prost::DecodeError) -> Problem {
        Problem::Decode(error.to_string())
    }
}

/// All bytes of a file that holds one message.
pub(super) fn read(source: &Source) -> Result<Bytes, String> {
    if source.len() > LONGEST {
        return Err("the file has more than 2 GiB, which no Caffe or ONNX file has".into());
    }
    Ok(source.bytes(0, source.len())?.into())
}

/// The elements of a tensor of `shape`, unless there are more than memory has addresses.
pub(super) fn count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent))
}

/// `values` as a tensor of `shape`; where the file has a matrix transposed, `[in, out]`, it becomes
/// `[out, in]`.
pub(super) fn oriented(values: Vec<f32>, shape: &[usize], is_transposed: bool) -> Vec<f32> {
    match *shape {
        [out, _] if is_transposed => {
            (0..out).flat_map(|row| values.iter().skip(row).step_by(out).copied()).collect()
        }
        _ => values,
    }
}

/// Appends the elements in `bytes`, which are little-endian and floating-point numbers.
pub(super) fn append(kind: ElementType, bytes: &[u8], values: &mut Vec<f32>) {
    values.extend(bytes.chunks_exact(width(kind)).map(|element| kind.value(element)));
}

/// Bytes of a floating-point number.
fn width(kind: ElementType) -> usize {
    kind.bytes().filter(|_| kind.is_float()).expect("a floating-point type")
}

/// Floating-point elements of a tensor, as slices of the file.
#[derive(Clone, Debug)]
pub(super) struct Elements {
    kind: ElementType,
    parts: Vec<Bytes>,
}

impl Elements {
    /// Little-endian elements that follow each other in `parts`; `None` if a part does not end
    /// where an element does.
    pub fn new(kind: ElementType, parts: Vec<Bytes>) -> Option<Elements> {
        let whole = parts.iter().all(|part| part.len().is_multiple_of(width(kind)));
        whole.then_some(Elements { kind, parts })
    }

    /// Those of a repeated field of floats or doubles, packed or not. `P` is the message with the
    /// field as bytes, `U` the same as numbers; `packed` and `unpacked` take the field out.
    pub fn repeated<P: Message + Default, U: Message + Default, N: Number>(
        message: &Bytes,
        packed: fn(P) -> Vec<Bytes>,
        unpacked: fn(U) -> Vec<N>,
    ) -> Result<Elements, Problem> {
        if let Ok(message) = P::decode(message.clone())
            && let Some(elements) = Elements::new(N::KIND, packed(message))
        {
            return Ok(elements);
        }
        let numbers = unpacked(U::decode(message.clone())?);
        let bytes: Vec<u8> = numbers.into_iter().flat_map(Number::bytes).collect();
        Ok(Elements { kind: N::KIND, parts: vec![bytes.into()] })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.bytes() / width(self.kind)
    }

    /// Their size.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    /// Their type.
    pub fn kind(&self) -> ElementType {
        self.kind
    }

    /// All of them as f32.
    pub fn values(&self) -> Vec<f32> {
        let mut values = Vec::with_capacity(self.len());
        self.parts.iter().for_each(|part| append(self.kind, part, &mut values));
        values
    }
}

/// A number of a repeated field.
pub(super) trait Number {
    const KIND: ElementType;
    fn bytes(self) -> impl Iterator<Item = u8>;
}

impl Number for f32 {
    const KIND: ElementType = ElementType::F32;
    fn bytes(self) -> impl Iterator<Item = u8> {
        self.to_le_bytes().into_iter()
    }
}

impl Number for f64 {
    const KIND: ElementType = ElementType::F64;
    fn bytes(self) -> impl Iterator<Item = u8> {
        self.to_le_bytes().into_iter()
    }
}
