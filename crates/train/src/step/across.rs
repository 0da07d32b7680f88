//! A step of one tower: both passes stop where towers meet.

use super::Step;
use crate::Result;
use crate::towers::Link;
use layers::{Network, Phase};
use tensor::Device;

impl Step {
    /// Makes this one of several towers.
    pub(crate) fn set_link(&mut self, link: Link) {
        self.link = Some(link);
    }
}

pub(super) fn forward(
    device: &mut Device,
    network: &Network,
    phase: Phase,
    link: Option<&mut Link>,
) -> Result<()> {
    match link {
        None => Ok(network.forward(device, phase)?),
        Some(link) => {
            let mut cross = |device: &mut Device, crossing| link.cross(device, crossing);
            network.forward_across(device, phase, &mut cross)
        }
    }
}

pub(super) fn backward(
    device: &mut Device,
    network: &Network,
    link: Option<&mut Link>,
) -> Result<()> {
    match link {
        None => Ok(network.backward(device)?),
        Some(link) => {
            let mut cross = |device: &mut Device, crossing| link.cross(device, crossing);
            network.backward_across(device, &mut cross)
        }
    }
}
