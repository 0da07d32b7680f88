//! Elements of a tensor, from a file's bytes to f32.

use super::{ElementType, Source};
use std::fmt;

/// Bytes read at a time.
const PIECE: usize = 1 << 20;

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            ElementType::F64 => "f64",
            ElementType::F32 => "f32",
            ElementType::F16 => "f16",
            ElementType::Bf16 => "bf16",
            ElementType::I64 => "i64",
            ElementType::I32 => "i32",
            ElementType::I16 => "i16",
            ElementType::I8 => "i8",
            ElementType::U8 => "u8",
            ElementType::Bool => "bool",
            ElementType::Other(name) => name,
        })
    }
}

impl ElementType {
    /// Whether tensors of this type can be read.
    pub fn is_float(self) -> bool {
        use ElementType::{Bf16, F16, F32, F64};
        matches!(self, F64 | F32 | F16 | Bf16)
    }

    /// The bytes of an element; `None` for [`ElementType::Other`].
    pub(crate) fn bytes(self) -> Option<usize> {
        Some(match self {
            ElementType::F64 | ElementType::I64 => 8,
            ElementType::F32 | ElementType::I32 => 4,
            ElementType::F16 | ElementType::Bf16 | ElementType::I16 => 2,
            ElementType::I8 | ElementType::U8 | ElementType::Bool => 1,
            ElementType::Other(_) => return None,
        })
    }

    /// The error of reading a tensor of another type than a floating-point one.
    pub(crate) fn not_float(self, name: &str) -> String {
        let name = super::names::shown(name);
        format!("`{name}` holds elements of type {self}, and only floating-point ones are read")
    }

    /// An element's value from the first of `bytes`, which are little-endian.
    pub(crate) fn value(self, bytes: &[u8]) -> f32 {
        match (self, bytes) {
            (ElementType::F32, &[a, b, c, d, ..]) => f32::from_le_bytes([a, b, c, d]),
            (ElementType::F16, &[a, b, ..]) => f16_to_f32(u16::from_le_bytes([a, b])),
            (ElementType::Bf16, &[a, b, ..]) => f32::from_le_bytes([0, 0, a, b]),
            (ElementType::F64, &[a, b, c, d, e, f, g, h, ..]) => {
                f64::from_le_bytes([a, b, c, d, e, f, g, h]) as f32
            }
            _ => unreachable!("a floating-point element and its bytes"),
        }
    }
}

/// The value of IEEE 754's binary16; every one is an f32, too.
pub(crate) fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let (exponent, fraction) = (u32::from(bits >> 10 & 0x1F), u32::from(bits & 0x3FF));
    match exponent {
        // Subnormal: a multiple of 2^-24.
        0 => f32::from_bits(sign | (fraction as f32 * 2f32.powi(-24)).to_bits()),
        31 => f32::from_bits(sign | 0x7F80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 127 - 15) << 23 | fraction << 13),
    }
}

/// A dimension of a tensor in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Dim {
    len: usize,
    /// Elements from one index to the next: in the file, and in the array that is read.
    stride: usize,
    target: usize,
}

/// Where the elements of a tensor lie: dimensions by falling stride in the file, so that a file is
/// read from its front to its back however the tensor was transposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    dims: Vec<Dim>,
    /// The elements of the tensor.
    count: usize,
    /// The elements from the first in the file to the last.
    span: usize,
}

impl Layout {
    /// The layout of a tensor without gaps, the last dimension fastest.
    ///
    /// # Errors
    /// As [`strided`](Self::strided).
    pub(crate) fn contiguous(shape: &[usize]) -> Result<Layout, String> {
        let mut strides = vec![1usize; shape.len()];
        for at in (1..shape.len()).rev() {
            strides[at - 1] = strides[at].checked_mul(shape[at]).ok_or_else(|| too_large(shape))?;
        }
        Layout::strided(shape, &strides)
    }

