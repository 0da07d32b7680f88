//! The three passes of a step: whole and recorded on one device; on a tower, as far as the next
//! crossing, again and again.

use super::shards::Replica;
use super::{Plan, Step};
use crate::Result;
use crate::towers::Link;
use comm::Traffic;
use layers::Phase;
use tensor::Device;

impl Step {
    /// Makes this one of several towers.
    pub(crate) fn set_link(&mut self, link: Link) {
        self.link = Some(link);
    }

    /// What this device has sent to others so far.
    pub fn traffic(&self) -> Traffic {
        let replicas = || self.replica.as_ref().and_then(Replica::traffic);
        let towers = self.link.as_ref().map(|link| link.comm().traffic());
        towers.or_else(replicas).unwrap_or_default()
    }

    /// Images to loss, its gradient and the tally.
    pub(super) fn forward(&mut self) -> Result<()> {
        let Step { plan, device, recorded, link, .. } = self;
        match link {
            None => device.replay(&mut recorded.forward, |device| plan.forward(device))?,
            Some(link) => {
                across(plan, device, Phase::Train, link)?;
                plan.loss(device)?;
            }
        }
        // The next images may come beside what follows: it reads none of these.
        Ok(device.mark_read()?)
    }

    /// The loss's gradient to new parameters.
    pub(super) fn backward(&mut self) -> Result<()> {
        let Step { plan, device, recorded, link, .. } = self;
        match link {
            None => device.replay(&mut recorded.backward, |device| plan.backward(device))?,
            Some(link) => {
                let mut cross = |device: &mut Device, crossing| link.cross(device, crossing);
                plan.network.backward_across(device, &mut cross)?;
                plan.update(device)?;
            }
        }
        Ok(())
    }

    /// Images to probabilities and the tally.
    pub(super) fn test_forward(&mut self) -> Result<()> {
        let Step { plan, device, recorded, link, .. } = self;
        match link {
            None => device.replay(&mut recorded.test, |device| plan.test(device))?,
            Some(link) => {
                across(plan, device, Phase::Test, link)?;
                plan.probabilities(device)?;
            }
        }
        Ok(())
    }
}

fn across(plan: &Plan, device: &mut Device, phase: Phase, link: &mut Link) -> Result<()> {
    plan.preprocess(device)?;
    let mut cross = |device: &mut Device, crossing| link.cross(device, crossing);
    plan.network.forward_across(device, phase, &mut cross)
}

impl Plan {
    /// What a tower does, without the others: a rehearsal's.
    pub(super) fn rehearse_alone(&self, device: &mut Device) -> tensor::Result<()> {
        let mut nobody = |_: &mut Device, _| tensor::Result::Ok(());
        if self.network.d_output.is_some() {
            self.preprocess(device)?;
            self.network.forward_across(device, Phase::Train, &mut nobody)?;
            self.loss(device)?;
            self.network.backward_across(device, &mut nobody)?;
            self.update(device)?;
        }
        self.preprocess(device)?;
        self.network.forward_across(device, Phase::Test, &mut nobody)?;
        self.probabilities(device)
    }
}
