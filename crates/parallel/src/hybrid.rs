//! Hybrid parallelism: convolutions split by images, linear layers by units ("One weird trick for
//! parallelizing convolutional neural networks", arXiv 1404.5997).
//!
//! **Distribution.** Each of N devices holds all convolutions and processes consecutive
//! micro-shards of a batch's S, as in [`data`](crate::data). Of the U units of each linear layer it
//! holds U / N with their weights and velocities, and computes them for all images.
//!
//! **Communication**, in floats over all devices, for a step of B images with F features, H hidden
//! units and C classes. Forward: features to all other devices, (N - 1) B F; outputs of hidden
//! layers, (N - 1) B H; scores to the device that holds their images, (1 - 1/N) B C. Backward: the
//! gradients of the same activations, in the opposite direction. Gradients and new values of the P
//! convolutional weights: 2 (N - 1) P. Gradients of linear weights are not sent.
//!
//! **Overlap.** In each of S / N rounds all devices compute the features of one micro-shard and
//! send them. N passes follow, each over the micro-shard of one device: the paper's scheme (b). Its
//! scheme (c), with some images of every device in each pass, uses links that (b) leaves idle while
//! one device sends. Here all devices have sent before the first pass, and a pass over one
//! micro-shard does not depend on N. While a layer computes one pass, the outputs of the previous
//! pass are sent and the inputs of the next are received. Backward, the gradients of each pass are
//! sent while those of the next are computed, and those of the last pass during the gradients of
//! the layer's weights. Gradients of convolutions are exchanged as in `data`.
//!
//! **Order of sums.** A unit's output is one chain over its inputs. The gradient of an input is a
//! sum over S blocks of units, in a binary tree: each device sums a subtree, and the rank that
//! produced the values adds the others' sums in tree order. Gradients of linear weights are sums
//! over the whole batch, in its order; those of convolutions are trees over micro-shards. The
//! results of 1, 2, 4 or 8 devices are therefore bit-identical; they differ from those of `data` by
//! rounding.

mod exchange;

use crate::Result;
use crate::clip;
use crate::control::ControlExchange;
use crate::data::{Layout, Shards};
use crate::rank::{Rank, SideChannel};
use crate::sharding::Sharding;
use comm::{Comm, Traffic};
use data::Batch;
use evaluate::{Frame, FrameInput, Tally};
use exchange::{Boundaries, Crossing, Exchange, Pending};
use layers::hybrid::{self, Head};
use layers::{Parameter, Phase, Spec};
use std::ops::Range;
use tensor::{DType, Device, Planner, Shape, Slot, Target};
use train::device_network::{DeviceNetwork, Share};
use train::optimizer::{self, Optimizer, Sharing, UpdateRule};
use train::plan::SingleDevicePlan;
use train::stats::LayerStats;

/// Floats of the buffer for transfers outside steps.
const BUFFER: usize = 1 << 18;

/// The memory layout of a rank with a share of the linear layers' units.
#[derive(Debug)]
pub struct HybridPlan {
    /// The network below the linear layers, its input and output, and the optimizer.
    pub base: SingleDevicePlan,
    layout: Layout,
    share: SharedUnits,
}

/// The linear layers, with this rank's share of their units.
#[derive(Debug)]
struct SharedUnits {
    head: Head,
    boundaries: Boundaries,
    /// For pieces of snapshots.
    buffer: Slot,
}

/// A device with all convolutions, a part of every batch and a share of the linear layers' units.
#[derive(Debug)]
pub struct Hybrid {
    shards: Shards,
    share: SharedUnits,
    /// Messages between linear layers that are in flight.
    pending: Pending,
}

impl HybridPlan {
    /// As [`ReplicaPlan::new`](crate::data::ReplicaPlan::new), with a share of the linear layers'
    /// units.
    ///
    /// # Errors
    /// If the rows do not fit together, or the units cannot be split.
    pub fn new(
        spec: &Spec,
        batch: usize,
        sharding: Sharding,
        input: impl Into<FrameInput>,
        target: Target,
    ) -> Result<HybridPlan> {
        HybridPlan::with_rule(spec, batch, sharding, input, target, &UpdateRule::default())
    }

