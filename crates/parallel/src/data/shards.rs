//! A batch in micro-shards on one rank: what data and hybrid parallelism have in common.

use super::layout::{Layout, NUMBERS};
use crate::Result;
use crate::accord::Accord;
use comm::{Comm, Handle, Traffic};
use data::{Batch, IGNORED};
use evaluate::Tally;
use std::ops::Range;
use tensor::{Shape, Slot};
use train::device_network::DeviceNetwork;
use train::stats::LayerStats;

/// What a rank keeps of its micro-shards on the host, and its way to the others.
#[derive(Debug)]
pub(crate) struct Shards {
    pub(crate) layout: Layout,
    /// To the others.
    pub(crate) comm: Box<dyn Comm>,
    /// Exchanges of gradients under way, a pair a bucket.
    pub(super) started: Vec<Option<[Handle; 2]>>,
    /// `[loss, top-1, top-5, images]` of all shards; those of this rank stand where they belong.
    tallies: Vec<f32>,
    /// What all ranks say: their tallies and a word.
    said: Vec<f32>,
    /// The probabilities of the last tested images.
    tested: Vec<f32>,
    /// Room for the gradient of the scores.
    scores: Vec<f32>,
    /// Each layer's numbers, of each rank.
    norms: Vec<f32>,
}

/// How many images of a batch count, once all ranks know.
pub(crate) struct Counting {
    counted: f32,
    under_way: Option<Handle>,
}

impl Shards {
    /// Of shards of `images` images and so many classes; `comm` is the way to the other ranks.
    pub(crate) fn new(
        layout: Layout,
        comm: Box<dyn Comm>,
        (images, classes): (usize, usize),
    ) -> Shards {
        Shards {
            comm,
            started: layout.buckets.iter().map(|_| None).collect(),
            tallies: vec![0.0; 4 * layout.cut.shards],
            said: vec![0.0; layout.tallies.len()],
            tested: vec![0.0; images * classes * layout.cut.own().len()],
            scores: vec![0.0; images * classes],
            norms: vec![0.0; layout.all_norms.len()],
            layout,
        }
    }

    /// What this rank has sent to the others.
    pub(crate) fn traffic(&self) -> Traffic {
        self.comm.traffic()
    }

    /// Where the rows of this rank's shard number `number` are in a batch. One that holds no
    /// others' rows begins with them.
    pub(crate) fn rows(&self, net: &DeviceNetwork, batch: &Batch, number: usize) -> Range<usize> {
        let (own, rows) = (self.layout.cut.own(), net.plan.frame.images());
        let is_part = batch.labels.len() == rows * own.len();
        let first = if is_part { 0 } else { rows * own.start } + number * rows;
        first..first + rows
    }

    /// Starts to count the images of all ranks' parts of a batch, which takes as long as a forward
    /// pass may.
    pub(crate) fn start_counting(
        &mut self,
        net: &mut DeviceNetwork,
        batch: &Batch,
    ) -> Result<Counting> {
        let counted = batch.labels.iter().filter(|&&label| label != IGNORED).count() as f32;
        let is_part = batch.labels.len() == net.plan.frame.images() * self.layout.cut.own().len();
        if !is_part {
            return Ok(Counting { counted, under_way: None }); // all rows are here
        }
        net.device.upload(self.layout.counted, &[counted])?;
        let under_way = Some(self.comm.all_reduce(&mut net.device, self.layout.counted)?);
        Ok(Counting { counted, under_way })
    }

    /// The part of a batch's images that a shard with this tally has.
    pub(crate) fn share_of_batch(
        &mut self,
        net: &mut DeviceNetwork,
        counting: &mut Counting,
        tally: Tally,
    ) -> Result<f64> {
        if let Some(handle) = counting.under_way.take() {
            self.comm.wait(&mut net.device, handle)?;
            let mut sum = [0.0];
            net.device.download_into(self.layout.counted, &mut sum)?;
            [counting.counted] = sum;
        }
        Ok(tally.images / f64::from(counting.counted.max(1.0)))
    }

    /// Notes a shard's tally.
    pub(crate) fn keep_tally(&mut self, net: &DeviceNetwork, shard: usize) -> Result<()> {
        let sums = &mut self.tallies[4 * shard..4 * shard + 4];
        Ok(net.device.download_into(net.plan.frame.tally, sums)?)
    }

    /// Notes the probabilities of this rank's shard number `number`.
    pub(crate) fn keep_probabilities(&mut self, net: &DeviceNetwork, number: usize) -> Result<()> {
        let from = net.plan.frame.probabilities;
        let to = &mut self.tested[number * from.len()..(number + 1) * from.len()];
        Ok(net.device.download_into(from, to)?)
    }

