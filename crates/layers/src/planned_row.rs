//! A row of a planned network: its layer, its slots, and its forward and backward passes.

use crate::clock::Readiness;
use crate::fuse::RowNames;
use crate::layer::{Layer, Transfer, exchange};
use crate::slots::{LayerSlots, Phase};
use kernels::value;
use tensor::{Device, Result, Slot};

/// A planned row: a layer, its slots, and the slots that nothing reads after its passes.
#[derive(Debug)]
pub struct PlannedRow {
    pub(crate) names: RowNames,
    pub(crate) layer: Box<dyn Layer>,
    pub(crate) slots: LayerSlots,
    pub(crate) readiness: Readiness,
    pub(crate) dead_after_forward: Vec<Slot>,
    pub(crate) dead_after_backward: Vec<Slot>,
}

impl PlannedRow {
    /// As in [`RowInfo::name`](crate::RowInfo::name); a fused row keeps the name of its first row.
    pub fn name(&self) -> &str {
        &self.names.first
    }

    /// The name of the row whose output it computes: of a fused row the last.
    pub fn output_name(&self) -> &str {
        &self.names.last
    }

    /// The slot of its input.
    pub fn input(&self) -> Slot {
        self.slots.x
    }

    /// The slot of its output: f32, or bf16 in a forward-only network where the next row rounds
    /// it.
    pub fn output(&self) -> Slot {
        self.slots.y
    }

    /// The values of its output as f32, after its forward pass; rounded to bf16 if its slot is.
    ///
    /// # Errors
    /// If the device fails.
    pub fn output_values(&self, device: &Device) -> Result<Vec<f32>> {
        value::download(device, self.slots.y)
    }

    /// The slot of the gradient of its output, valid just before its backward pass; `None` if it
    /// has none.
    pub fn d_output(&self) -> Option<Slot> {
        Some(self.slots.gradients.as_ref()?.dy)
    }

    /// Whether it has a backward pass; rows before the first row with parameters have none.
    pub fn has_backward(&self) -> bool {
        self.slots.gradients.is_some()
    }

    /// Whether its output is the output of a ReLU.
    pub fn ends_in_relu(&self) -> bool {
        self.layer.ends_in_relu()
    }

    /// Whether its backward pass reads its output: that of a convolution or linear layer first
    /// masks the gradient by the ReLU, in a pass of its own.
    pub fn reads_output(&self) -> bool {
        self.layer.reads_output()
    }

    /// Runs this row's step of [`Network::forward`](crate::Network::forward).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// If it is an exchange row.
    pub fn forward(&self, device: &mut Device, phase: Phase) -> Result<()> {
        self.check_no_exchange();
        self.run_forward(device, phase)
    }

    /// Runs this row's step of [`TrainableNetwork::backward`](crate::TrainableNetwork::backward).
    ///
    /// # Errors
    /// If the device fails.
    ///
    /// # Panics
    /// If it is an exchange row.
    pub fn backward(&self, device: &mut Device) -> Result<()> {
        self.check_no_exchange();
        let Some(gradients) = &self.slots.gradients else { return Ok(()) };
        self.layer.backward(device, &self.slots, gradients)?;
        poison(device, &self.dead_after_backward)
    }
}

impl PlannedRow {
    /// Panics if this is an exchange row: without transfers, it would read uninitialised memory.
    fn check_no_exchange(&self) {
        assert!(
            self.layer.exchange().is_none(),
            "this row exchanges activations: use layers::towers::forward"
        );
    }

    /// Checks that what the layer reads in this phase has been uploaded.
    fn check_ready(&self, device: &Device, phase: Phase) -> Result<()> {
        match phase {
            _ if device.is_rehearsing() => Ok(()),
            Phase::Train if self.layer.reads_clock() => self.readiness.check_clock(self.name()),
            Phase::Infer if self.slots.packed.is_some() => self.readiness.check_packed(self.name()),
            _ => Ok(()),
        }
    }

    fn run_forward(&self, device: &mut Device, phase: Phase) -> Result<()> {
        self.check_ready(device, phase)?;
        self.layer.forward(device, &self.slots, phase)?;
        poison(device, &self.dead_after_forward)
    }

    /// As [`forward`](Self::forward), but also for exchange rows: calls `transfer` for each of
    /// their transfers, before the layer's forward pass.
    pub(crate) fn forward_exchanging<E: From<tensor::Error>>(
        &self,
        device: &mut Device,
        phase: Phase,
        transfer: &mut impl FnMut(&mut Device, Transfer) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        if let Some(exchange) = self.layer.exchange() {
            exchange::before_forward(exchange, &self.slots, |request| transfer(device, request))?;
        }
        Ok(self.run_forward(device, phase)?)
    }

    /// As [`backward`](Self::backward), but also for exchange rows: calls `transfer` for each of
    /// their transfers, after the layer's backward pass.
    pub(crate) fn backward_exchanging<E: From<tensor::Error>>(
        &self,
        device: &mut Device,
        transfer: &mut impl FnMut(&mut Device, Transfer) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let Some(gradients) = &self.slots.gradients else { return Ok(()) };
        self.layer.backward(device, &self.slots, gradients)?;
        if let Some(exchange) = self.layer.exchange() {
            exchange::after_backward(exchange, gradients, |request| transfer(device, request))?;
        }
        Ok(poison(device, &self.dead_after_backward)?)
    }
}

/// In debug builds, fills dead slots with NaN, so that a planning error shows up.
fn poison(device: &mut Device, dead: &[Slot]) -> Result<()> {
    if cfg!(debug_assertions) {
        dead.iter().try_for_each(|&slot| device.poison(slot))
    } else {
        Ok(())
    }
}
