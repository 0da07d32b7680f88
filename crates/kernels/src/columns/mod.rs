//! Copies and adds a range of columns: splits and joins the channels of NHWC maps, or units.
//!
//! `y[r][y.first + i] = x[r][x.first + i]`, or `+=`, for i in `0..count` and every row r; the
//! other columns of y are unchanged. Memory bound: every element is read and written once.

mod cpu;
mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

use tensor::{DType, Device, Result, Slot};

/// A range of columns in one matrix, and one in another with as many rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Rows of both matrices: pixels, or images.
    pub rows: usize,
    /// Columns to read and write.
    pub count: usize,
    /// The range in x.
    pub x: ColumnRange,
    /// The range in y.
    pub y: ColumnRange,
}

/// The start of a range of columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnRange {
    /// Columns of the matrix.
    pub width: usize,
    /// The first column of the range.
    pub first: usize,
}

impl Geometry {
    /// A whole vector of `count` elements.
    pub fn vector(count: usize) -> Geometry {
        let all = ColumnRange { width: count, first: 0 };
        Geometry { rows: 1, count, x: all, y: all }
    }

    fn check(&self, x: Slot, y: Slot) {
        for (slot, range) in [(x, self.x), (y, self.y)] {
            assert_eq!(slot.dtype(), DType::F32, "columns of floats");
            assert_eq!(slot.len(), self.rows * range.width, "a slot of shape {}", slot.shape());
            assert!(range.first + self.count <= range.width, "{self:?}");
        }
    }
}

/// Copies columns.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If a slot does not have the geometry's size.
pub fn copy(device: &mut Device, g: &Geometry, x: Slot, y: Slot) -> Result<()> {
    g.check(x, y);
    match device {
        Device::Cpu(cpu) => cpu::copy(cpu, g, x, y),
        Device::Cuda(cuda) => cuda::copy(cuda, g, x, y),
    }
}

/// Adds columns of x to columns of y.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// As [`copy`].
pub fn add(device: &mut Device, g: &Geometry, x: Slot, y: Slot) -> Result<()> {
    g.check(x, y);
    match device {
        Device::Cpu(cpu) => cpu::add(cpu, g, x, y),
        Device::Cuda(cuda) => cuda::add(cuda, g, x, y),
    }
}
