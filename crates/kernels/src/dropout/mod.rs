//! Dropout (section 4.2): each unit is dropped with probability `drop`.
//!
//! | scaling | in training | at test time |
//! |---|---|---|
//! | as in the paper | y = m x | y = (1 - drop) x |
//! | inverted | y = m x / (1 - drop) | y = x |
//!
//! The mask m is never stored. Unit i of layer l at step t is kept where `unit(word) >= drop`; the
//! word is number i mod 4 of the Philox block at counter (i / 4, l, t, dropout), with the seed as
//! key. So forward and backward draw the same mask, on any device, in any order.

mod cpu;
mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

use tensor::{DType, Device, Result, Slot};

/// Whether outputs are scaled in training or at test time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scaling {
    /// Multiplied by 1 - drop at test time, as in the paper.
    Paper,
    /// Divided by 1 - drop in training.
    Inverted,
}

/// A dropout layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Geometry {
    /// Elements of all images.
    pub units: usize,
    /// The index of the layer's random stream.
    pub layer: u32,
    /// The probability that a unit is dropped: at least 0, below 1.
    pub drop: f32,
    /// Whether outputs are scaled in training or at test time.
    pub scaling: Scaling,
    /// The part of the layer's units on this device, if other devices have the rest. Units are
    /// numbered over the whole layer, so that masks do not depend on the number of devices.
    pub columns: Option<Columns>,
}

/// `width` of the `whole` units of each row, starting with unit `first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Units of a row on this device.
    pub width: usize,
    /// The first of them.
    pub first: usize,
    /// Units of a row, over all devices.
    pub whole: usize,
}

impl Geometry {
    /// The number of unit `unit` in the whole layer.
    fn number(&self, unit: usize) -> usize {
        match self.columns {
            None => unit,
            Some(part) => unit / part.width * part.whole + part.first + unit % part.width,
        }
    }

    /// How many units, starting with `unit`, have consecutive numbers.
    fn run(&self, unit: usize) -> usize {
        self.columns.map_or(self.units - unit, |part| part.width - unit % part.width)
    }

    /// Whether the four units of every Philox block are adjacent here.
    fn has_whole_blocks(&self) -> bool {
        self.columns.is_none_or(|part| (part.width | part.first | part.whole).is_multiple_of(4))
    }

    /// The factor of kept units in training.
    fn training_scale(&self) -> f32 {
        match self.scaling {
            Scaling::Paper => 1.0,
            Scaling::Inverted => 1.0 / (1.0 - self.drop),
        }
    }

    /// The factor of all units at test time.
    fn test_scale(&self) -> f32 {
        match self.scaling {
            Scaling::Paper => 1.0 - self.drop,
            Scaling::Inverted => 1.0,
        }
    }

    fn check(&self, operands: [Slot; 2]) {
        assert!((0.0..1.0).contains(&self.drop), "dropout with probability {}", self.drop);
        if let Some(Columns { width, first, whole }) = self.columns {
            let fits = width > 0 && self.units.is_multiple_of(width) && first + width <= whole;
            assert!(fits, "{} units in {:?}", self.units, self.columns);
        }
        for slot in operands {
            assert_eq!(slot.len(), self.units, "a slot of another length than the layer");
        }
    }
}

/// Training: `y = m x`, scaled if inverted. `clock` holds `[seed low, seed high, step]` as u32.
///
/// # Errors
/// If the device fails.
pub fn forward(device: &mut Device, g: &Geometry, clock: Slot, x: Slot, y: Slot) -> Result<()> {
    g.check([x, y]);
    assert!(clock.len() == 3 && clock.dtype() == DType::U32, "a clock slot holds three words");
    match device {
        Device::Cpu(cpu) => cpu::mask(cpu, g, clock, x, y),
        Device::Cuda(cuda) => cuda::mask(cuda, g, clock, x, y),
    }
}

/// The gradient of [`forward`] with the same clock: `dx = m dy`, scaled if inverted.
///
/// # Errors
/// If the device fails.
pub fn backward(device: &mut Device, g: &Geometry, clock: Slot, dy: Slot, dx: Slot) -> Result<()> {
    forward(device, g, clock, dy, dx)
}

/// At test time no unit is dropped: `y = (1 - drop) x` as in the paper, `y = x` if inverted.
///
/// # Errors
/// If the device fails.
pub fn at_test(device: &mut Device, g: &Geometry, x: Slot, y: Slot) -> Result<()> {
    g.check([x, y]);
    match device {
        Device::Cpu(cpu) => cpu::scale(cpu, g.test_scale(), x, y),
        Device::Cuda(cuda) => cuda::scale(cuda, g.test_scale(), x, y),
    }
}
