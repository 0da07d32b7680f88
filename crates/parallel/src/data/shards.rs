//! A network and a batch in micro-shards on one rank; shared by data and hybrid parallelism.

use super::layout::{Layout, NORMS};
use crate::Result;
use crate::control::ControlExchange;
use comm::{Comm, Handle, Traffic};
use data::{Batch, IGNORED};
use evaluate::{Tally, WeightSum};
use std::ops::Range;
use tensor::{Device, Recording, Shape, Slot};
use train::device_network::DeviceNetwork;
use train::plan::SingleDevicePlan;
use train::stats::LayerStats;

/// A rank's network and micro-shards: host buffers, and the connection to the other ranks.
#[derive(Debug)]
pub(crate) struct Shards {
    pub(crate) net: DeviceNetwork,
    /// The passes of a shard that have no communication.
    pub(crate) forward: Recording,
    pub(super) backward: Recording,
    pub(crate) test: Recording,
    pub(crate) layout: Layout,
    pub(crate) comm: Box<dyn Comm>,
    /// Exchanges of gradients in flight: for each bucket a send and a receive.
    pub(super) pending: Vec<Option<[Handle; 2]>>,
    /// `[loss, top-1, top-5, images]` of all shards.
    tallies: Vec<f32>,
    /// For each rank the tallies of its shards and its control flags.
    gathered: Vec<f32>,
    /// The probabilities of the last tested images.
    tested: Vec<f32>,
    /// A buffer for the gradient of the scores.
    scores: Vec<f32>,
    /// The norms of each layer, of each rank.
    norms: Vec<f32>,
}

/// The number of labelled images in a batch, which ranks may still be summing.
pub(crate) struct ImageCount {
    counted: f32,
    pending: Option<Handle>,
}

impl Shards {
    /// Allocates the memory of a network; `comm` connects to the other ranks.
    pub(crate) fn open(
        base: SingleDevicePlan,
        layout: Layout,
        device: Device,
        comm: Box<dyn Comm>,
    ) -> Result<Shards> {
        let (images, classes) = (base.frame.images(), base.frame.classes());
        Ok(Shards {
            net: DeviceNetwork::open(base, device)?,
            forward: Recording::default(),
            backward: Recording::default(),
            test: Recording::default(),
            comm,
            pending: layout.buckets.iter().map(|_| None).collect(),
            tallies: vec![0.0; 4 * layout.sharding.shards],
            gathered: vec![0.0; layout.tallies.len()],
            tested: vec![0.0; images * classes * layout.sharding.own().len()],
            scores: vec![0.0; images * classes],
            norms: vec![0.0; layout.all_norms.len()],
            layout,
        })
    }

    /// The number of images of a batch that this rank reads.
    pub(crate) fn images(&self) -> usize {
        self.net.plan.frame.images() * self.layout.sharding.own().len()
    }

    /// The messages and bytes that this rank has sent.
    pub(crate) fn traffic(&self) -> Traffic {
        self.comm.traffic()
    }

    /// The rows of this rank's shard with index `number`, in a whole batch or in one that has only
    /// this rank's part.
    pub(crate) fn rows(&self, batch: &Batch, number: usize) -> Range<usize> {
        let (own, rows) = (self.layout.sharding.own(), self.net.plan.frame.images());
        let is_part = batch.labels.len() == self.images();
        let first = if is_part { 0 } else { rows * own.start } + number * rows;
        first..first + rows
    }

    /// Starts to count the labelled images of a batch. If each rank has a part of it, the sum over
    /// ranks runs during the forward pass.
    pub(crate) fn start_count(&mut self, batch: &Batch) -> Result<ImageCount> {
        let counted = batch.labels.iter().filter(|&&label| label != IGNORED).count() as f32;
        let is_part = batch.labels.len() == self.images();
        let is_part = is_part && self.layout.sharding.world > 1;
        let weights = self.net.plan.frame.weight_sum(batch);
        if let Some(weights) = weights {
            let own = (counted, weights);
            let (images, weights) = if is_part { self.sum_over_ranks(own)? } else { own };
            self.net.plan.frame.set_normaliser(images.into(), Some(weights));
            return Ok(ImageCount { counted: images, pending: None });
        }
        self.net.plan.frame.set_normaliser(counted.into(), None);
        if !is_part {
            return Ok(ImageCount { counted, pending: None }); // all rows are here
        }
        let slot = self.counted();
        self.net.device.upload(slot, &[counted])?;
        let pending = Some(self.comm.all_reduce(&mut self.net.device, slot)?);
        Ok(ImageCount { counted, pending })
    }

    fn counted(&self) -> Slot {
        self.layout.counted.part(0, Shape::from([1]))
    }

    /// The ranks' labelled images and class weights, whose sums are exact in any order.
    fn sum_over_ranks(&mut self, own: (f32, WeightSum)) -> Result<(f32, WeightSum)> {
        let (device, slot) = (&mut self.net.device, self.layout.counted);
        let mut sums = [0.0; 1 + WeightSum::PARTS];
        sums[0] = own.0;
        sums[1..].copy_from_slice(&own.1.to_parts());
        device.upload(slot, &sums)?;
        let handle = self.comm.all_reduce(device, slot)?;
        self.comm.wait(device, handle)?;
        device.download_into(slot, &mut sums)?;
        let [images, parts @ ..] = sums;
        Ok((images, WeightSum::from_parts(parts)))
    }

