//! Clipping of gradients that several ranks have.

use crate::Result;
use comm::Comm;
use train::device_network::DeviceNetwork;
use train::optimizer::Clip;
use train::plan::SingleDevicePlan;
use train::stats::LayerStats;

/// Clips the gradients that this rank has summed, if the recipe does: every rank computes the norms of its rows, and
/// adds up those of all in the same order.
pub(crate) fn clip_gradients(
    net: &mut DeviceNetwork,
    comm: &mut dyn Comm,
    step: u64,
    stats: Option<&mut LayerStats>,
) -> Result<()> {
    net.limit_gradients(stats)?;
    let DeviceNetwork { plan, device, .. } = net;
    if let Some(clip) = plan.optimizer.clip().filter(|clip| clip.needs_norm() && comm.world() > 1) {
        let sent = comm.all_gather(device, clip.norms, clip.gathered)?;
        comm.wait(device, sent)?;
    }
    Ok(net.scale_gradients(step)?)
}

/// The floats of the message that this takes, if it takes one.
pub(crate) fn message(plan: &SingleDevicePlan) -> Option<usize> {
    let clip = plan.optimizer.clip().filter(|clip| !clip.gathered.is_empty());
    clip.map(|clip: &Clip| clip.norms.len())
}
