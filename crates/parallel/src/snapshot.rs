//! Snapshots of the whole network's parameters and velocities, gathered from all ranks.

use crate::Result;
use crate::rank::{Rank, SideChannel};
use layers::Parameter;
use tensor::Shape;

/// Copies a rank's share into blocks of the whole network, at the offsets of `whole`. Only rank 0
/// copies parameters that all ranks hold.
pub(crate) fn copy_own(
    rank: &dyn Rank,
    whole: &[Parameter],
    mut to: [&mut Vec<f32>; 2],
) -> train::Result<()> {
    let net = rank.net();
    let network = &net.plan.network;
    for (idx, entry) in network.parameters.entries.iter().enumerate() {
        if !rank.writes_to_snapshot(entry) {
            continue;
        }
        let found = whole.iter().find(|whole| whole.name == entry.name);
        let start = found.expect("a parameter of the whole network").start;
        let (_, own) = rank.share(entry);
        let own = start + own.start..start + own.end;
        let slots = [network.parameters.value(idx), network.velocity(idx)];
        for (slot, to) in slots.into_iter().zip(&mut to) {
            net.device.download_into(slot, &mut to[own.clone()])?;
        }
    }
    Ok(())
}

/// Sends the shares of all other ranks to rank 0, in pieces of the side channel's buffer. A barrier
/// follows each piece, so that only one is in flight.
pub(crate) fn gather_others(
    rank: &mut dyn Rank,
    whole: &[Parameter],
    to: [&mut Vec<f32>; 2],
) -> Result<()> {
    let (own, world) = rank.place();
    for from in 1..world {
        for (idx, name, share) in rank.shares_to_gather(from)? {
            let found = whole.iter().find(|whole| whole.name == name);
            let at = found.expect("a parameter of the whole network").start + share.start;
            let Some(SideChannel { comm, net, buffer }) = rank.side_channel() else {
                return Ok(());
            };
            let network = &net.plan.network;
            let starts = (0..share.len()).step_by(buffer.len());
            for (first, block) in starts.flat_map(|first| [(first, 0), (first, 1)]) {
                let piece = Shape::from([buffer.len().min(share.len() - first)]);
                let slot = match (own == from, block) {
                    (false, _) => buffer.part(0, piece),
                    (true, 0) => network.parameters.value(idx).part(first, piece),
                    (true, _) => network.velocity(idx).part(first, piece),
                };
                let sent = comm.broadcast(&mut net.device, slot, from)?;
                comm.wait(&mut net.device, sent)?;
                if own == 0 {
                    let to = &mut to[block][at + first..][..piece.len()];
                    net.device.download_into(slot, to)?;
                }
                let all = comm.barrier(&mut net.device)?;
                comm.wait(&mut net.device, all)?;
            }
        }
    }
    Ok(())
}
