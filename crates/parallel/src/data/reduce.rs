//! The sum of all shards' gradients, and the exchange of updated values.

use super::layout::{Bucket, Layout};
use super::shards::Shards;
use crate::Result;
use crate::clip::clip_gradients;
use kernels::bf16;
use kernels::columns::{self, Geometry};
use std::ops::Range;
use tensor::{Device, Shape, Slot};
use train::device_network::DeviceNetwork;
use train::recipe::Wire;
use train::stats::LayerStats;

impl Shards {
    /// The backward pass of this rank's shard with index `number`.
    pub(crate) fn backward(&mut self, number: usize) -> Result<()> {
        if number + 1 < self.layout.sharding.own().len() {
            self.backward_of_shard(number)
        } else {
            self.backward_of_last_shard()
        }
    }

    /// After all backward passes: finishes the sum over ranks, updates this rank's share, and
    /// gathers the shares of all ranks. `units` is as in [`sum_norms`](Self::sum_norms).
    pub(crate) fn update(
        &mut self,
        step: u64,
        mut stats: Option<&mut LayerStats>,
        units: &dyn Fn(&str) -> Option<(usize, usize)>,
    ) -> Result<()> {
        self.finish_reduce()?;
        clip_gradients(&mut self.net, &mut *self.comm, step, stats.as_deref_mut())?;
        self.net.begin_update(step)?;
        let DeviceNetwork { plan, device, .. } = &mut self.net;
        plan.optimizer.update(device, &plan.network)?;
        self.all_gather(self.net.plan.network.parameters.values)?;
        self.net.average(step)?;
        if let Some(stats) = stats {
            stats.after_update(&self.net.device, &self.net.plan)?;
            self.sum_norms(stats, units)?;
        }
        Ok(())
    }

    /// The backward pass of a shard that is not the last. Its gradient is added to the partial sums
    /// that are complete with it, like a carry in binary addition.
    fn backward_of_shard(&mut self, number: usize) -> Result<()> {
        let Shards { net: DeviceNetwork { plan, device, .. }, layout, backward, .. } = self;
        device.replay(backward, |device| plan.network.backward(device))?;
        let gradients = part(plan.network.gradients, 0..layout.common);
        // The number of partial sums is the number of ones in the binary form of `number`.
        let partials = &layout.partials;
        let (depth, carries) = (number.count_ones() as usize, number.trailing_ones() as usize);
        match carries {
            0 => {
                let all = Geometry::vector(gradients.len());
                columns::copy(device, &all, gradients, partials[depth])?;
            }
            _ => add(device, layout, [gradients, partials[depth - 1]], 0..layout.common)?,
        }
        for at in (depth + 1 - carries.max(1)..depth).rev() {
            add(device, layout, [partials[at], partials[at - 1]], 0..layout.common)?;
        }
        Ok(())
    }

    /// The backward pass of the last shard. As soon as the gradients of a bucket are ready, the
    /// partial sums are added and the exchange of the bucket starts.
    fn backward_of_last_shard(&mut self) -> Result<()> {
        let mut ready = 0;
        for idx in (0..self.net.plan.network.rows().len()).rev() {
            let DeviceNetwork { plan, device, .. } = &mut self.net;
            plan.network.rows()[idx].backward(device)?;
            while let Some(bucket) =
                self.layout.buckets.get(ready).filter(|bucket| bucket.row == idx)
            {
                let run = bucket.runs[0].clone();
                let Shards { net: DeviceNetwork { plan, device, .. }, layout, .. } = self;
                for &partial in layout.partials.iter().rev() {
                    add(device, layout, [partial, plan.network.gradients], run.clone())?;
                }
                self.start(ready, 0)?;
                ready += 1;
            }
        }
        Ok(())
    }

