//! Snapshots of the whole network's parameters and of the optimizer's state, gathered from all
//! ranks. The state has one or several blocks of the size of the parameters, one after the other.

use crate::Result;
use crate::rank::{Rank, SideChannel};
use layers::Parameter;
use tensor::{Shape, Slot};
use train::device_network::DeviceNetwork;

/// Copies a rank's share into blocks of the whole network, at the offsets of `whole`. Only rank 0
/// copies parameters that all ranks hold.
pub(crate) fn copy_own(
    rank: &dyn Rank,
    whole: &[Parameter],
    [values, state]: [&mut Vec<f32>; 2],
) -> train::Result<()> {
    let last = values.len();
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
        let values = std::iter::once(&mut values[..]);
        let to = values.chain(state.chunks_exact_mut(last.max(1)));
        for (block, to) in blocks(net).zip(to) {
            let slot = network.parameters.view(block, idx);
            net.device.download_into(slot, &mut to[own.clone()])?;
        }
    }
    Ok(())
}

/// The parameters, and the blocks of the optimizer's state.
fn blocks(net: &DeviceNetwork) -> impl Iterator<Item = Slot> {
    std::iter::once(net.plan.network.parameters.values).chain(net.state())
}

/// Sends the shares of all other ranks to rank 0, in pieces of the side channel's buffer. A barrier
/// follows each piece, so that only one is in flight.
pub(crate) fn gather_others(
    rank: &mut dyn Rank,
    whole: &[Parameter],
    [values, state]: [&mut Vec<f32>; 2],
) -> Result<()> {
    let last = values.len();
    let blocks: Vec<Slot> = blocks(rank.net()).collect();
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
            let pieces =
                starts.flat_map(|first| (0..blocks.len()).map(move |block| (first, block)));
            for (first, block) in pieces {
                let piece = Shape::from([buffer.len().min(share.len() - first)]);
                let slot = if own == from {
                    network.parameters.view(blocks[block], idx).part(first, piece)
                } else {
                    buffer.part(0, piece)
                };
                let sent = comm.broadcast(&mut net.device, slot, from)?;
                comm.wait(&mut net.device, sent)?;
                if own == 0 {
                    let to = match block {
                        0 => &mut values[..],
                        _ => &mut state[(block - 1) * last..block * last],
                    };
                    let to = &mut to[at + first..][..piece.len()];
                    net.device.download_into(slot, to)?;
                }
                let all = comm.barrier(&mut net.device)?;
                comm.wait(&mut net.device, all)?;
            }
        }
    }
    Ok(())
}
