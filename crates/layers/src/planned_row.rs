//! A row of a planned network: its layer with its slots, and its two passes.

use crate::layer::{Crossing, Layer, Phase, Wires, exchange};
use tensor::{Device, Result, Slot};

/// A row on a device, with its slots and those whose life ends with it.
#[derive(Debug)]
pub struct PlannedRow {
    pub(crate) name: String,
    pub(crate) layer: Box<dyn Layer>,
    pub(crate) wires: Wires,
    pub(crate) dead_after_forward: Vec<Slot>,
    pub(crate) dead_after_backward: Vec<Slot>,
}

impl PlannedRow {
    /// As in [`RowInfo::name`](crate::RowInfo::name); a fused row has the name of its first.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it reads.
    pub fn input(&self) -> Slot {
        self.wires.x
    }

    /// Where it writes.
    pub fn output(&self) -> Slot {
        self.wires.y
    }

    /// Whether it has a backward pass: rows below the first that learns have none.
    pub fn goes_backward(&self) -> bool {
        self.wires.gradients.is_some()
    }

    /// Whether its output is the output of a ReLU.
    pub fn rectifies(&self) -> bool {
        self.layer.rectifies()
    }

    /// Its part of [`Network::forward`](crate::Network::forward).
    ///
    /// # Errors
    /// If the device fails.
    ///
    /// # Panics
    /// If it exchanges with other towers.
    pub fn forward(&self, device: &mut Device, phase: Phase) -> Result<()> {
        self.check_alone();
        self.run_forward(device, phase)
    }

    /// Its part of [`TrainableNetwork::backward`](crate::TrainableNetwork::backward).
    ///
    /// # Errors
    /// If the device fails.
    ///
    /// # Panics
    /// If it exchanges with other towers.
    pub fn backward(&self, device: &mut Device) -> Result<()> {
        self.check_alone();
        let Some(gradients) = &self.wires.gradients else { return Ok(()) };
        self.layer.backward(device, &self.wires, gradients)?;
        bury(device, &self.dead_after_backward)
    }
}

impl PlannedRow {
    /// Without its exchange a tower would compute with what its memory happens to hold.
    fn check_alone(&self) {
        assert!(self.layer.exchange().is_none(), "a tower exchanges: use layers::towers::forward");
    }

    fn run_forward(&self, device: &mut Device, phase: Phase) -> Result<()> {
        self.layer.forward(device, &self.wires, phase)?;
        bury(device, &self.dead_after_forward)
    }

    /// [`forward`](Self::forward), before which `cross` does what an exchange row has to send and
    /// receive.
    pub(crate) fn forward_across<E: From<tensor::Error>>(
        &self,
        device: &mut Device,
        phase: Phase,
        cross: &mut impl FnMut(&mut Device, Crossing) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        if let Some(exchange) = self.layer.exchange() {
            exchange::before_forward(exchange, &self.wires, |crossing| cross(device, crossing))?;
        }
        Ok(self.run_forward(device, phase)?)
    }

    /// [`backward`](Self::backward), in which `cross` does what an exchange row has to send and
    /// receive.
    pub(crate) fn backward_across<E: From<tensor::Error>>(
        &self,
        device: &mut Device,
        cross: &mut impl FnMut(&mut Device, Crossing) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let Some(gradients) = &self.wires.gradients else { return Ok(()) };
        self.layer.backward(device, &self.wires, gradients)?;
        if let Some(exchange) = self.layer.exchange() {
            exchange::after_backward(exchange, gradients, |crossing| cross(device, crossing))?;
        }
        Ok(bury(device, &self.dead_after_backward)?)
    }
}

/// In debug builds, fills slots that are no longer read with NaN, so that a planner's mistake
/// shows.
fn bury(device: &mut Device, dead: &[Slot]) -> Result<()> {
    if cfg!(debug_assertions) {
        dead.iter().try_for_each(|&slot| device.poison(slot))
    } else {
        Ok(())
    }
}
