//! Convolutions by data, linear layers by units, on devices that share every batch ("One weird
//! trick for parallelizing convolutional neural networks", arXiv 1404.5997).
//!
//! **What is where.** Each of N devices has the whole convolutional part and a run of a batch's S
//! micro-shards, as [`data`](crate::data) do; of each linear layer it has U / N of the U
//! units, with their weights and velocities, and computes them for all images.
//!
//! **What crosses**, in a step of B images, for F features, H hidden units and C classes, in
//! floats over all devices. Forward: features to all others, (N - 1) B F; outputs of hidden
//! layers, (N - 1) B H; scores to the device whose images they are of, (1 - 1/N) B C. Backward the
//! gradients of the same, the other way. Gradients and new values of the P convolutional weights,
//! 2 (N - 1) P. No gradient of a linear layer's weights crosses.
//!
//! **When.** In each of S / N rounds all devices compute the features of one micro-shard and send
//! them out. Then come N passes, each over one device's micro-shard: the paper's scheme (b). Its
//! scheme (c), a part of everybody's images in each pass, would fill links that (b) leaves idle
//! while one device sends; here all have sent before the first pass, and a pass that is one whole
//! micro-shard is the same whatever N is. Layer by layer: while a layer works on one pass, what
//! the last pass made of it travels, and what the next one needs arrives; on the way back each
//! pass's gradients travel while the next one's are made, and those of the last while the layer's
//! weights' are. Gradients of convolutions set out as in `data`.
//!
//! **Order of sums.** A unit's output is one chain over its inputs. The gradient of an input is a
//! sum over S blocks of units, in a binary tree: each device has a subtree, and the rank that made
//! the values adds up the others' in the order of the tree. Gradients of linear weights are sums
//! over the whole batch, taken once, in its order. Those of convolutions are trees over
//! micro-shards. So the results of 1, 2, 4 or 8 devices are bit-identical; they differ from
//! `data`'s in the last digits.

mod meetings;

use crate::Result;
use crate::accord::Accord;
use crate::cut::Cut;
use crate::data::{Layout, Shards};
use crate::rank::{Line, Rank};
use comm::{Comm, Traffic};
use data::Batch;
use evaluate::Frame;
use evaluate::Tally;
use layers::hybrid::{self, Head};
use layers::{Parameter, Phase, Spec};
use meetings::{Exchange, Meetings, Started};
use std::ops::Range;
use tensor::{DType, Device, Planner, Recording, Shape, Slot, Target};
use train::device_network::{DeviceNetwork, Share};
use train::optimizer::{self, Optimizer};
use train::plan::Plan;
use train::recipe::Mean;
use train::stats::LayerStats;

/// Floats of a piece of what is sent beside a step.
const ROOM: usize = 1 << 18;

/// A rank with a share of the linear layers' units, laid out before any memory is taken.
#[derive(Debug)]
pub struct HybridPlan {
    /// The network below the linear layers, and what surrounds it.
    pub base: Plan,
    layout: Layout,
    share: SharedUnits,
}

/// The linear layers.
#[derive(Debug)]
struct SharedUnits {
    head: Head,
    meetings: Meetings,
    /// Room for pieces of snapshots.
    room: Slot,
}

/// A device with the convolutions, a part of every batch and a share of the linear layers' units.
#[derive(Debug)]
pub struct Hybrid {
    net: DeviceNetwork,
    shards: Shards,
    share: SharedUnits,
    /// Messages about shared units under way.
    travelling: Started,
    forward: Recording,
    backward: Recording,
    test: Recording,
}

impl HybridPlan {
    /// Lays out a network to train on a cut of batches of `batch` images, with a share of the
    /// linear layers' units.
    ///
    /// # Errors
    /// If the rows do not fit together, or the units cannot be shared.
    pub fn new(
        spec: &Spec,
        batch: usize,
        cut: Cut,
        input: (Mean, [usize; 2]),
        target: Target,
    ) -> Result<HybridPlan> {
        let Cut { shards, rank, world, .. } = cut;
        let images = batch / shards;
        spec.check_images(images).map_err(train::Error::from)?;
        let classes = spec.classes().map_err(train::Error::from)?;
        let mut planner = Planner::new();
        let frame = Frame::plan(spec, (images, classes), input, &mut planner);
        let shares = hybrid::Shares { images, shards, rank, world };
        let planned = hybrid::plan(spec, shares, &mut planner, target);
        let (network, head) = planned.map_err(train::Error::from)?;
        let table = optimizer::table(&network, &mut planner);
        let mut entries = network.parameters.entries.iter();
        let first = entries.find(|entry| head.units(entry.layer()).is_some());
        let common = first.map_or(network.parameters.values.len(), |first| first.start);
        let meetings = Meetings::plan(&head, cut, &mut planner);
        let layout = Layout::plan(&network, common, cut, &mut planner);
        let room = planner.claim(DType::F32, Shape::from([if world > 1 { ROOM } else { 0 }]));
        let optimizer = Optimizer::sgd_of(layout.segments(&network), table);
        let base = Plan { network, frame, optimizer, bytes: planner.total() };
        Ok(HybridPlan { base, layout, share: SharedUnits { head, meetings, room } })
    }

