//! Gradients, from shards to their sum.

use super::layout::{Bucket, Layout};
use super::shards::Shards;
use crate::Result;
use kernels::bf16;
use kernels::columns::{self, Geometry};
use std::ops::Range;
use tensor::{Device, Recording, Shape, Slot};
use train::device_network::DeviceNetwork;
use train::recipe::Wire;
use train::stats::LayerStats;

impl Shards {
    /// Backward through this rank's shard number `number`.
    pub(crate) fn backward(
        &mut self,
        net: &mut DeviceNetwork,
        recording: &mut Recording,
        number: usize,
    ) -> Result<()> {
        if number + 1 < self.layout.cut.own().len() {
            self.backward_of_shard(net, recording, number)
        } else {
            self.backward_of_last_shard(net)
        }
    }

    /// After all backward passes: the sums of all ranks, the update of this rank's share, and the
    /// shares of all ranks. `units` is as in [`sum_norms`](Self::sum_norms).
    pub(crate) fn update(
        &mut self,
        net: &mut DeviceNetwork,
        stats: Option<&mut LayerStats>,
        units: &dyn Fn(&str) -> Option<(usize, usize)>,
    ) -> Result<()> {
        self.finish_reducing(net)?;
        let DeviceNetwork { plan, device, .. } = net;
        plan.optimizer.update(device, &plan.network)?;
        self.share_out(device, plan.network.parameters.values)?;
        if let Some(stats) = stats {
            stats.after_update(device, plan)?;
            self.sum_norms(net, stats, units)?;
        }
        Ok(())
    }

    /// Backward through a shard that is not the last, number `number` of this rank's: its gradient
    /// joins those that wait for it, as a carry does in a sum of binary numbers.
    fn backward_of_shard(
        &mut self,
        net: &mut DeviceNetwork,
        recording: &mut Recording,
        number: usize,
    ) -> Result<()> {
        let DeviceNetwork { plan, device, .. } = net;
        device.replay(recording, |device| plan.network.backward(device))?;
        let layout = &self.layout;
        let gradients = part(plan.network.gradients, 0..layout.common);
        // As many sums wait as the number has ones, and lie in as many places.
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

    /// Backward through the last shard: as soon as a bucket's gradients are there, those that wait
    /// are added and the sum sets out for the other ranks.
    fn backward_of_last_shard(&mut self, net: &mut DeviceNetwork) -> Result<()> {
        let DeviceNetwork { plan, device, .. } = net;
        let gradients = plan.network.gradients;
        let mut ready = 0;
        for (idx, row) in plan.network.rows().iter().enumerate().rev() {
            row.backward(device)?;
            while let Some(bucket) =
                self.layout.buckets.get(ready).filter(|bucket| bucket.row == idx)
            {
                let run = bucket.runs[0].clone();
                for &partial in self.layout.partials.iter().rev() {
                    add(device, &self.layout, [partial, gradients], run.clone())?;
                }
                self.start(device, gradients, (ready, 0))?;
                ready += 1;
            }
        }
        Ok(())
    }

    /// Ranks go on pairwise, until each has the sum of its share.
    fn finish_reducing(&mut self, net: &mut DeviceNetwork) -> Result<()> {
        let DeviceNetwork { plan, device, .. } = net;
        let gradients = plan.network.gradients;
        for round in 0..self.layout.cut.rounds() {
            for number in 0..self.layout.buckets.len() {
                if round > 0 {
                    self.start(device, gradients, (number, round))?;
                }
            }
            let Shards { layout, comm, started, .. } = self;
            for (number, bucket) in layout.buckets.iter().enumerate() {
                for handle in started[number].take().into_iter().flatten() {
                    comm.wait(device, handle)?;
                }
                let kept = &bucket.runs[round + 1];
                let came = bucket.on_its_way(layout.received, layout.message(kept));
                for piece in layout.pieces(kept) {
                    let [came, kept] = [part(came, piece.packed), part(gradients, piece.run)];
                    match piece.wire {
                        Wire::F32 => {
                            columns::add(device, &Geometry::vector(kept.len()), came, kept)?;
                        }
                        Wire::Bf16 => bf16::add_packed(device, came, kept)?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Every rank's share of a block goes to all others, the way back.
    fn share_out(&mut self, device: &mut Device, block: Slot) -> Result<()> {
        let Shards { layout, comm, started, .. } = self;
        for round in (0..layout.cut.rounds()).rev() {
            let partner = layout.cut.partner(round);
            for (number, bucket) in layout.buckets.iter().enumerate() {
                let (own, theirs) = (bucket.runs[round + 1].clone(), bucket.given(round));
                let send = comm.send(device, part(block, own), partner)?;
                let receive = comm.recv(device, part(block, theirs), partner)?;
                started[number] = Some([send, receive]);
            }
            for handle in started.iter_mut().filter_map(Option::take).flatten() {
                comm.wait(device, handle)?;
            }
        }
        Ok(())
    }

    /// In a world of several ranks each has the velocities of its share: now all have all.
    pub(crate) fn share_out_velocities(&mut self, net: &mut DeviceNetwork) -> Result<()> {
        let velocities = net.plan.network.velocities;
        self.share_out(&mut net.device, velocities)?;
        // Who is asked for nothing more is done when others have what is theirs.
        if let Device::Cuda(cuda) = &net.device {
            cuda.synchronize()?;
        }
        Ok(())
    }

    /// Sends the half of a bucket that is not kept in a round, and receives the other rank's of the
    /// one that is.
    fn start(
        &mut self,
        device: &mut Device,
        gradients: Slot,
        (number, round): (usize, usize),
    ) -> Result<()> {
        let Shards { layout, comm, started, .. } = self;
        if round >= layout.cut.rounds() {
            return Ok(());
        }
        let (bucket, partner) = (&layout.buckets[number], layout.cut.partner(round));
        let given = bucket.given(round);
        let sent = match layout.cut.wire {
            Wire::F32 => part(gradients, given),
            Wire::Bf16 => {
                let message = bucket.on_its_way(layout.sent, layout.message(&given));
                for piece in layout.pieces(&given) {
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
        let came = bucket.on_its_way(layout.received, layout.message(&bucket.runs[round + 1]));
        let send = comm.send(device, sent, partner)?;
        let receive = comm.recv(device, came, partner)?;
        started[number] = Some([send, receive]);
        Ok(())
    }
}

impl Bucket {
    /// A message of this bucket.
    fn on_its_way(&self, all: Slot, floats: usize) -> Slot {
        part(all, self.place..self.place + floats)
    }
}

fn part(slot: Slot, range: Range<usize>) -> Slot {
    slot.part(range.start, Shape::from([range.len()]))
}

/// `y += x` in a run of both, of gradients as they would have travelled.
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
