//! Dropout (section 4.2): each unit is silenced with probability `drop`.
//!
//! | form | in training | at test time |
//! |---|---|---|
//! | the paper's | y = m x | y = (1 - drop) x |
//! | inverted | y = m x / (1 - drop) | y = x |
//!
//! The mask m is never stored. Unit i of layer l at step t is kept where `unit(word) >= drop`, the
//! word being number i mod 4 of the Philox block at counter (i / 4, l, t, dropout) under the seed:
//! forward and backward draw the same mask, on any device, in any order.

mod cpu;
mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

use tensor::{DType, Device, Result, Slot};

/// When outputs are scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Down at test time, as in the paper.
    Paper,
    /// Up in training.
    Inverted,
}

/// A dropout layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Geometry {
    /// Elements, over all images.
    pub units: usize,
    /// Which layer's stream of masks.
    pub layer: u32,
    /// The probability of silence: at least 0, below 1.
    pub drop: f32,
    /// When outputs are scaled.
    pub form: Form,
    /// Which of the layer's units these are, if another device has the others: they are then
    /// numbered as if all were here.
    pub columns: Option<Columns>,
}

/// `width` of the `whole` units of each row, from `first` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Units of a row that are here.
    pub width: usize,
    /// The first of them.
    pub first: usize,
    /// Units of a row, over all devices.
    pub whole: usize,
}

impl Geometry {
    /// The number that unit `unit` has in the whole layer.
    fn number(&self, unit: usize) -> usize {
        match self.columns {
            None => unit,
            Some(part) => unit / part.width * part.whole + part.first + unit % part.width,
        }
    }

    /// How many units, from `unit` on, have numbers that follow each other.
    fn run(&self, unit: usize) -> usize {
        self.columns.map_or(self.units - unit, |part| part.width - unit % part.width)
    }

    /// Whether the units of a Philox block lie next to each other here, too.
    fn has_whole_blocks(&self) -> bool {
        self.columns.is_none_or(|part| (part.width | part.first | part.whole).is_multiple_of(4))
    }

    /// What a kept unit is multiplied by in training.
    fn training_scale(&self) -> f32 {
        match self.form {
            Form::Paper => 1.0,
            Form::Inverted => 1.0 / (1.0 - self.drop),
        }
    }

    /// What every unit is multiplied by at test time.
    fn test_scale(&self) -> f32 {
        match self.form {
            Form::Paper => 1.0 - self.drop,
            Form::Inverted => 1.0,
        }
    }

    fn check(&self, operands: [Slot; 2]) {
        assert!((0.0..1.0).contains(&self.drop), "dropout with probability {}", self.drop);
        if let Some(Columns { width, first, whole }) = self.columns {
            let fits = width > 0 && self.units.is_multiple_of(width) && first + width <= whole;
            assert!(fits, "{} units in {:?}", self.units, self.columns);
        }
        for slot in operands {
            assert_eq!(slot.len(), self.units, "a slot of another size than the layer");
        }
    }
}

fn check_clock(clock: Slot) {
    assert!(clock.len() == 3 && clock.dtype() == DType::U32, "a clock is three words");
}

/// Training: `y = m x`, scaled if inverted. `clock` holds the words `[seed low, seed high, step]`.
///
/// # Errors
/// If the device fails.
pub fn forward(device: &mut Device, g: &Geometry, clock: Slot, x: Slot, y: Slot) -> Result<()> {
    g.check([x, y]);
    check_clock(clock);
    match device {
        Device::Cpu(cpu) => cpu::mask(cpu, g, clock, x, y),
        Device::Cuda(cuda) => cuda::mask(cuda, g, clock, x, y),
    }
}

/// The gradient of [`forward`] at the same clock: `dx = m dy`, scaled if inverted.
///
/// # Errors
/// If the device fails.
pub fn backward(device: &mut Device, g: &Geometry, clock: Slot, dy: Slot, dx: Slot) -> Result<()> {
    forward(device, g, clock, dy, dx)
}

/// At test time nothing is random: `y = (1 - drop) x` in the paper's form, `y = x` inverted.
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
