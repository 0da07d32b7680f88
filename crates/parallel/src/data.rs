//! Data parallelism: the whole network on every device, each with a part of every batch.
//!
//! A batch is split into micro-shards; their number is part of the recipe. The network processes
//! each as a separate batch, and the gradients are summed in a binary tree over the shards. The
//! consecutive shards of a rank are a subtree, which it sums itself. The ranks then exchange
//! pairwise (recursive halving) until each has the sum for its share of the parameters. It updates
//! this share and its velocities, and the ranks exchange the new values. The tree does not depend
//! on the number of ranks, so the results of 1, 2, 4 or 8 ranks are bit-identical.

mod layout;
mod reduce;
mod shards;

pub(crate) use layout::Layout;
pub(crate) use shards::Shards;

use crate::Result;
use crate::clip;
use crate::control::ControlExchange;
use crate::rank::Rank;
use crate::sharding::Sharding;
use comm::{Comm, Traffic};
use data::Batch;
use evaluate::{Frame, FrameInput, Tally};
use kernels::sgd::Segment;
use layers::{Parameter, Spec, TrainableNetwork};
use tensor::{Device, Planner, Target};
use train::device_network::{DeviceNetwork, Share, whole};
use train::optimizer::{self, Optimizer, Sharing, UpdateRule};
use train::plan::SingleDevicePlan;
use train::stats::LayerStats;

/// The memory layout of a replica.
#[derive(Debug)]
pub struct ReplicaPlan {
    /// The network, its input and output, and its optimizer.
    pub base: SingleDevicePlan,
    layout: Layout,
}

/// The whole network on a device, which trains on a part of every batch.
#[derive(Debug)]
pub struct Replica {
    shards: Shards,
}

impl ReplicaPlan {
    /// Plans a network for a rank's micro-shards of batches of `batch` images. `input` is the mean
    /// that is subtracted, and the height and width of stored images.
    ///
    /// # Errors
    /// If the rows do not fit together.
    pub fn new(
        spec: &Spec,
        batch: usize,
        sharding: Sharding,
        input: impl Into<FrameInput>,
        target: Target,
    ) -> Result<ReplicaPlan> {
        ReplicaPlan::with_rule(spec, batch, sharding, input, target, &UpdateRule::default())
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
    ) -> Result<ReplicaPlan> {
        let images = batch / sharding.shards;
        spec.check_images(images).map_err(train::Error::from)?;
        let classes = spec.classes().map_err(train::Error::from)?;
        let mut planner = Planner::new();
        let frame = Frame::plan(spec, images, classes, input, &mut planner);
        let network = TrainableNetwork::plan(spec, images, &mut planner, target);
        let network = network.map_err(train::Error::from)?;
        let table = optimizer::table(&network, &mut planner);
        let common = network.parameters.values.len();
        let layout = Layout::plan(&network, common, sharding, rule, &mut planner);
        let whole = &network.parameters.entries;
        let sharing = Sharing { whole, share: &|entry| 0..entry.len(), world: sharding.world };
        let segments = layout.segments(&network);
        let optimizer = Optimizer::of_parts(rule, &network, segments, table, sharing, &mut planner);
        let base = SingleDevicePlan { network, frame, optimizer, bytes: planner.total() };
        Ok(ReplicaPlan { base, layout })
    }

    /// The micro-shards that it processes.
    pub fn sharding(&self) -> Sharding {
        self.layout.sharding
    }

    /// The segment of each parameter that this rank updates.
    pub fn segments(&self) -> Vec<Segment> {
        self.layout.segments(&self.base.network)
    }

    /// The lengths, in floats, of the messages in flight at once.
    pub(crate) fn messages(&self) -> impl Iterator<Item = usize> {
        self.layout.messages().chain(clip::message(&self.base))
    }

    /// Allocates the memory; `comm` connects to the other ranks.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub fn open(self, device: Device, comm: Box<dyn Comm>) -> Result<Replica> {
        Ok(Replica { shards: Shards::open(self.base, self.layout, device, comm)? })
    }
}

impl Rank for Replica {
    fn net(&self) -> &DeviceNetwork {
        &self.shards.net
    }

    fn net_mut(&mut self) -> &mut DeviceNetwork {
        &mut self.shards.net
    }

    fn share(&self, entry: &Parameter) -> Share {
        whole(entry)
    }

    fn step(
        &mut self,
        batch: &Batch,
        step: u64,
        mut stats: Option<&mut LayerStats>,
        exchange: Option<&mut ControlExchange>,
    ) -> Result<Tally> {
        let shards = &mut self.shards;
        let sharding = shards.layout.sharding;
        let mut image_count = shards.start_count(batch)?;
        for (number, shard) in sharding.own().enumerate() {
            let rows = shards.rows(batch, number);
            let Shards { net, forward, .. } = shards;
            net.load_training_rows(batch, rows.clone())?;
            net.set_clock(step * sharding.shards as u64 + shard as u64, &batch.labels[rows])?;
            net.replay(forward, SingleDevicePlan::forward)?;
            net.device.mark_read()?;
            shards.store_tally(shard)?;
            let tally = shards.net.finite_tally(step)?;
            if let Some(stats) = stats.as_deref_mut().filter(|_| number == 0) {
                stats.after_loss(&shards.net.device)?;
            }
            let share = shards.share_of_batch(&mut image_count, tally)?;
            shards.weigh(shards.net.plan.network.d_output, share)?;
            shards.backward(number)?;
        }
        shards.update(step, stats, &|_| None)?;
        shards.tally_of_all(exchange)
    }

    fn test(&mut self, batch: &Batch, exchange: Option<&mut ControlExchange>) -> Result<Tally> {
        let shards = &mut self.shards;
        for (number, shard) in shards.layout.sharding.own().enumerate() {
            let rows = shards.rows(batch, number);
            shards.net.load_rows(batch, rows)?;
            shards.net.replay(&mut shards.test, SingleDevicePlan::test)?;
            shards.store_tally(shard)?;
            shards.store_probabilities(number)?;
        }
        shards.tally_of_all(exchange)
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

    fn all_gather_velocities(&mut self) -> Result<()> {
        self.shards.all_gather_velocities()
    }

    fn traffic(&self) -> Traffic {
        self.shards.traffic()
    }

    fn enter<'a>(self: Box<Self>, work: Box<dyn FnOnce(Box<dyn Rank>) + Send + 'a>) {
        Device::enter_with(*self, |rank| &rank.net().device, |rank| work(Box::new(rank)));
    }
}
