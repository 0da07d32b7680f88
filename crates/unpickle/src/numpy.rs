//! NumPy's arrays and scalars in pickles, of any of its versions.

use crate::{Call, Callable, Error, Result, Value};
use std::borrow::Cow;

/// What pickles of arrays call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Global {
    /// `numpy._core.multiarray._reconstruct`: an array without contents, which are its state.
    Reconstruct,
    /// `numpy.ndarray`, the first argument of that.
    NdArray,
    /// `numpy.dtype`.
    Dtype,
    /// `numpy._core.numeric._frombuffer`: an array in protocol 5.
    FromBuffer,
    /// `numpy._core.multiarray.scalar`.
    Scalar,
    /// `_codecs.encode`: bytes as Python 3 writes them for Python 2.
    Encode,
    /// `bytes`: the same of no bytes at all.
    Bytes,
}

impl Callable for Global {
    fn find(module: &str, name: &str) -> Option<Global> {
        // NumPy 2 calls `_core` what was `core`.
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

/// Text, also where Python 3 wrote `bytes` for Python 2 (protocols 0 to 2), which is a call of
/// `_codecs.encode`; of such only ASCII.
pub fn text<G: Callable>(value: Value<'_, G>) -> Option<&str> {
    value.as_str().or_else(|| {
        let call = value.as_call()?;
        let is_bytes = call.callable.as_numpy() == Some(Global::Encode) && call.state.is_none();
        let text = call.args.items()?.next()?.as_str()?;
        (is_bytes && text.is_ascii()).then_some(text)
    })
}

/// What kind of number an element is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A byte that is 0 or 1.
    Bool,
    /// An integer without a sign.
    Unsigned,
    /// An integer with one.
    Signed,
    /// A floating-point number of 2, 4 or 8 bytes.
    Float,
}

/// An array, or a scalar, which has no dimensions.
#[derive(Clone, Debug, PartialEq)]
pub struct Array<'p> {
    /// What kind of number an element is.
    pub kind: Kind,
    /// How many bytes it takes: 1, 2, 4 or 8.
    pub item_bytes: usize,
    /// Whether its most significant byte comes first.
    pub big_endian: bool,
    /// The lengths of the dimensions.
    pub shape: Vec<usize>,
    /// Whether the first dimension is the fastest, and not the last.
    pub fortran: bool,
    /// The elements as they were stored: the product of `shape`, times `item_bytes`.
    pub bytes: Cow<'p, [u8]>,
}

/// The array or scalar that a value is.
///
/// # Errors
/// If it is none, is a structured array or one of objects, or its bytes do not fill its shape.
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

/// The array of a call of `_reconstruct`, whose arguments say only that it is an `ndarray`.
fn reconstructed<'p, G: Callable>(call: &Call<'p, G>) -> Result<Array<'p>> {
    let args = call.args.as_tuple().unwrap_or_default();
    let class = args.first().and_then(|class| class.as_global()?.as_numpy());
    if class != Some(Global::NdArray) {
        return Err(Error::unexpected("an array of a class that is not numpy.ndarray"));
    }
    let state = call.state.and_then(Value::as_tuple).unwrap_or_default();
    // The first formats had no version before the shape.
    let (shape, dtype, fortran, bytes) = match state[..] {
        [_, shape, dtype, fortran, bytes] | [shape, dtype, fortran, bytes] => {
            (shape, dtype, fortran, bytes)
        }
        _ => return Err(Error::unexpected("an array without its contents")),
    };
    let fortran = fortran.as_bool();
    let fortran = fortran.ok_or_else(|| Error::unexpected("an array of an unknown order"))?;
    let (kind, item_bytes, big_endian) = self::dtype(dtype)?;
    let (shape, bytes) = (self::shape(shape)?, self::bytes(bytes)?);
    Array { kind, item_bytes, big_endian, shape, fortran, bytes }.checked()
}

/// Kind, bytes and byte order of an element.
fn dtype<G: Callable>(value: Value<'_, G>) -> Result<(Kind, usize, bool)> {
    let call = value.as_call().filter(|call| call.callable.as_numpy() == Some(Global::Dtype));
    let call = call.ok_or_else(|| Error::unexpected("an array without a type"))?;
    let args = call.args.as_tuple().unwrap_or_default();
    let name = args.first().and_then(|name| name.as_str()).unwrap_or_default();
    let (kind, item_bytes) = match name {
        "b1" => (Kind::Bool, 1),
        "u1" => (Kind::Unsigned, 1),
        "u2" => (Kind::Unsigned, 2),
        "u4" => (Kind::Unsigned, 4),
        "u8" => (Kind::Unsigned, 8),
        "i1" => (Kind::Signed, 1),
        "i2" => (Kind::Signed, 2),
        "i4" => (Kind::Signed, 4),
        "i8" => (Kind::Signed, 8),
        "f2" => (Kind::Float, 2),
        "f4" => (Kind::Float, 4),
        "f8" => (Kind::Float, 8),
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

/// The byte string that a value is, also as Python 3 writes it for Python 2: encoded from a text of
/// Latin-1 characters.
///
/// # Errors
/// If it is none.
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

    /// How many elements it has.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.item_bytes
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The elements as bytes in the order of C, the last dimension fastest; `None` if they are of
    /// another type than unsigned bytes.
    pub fn as_u8(&self) -> Option<Cow<'_, [u8]>> {
        if (self.kind, self.item_bytes) != (Kind::Unsigned, 1) {
            return None;
        }
        Some(if !self.fortran {
            Cow::Borrowed(&*self.bytes)
        } else {
            self.places().map(|at| self.bytes[at]).collect()
        })
    }

    /// The elements as integers in the order of C; `None` if they are floats, or one does not fit.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        if self.kind == Kind::Float {
            return None;
        }
        self.places().map(|at| i64::try_from(self.integer(at)).ok()).collect()
    }

    /// The elements as floats in the order of C; integers are rounded where they must be.
    pub fn to_f64(&self) -> Vec<f64> {
        let value = |at: usize| match (self.kind, self.item_bytes) {
            (Kind::Float, 8) => f64::from_bits(self.bits(at)),
            (Kind::Float, 4) => f64::from(f32::from_bits(self.bits(at) as u32)),
            (Kind::Float, _) => half(self.bits(at) as u16),
            _ => self.integer(at) as f64,
        };
        self.places().map(value).collect()
    }

    /// The places of the elements among those stored, in the order of C.
    fn places(&self) -> impl Iterator<Item = usize> {
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
            let mut place = 0;
            for (&dim, stride) in self.shape.iter().zip(&strides).rev() {
                place += index % dim * stride;
                index /= dim;
            }
            place
        })
    }

    /// The bytes of the element at a place, as a number.
    fn bits(&self, place: usize) -> u64 {
        let bytes = &self.bytes[place * self.item_bytes..][..self.item_bytes];
        let add = |sum: u64, &byte: &u8| sum << 8 | u64::from(byte);
        if self.big_endian { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) }
    }

    fn integer(&self, place: usize) -> i128 {
        let bits = self.bits(place);
        match self.kind {
            Kind::Signed => {
                let unused = 64 - 8 * self.item_bytes as u32;
                i128::from((bits << unused) as i64 >> unused)
            }
            _ => i128::from(bits),
        }
    }
}

/// The value of IEEE 754's binary16.
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
