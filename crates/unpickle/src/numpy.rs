//! NumPy arrays and scalars in pickles of any NumPy version.

use crate::{Call, Callable, Error, Result, Value};
use std::borrow::Cow;

/// The globals in pickles of arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Global {
    /// `numpy._core.multiarray._reconstruct`: an array whose content is in its state.
    Reconstruct,
    /// `numpy.ndarray`, the first argument of `_reconstruct`.
    NdArray,
    /// `numpy.dtype`.
    Dtype,
    /// `numpy._core.numeric._frombuffer`: an array in protocol 5.
    FromBuffer,
    /// `numpy._core.multiarray.scalar`.
    Scalar,
    /// `_codecs.encode`: bytes written by Python 3 for Python 2.
    Encode,
    /// `bytes`: the same for empty bytes.
    Bytes,
}

impl Callable for Global {
    fn find(module: &str, name: &str) -> Option<Global> {
        // NumPy 2 renamed `core` to `_core`.
        Some(match (module, name) {
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => {
                Global::Reconstruct
            }
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Global::Scalar,
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Global::FromBuffer,
            ("numpy", "ndarray") => Global::NdArray,
            ("numpy", "dtype") => Global::Dtype,
            ("_codecs", "encode") => Global::Encode,
            ("__builtin__" | "builtins", "bytes") => Global::Bytes,
            _ => return None,
        })
    }

    fn as_numpy(self) -> Option<Global> {
        Some(self)
    }
}

/// The text of a value. This includes `bytes` that Python 3 wrote for Python 2 (protocols 0 to 2)
/// as a call of `_codecs.encode`, if they are ASCII.
pub fn text<G: Callable>(value: Value<'_, G>) -> Option<&str> {
    value.as_str().or_else(|| {
        let call = value.as_call()?;
        let is_bytes = call.callable.as_numpy() == Some(Global::Encode) && call.state.is_none();
        let text = call.args.items()?.next()?.as_str()?;
        (is_bytes && text.is_ascii()).then_some(text)
    })
}

/// The kind of an array's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementKind {
    /// A byte of 0 or 1.
    Bool,
    /// An unsigned integer.
    Unsigned,
    /// A signed integer.
    Signed,
    /// A floating-point number of 2, 4 or 8 bytes.
    Float,
}

/// An array; a scalar has no dimensions.
#[derive(Clone, Debug, PartialEq)]
pub struct Array<'p> {
    /// The kind of the elements.
    pub kind: ElementKind,
    /// Bytes per element: 1, 2, 4 or 8.
    pub item_bytes: usize,
    /// Whether elements are stored with the most significant byte first.
    pub big_endian: bool,
    /// The lengths of the dimensions.
    pub shape: Vec<usize>,
    /// Whether elements are in column-major (Fortran) order.
    pub fortran: bool,
    /// The stored elements: the product of `shape`, times `item_bytes`.
    pub bytes: Cow<'p, [u8]>,
}

/// Interprets a value as an array or scalar.
///
/// # Errors
/// If it is neither, is a structured array or an array of objects, or its bytes do not match its
/// shape.
pub fn array<'p, G: Callable>(value: Value<'p, G>) -> Result<Array<'p>> {
    let other = || Error::unexpected(format!("{} where an array was expected", value.kind()));
    let call = value.as_call().ok_or_else(other)?;
    let args = call.args.as_tuple().unwrap_or_default();
    match (call.callable.as_numpy(), &args[..]) {
        (Some(Global::Reconstruct), _) => reconstructed(&call),
        (Some(Global::FromBuffer), &[bytes, dtype, shape, order]) => {
            let (kind, item_bytes, big_endian) = self::dtype(dtype)?;
            let fortran = match order.as_str() {
                Some("C") => false,
                Some("F") => true,
                _ => return Err(Error::unexpected("an array of an unknown order")),
            };
            let (shape, bytes) = (self::shape(shape)?, self::bytes(bytes)?);
            Array { kind, item_bytes, big_endian, shape, fortran, bytes }.checked()
        }
        (Some(Global::Scalar), &[dtype, bytes]) => {
            let (kind, item_bytes, big_endian) = self::dtype(dtype)?;
            let (shape, bytes) = (Vec::new(), self::bytes(bytes)?);
            Array { kind, item_bytes, big_endian, shape, fortran: false, bytes }.checked()
        }
        _ => Err(other()),
    }
}