    /// The layout of a tensor with a stride in elements for each dimension.
    ///
    /// # Errors
    /// A sentence, if the sizes overflow or elements share a place, as those of an expanded tensor.
    pub(crate) fn strided(shape: &[usize], strides: &[usize]) -> Result<Layout, String> {
        if shape.len() != strides.len() {
            return Err(format!("shape {shape:?} with {} strides", strides.len()));
        }
        let mut count = 1usize;
        let mut dims = Vec::new();
        for (&len, &stride) in shape.iter().zip(strides).rev() {
            if len > 1 {
                dims.push(Dim { len, stride, target: count });
            }
            // Without the zeros: a tensor without elements may not hide an overflow either.
            count = count.checked_mul(len.max(1)).ok_or_else(|| too_large(shape))?;
        }
        if shape.contains(&0) {
            return Ok(Layout { dims: Vec::new(), count: 0, span: 0 });
        }
        dims.sort_by_key(|dim| dim.stride);
        let mut span = 1usize;
        for dim in &dims {
            if dim.stride < span {
                return Err(format!(
                    "shape {shape:?} with strides {strides:?}, by which elements share a place; \
                     save `tensor.contiguous()` instead"
                ));
            }
            let more = (dim.len - 1).checked_mul(dim.stride);
            span = more.and_then(|more| span.checked_add(more)).ok_or_else(|| too_large(shape))?;
        }
        let mut merged: Vec<Dim> = Vec::new();
        for dim in dims {
            match merged.last_mut() {
                Some(last)
                    if last.stride.checked_mul(last.len) == Some(dim.stride)
                        && dim.target == last.target * last.len =>
                {
                    last.len *= dim.len;
                }
                _ => merged.push(dim),
            }
        }
        merged.reverse();
        Ok(Layout { dims: merged, count, span })
    }

    /// The elements from the first in the file to the last: more than the tensor has if there are
    /// gaps.
    pub(crate) fn span(&self) -> usize {
        self.span
    }

    /// Reads the elements of the type `element`, the first of which lies at byte `at`, in the order
    /// of C.
    ///
    /// Takes the memory of the result and a megabyte.
    ///
    /// # Errors
    /// A sentence, if the file ends before or cannot be read.
    pub(crate) fn read(
        &self,
        source: &Source,
        at: u64,
        element: ElementType,
    ) -> Result<Vec<f32>, String> {
        let bytes = element.bytes().filter(|_| element.is_float());
        let bytes = bytes.ok_or_else(|| format!("elements of type {element} are not read"))?;
        let end = (self.span as u64).checked_mul(bytes as u64).and_then(|len| at.checked_add(len));
        if end.is_none_or(|end| end > source.len()) {
            return Err("it is cut off: it ends before its contents; download it again".into());
        }
        let mut values = vec![0.0; self.count];
        if self.count > 0 {
            let mut reader = Reader { source, at, element, bytes, buffer: Vec::new() };
            reader.read(&self.dims, 0, &mut values)?;
        }
        Ok(values)
    }
}

fn too_large(shape: &[usize]) -> String {
    format!("shape {shape:?}, which is too large")
}

struct Reader<'a> {
    source: &'a Source,
    at: u64,
    element: ElementType,
    /// Those of an element.
    bytes: usize,
    buffer: Vec<u8>,
}

impl Reader<'_> {
    /// Reads the elements along `dims`, from the element `first` of the file on.
    fn read(&mut self, dims: &[Dim], first: usize, into: &mut [f32]) -> Result<(), String> {
        let most = PIECE / self.bytes;
        let span = dims.iter().map(|dim| (dim.len - 1) * dim.stride).sum::<usize>() + 1;
        if span <= most {
            self.buffer.resize(span * self.bytes, 0);
            self.source.fill(self.at + (first * self.bytes) as u64, &mut self.buffer)?;
            self.scatter(dims, 0, into);
            return Ok(());
        }
        let (outer, inner) = dims.split_first().expect("more than one element");
        // So many at a time as lie in one piece, if this is the last dimension.
        let step = if inner.is_empty() { (most - 1) / outer.stride + 1 } else { 1 };
        for index in (0..outer.len).step_by(step) {
            let into = &mut into[index * outer.target..];
            let first = first + index * outer.stride;
            if inner.is_empty() {
                let len = step.min(outer.len - index);
                self.read(&[Dim { len, ..*outer }], first, into)?;
            } else {
                self.read(inner, first, into)?;
            }
        }
        Ok(())
    }

    /// Distributes the elements of the buffer.
    fn scatter(&self, dims: &[Dim], first: usize, into: &mut [f32]) {
        let Some((outer, inner)) = dims.split_first() else {
            into[0] = self.element.value(&self.buffer[first * self.bytes..]);
            return;
        };
        if inner.is_empty() {
            let from = self.buffer[first * self.bytes..].chunks(outer.stride * self.bytes);
            let into = into.iter_mut().step_by(outer.target).take(outer.len);
            into.zip(from).for_each(|(into, from)| *into = self.element.value(from));
            return;
        }
        for index in 0..outer.len {
            self.scatter(inner, first + index * outer.stride, &mut into[index * outer.target..]);
        }
    }
}

#[cfg(test)]
mod tests;
