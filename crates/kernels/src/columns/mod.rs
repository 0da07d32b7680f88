//! Columns of a matrix: how channels of NHWC maps, or units, are cut apart and put together.
//!
//! `y[r][y.first + i] = x[r][x.first + i]`, or `+=`, for i in `0..count` and every row r; the
//! other columns of y stay as they are. The floor is memory: what is read and written, once.

mod cpu;
mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

use tensor::{DType, Device, Result, Slot};

/// Columns of one matrix and of another with as many rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Rows of both: pixels, or images.
    pub rows: usize,
    /// Columns that are read and written.
    pub count: usize,
    /// Where they are in x.
    pub x: Place,
    /// Where they are in y.
    pub y: Place,
}

/// Where columns are in a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Columns that the matrix has.
    pub width: usize,
    /// The first that is meant.
    pub first: usize,
}

impl Geometry {
    /// All of a vector.
    pub fn vector(count: usize) -> Geometry {
        let all = Place { width: count, first: 0 };
        Geometry { rows: 1, count, x: all, y: all }
    }

    fn check(&self, x: Slot, y: Slot) {
        for (slot, place) in [(x, self.x), (y, self.y)] {
            assert_eq!(slot.dtype(), DType::F32, "columns of floats");
            assert_eq!(slot.len(), self.rows * place.width, "a slot of {}", slot.shape());
            assert!(place.first + self.count <= place.width, "{self:?}");
        }
    }
}

/// Copies columns.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If a slot is not of the geometry's size.
pub fn copy(device: &mut Device, g: &Geometry, x: Slot, y: Slot) -> Result<()> {
    g.check(x, y);
    match device {
        Device::Cpu(cpu) => cpu::copy(cpu, g, x, y),
        Device::Cuda(cuda) => cuda::copy(cuda, g, x, y),
    }
}

/// Adds columns to others.
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