    /// Which micro-shards it is for.
    pub fn cut(&self) -> Cut {
        self.layout.cut
    }

    /// Floats of the messages under way at once.
    pub(crate) fn messages(&self) -> impl Iterator<Item = usize> {
        self.layout.messages().chain(self.share.meetings.messages())
    }

    /// Does on the device what a rank does, without the others: for a rehearsal.
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
        base.optimizer.update(device, &base.network)
    }

    /// Takes the memory; `comm` is the way to the others.
    ///
    /// # Errors
    /// If there is not enough.
    pub fn open(self, device: Device, comm: Box<dyn Comm>) -> Result<Hybrid> {
        let HybridPlan { base, layout, share } = self;
        let shards = Shards::new(layout, comm, (base.frame.images(), base.frame.classes()));
        let travelling = Exchange::started(&share.meetings);
        let [forward, backward, test] = [(); 3].map(|()| Recording::default());
        let net = DeviceNetwork::open(base, device)?;
        Ok(Hybrid { net, shards, share, travelling, forward, backward, test })
    }
}

/// Images to the features that the linear layers see.
fn features(base: &Plan, device: &mut Device, phase: Phase) -> tensor::Result<()> {
    base.frame.preprocess(device, base.network.input)?;
    base.network.forward(device, phase)
}

impl Hybrid {
    /// Names the dropout masks of each micro-shard of a round: every one has its own.
    fn set_clocks(&mut self, step: u64, round: usize, labels: &[u32]) -> Result<()> {
        let cut = self.shards.layout.cut;
        let each = cut.own().len();
        let moment = |pass: usize| step * cut.shards as u64 + (pass * each + round) as u64;
        self.net.set_clock(moment(cut.rank), labels)?;
        let [low, high] = self.net.seed_words();
        for pass in 0..cut.world {
            let clock = [low, high, moment(pass) as u32];
            self.share.head.set_clock(&mut self.net.device, pass, clock)?;
        }
        Ok(())
    }

    /// From the features of everybody's micro-shards to the scores of one's own: a layer works on
    /// a pass while what it made of the last one travels.
    fn forward_through_head(&mut self, round: usize, phase: Phase) -> Result<()> {
        let (head, plan, device, mut exchange) = self.parts();
        let passes = 0..head.shares().world;
        for pass in passes.clone() {
            let seen = head.input(0, (pass, round));
            exchange.show(device, (0, pass), plan.network.output, seen)?;
        }
        for stage in 0..head.stages() {
            for pass in passes.clone() {
                let of = (pass, round);
                exchange.see(device, (stage, pass), head.input(stage, of))?;
                head.forward(device, stage, of, phase)?;
                let seen =
                    if stage + 1 < head.stages() { head.input(stage + 1, of) } else { head.scores };
                exchange.show(device, (stage + 1, pass), head.output(stage, of), seen)?;
            }
        }
        passes.clone().try_for_each(|pass| exchange.see(device, (head.stages(), pass), head.scores))
    }

    /// From the gradient of the scores to that of the features; in the last round to the gradients
    /// of weights, too.
    fn backward_through_head(&mut self, round: usize) -> Result<()> {
        let (head, plan, device, mut exchange) = self.parts();
        let passes = 0..head.shares().world;
        for pass in passes.clone() {
            exchange.answer(device, (head.stages(), pass), head.d_scores)?;
        }
        for stage in (0..head.stages()).rev() {
            for pass in passes.clone() {
                let of = (pass, round);
                exchange.hear(device, (stage + 1, pass), head.d_output(stage, of))?;
                let gradient = head.backward(device, stage, of)?;
                exchange.answer(device, (stage, pass), gradient)?;
            }
            if round + 1 == head.shares().each() {
                head.backward_weights(device, stage)?; // while the last answers travel
            }
        }
        let d_features = plan.network.d_output; // of what the network below gives
        passes.clone().try_for_each(|pass| exchange.hear(device, (0, pass), d_features))
    }

    fn parts(&mut self) -> (&Head, &Plan, &mut Device, Exchange<'_>) {
        let Hybrid { net, shards, share, travelling, .. } = self;
        let DeviceNetwork { plan, device, .. } = net;
        let comm = &mut *shards.comm;
        let exchange = Exchange { meetings: &share.meetings, comm, started: travelling };
        (&share.head, plan, device, exchange)
    }

    /// The whole shape of a parameter whose units are shared, and which of its numbers a rank has.
    fn units_of(&self, rank: usize, entry: &Parameter) -> Option<Share> {
        let head = &self.share.head;
        let (own, whole) = head.units(entry.layer())?;
        let (units, each) = (head.shares().units(whole, rank), entry.len() / own.len());
        Some((entry.shape.with_outer(whole), units.start * each..units.end * each))
    }
}