    /// The fraction of a batch's labelled images that are in the shard with this tally.
    pub(crate) fn share_of_batch(
        &mut self,
        image_count: &mut ImageCount,
        tally: Tally,
    ) -> Result<f64> {
        if let Some(handle) = image_count.pending.take() {
            self.comm.wait(&mut self.net.device, handle)?;
            let mut sum = [0.0];
            self.net.device.download_into(self.counted(), &mut sum)?;
            [image_count.counted] = sum;
        }
        Ok(tally.images / f64::from(image_count.counted.max(1.0)))
    }

    /// Copies a shard's tally to the host.
    pub(crate) fn store_tally(&mut self, shard: usize) -> Result<()> {
        let sums = &mut self.tallies[4 * shard..4 * shard + 4];
        Ok(self.net.device.download_into(self.net.plan.frame.tally, sums)?)
    }

    /// Copies the probabilities of this rank's shard with index `number` to the host.
    pub(crate) fn store_probabilities(&mut self, number: usize) -> Result<()> {
        let from = self.net.plan.frame.probabilities;
        let to = &mut self.tested[number * from.len()..(number + 1) * from.len()];
        Ok(self.net.device.download_into(from, to)?)
    }

    /// Copies the probabilities of this rank's rows.
    pub(crate) fn probabilities(&self, into: &mut [f32]) {
        into.copy_from_slice(&self.tested[..into.len()]);
    }

    /// The batch's tally: the sum over all shards, in shard order on any number of ranks.
    pub(crate) fn tally_of_all(&mut self, exchange: Option<&mut ControlExchange>) -> Result<Tally> {
        self.exchange_tallies(exchange)?;
        let mut total = Tally::default();
        let (shards, _) = self.tallies.as_chunks::<4>();
        shards.iter().for_each(|&sums| total.add(Tally::from_kernel(sums)));
        Ok(total)
    }

    /// Gathers the tallies and control flags of all ranks.
    pub(crate) fn exchange_tallies(
        &mut self,
        exchange: Option<&mut ControlExchange>,
    ) -> Result<()> {
        let Shards { net, layout, comm, tallies, gathered, .. } = self;
        let device = &mut net.device;
        let own = 4 * layout.sharding.own().start..4 * layout.sharding.own().end;
        let (here, block) = (own.len(), layout.own_tally.len());
        gathered[..here].copy_from_slice(&tallies[own]);
        gathered[here] = exchange.as_ref().map_or(0.0, |exchange| exchange.encode());
        device.upload(layout.own_tally, &gathered[..block])?;
        let gather = comm.all_gather(device, layout.own_tally, layout.tallies)?;
        comm.wait(device, gather)?;
        device.download_into(layout.tallies, gathered)?;
        let each = gathered.chunks_exact(block);
        for (tallies, gathered) in tallies.chunks_exact_mut(here).zip(each.clone()) {
            tallies.copy_from_slice(&gathered[..here]);
        }
        if let Some(exchange) = exchange {
            exchange.decode(each.map(|gathered| gathered[here]));
        }
        Ok(())
    }

    /// Multiplies the gradient of the shard's mean loss by the shard's `share` of the batch's
    /// images. Updates of running statistics get the same weight.
    pub(crate) fn weigh(&mut self, d_scores: Slot, share: f64) -> Result<()> {
        let Shards { net, scores, .. } = self;
        let device = &mut net.device;
        if share != 1.0 {
            device.download_into(d_scores, scores)?;
            scores.iter_mut().for_each(|score| *score *= share as f32);
            device.upload(d_scores, scores)?;
        }
        if net.plan.network.parameters.has_statistics() {
            net.plan.network.set_share(device, share as f32)?;
        }
        Ok(())
    }

    /// Combines the norms of all ranks, each of which has computed those of its own share. For a
    /// layer whose units are split, `units` returns the number of this rank's units and of all.
    pub(super) fn sum_norms(
        &mut self,
        stats: &mut LayerStats,
        units: &dyn Fn(&str) -> Option<(usize, usize)>,
    ) -> Result<()> {
        let Shards { net, layout, comm, norms, .. } = self;
        if layout.sharding.world == 1 {
            return Ok(()); // its share is the whole
        }
        let device = &mut net.device;
        let own = &mut norms[..layout.norms.len()];
        for (layer, norms) in stats.layers.iter().zip(own.as_chunks_mut::<NORMS>().0) {
            let update = layer.update_ratio * layer.weight_norm;
            let dead = units(&layer.name).zip(layer.dead_relus);
            let dead = dead.map_or(0.0, |((own, _), dead)| dead * own as f64);
            *norms = [layer.gradient_norm, update, layer.weight_norm, dead].map(|n| n as f32);
        }
        device.upload(layout.norms, own)?;
        let gather = comm.all_gather(device, layout.norms, layout.all_norms)?;
        comm.wait(device, gather)?;
        device.download_into(layout.all_norms, norms)?;
        let (norms, _) = norms.as_chunks::<NORMS>();
        for (idx, layer) in stats.layers.iter_mut().enumerate() {
            let of_ranks = || norms[idx..].iter().step_by(layout.norms.len() / NORMS);
            let norm = |number: usize| {
                let squares = of_ranks().map(|norms| f64::from(norms[number]).powi(2));
                squares.sum::<f64>().sqrt()
            };
            layer.gradient_norm = norm(0);
            if let Some((_, whole)) = units(&layer.name) {
                layer.weight_norm = norm(2);
                let dead: f64 = of_ranks().map(|norms| f64::from(norms[3])).sum();
                layer.dead_relus = layer.dead_relus.map(|_| dead / whole as f64);
            }
            layer.update_ratio = norm(1) / layer.weight_norm.max(f64::MIN_POSITIVE);
        }
        Ok(())
    }
}