/// The array of a `_reconstruct` call; its arguments only contain the class `ndarray`.
fn reconstructed<'p, G: Callable>(call: &Call<'p, G>) -> Result<Array<'p>> {
    let args = call.args.as_tuple().unwrap_or_default();
    let class = args.first().and_then(|class| class.as_global()?.as_numpy());
    if class != Some(Global::NdArray) {
        return Err(Error::unexpected("an array of a class that is not numpy.ndarray"));
    }
    let state = call.state.and_then(Value::as_tuple).unwrap_or_default();
    // The oldest format has no version before the shape.
    let (shape, dtype, fortran, bytes) = match state[..] {
        [_, shape, dtype, fortran, bytes] | [shape, dtype, fortran, bytes] => {
            (shape, dtype, fortran, bytes)
        }
        _ => return Err(Error::unexpected("an array without content")),
    };
    let fortran = fortran.as_bool();
    let fortran = fortran.ok_or_else(|| Error::unexpected("an array of an unknown order"))?;
    let (kind, item_bytes, big_endian) = self::dtype(dtype)?;
    let (shape, bytes) = (self::shape(shape)?, self::bytes(bytes)?);
    Array { kind, item_bytes, big_endian, shape, fortran, bytes }.checked()
}

/// The kind, size and byte order of elements.
fn dtype<G: Callable>(value: Value<'_, G>) -> Result<(ElementKind, usize, bool)> {
    let call = value.as_call().filter(|call| call.callable.as_numpy() == Some(Global::Dtype));
    let call = call.ok_or_else(|| Error::unexpected("an array without a type"))?;
    let args = call.args.as_tuple().unwrap_or_default();
    let name = args.first().and_then(|name| name.as_str()).unwrap_or_default();
    let (kind, item_bytes) = match name {
        "b1" => (ElementKind::Bool, 1),
        "u1" => (ElementKind::Unsigned, 1),
        "u2" => (ElementKind::Unsigned, 2),
        "u4" => (ElementKind::Unsigned, 4),
        "u8" => (ElementKind::Unsigned, 8),
        "i1" => (ElementKind::Signed, 1),
        "i2" => (ElementKind::Signed, 2),
        "i4" => (ElementKind::Signed, 4),
        "i8" => (ElementKind::Signed, 8),
        "f2" => (ElementKind::Float, 2),
        "f4" => (ElementKind::Float, 4),
        "f8" => (ElementKind::Float, 8),
        other => {
            let shown: String = other.escape_debug().take(20).collect();
            return Err(Error::unexpected(format!("an array of elements of type `{shown}`")));
        }
    };
    let state = call.state.and_then(Value::as_tuple).unwrap_or_default();
    let big_endian = match state.get(1).and_then(|order| order.as_str()) {
        Some(">") => true,
        Some("<" | "|" | "=") => false,
        _ => return Err(Error::unexpected("an array of an unknown byte order")),
    };
    if state.iter().skip(2).take(3).any(|part| !part.is_none()) {
        return Err(Error::unexpected("an array of elements with fields or dimensions"));
    }
    Ok((kind, item_bytes, big_endian))
}

fn shape<G: Callable>(value: Value<'_, G>) -> Result<Vec<usize>> {
    let wrong = || Error::unexpected("an array of an unknown shape");
    let length = |value: &Value<'_, G>| usize::try_from(value.as_int()?).ok();
    let dims = value.as_tuple().ok_or_else(wrong)?;
    dims.iter().map(length).collect::<Option<Vec<usize>>>().ok_or_else(wrong)
}

