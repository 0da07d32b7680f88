//! The norms of updates, of which no block of memory has the values.

use crate::Result;
use kernels::sgd::{Rule, Segment};
use layers::TrainableNetwork;
use tensor::{Device, Shape, Slot};

/// The norm of `update` over the elements of several slots of one length, read through `room`.
pub(super) fn norm_of<const N: usize>(
    device: &Device,
    slots: [Slot; N],
    room: &mut [f32],
    update: impl Fn([f64; N]) -> f64,
) -> Result<f64> {
    let (len, most) = (slots[0].len(), room.len() / N);
    let mut sum = 0.0;
    for start in (0..len).step_by(most) {
        let count = most.min(len - start);
        for (slot, piece) in slots.iter().zip(room.chunks_exact_mut(most)) {
            device.download_into(slot.part(start, Shape::from([count])), &mut piece[..count])?;
        }
        for at in 0..count {
            let values = std::array::from_fn(|slot| f64::from(room[slot * most + at]));
            sum += update(values).powi(2);
        }
    }
    Ok(sum.sqrt())
}

/// The norm of the last update of a segment by SGD; `None` if it is that of the velocity. `rates`
/// are the segment's rate, momentum and decay. With Nesterov's momentum the update u also has the
/// gradient dw + decay (w + u), where w is the new weight, minus u of which is the old one.
pub(super) fn of_sgd(
    device: &Device,
    rule: Rule,
    rates: [f32; 3],
    network: &TrainableNetwork,
    segment: Segment,
    room: &mut [f32],
) -> Result<Option<f64>> {
    let [rate, momentum, decay] = rates.map(f64::from);
    let here = |block: Slot| block.part(segment.start, Shape::from([segment.len]));
    let v = here(network.velocities);
    let blocks = [network.gradients, network.parameters.values, network.velocities].map(here);
    Ok(match rule {
        Rule::Paper => None,
        _ if rate == 0.0 => Some(0.0),
        Rule::Pytorch => Some(norm_of(device, [v], room, |[v]| rate * v)?),
        Rule::PaperNesterov => Some(norm_of(device, blocks, room, |[dw, w, v]| {
            (momentum * v - rate * (dw + decay * w)) / (1.0 - rate * decay)
        })?),
        Rule::PytorchNesterov => Some(norm_of(device, blocks, room, |[dw, w, v]| {
            rate * (dw + decay * w + momentum * v) / (1.0 - rate * decay)
        })?),
    })
}
