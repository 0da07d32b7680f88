//! The precision of products.

use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// The format to which a device rounds the operands of convolutions and fully connected layers.
/// Sums and all other computations are f32. Stored values are f32, too, except that a network for
/// inference stores those that are rounded anyway in bf16.
///
/// The relative error of a sum of products is at most `2 u + u^2` of the sum of their absolute
/// values, where u is [`unit`](Self::unit), plus the error of f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// No rounding: 23 bits of mantissa.
    #[default]
    F32,
    /// 10 bits of mantissa and f32's range, on tensor cores only; rounded to nearest, ties away
    /// from zero.
    Tf32,
    /// 7 bits of mantissa and f32's range, on tensor cores or AMX, which flushes denormals to zero;
    /// rounded to nearest, ties to even.
    Bf16,
}

impl Precision {
    /// All of them, the finest first.
    pub const ALL: [Precision; 3] = [Precision::F32, Precision::Tf32, Precision::Bf16];

    /// As it is written: `f32`, `tf32`, `bf16`.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Tf32 => "tf32",
            Precision::Bf16 => "bf16",
        }
    }

    /// The maximum relative rounding error; zero in f32.
    pub fn unit(self) -> f64 {
        match self {
            Precision::F32 => 0.0,
            Precision::Tf32 => 1.0 / f64::from(1 << 11),
            Precision::Bf16 => 1.0 / f64::from(1 << 8),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Precision> {
        let known = Precision::ALL.into_iter().find(|precision| precision.name() == text);
        known.ok_or_else(|| Error::UnknownPrecision(text.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for precision in Precision::ALL {
            assert_eq!(precision.to_string().parse::<Precision>().unwrap(), precision);
        }
        let message = "fp16".parse::<Precision>().unwrap_err().to_string();
        assert!(message.contains("f32, tf32 or bf16"), "{message}");
    }
}