/// Interprets a value as bytes, including bytes that Python 3 wrote for Python 2 as Latin-1 text.
///
/// # Errors
/// If it is not.
pub fn bytes<'p, G: Callable>(value: Value<'p, G>) -> Result<Cow<'p, [u8]>> {
    if let Some(bytes) = value.as_bytes() {
        return Ok(Cow::Borrowed(bytes));
    }
    let wrong = || Error::unexpected(format!("{} where bytes were expected", value.kind()));
    let call = value.as_call().ok_or_else(wrong)?;
    let args = call.args.as_tuple().unwrap_or_default();
    let (text, codec) = match (call.callable.as_numpy(), &args[..]) {
        (Some(Global::Encode), &[text, codec]) => (text, codec),
        (Some(Global::Bytes), []) => return Ok(Cow::Borrowed(&[])),
        _ => return Err(wrong()),
    };
    let (Some(text), Some("latin1")) = (text.as_str(), codec.as_str()) else {
        return Err(wrong());
    };
    let bytes: Option<Vec<u8>> = text.chars().map(|char| u8::try_from(char).ok()).collect();
    bytes.map(Cow::Owned).ok_or_else(wrong)
}

impl Array<'_> {
    fn checked(self) -> Result<Self> {
        let product = self.shape.iter().try_fold(self.item_bytes, |a, &b| a.checked_mul(b));
        if product != Some(self.bytes.len()) {
            let (len, shape) = (self.bytes.len(), &self.shape);
            return Err(Error::unexpected(format!("{len} bytes for an array of shape {shape:?}")));
        }
        Ok(self)
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.item_bytes
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The elements as bytes in row-major order; `None` if they are not unsigned bytes.
    pub fn as_u8(&self) -> Option<Cow<'_, [u8]>> {
        if (self.kind, self.item_bytes) != (ElementKind::Unsigned, 1) {
            return None;
        }
        Some(if !self.fortran {
            Cow::Borrowed(&*self.bytes)
        } else {
            self.positions().map(|at| self.bytes[at]).collect()
        })
    }

    /// The elements as integers in row-major order; `None` if they are floats, or one exceeds
    /// `i64`.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        if self.kind == ElementKind::Float {
            return None;
        }
        self.positions().map(|at| i64::try_from(self.integer(at)).ok()).collect()
    }

    /// The elements as floats in row-major order; large integers are rounded.
    pub fn to_f64(&self) -> Vec<f64> {
        let value = |at: usize| match (self.kind, self.item_bytes) {
            (ElementKind::Float, 8) => f64::from_bits(self.bits(at)),
            (ElementKind::Float, 4) => f64::from(f32::from_bits(self.bits(at) as u32)),
            (ElementKind::Float, _) => half(self.bits(at) as u16),
            _ => self.integer(at) as f64,
        };
        self.positions().map(value).collect()
    }

    /// The storage positions of the elements in row-major order.
    fn positions(&self) -> impl Iterator<Item = usize> {
        let strides: Vec<usize> = if self.fortran {
            let product = |stride: &mut usize, &dim: &usize| {
                let this = *stride;
                *stride *= dim;
                Some(this)
            };
            self.shape.iter().scan(1, product).collect()
        } else {
            Vec::new()
        };
        (0..self.len()).map(move |mut index| {
            if !self.fortran {
                return index;
            }
            let mut position = 0;
            for (&dim, stride) in self.shape.iter().zip(&strides).rev() {
                position += index % dim * stride;
                index /= dim;
            }
            position
        })
    }

    /// The bytes of the element at a storage position, as an integer.
    fn bits(&self, position: usize) -> u64 {
        let bytes = &self.bytes[position * self.item_bytes..][..self.item_bytes];
        let add = |sum: u64, &byte: &u8| sum << 8 | u64::from(byte);
        if self.big_endian { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) }
    }

    fn integer(&self, position: usize) -> i128 {
        let bits = self.bits(position);
        match self.kind {
            ElementKind::Signed => {
                let unused = 64 - 8 * self.item_bytes as u32;
                i128::from((bits << unused) as i64 >> unused)
            }
            _ => i128::from(bits),
        }
    }
}

/// Converts IEEE 754 binary16.
fn half(bits: u16) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1F), f64::from(bits & 0x3FF));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
    }
}