    /// As [`new`](Self::new), for any update.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_rule(
        spec: &Spec,
        batch: usize,
        sharding: Sharding,
        input: impl Into<FrameInput>,
        target: Target,
        rule: &UpdateRule,
    ) -> Result<HybridPlan> {
        let Sharding { shards, rank, world, .. } = sharding;
        let images = batch / shards;
        spec.check_images(images).map_err(train::Error::from)?;
        let classes = spec.classes().map_err(train::Error::from)?;
        let mut planner = Planner::new();
        let frame = Frame::plan(spec, images, classes, input, &mut planner);
        let shares = hybrid::Shares { images, shards, rank, world };
        let planned = hybrid::plan(spec, shares, &mut planner, target);
        let (network, head) = planned.map_err(train::Error::from)?;
        let table = optimizer::table(&network, &mut planner);
        let mut entries = network.parameters.entries.iter();
        let first = entries.find(|entry| head.units(entry.layer()).is_some());
        let common = first.map_or(network.parameters.values.len(), |first| first.start);
        let boundaries = Boundaries::plan(&head, sharding, &mut planner);
        let layout = Layout::plan(&network, common, sharding, rule, &mut planner);
        let buffer = planner.claim(DType::F32, Shape::from([if world > 1 { BUFFER } else { 0 }]));
        let whole = network.parameters.entries.iter().map(|entry| {
            let units = head.units(entry.layer());
            let shape = units.map_or(entry.shape, |(_, whole)| entry.shape.with_outer(whole));
            Parameter { shape, ..entry.clone() }
        });
        let share = |entry: &Parameter| {
            let share = units_of(&head, rank, entry);
            share.map_or(0..entry.len(), |(_, range)| range)
        };
        let sharing = Sharing { whole: &whole.collect::<Vec<_>>(), share: &share, world };
        let segments = layout.segments(&network);
        let optimizer = Optimizer::of_parts(rule, &network, segments, table, sharing, &mut planner);
        let base = SingleDevicePlan { network, frame, optimizer, bytes: planner.total() };
        Ok(HybridPlan { base, layout, share: SharedUnits { head, boundaries, buffer } })
    }

    /// The micro-shards that it processes.
    pub fn sharding(&self) -> Sharding {
        self.layout.sharding
    }

    /// The lengths, in floats, of the messages in flight at once.
    pub(crate) fn messages(&self) -> impl Iterator<Item = usize> {
        let others = self.share.boundaries.messages().chain(clip::message(&self.base));
        self.layout.messages().chain(others)
    }

    /// Runs all operations of a step and a test once, without communication.
    pub(crate) fn rehearse(&self, device: &mut Device) -> tensor::Result<()> {
        let (base, head, of) = (&self.base, &self.share.head, (0, 0));
        for phase in [Phase::Train, Phase::Test] {
            features(base, device, phase)?;
            (0..head.stages()).try_for_each(|stage| head.forward(device, stage, of, phase))?;
        }
        base.frame.loss(device, head.scores, head.d_scores)?;
        base.frame.probabilities(device, head.scores)?;
        for stage in (0..head.stages()).rev() {
            head.backward(device, stage, of)?;
            head.backward_weights(device, stage)?;
        }
        base.network.backward(device)?;
        base.optimizer.rehearse(device, &base.network)
    }

    /// Allocates the memory; `comm` connects to the other ranks.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub fn open(self, device: Device, comm: Box<dyn Comm>) -> Result<Hybrid> {
        let HybridPlan { base, layout, share } = self;
        let shards = Shards::open(base, layout, device, comm)?;
        let pending = Exchange::pending(&share.boundaries);
        Ok(Hybrid { shards, share, pending })
    }
}

/// From images to the inputs of the first linear layer.
fn features(base: &SingleDevicePlan, device: &mut Device, phase: Phase) -> tensor::Result<()> {
    base.frame.preprocess(device, base.network.input)?;
    base.network.forward(device, phase)
}

impl Hybrid {
    /// Sets the step counters for dropout: each micro-shard of a round has its own masks.
    fn set_clocks(&mut self, step: u64, round: usize, labels: &[u32]) -> Result<()> {
        let sharding = self.shards.layout.sharding;
        let each = sharding.own().len();
        let counter = |pass: usize| step * sharding.shards as u64 + (pass * each + round) as u64;
        let net = &mut self.shards.net;
        net.set_clock(counter(sharding.rank), labels)?;
        let [low, high] = net.seed_words();
        for pass in 0..sharding.world {
            let clock = [low, high, counter(pass) as u32];
            self.share.head.set_clock(&mut net.device, pass, clock)?;
        }
        Ok(())
    }