    /// The probabilities of this rank's rows.
    pub(crate) fn tested(&self) -> &[f32] {
        &self.tested
    }

    /// The batch's tally: all shards' in their order, on any number of ranks.
    pub(crate) fn tally_of_all(
        &mut self,
        net: &mut DeviceNetwork,
        accord: Option<&mut Accord>,
    ) -> Result<Tally> {
        self.exchange_tallies(net, accord)?;
        let mut total = Tally::default();
        let (shards, _) = self.tallies.as_chunks::<4>();
        shards.iter().for_each(|&sums| total.add(Tally::from_kernel(sums)));
        Ok(total)
    }

    /// All ranks get to know each other's tallies and words.
    pub(crate) fn exchange_tallies(
        &mut self,
        net: &mut DeviceNetwork,
        accord: Option<&mut Accord>,
    ) -> Result<()> {
        let Shards { layout, comm, tallies, said, .. } = self;
        let device = &mut net.device;
        let own = 4 * layout.cut.own().start..4 * layout.cut.own().end;
        let (here, block) = (own.len(), layout.own_tally.len());
        said[..here].copy_from_slice(&tallies[own]);
        said[here] = accord.as_ref().map_or(0.0, |accord| accord.word());
        device.upload(layout.own_tally, &said[..block])?;
        let gather = comm.all_gather(device, layout.own_tally, layout.tallies)?;
        comm.wait(device, gather)?;
        device.download_into(layout.tallies, said)?;
        for (tallies, said) in tallies.chunks_exact_mut(here).zip(said.chunks_exact(block)) {
            tallies.copy_from_slice(&said[..here]);
        }
        if let Some(accord) = accord {
            accord.hear(said.chunks_exact(block).map(|said| said[here]));
        }
        Ok(())
    }

    /// The gradient of the scores is that of the shard's mean loss: its part of the batch's. So are
    /// what a batch's statistics weigh.
    pub(crate) fn weigh(
        &mut self,
        net: &mut DeviceNetwork,
        d_scores: Slot,
        share: f64,
    ) -> Result<()> {
        let device = &mut net.device;
        if share != 1.0 {
            device.download_into(d_scores, &mut self.scores)?;
            self.scores.iter_mut().for_each(|score| *score *= share as f32);
            device.upload(d_scores, &self.scores)?;
        }
        if net.plan.network.parameters.has_statistics() {
            let word = net.plan.network.clock.part(4, Shape::from([1]));
            device.upload(word, &[(share as f32).to_bits()])?;
        }
        Ok(())
    }

    /// Puts together the norms of all ranks, each of which saw the gradients and velocities of its
    /// own share. `units` says of a layer whose units are shared how many are here and in all.
    pub(super) fn sum_norms(
        &mut self,
        net: &mut DeviceNetwork,
        stats: &mut LayerStats,
        units: &dyn Fn(&str) -> Option<(usize, usize)>,
    ) -> Result<()> {
        let Shards { layout, comm, norms, .. } = self;
        if layout.cut.world == 1 {
            return Ok(()); // it saw all
        }
        let device = &mut net.device;
        let own = &mut norms[..layout.norms.len()];
        for (layer, norms) in stats.layers.iter().zip(own.as_chunks_mut::<NUMBERS>().0) {
            let update = layer.update_ratio * layer.weight_norm;
            let dead = units(&layer.name).zip(layer.dead_relus);
            let dead = dead.map_or(0.0, |((own, _), dead)| dead * own as f64);
            *norms = [layer.gradient_norm, update, layer.weight_norm, dead].map(|n| n as f32);
        }
        device.upload(layout.norms, own)?;
        let gather = comm.all_gather(device, layout.norms, layout.all_norms)?;
        comm.wait(device, gather)?;
        device.download_into(layout.all_norms, norms)?;
        let (norms, _) = norms.as_chunks::<NUMBERS>();
        for (idx, layer) in stats.layers.iter_mut().enumerate() {
            let of_ranks = || norms[idx..].iter().step_by(layout.norms.len() / NUMBERS);
            let norm = |number: usize| {
                let squares = of_ranks().map(|numbers| f64::from(numbers[number]).powi(2));
                squares.sum::<f64>().sqrt()
            };
            layer.gradient_norm = norm(0);
            if let Some((_, whole)) = units(&layer.name) {
                layer.weight_norm = norm(2);
                let dead: f64 = of_ranks().map(|numbers| f64::from(numbers[3])).sum();
                layer.dead_relus = layer.dead_relus.map(|_| dead / whole as f64);
            }
            layer.update_ratio = norm(1) / layer.weight_norm.max(f64::MIN_POSITIVE);
        }
        Ok(())
    }
}