impl Rank for Hybrid {
    fn net(&self) -> &DeviceNetwork {
        &self.net
    }

    fn net_mut(&mut self) -> &mut DeviceNetwork {
        &mut self.net
    }

    fn share(&self, entry: &Parameter) -> Share {
        self.units_of(self.place().0, entry).unwrap_or((entry.shape, 0..entry.len()))
    }

    fn learn(
        &mut self,
        batch: &Batch,
        step: u64,
        mut stats: Option<&mut LayerStats>,
        accord: Option<&mut Accord>,
    ) -> Result<Tally> {
        let cut = self.shards.layout.cut;
        let mut counting = self.shards.start_counting(&mut self.net, batch)?;
        for (number, shard) in cut.own().enumerate() {
            let rows = self.shards.rows(&self.net, batch, number);
            self.net.load_rows(batch, rows.clone())?;
            self.set_clocks(step, number, &batch.labels[rows])?;
            self.net
                .replay(&mut self.forward, |plan, device| features(plan, device, Phase::Train))?;
            self.forward_through_head(number, Phase::Train)?;
            let DeviceNetwork { plan, device, .. } = &mut self.net;
            plan.frame.loss(device, self.share.head.scores, self.share.head.d_scores)?;
            device.mark_read()?;
            self.shards.keep_tally(&self.net, shard)?;
            let tally = self.net.finite_tally(step)?;
            if let Some(stats) = stats.as_deref_mut().filter(|_| number == 0) {
                stats.after_loss(&self.net.device)?;
            }
            let share = self.shards.share_of_batch(&mut self.net, &mut counting, tally)?;
            self.shards.weigh(&mut self.net, self.share.head.d_scores, share)?;
            self.backward_through_head(number)?;
            self.shards.backward(&mut self.net, &mut self.backward, number)?;
        }
        let Hybrid { net, shards, share, .. } = self;
        let units = |layer: &str| share.head.units(layer).map(|(own, whole)| (own.len(), whole));
        shards.update(net, stats, &units)?;
        shards.tally_of_all(net, accord)
    }

    fn test(&mut self, batch: &Batch, accord: Option<&mut Accord>) -> Result<Tally> {
        for (number, shard) in self.shards.layout.cut.own().enumerate() {
            let rows = self.shards.rows(&self.net, batch, number);
            self.net.load_rows(batch, rows)?;
            self.net.replay(&mut self.test, |plan, device| features(plan, device, Phase::Test))?;
            self.forward_through_head(number, Phase::Test)?;
            let DeviceNetwork { plan, device, .. } = &mut self.net;
            plan.frame.probabilities(device, self.share.head.scores)?;
            device.mark_read()?;
            self.shards.keep_tally(&self.net, shard)?;
            self.shards.keep_probabilities(&self.net, number)?;
        }
        self.shards.tally_of_all(&mut self.net, accord)
    }

    fn probabilities(&mut self, into: &mut [f32]) -> Result<()> {
        into.copy_from_slice(&self.shards.tested()[..into.len()]);
        Ok(())
    }

    fn agree(&mut self, accord: &mut Accord) -> Result<()> {
        self.shards.exchange_tallies(&mut self.net, Some(accord))
    }

    fn place(&self) -> (usize, usize) {
        self.shards.layout.cut.place()
    }

    fn images(&self) -> usize {
        self.net.plan.frame.images() * self.shards.layout.cut.own().len()
    }

    fn new_stats(&self) -> LayerStats {
        self.net.new_stats(self.share.head.rectified((0, 0)))
    }

    fn has_all(&self) -> bool {
        false
    }

    fn share_out_velocities(&mut self) -> Result<()> {
        self.shards.share_out_velocities(&mut self.net)
    }

    fn is_its_own(&self, entry: &Parameter) -> bool {
        self.place().0 == 0 || self.units_of(0, entry).is_some()
    }

    fn shares_of(&self, rank: usize) -> Result<Vec<(usize, String, Range<usize>)>> {
        let entries = self.net.plan.network.parameters.entries.iter().enumerate();
        let shared = entries.filter_map(|(idx, entry)| {
            let (_, share) = self.units_of(rank, entry)?;
            Some((idx, entry.name.clone(), share))
        });
        Ok(shared.collect())
    }

    fn line(&mut self) -> Option<Line<'_>> {
        let Hybrid { net, shards, share, .. } = self;
        Some(Line { comm: &mut *shards.comm, net, room: share.room })
    }

    fn traffic(&self) -> Traffic {
        self.shards.traffic()
    }

    fn enter<'a>(self: Box<Self>, work: Box<dyn FnOnce(Box<dyn Rank>) + Send + 'a>) {
        let Hybrid { net, shards, share, travelling, forward, backward, test } = *self;
        net.enter(|net| {
            work(Box::new(Hybrid { net, shards, share, travelling, forward, backward, test }));
        });
    }
}