    /// From the features of all ranks' micro-shards to the scores of this rank's: a layer computes
    /// one pass while its outputs of the previous pass are sent.
    fn forward_through_head(&mut self, round: usize, phase: Phase) -> Result<()> {
        let (head, plan, device, mut exchange) = self.parts();
        let passes = 0..head.shares().world;
        for pass in passes.clone() {
            let (at, whole) = (Crossing { boundary: 0, pass }, head.input(0, (pass, round)));
            exchange.send_activations(device, at, plan.network.output, whole)?;
        }
        let last = head.stages();
        for stage in 0..last {
            for pass in passes.clone() {
                let (of, at) = ((pass, round), Crossing { boundary: stage, pass });
                exchange.receive_activations(device, at, head.input(stage, of))?;
                head.forward(device, stage, of, phase)?;
                let at = Crossing { boundary: stage + 1, pass };
                let whole = if stage + 1 < last { head.input(stage + 1, of) } else { head.scores };
                exchange.send_activations(device, at, head.output(stage, of), whole)?;
            }
        }
        passes.clone().try_for_each(|pass| {
            exchange.receive_activations(device, Crossing { boundary: last, pass }, head.scores)
        })
    }

    /// From the gradient of the scores to that of the features; in the last round also to the
    /// gradients of the weights.
    fn backward_through_head(&mut self, round: usize) -> Result<()> {
        let (head, plan, device, mut exchange) = self.parts();
        let passes = 0..head.shares().world;
        for pass in passes.clone() {
            let at = Crossing { boundary: head.stages(), pass };
            exchange.send_gradients(device, at, head.d_scores)?;
        }
        for stage in (0..head.stages()).rev() {
            for pass in passes.clone() {
                let (of, at) = ((pass, round), Crossing { boundary: stage + 1, pass });
                exchange.receive_gradients(device, at, head.d_output(stage, of))?;
                let gradient = head.backward(device, stage, of)?;
                exchange.send_gradients(device, Crossing { boundary: stage, pass }, gradient)?;
            }
            if round + 1 == head.shares().each() {
                head.backward_weights(device, stage)?; // while the last gradients are sent
            }
        }
        let d_features = plan.network.d_output;
        passes.clone().try_for_each(|pass| {
            exchange.receive_gradients(device, Crossing { boundary: 0, pass }, d_features)
        })
    }

    fn parts(&mut self) -> (&Head, &SingleDevicePlan, &mut Device, Exchange<'_>) {
        let Hybrid { shards, share, pending } = self;
        let Shards { net: DeviceNetwork { plan, device, .. }, comm, .. } = shards;
        let comm = &mut **comm;
        let exchange = Exchange { boundaries: &share.boundaries, comm, pending };
        (&share.head, plan, device, exchange)
    }

    /// For a parameter whose units are split: its whole shape, and the elements that a rank holds.
    fn units_of(&self, rank: usize, entry: &Parameter) -> Option<Share> {
        units_of(&self.share.head, rank, entry)
    }
}

/// For a parameter whose units are split: its whole shape, and the elements that a rank holds.
fn units_of(head: &Head, rank: usize, entry: &Parameter) -> Option<Share> {
    let (own, whole) = head.units(entry.layer())?;
    let (units, each) = (head.shares().units(whole, rank), entry.len() / own.len());
    Some((entry.shape.with_outer(whole), units.start * each..units.end * each))
}

impl Rank for Hybrid {
    fn net(&self) -> &DeviceNetwork {
        &self.shards.net
    }

    fn net_mut(&mut self) -> &mut DeviceNetwork {
        &mut self.shards.net
    }

    fn share(&self, entry: &Parameter) -> Share {
        self.units_of(self.place().0, entry).unwrap_or((entry.shape, 0..entry.len()))
    }