    /// Finishes the pairwise exchanges; each rank then has the sum for its share.
    fn finish_reduce(&mut self) -> Result<()> {
        let gradients = self.net.plan.network.gradients;
        for round in 0..self.layout.sharding.rounds() {
            for number in 0..self.layout.buckets.len() {
                if round > 0 {
                    self.start(number, round)?;
                }
            }
            let Shards { net: DeviceNetwork { device, .. }, layout, comm, pending, .. } = self;
            for (number, bucket) in layout.buckets.iter().enumerate() {
                for handle in pending[number].take().into_iter().flatten() {
                    comm.wait(device, handle)?;
                }
                let kept = &bucket.runs[round + 1];
                let received = bucket.message(layout.received, layout.message_len(kept));
                for piece in layout.pieces(kept) {
                    let [x, y] = [part(received, piece.packed), part(gradients, piece.run)];
                    match piece.wire {
                        Wire::F32 => columns::add(device, &Geometry::vector(y.len()), x, y)?,
                        Wire::Bf16 => bf16::add_packed(device, x, y)?,
                    }
                }
            }
        }
        Ok(())
    }

    /// All ranks send their shares of a block to all others, in the reverse order of the reduction.
    fn all_gather(&mut self, block: Slot) -> Result<()> {
        let Shards { net: DeviceNetwork { device, .. }, layout, comm, pending, .. } = self;
        for round in (0..layout.sharding.rounds()).rev() {
            let partner = layout.sharding.partner(round);
            for (number, bucket) in layout.buckets.iter().enumerate() {
                let (own, theirs) = (bucket.runs[round + 1].clone(), bucket.sent(round));
                let send = comm.send(device, part(block, own), partner)?;
                let receive = comm.recv(device, part(block, theirs), partner)?;
                pending[number] = Some([send, receive]);
            }
            for handle in pending.iter_mut().filter_map(Option::take).flatten() {
                comm.wait(device, handle)?;
            }
        }
        Ok(())
    }

    /// Gathers all velocities, or Adam's moments, on all ranks; between snapshots each rank has only
    /// those of its share.
    pub(crate) fn all_gather_velocities(&mut self) -> Result<()> {
        self.all_gather(self.net.plan.network.velocities)?;
        if let Some(second) = self.net.plan.optimizer.second_moments() {
            self.all_gather(second)?;
        }
        // A rank may be dropped after this: the other ranks must have received its share.
        if let Device::Cuda(cuda) = &self.net.device {
            cuda.synchronize()?;
        }
        Ok(())
    }

    /// Starts a round for bucket `number`: sends the half that the partner sums, and receives the
    /// partner's gradients of the other half.
    fn start(&mut self, number: usize, round: usize) -> Result<()> {
        let Shards { net: DeviceNetwork { plan, device, .. }, layout, comm, pending, .. } = self;
        let gradients = plan.network.gradients;
        if round >= layout.sharding.rounds() {
            return Ok(());
        }
        let (bucket, partner) = (&layout.buckets[number], layout.sharding.partner(round));
        let run = bucket.sent(round);
        let sent = match layout.sharding.wire {
            Wire::F32 => part(gradients, run),
            Wire::Bf16 => {
                let message = bucket.message(layout.sent, layout.message_len(&run));
                for piece in layout.pieces(&run) {
                    let [own, packed] = [part(gradients, piece.run), part(message, piece.packed)];
                    match piece.wire {
                        Wire::F32 => {
                            columns::copy(device, &Geometry::vector(own.len()), own, packed)?;
                        }
                        Wire::Bf16 => bf16::pack(device, own, packed)?,
                    }
                }
                message
            }
        };
        let kept = layout.message_len(&bucket.runs[round + 1]);
        let received = bucket.message(layout.received, kept);
        let send = comm.send(device, sent, partner)?;
        let receive = comm.recv(device, received, partner)?;
        pending[number] = Some([send, receive]);
        Ok(())
    }
}

impl Bucket {
    /// The slot of a message of this bucket, in the slot of all messages.
    fn message(&self, all: Slot, floats: usize) -> Slot {
        part(all, self.offset..self.offset + floats)
    }
}

fn part(slot: Slot, range: Range<usize>) -> Slot {
    slot.part(range.start, Shape::from([range.len()]))
}

/// `y += x` in a range of both, rounded as if the gradients had been sent.
fn add(device: &mut Device, layout: &Layout, blocks: [Slot; 2], run: Range<usize>) -> Result<()> {
    for piece in layout.pieces(&run) {
        let [x, y] = blocks.map(|block| part(block, piece.run.clone()));
        match piece.wire {
            Wire::F32 => columns::add(device, &Geometry::vector(x.len()), x, y)?,
            Wire::Bf16 => bf16::add_rounded(device, x, y)?,
        }
    }
    Ok(())
}
