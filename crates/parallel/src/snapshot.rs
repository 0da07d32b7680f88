//! The whole network's parameters and velocities, put together from those of all ranks.

use crate::Result;
use crate::rank::{Line, Rank};
use layers::Parameter;
use tensor::Shape;

/// Copies a rank's share to where it belongs in blocks of the whole network, which `whole` lays
/// out; of what all ranks have, if it is the first.
pub(crate) fn place_own(
    rank: &dyn Rank,
    whole: &[Parameter],
    mut to: [&mut Vec<f32>; 2],
) -> train::Result<()> {
    let net = rank.net();
    let network = &net.plan.network;
    for (idx, entry) in network.parameters.entries.iter().enumerate() {
        if !rank.is_its_own(entry) {
            continue;
        }
        let found = whole.iter().find(|whole| whole.name == entry.name);
        let start = found.expect("the whole has its parts' parameters").start;
        let (_, own) = rank.share(entry);
        let own = start + own.start..start + own.end;
        let slots = [network.parameters.value(idx), network.velocity(idx)];
        for (slot, to) in slots.into_iter().zip(&mut to) {
            net.device.download_into(slot, &mut to[own.clone()])?;
        }
    }
    Ok(())
}

/// The shares of all ranks but the first come to the first, piece by piece: all ranks see each
/// piece and wait for each other, so that little is under way at once.
pub(crate) fn gather_others(
    rank: &mut dyn Rank,
    whole: &[Parameter],
    to: [&mut Vec<f32>; 2],
) -> Result<()> {
    let (own, world) = rank.place();
    for from in 1..world {
        for (idx, name, share) in rank.shares_of(from)? {
            let found = whole.iter().find(|whole| whole.name == name);
            let at = found.expect("the whole has its parts' parameters").start + share.start;
            let Some(Line { comm, net, room }) = rank.line() else { return Ok(()) };
            let network = &net.plan.network;
            let starts = (0..share.len()).step_by(room.len());
            for (first, block) in starts.flat_map(|first| [(first, 0), (first, 1)]) {
                let piece = Shape::from([room.len().min(share.len() - first)]);
                let slot = match (own == from, block) {
                    (false, _) => room.part(0, piece),
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
