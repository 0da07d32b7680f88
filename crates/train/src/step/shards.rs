//! A step over micro-shards: their gradients added up in a tree, on one device or among several.

mod head;
mod layout;
mod reduce;

pub(super) use layout::Layout;

use super::{Accord, Plan, Step};
use crate::Result;
use crate::hybrid::{Exchange, Started};
use crate::look::Look;
use crate::metrics::Tally;
use comm::{Comm, Handle, Traffic};
use data::{Batch, IGNORED};
use layers::Phase;
use layout::NUMBERS;
use std::ops::Range;
use tensor::Shape;

/// What a replica keeps on the host.
#[derive(Debug)]
pub(super) struct Replica {
    /// To the others, if there are any.
    comm: Option<Box<dyn Comm>>,
    /// Exchanges of gradients under way, a pair a bucket.
    started: Vec<Option<[Handle; 2]>>,
    /// Messages about shared units under way.
    travelling: Started,
    /// `[loss, top-1, top-5, images]` of all shards; those of this rank stand where they belong.
    tallies: Vec<f32>,
    /// What all ranks tell: their tallies and a word.
    told: Vec<f32>,
    /// The probabilities of the last tested images.
    tested: Vec<f32>,
    /// Room for the gradient of the scores.
    scores: Vec<f32>,
    /// Each layer's numbers, of each rank.
    norms: Vec<f32>,
}

impl Replica {
    pub(super) fn new(plan: &Plan, layout: &Layout) -> Replica {
        let scores = plan.preprocess.images * plan.loss.map_or(0, |loss| loss.classes);
        Replica {
            comm: None,
            started: layout.buckets.iter().map(|_| None).collect(),
            travelling: layout.meetings.as_ref().map_or(Vec::new(), Exchange::started),
            tallies: vec![0.0; 4 * layout.cut.shards],
            told: vec![0.0; layout.tallies.len()],
            tested: vec![0.0; scores * layout.cut.own().len()],
            scores: vec![0.0; scores],
            norms: vec![0.0; layout.all_norms.len()],
        }
    }
}

impl Replica {
    pub(super) fn comm_mut(&mut self) -> Option<&mut dyn Comm> {
        match &mut self.comm {
            Some(comm) => Some(&mut **comm),
            None => None,
        }
    }

    /// What it has sent to the others, if there are any.
    pub(super) fn traffic(&self) -> Option<Traffic> {
        self.comm.as_ref().map(|comm| comm.traffic())
    }
}

impl Step {
    /// Makes this one of several replicas.
    pub(crate) fn set_comm(&mut self, comm: Box<dyn Comm>) {
        self.replica.as_mut().expect("planned as a replica").comm = Some(comm);
    }

    /// Whether this is one of several that share every batch.
    pub(crate) fn is_replica(&self) -> bool {
        self.replica.is_some()
    }

    /// Whether this device has all parameters, whoever else has them.
    pub(crate) fn has_all(&self) -> bool {
        self.is_replica() && self.plan.head.is_none()
    }

    /// The micro-shards of this device and where their rows begin in a batch: one that holds no
    /// others' rows begins with them.
    fn own_rows(&self, batch: &Batch) -> (Range<usize>, usize) {
        let layout = self.plan.layout.as_ref().expect("planned in shards");
        let (own, rows) = (layout.cut.own(), self.plan.preprocess.images);
        let is_part = batch.labels.len() == rows * own.len();
        let first = if is_part { 0 } else { rows * own.start };
        (own, first)
    }

    /// [`train`](Self::train) in shards.
    pub(super) fn learn_in_shards(
        &mut self,
        batch: &Batch,
        step: u64,
        mut look: Option<&mut Look>,
    ) -> Result<Tally> {
        let (own, first) = self.own_rows(batch);
        let rows = self.plan.preprocess.images;
        let labelled = batch.labels.iter().filter(|&&label| label != IGNORED).count() as f32;
        let mut counted = labelled;
        let mut counting = match batch.labels.len() == rows * own.len() {
            true => self.count_over_ranks(labelled)?, // nobody else has these rows
            false => None,
        };
        for (number, shard) in own.clone().enumerate() {
            self.load_rows(batch, first + number * rows..first + (number + 1) * rows)?;
            let labels = &batch.labels[first + number * rows..][..rows];
            self.set_clocks(step, number, labels)?;
            self.forward_of_shard(number, Phase::Train)?;
            let tally = self.keep_tally(shard)?;
            if !tally.loss.is_finite() {
                return Err(self.diverged(step, tally));
            }
            if let Some(look) = look.as_deref_mut().filter(|_| number == 0) {
                look.after_forward(&self.device)?;
            }
            if let Some(counting) = counting.take() {
                counted = self.counted(counting)?;
            }
            let share = tally.images / f64::from(counted.max(1.0));
            self.weigh(share)?;
            if self.plan.network.parameters.has_statistics() {
                let word = self.plan.network.clock.part(4, Shape::from([1]));
                self.device.upload(word, &[(share as f32).to_bits()])?;
            }
            self.backward_through_head(number)?;
            match number + 1 == own.len() {
                false => self.backward_of_shard(number)?,
                true => self.backward_of_last_shard()?,
            }
        }
        self.finish_reducing()?;
        self.plan.update(&mut self.device)?;
        self.share_out(self.plan.network.parameters.values)?;
        if let Some(look) = look {
            look.after_update(&self.device, &self.plan)?;
            self.sum_norms(look)?;
        }
        self.tally_of_all()
    }