    fn step(
        &mut self,
        batch: &Batch,
        step: u64,
        mut stats: Option<&mut LayerStats>,
        exchange: Option<&mut ControlExchange>,
    ) -> Result<Tally> {
        let sharding = self.shards.layout.sharding;
        let mut image_count = self.shards.start_count(batch)?;
        for (number, shard) in sharding.own().enumerate() {
            let rows = self.shards.rows(batch, number);
            self.shards.net.load_training_rows(batch, rows.clone())?;
            self.set_clocks(step, number, &batch.labels[rows])?;
            let Shards { net, forward, .. } = &mut self.shards;
            net.replay(forward, |plan, device| features(plan, device, Phase::Train))?;
            self.forward_through_head(number, Phase::Train)?;
            let Hybrid { shards, share, .. } = self;
            let DeviceNetwork { plan, device, .. } = &mut shards.net;
            plan.frame.loss(device, share.head.scores, share.head.d_scores)?;
            device.mark_read()?;
            shards.store_tally(shard)?;
            let tally = shards.net.finite_tally(step)?;
            if let Some(stats) = stats.as_deref_mut().filter(|_| number == 0) {
                stats.after_loss(&shards.net.device)?;
            }
            let part = shards.share_of_batch(&mut image_count, tally)?;
            shards.weigh(share.head.d_scores, part)?;
            self.backward_through_head(number)?;
            self.shards.backward(number)?;
        }
        let Hybrid { shards, share, .. } = self;
        let units = |layer: &str| share.head.units(layer).map(|(own, whole)| (own.len(), whole));
        shards.update(step, stats, &units)?;
        shards.tally_of_all(exchange)
    }

    fn test(&mut self, batch: &Batch, exchange: Option<&mut ControlExchange>) -> Result<Tally> {
        for (number, shard) in self.shards.layout.sharding.own().enumerate() {
            let rows = self.shards.rows(batch, number);
            let Shards { net, test, .. } = &mut self.shards;
            net.load_rows(batch, rows)?;
            net.replay(test, |plan, device| features(plan, device, Phase::Test))?;
            self.forward_through_head(number, Phase::Test)?;
            let DeviceNetwork { plan, device, .. } = &mut self.shards.net;
            plan.frame.probabilities(device, self.share.head.scores)?;
            device.mark_read()?;
            self.shards.store_tally(shard)?;
            self.shards.store_probabilities(number)?;
        }
        self.shards.tally_of_all(exchange)
    }

    fn probabilities(&mut self, into: &mut [f32]) -> Result<()> {
        self.shards.probabilities(into);
        Ok(())
    }

    fn agree(&mut self, exchange: &mut ControlExchange) -> Result<()> {
        self.shards.exchange_tallies(Some(exchange))
    }

    fn place(&self) -> (usize, usize) {
        self.shards.layout.sharding.place()
    }

    fn images(&self) -> usize {
        self.shards.images()
    }

    fn new_stats(&self) -> LayerStats {
        self.shards.net.new_stats(self.share.head.rectified((0, 0)))
    }

    fn has_all_parameters(&self) -> bool {
        false
    }

    fn all_gather_velocities(&mut self) -> Result<()> {
        self.shards.all_gather_velocities()
    }

    fn writes_to_snapshot(&self, entry: &Parameter) -> bool {
        self.place().0 == 0 || self.units_of(0, entry).is_some()
    }

    fn shares_to_gather(&self, rank: usize) -> Result<Vec<(usize, String, Range<usize>)>> {
        let entries = self.shards.net.plan.network.parameters.entries.iter().enumerate();
        let shared = entries.filter_map(|(idx, entry)| {
            let (_, share) = self.units_of(rank, entry)?;
            Some((idx, entry.name.clone(), share))
        });
        Ok(shared.collect())
    }

    fn side_channel(&mut self) -> Option<SideChannel<'_>> {
        let Shards { net, comm, .. } = &mut self.shards;
        Some(SideChannel { comm: &mut **comm, net, buffer: self.share.buffer })
    }

    fn traffic(&self) -> Traffic {
        self.shards.traffic()
    }

    fn enter<'a>(self: Box<Self>, work: Box<dyn FnOnce(Box<dyn Rank>) + Send + 'a>) {
        Device::enter_with(*self, |rank| &rank.net().device, |rank| work(Box::new(rank)));
    }
}
