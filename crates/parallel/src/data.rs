//! The whole network on every device, each with a part of every batch.
//!
//! A batch is cut into micro-shards, whose number the recipe fixes. Each is a batch of its own to
//! the network; their gradients are added up in a binary tree over the shards, on any number
//! of ranks. A rank has a run of shards that is a subtree: it adds up its own, and the ranks go on
//! pairwise (recursive halving), until each has the sum of a share of the parameters. That share it
//! updates, velocities and all, and the ranks hand the new values round. So 1, 2, 4 or 8 ranks come
//! to the same bits.

mod layout;
mod reduce;
mod shards;

pub(crate) use layout::Layout;
pub(crate) use shards::Shards;

use crate::Result;
use crate::accord::Accord;
use crate::cut::Cut;
use crate::rank::{Line, Rank};
use comm::{Comm, Traffic};
use data::Batch;
use evaluate::Frame;
use evaluate::Tally;
use kernels::sgd::Segment;
use layers::{Parameter, Spec, TrainableNetwork};
use std::ops::Range;
use tensor::{Device, Planner, Recording, Target};
use train::device_network::{DeviceNetwork, Share, whole};
use train::optimizer::{self, Optimizer};
use train::plan::Plan;
use train::recipe::Mean;
use train::stats::LayerStats;

/// A replica, laid out before any memory is taken.
#[derive(Debug)]
pub struct ReplicaPlan {
    /// The network and what surrounds it.
    pub base: Plan,
    layout: Layout,
}

/// The whole network on a device, for a part of every batch.
#[derive(Debug)]
pub struct Replica {
    net: DeviceNetwork,
    shards: Shards,
    forward: Recording,
    backward: Recording,
    test: Recording,
}

impl ReplicaPlan {
    /// Lays out a network to train on a cut of batches of `batch` images.
    ///
    /// # Errors
    /// If the rows do not fit together.
    pub fn new(
        spec: &Spec,
        batch: usize,
        cut: Cut,
        input: (Mean, [usize; 2]),
        target: Target,
    ) -> Result<ReplicaPlan> {
        let images = batch / cut.shards;
        spec.check_images(images).map_err(train::Error::from)?;
        let classes = spec.classes().map_err(train::Error::from)?;
        let mut planner = Planner::new();
        let frame = Frame::plan(spec, (images, classes), input, &mut planner);
        let network = TrainableNetwork::plan(spec, images, &mut planner, target);
        let network = network.map_err(train::Error::from)?;
        let table = optimizer::table(&network, &mut planner);
        let common = network.parameters.values.len();
        let layout = Layout::plan(&network, common, cut, &mut planner);
        let optimizer = Optimizer::sgd_of(layout.segments(&network), table);
        let base = Plan { network, frame, optimizer, bytes: planner.total() };
        Ok(ReplicaPlan { base, layout })
    }

    /// Which micro-shards it is for.
    pub fn cut(&self) -> Cut {
        self.layout.cut
    }

    /// What of each parameter is updated here.
    pub fn segments(&self) -> Vec<Segment> {
        self.layout.segments(&self.base.network)
    }

    /// Floats of the messages under way at once.
    pub(crate) fn messages(&self) -> impl Iterator<Item = usize> {
        self.layout.messages()
    }

    /// Takes the memory; `comm` is the way to the others.
    ///
    /// # Errors
    /// If there is not enough.
    pub fn open(self, device: Device, comm: Box<dyn Comm>) -> Result<Replica> {
        let size = (self.base.frame.images(), self.base.frame.classes());
        let shards = Shards::new(self.layout, comm, size);
        let [forward, backward, test] = [(); 3].map(|()| Recording::default());
        Ok(Replica {
            net: DeviceNetwork::open(self.base, device)?,
            shards,
            forward,
            backward,
            test,
        })
    }
}

impl Rank for Replica {
    fn net(&self) -> &DeviceNetwork {
        &self.net
    }

    fn net_mut(&mut self) -> &mut DeviceNetwork {
        &mut self.net
    }

    fn share(&self, entry: &Parameter) -> Share {
        whole(entry)
    }

    fn learn(
        &mut self,
        batch: &Batch,
        step: u64,
        mut stats: Option<&mut LayerStats>,
        accord: Option<&mut Accord>,
    ) -> Result<Tally> {
        let Replica { net, shards, forward, backward, .. } = self;
        let cut = shards.layout.cut;
        let mut counting = shards.start_counting(net, batch)?;
        for (number, shard) in cut.own().enumerate() {
            let rows = shards.rows(net, batch, number);
            net.load_rows(batch, rows.clone())?;
            net.set_clock(step * cut.shards as u64 + shard as u64, &batch.labels[rows])?;
            net.replay(forward, Plan::forward)?;
            net.device.mark_read()?;
            shards.keep_tally(net, shard)?;
            let tally = net.finite_tally(step)?;
            if let Some(stats) = stats.as_deref_mut().filter(|_| number == 0) {
                stats.after_loss(&net.device)?;
            }
            let share = shards.share_of_batch(net, &mut counting, tally)?;
            let d_scores = net.plan.network.d_output;
            shards.weigh(net, d_scores, share)?;
            shards.backward(net, backward, number)?;
        }
        shards.update(net, stats, &|_| None)?;
        shards.tally_of_all(net, accord)
    }

    fn test(&mut self, batch: &Batch, accord: Option<&mut Accord>) -> Result<Tally> {
        let Replica { net, shards, test, .. } = self;
        for (number, shard) in shards.layout.cut.own().enumerate() {
            let rows = shards.rows(net, batch, number);
            net.load_rows(batch, rows)?;
            net.replay(test, Plan::test)?;
            shards.keep_tally(net, shard)?;
            shards.keep_probabilities(net, number)?;
        }
        shards.tally_of_all(net, accord)
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
        LayerStats::new(&self.net.plan.network)
    }

    fn has_all(&self) -> bool {
        true
    }

    fn share_out_velocities(&mut self) -> Result<()> {
        self.shards.share_out_velocities(&mut self.net)
    }

    fn is_its_own(&self, _: &Parameter) -> bool {
        self.place().0 == 0
    }

    fn shares_of(&self, _: usize) -> Result<Vec<(usize, String, Range<usize>)>> {
        Ok(Vec::new())
    }

    fn line(&mut self) -> Option<Line<'_>> {
        None
    }

    fn traffic(&self) -> Traffic {
        self.shards.traffic()
    }

    fn enter<'a>(self: Box<Self>, work: Box<dyn FnOnce(Box<dyn Rank>) + Send + 'a>) {
        let Replica { net, shards, forward, backward, test } = *self;
        net.enter(|net| work(Box::new(Replica { net, shards, forward, backward, test })));
    }
}
