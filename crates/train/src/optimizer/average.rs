//! The moving average of the weights: its slots, and its update.

use crate::Result;
use crate::optimizer::{Ema, UpdateRule};
use kernels::average;
use kernels::columns::{self, Geometry};
use layers::{Network, TrainableNetwork};
use tensor::{DType, Device, Planner, Shape, Slot};

/// What averaging needs.
#[derive(Debug)]
pub(crate) struct Average {
    ema: Ema,
    /// The average, laid out as the weights are.
    pub(crate) block: Slot,
    factor: Slot,
}

impl Average {
    /// Claims what the settings need: nothing without an average.
    pub(super) fn plan(
        rule: &UpdateRule,
        network: &Network,
        planner: &mut Planner,
    ) -> Option<Average> {
        rule.ema.map(|ema| Average {
            ema,
            block: planner.claim(DType::F32, network.parameters.values.shape()),
            factor: planner.claim(DType::F32, Shape::from([1])),
        })
    }

    /// After the update of a step, counted from one.
    pub(crate) fn update(&self, device: &mut Device, values: Slot, step: u64) -> Result<()> {
        let Some(decay) = self.ema.decay_at(step) else { return Ok(()) };
        device.upload(self.factor, &[(1.0 - decay) as f32])?;
        Ok(average::step(device, self.factor, values, self.block)?)
    }

    /// Runs its operations once, to check that a device has them.
    pub(super) fn rehearse(&self, device: &mut Device, values: Slot) -> tensor::Result<()> {
        average::step(device, self.factor, values, self.block)?;
        columns::copy(device, &Geometry::vector(values.len()), self.block, values)
    }

    /// Puts the average in the place of the weights, or these back. The weights are kept in the
    /// block of gradients, which no test reads or writes.
    pub(crate) fn exchange(
        &self,
        device: &mut Device,
        network: &TrainableNetwork,
        averaged: bool,
    ) -> Result<()> {
        let (values, kept) = (network.parameters.values, network.gradients);
        let all = Geometry::vector(values.len());
        if averaged {
            columns::copy(device, &all, values, kept)?;
            columns::copy(device, &all, self.block, values)?;
        } else {
            columns::copy(device, &all, kept, values)?;
        }
        Ok(())
    }
}
