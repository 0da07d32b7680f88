//! In which numbers a device multiplies.

use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// The numbers to which a device rounds the operands of convolutions and fully connected layers.
/// Their sums, and all that is stored, are f32, and so is everything else that is computed.
///
/// A sum of products is then off by at most `2 u + u^2` of the sum of their sizes, where u is
/// [`unit`](Self::unit), besides what f32 itself is off by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// They stay as they are: 23 bits after the point.
    #[default]
    F32,
    /// 10 bits after the point and f32's range, on tensor cores alone: to the nearest, of two the
    /// one farther from zero.
    Tf32,
    /// 7 bits after the point and f32's range, on tensor cores, or on a CPU's AMX, to which numbers
    /// below f32's smallest normal one are zero: to the nearest, of two the even one.
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

    /// By how much of its size a number is off at most when it is rounded; nothing in f32.
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