    /// [`test`](Self::test) in shards.
    pub(super) fn test_in_shards(&mut self, batch: &Batch) -> Result<Tally> {
        let (own, first) = self.own_rows(batch);
        let rows = self.plan.preprocess.images;
        for (number, shard) in own.enumerate() {
            self.load_rows(batch, first + number * rows..first + (number + 1) * rows)?;
            self.forward_of_shard(number, Phase::Test)?;
            self.keep_tally(shard)?;
            let Step { plan, device, replica, .. } = self;
            let tested = &mut replica.as_mut().expect("planned in shards").tested;
            let room = plan.slots.probabilities.len();
            let to = &mut tested[number * room..(number + 1) * room];
            device.download_into(plan.slots.probabilities, to)?;
        }
        self.tally_of_all()
    }

    /// The probabilities of this rank's rows.
    pub(super) fn tested(&self) -> Option<&[f32]> {
        self.replica.as_ref().map(|replica| &replica.tested[..])
    }

    /// Notes a shard's tally.
    fn keep_tally(&mut self, shard: usize) -> Result<Tally> {
        let mut sums = [0.0; 4];
        self.device.download_into(self.plan.slots.tally, &mut sums)?;
        let replica = self.replica.as_mut().expect("planned in shards");
        replica.tallies[4 * shard..4 * shard + 4].copy_from_slice(&sums);
        Ok(Tally::from_kernel(sums))
    }

    /// The batch's tally: all shards' in their order, whoever made them.
    fn tally_of_all(&mut self) -> Result<Tally> {
        self.exchange_tallies()?;
        let replica = self.replica.as_ref().expect("planned in shards");
        let mut total = Tally::default();
        let (shards, _) = replica.tallies.as_chunks::<4>();
        shards.iter().for_each(|&sums| total.add(Tally::from_kernel(sums)));
        Ok(total)
    }

    /// All ranks get to know each other's tallies and words.
    pub(super) fn exchange_tallies(&mut self) -> Result<()> {
        let Step { plan, device, replica, accord, .. } = self;
        let layout = plan.layout.as_ref().expect("planned in shards");
        let Replica { comm: Some(comm), tallies, told, .. } =
            replica.as_mut().expect("planned in shards")
        else {
            return Ok(());
        };
        let own = 4 * layout.cut.own().start..4 * layout.cut.own().end;
        let (here, block) = (own.len(), layout.own_tally.len());
        told[..here].copy_from_slice(&tallies[own]);
        told[here] = accord.as_ref().map_or(0.0, Accord::word);
        device.upload(layout.own_tally, &told[..block])?;
        let gather = comm.all_gather(device, layout.own_tally, layout.tallies)?;
        comm.wait(device, gather)?;
        device.download_into(layout.tallies, told)?;
        for (tallies, told) in tallies.chunks_exact_mut(here).zip(told.chunks_exact(block)) {
            tallies.copy_from_slice(&told[..here]);
        }
        if let Some(accord) = accord {
            accord.hear(told.chunks_exact(block).map(|told| told[here]));
        }
        Ok(())
    }

    /// The gradient of the scores is that of the shard's mean loss: its part of the batch's.
    fn weigh(&mut self, share: f64) -> Result<()> {
        if share == 1.0 {
            return Ok(());
        }
        let [_, d_output] = self.plan.scores();
        let scores = &mut self.replica.as_mut().expect("planned in shards").scores;
        self.device.download_into(d_output, scores)?;
        scores.iter_mut().for_each(|score| *score *= share as f32);
        Ok(self.device.upload(d_output, scores)?)
    }

    /// Starts to count the images of all ranks' parts of a batch, which takes as long as a forward
    /// pass may.
    fn count_over_ranks(&mut self, own: f32) -> Result<Option<Handle>> {
        let Step { plan, device, replica, .. } = self;
        let slot = plan.layout.as_ref().expect("planned in shards").counted;
        let Some(comm) = replica.as_mut().and_then(|replica| replica.comm.as_mut()) else {
            return Ok(None);
        };
        device.upload(slot, &[own])?;
        Ok(Some(comm.all_reduce(device, slot)?))
    }

    fn counted(&mut self, counting: Handle) -> Result<f32> {
        let Step { plan, device, replica, .. } = self;
        let slot = plan.layout.as_ref().expect("planned in shards").counted;
        let comm = replica.as_mut().and_then(|replica| replica.comm.as_mut());
        comm.expect("whoever counts has others").wait(device, counting)?;
        let mut sum = [0.0];
        device.download_into(slot, &mut sum)?;
        Ok(sum[0])
    }

    /// A rank saw the gradients and velocities of its own share.
    fn sum_norms(&mut self, look: &mut Look) -> Result<()> {
        let Step { plan, device, replica, .. } = self;
        let layout = plan.layout.as_ref().expect("planned in shards");
        let Replica { comm: Some(comm), norms, .. } = replica.as_mut().expect("planned in shards")
        else {
            return Ok(());
        };
        let units = |layer: &str| plan.head.as_ref().and_then(|head| head.units(layer));
        let own = &mut norms[..layout.norms.len()];
        for (layer, norms) in look.layers.iter().zip(own.as_chunks_mut::<NUMBERS>().0) {
            let update = layer.update_ratio * layer.weight_norm;
            let dead = units(&layer.name).zip(layer.dead_relus);
            let dead = dead.map_or(0.0, |((own, _), dead)| dead * own.len() as f64);
            *norms = [layer.gradient_norm, update, layer.weight_norm, dead].map(|n| n as f32);
        }
        device.upload(layout.norms, own)?;
        let gather = comm.all_gather(device, layout.norms, layout.all_norms)?;
        comm.wait(device, gather)?;
        device.download_into(layout.all_norms, norms)?;
        let (norms, _) = norms.as_chunks::<NUMBERS>();
        for (idx, layer) in look.layers.iter_mut().enumerate() {
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
