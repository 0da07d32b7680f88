//! A network in towers, each on its own device (section 3.5 of the paper).
//!
//! Every tower holds its share of the weights. All towers process the same batches; only the first
//! has the classifier, and computes the loss. They exchange activations and their gradients as
//! [`layers::towers`] describes. Gradients of weights are not exchanged, since no weight is on two
//! devices.
//!
//! Results are bit-identical to those of one device that runs
//! [`on_one_device`](layers::towers::on_one_device).

use crate::clip::{self, clip_gradients};
use crate::control::ControlExchange;
use crate::rank::{Rank, SideChannel};
use crate::{Result, parameters_of};
use comm::{Comm, Handle, Traffic, bytes};
use data::Batch;
use evaluate::{Frame, FrameInput, Tally};
use kernels::sgd::Segment;
use layers::towers::{self, Towers};
use layers::{Parameter, Phase, Row, Spec, TrainableNetwork, Transfer};
use std::ops::Range;
use std::sync::Arc;
use tensor::{DType, Device, Planner, Shape, Slot, Target};
use train::device_network::{DeviceNetwork, Share};
use train::optimizer::{self, Optimizer, Sharing, UpdateRule};
use train::plan::SingleDevicePlan;
use train::stats::LayerStats;

/// The memory layout of a tower.
#[derive(Debug)]
pub struct TowerPlan {
    /// The tower, its input and output, and its optimizer.
    pub base: SingleDevicePlan,
    towers: Arc<Towers>,
    messages: MessageSlots,
    /// Whether it ends in the classifier.
    is_first: bool,
}

/// Slots of messages between towers in different processes, beside activations and gradients.
#[derive(Clone, Copy, Debug)]
struct MessageSlots {
    /// The tally and control flags of this tower, and of all.
    own: Slot,
    all: Slot,
    /// For transfers outside steps.
    buffer: Slot,
}

/// Floats of a tally with control flags.
const MESSAGE: usize = 5;
/// Floats of the buffer for transfers outside steps.
const BUFFER: usize = 1 << 18;

/// A tower on its device.
#[derive(Debug)]
pub struct Tower {
    net: DeviceNetwork,
    link: Link,
    messages: MessageSlots,
    is_first: bool,
    /// The last messages of all towers.
    received: Vec<f32>,
}

/// A tower's connection to the others.
#[derive(Debug)]
struct Link {
    comm: Box<dyn Comm>,
    towers: Arc<Towers>,
}

impl Link {
    fn cross(&mut self, device: &mut Device, crossing: Transfer) -> Result<()> {
        let comm = &mut self.comm;
        let handle = match crossing {
            Transfer::AllGather { own, all } => comm.all_gather(device, own, all)?,
            Transfer::ReduceScatter { all, own } => comm.reduce_scatter(device, all, own)?,
            Transfer::Send { x, to } => comm.send(device, x, to)?,
            Transfer::Receive { x, from } => comm.recv(device, x, from)?,
        };
        Ok(comm.wait(device, handle)?)
    }

    /// The network of a tower.
    fn spec(&self, rank: usize) -> &Spec {
        &self.towers.specs[rank]
    }

    /// The range of the whole parameter that this tower holds.
    fn share(&self, entry: &Parameter) -> Range<usize> {
        self.share_of(self.comm.rank(), entry)
    }

    /// The range of the whole parameter that a tower holds.
    fn share_of(&self, rank: usize, entry: &Parameter) -> Range<usize> {
        share_of(&self.towers, rank, entry)
    }
}

/// The shape of the whole of a tower's parameter: filters and units are the first dimension.
fn whole_shape(towers: &Towers, entry: &Parameter) -> Shape {
    let (first, len) = (entry.shape.dims()[0], entry.len());
    entry.shape.with_outer(first * towers.whole_len(&entry.name, len) / len.max(1))
}

/// The range of the whole parameter that a tower holds.
fn share_of(towers: &Towers, rank: usize, entry: &Parameter) -> Range<usize> {
    let whole = towers.whole_len(&entry.name, entry.len());
    let share = towers.share(&entry.name, whole, rank);
    share.ok().flatten().expect("a parameter of this tower")
}

impl TowerPlan {
    /// Plans each tower for its device, for batches of `images` images. `input` is the mean that is
    /// subtracted, and the height and width of stored images.
    ///
    /// # Errors
    /// If the rows do not fit together.
    pub fn each(
        towers: &Towers,
        images: usize,
        input: impl Into<FrameInput>,
        targets: &[Target],
    ) -> Result<Vec<TowerPlan>> {
        TowerPlan::each_with_rule(towers, images, input, targets, &UpdateRule::default())
    }

    /// As [`each`](Self::each), for any update.
    ///
    /// # Errors
    /// As [`each`](Self::each).
    pub fn each_with_rule(
        towers: &Towers,
        images: usize,
        input: impl Into<FrameInput>,
        targets: &[Target],
        rule: &UpdateRule,
    ) -> Result<Vec<TowerPlan>> {
        let shared = Arc::new(towers.clone());
        let each = targets.iter().enumerate().take(towers.specs.len());
        let input = input.into();
        let plan = |(rank, &target)| TowerPlan::new(&shared, rank, images, input, target, rule);
        each.map(plan).collect()
    }

    fn new(
        towers: &Arc<Towers>,
        rank: usize,
        images: usize,
        input: FrameInput,
        target: Target,
        rule: &UpdateRule,
    ) -> Result<TowerPlan> {
        let spec = &towers.specs[rank];
        spec.check_images(images).map_err(train::Error::from)?;
        let is_first = !matches!(spec.rows.last(), Some(Row::Exchange(_)));
        let classes = if is_first { spec.classes().map_err(train::Error::from)? } else { 0 };
        let mut planner = Planner::new();
        // The first tower has the loss.
        let input = FrameInput { dense_targets: input.dense_targets && is_first, ..input };
        let frame = Frame::plan(spec, images, classes, input, &mut planner);
        let network = TrainableNetwork::plan(spec, images, &mut planner, target);
        let network = network.map_err(train::Error::from)?;
        let ranks = towers.specs.len();
        // The first tower has a share of every parameter, in the order of the whole network.
        let mut whole = parameters_of(&towers.specs[0])?;
        whole.iter_mut().for_each(|entry| entry.shape = whole_shape(towers, entry));
        let share = |entry: &Parameter| share_of(towers, rank, entry);
        let sharing = Sharing { whole: &whole, share: &share, world: ranks };
        let table = optimizer::table(&network, &mut planner);
        let segment = |entry: &Parameter| Segment { start: entry.start, len: entry.len() };
        let segments = network.parameters.entries.iter().map(segment).collect();
        let optimizer = Optimizer::of_parts(rule, &network, segments, table, sharing, &mut planner);
        let mut floats = |len: usize| planner.claim(DType::F32, Shape::from([len]));
        let [own, all, buffer] = [MESSAGE, MESSAGE * ranks, BUFFER].map(&mut floats);
        let messages = MessageSlots { own, all, buffer };
        let base = SingleDevicePlan { network, frame, optimizer, bytes: planner.total() };
        Ok(TowerPlan { base, towers: Arc::clone(towers), messages, is_first })
    }

    /// The messages in flight at once, since a tower is at most one exchange ahead of another:
    /// their number, and the floats of each.
    pub(crate) fn messages(&self) -> impl Iterator<Item = (usize, usize)> {
        let (count, images) = (2 * self.towers.specs.len(), self.base.frame.images());
        let traffic = self.towers.traffic.iter();
        let activations = traffic.map(move |traffic| (count, traffic.floats * images));
        activations.chain(clip::message(&self.base).map(|floats| (count, floats)))
    }

    /// Runs all operations of a step and a test once, without communication.
    pub(crate) fn rehearse(&self, device: &mut Device) -> tensor::Result<()> {
        let SingleDevicePlan { network, frame, optimizer, .. } = &self.base;
        let mut no_exchange = |_: &mut Device, _| tensor::Result::Ok(());
        frame.preprocess(device, network.input)?;
        towers::forward(network, device, Phase::Train, &mut no_exchange)?;
        if self.is_first {
            frame.loss(device, network.output, network.d_output)?;
        }
        towers::backward(network, device, &mut no_exchange)?;
        optimizer.rehearse(device, network)?;
        frame.preprocess(device, network.input)?;
        towers::forward(network, device, Phase::Test, &mut no_exchange)?;
        if self.is_first { frame.probabilities(device, network.output) } else { Ok(()) }
    }

    /// Allocates the memory; `comm` connects to the other towers.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub fn open(self, device: Device, comm: Box<dyn Comm>) -> Result<Tower> {
        let TowerPlan { base, towers, messages, is_first } = self;
        let (net, link) = (DeviceNetwork::open(base, device)?, Link { comm, towers });
        Ok(Tower { net, link, messages, is_first, received: Vec::new() })
    }
}

impl Tower {
    fn forward(&mut self, phase: Phase) -> Result<()> {
        let Tower { net, link, .. } = self;
        let DeviceNetwork { plan, device, .. } = net;
        plan.frame.preprocess(device, plan.network.input)?;
        let mut cross = |device: &mut Device, crossing| link.cross(device, crossing);
        towers::forward(&plan.network, device, phase, &mut cross)
    }

    /// Starts to exchange tallies and control flags with towers in other processes.
    fn send_tally(
        &mut self,
        tally: Tally,
        exchange: Option<&mut ControlExchange>,
    ) -> Result<Option<Handle>> {
        let Some(exchange) = exchange else { return Ok(None) };
        let Tower { net, link, messages, .. } = self;
        let mut message = [0.0; MESSAGE];
        message[..4].copy_from_slice(&tally.to_kernel());
        message[4] = exchange.encode();
        net.device.upload(messages.own, &message)?;
        Ok(Some(link.comm.all_gather(&mut net.device, messages.own, messages.all)?))
    }

    /// The tally of the tower with the classifier; without an exchange this tower's own.
    fn receive_tally(
        &mut self,
        sent: Option<Handle>,
        own: Tally,
        exchange: Option<&mut ControlExchange>,
    ) -> Result<Tally> {
        let (Some(sent), Some(exchange)) = (sent, exchange) else { return Ok(own) };
        let Tower { net, link, messages, received, .. } = self;
        link.comm.wait(&mut net.device, sent)?;
        received.resize(messages.all.len(), 0.0);
        net.device.download_into(messages.all, received)?;
        let (each, _) = received.as_chunks::<MESSAGE>();
        exchange.decode(each.iter().map(|message| message[4]));
        let [loss, top1, top5, images, _] = each[0];
        Ok(Tally::from_kernel([loss, top1, top5, images]))
    }
}

impl Rank for Tower {
    fn net(&self) -> &DeviceNetwork {
        &self.net
    }

    fn net_mut(&mut self) -> &mut DeviceNetwork {
        &mut self.net
    }

    fn share(&self, entry: &Parameter) -> Share {
        (whole_shape(&self.link.towers, entry), self.link.share(entry))
    }

    fn step(
        &mut self,
        batch: &Batch,
        step: u64,
        mut stats: Option<&mut LayerStats>,
        mut exchange: Option<&mut ControlExchange>,
    ) -> Result<Tally> {
        self.net.load_training(batch)?;
        self.net.begin_step(step, &batch.labels)?;
        self.forward(Phase::Train)?;
        let DeviceNetwork { plan, device, .. } = &mut self.net;
        if self.is_first {
            plan.frame.loss(device, plan.network.output, plan.network.d_output)?;
        }
        device.mark_read()?;
        let tally = self.net.finite_tally(step)?;
        if let Some(stats) = &mut stats {
            stats.after_loss(&self.net.device)?;
        }
        let sent = self.send_tally(tally, exchange.as_deref_mut())?;
        let Tower { net, link, .. } = self;
        let DeviceNetwork { plan, device, .. } = net;
        let mut cross = |device: &mut Device, crossing| link.cross(device, crossing);
        towers::backward(&plan.network, device, &mut cross)?;
        clip_gradients(net, &mut *link.comm, step, stats.as_deref_mut())?;
        let DeviceNetwork { plan, device, .. } = net;
        plan.optimizer.update(device, &plan.network)?;
        if let Some(stats) = stats {
            stats.after_update(device, plan)?;
        }
        net.average(step)?;
        self.receive_tally(sent, tally, exchange)
    }

    fn test(&mut self, batch: &Batch, mut exchange: Option<&mut ControlExchange>) -> Result<Tally> {
        self.net.load(batch)?;
        self.forward(Phase::Test)?;
        let DeviceNetwork { plan, device, .. } = &mut self.net;
        if self.is_first {
            plan.frame.probabilities(device, plan.network.output)?;
        }
        let tally = plan.frame.tally(device)?;
        let sent = self.send_tally(tally, exchange.as_deref_mut())?;
        self.receive_tally(sent, tally, exchange)
    }

    fn probabilities(&mut self, into: &mut [f32]) -> Result<()> {
        Ok(self.net.device.download_into(self.net.plan.frame.probabilities, into)?)
    }

    fn agree(&mut self, exchange: &mut ControlExchange) -> Result<()> {
        let sent = self.send_tally(Tally::default(), Some(exchange))?;
        self.receive_tally(sent, Tally::default(), Some(exchange)).map(drop)
    }

    fn place(&self) -> (usize, usize) {
        (self.link.comm.rank(), self.link.comm.world())
    }

    fn part(&self) -> (usize, usize) {
        (0, 1)
    }

    fn images(&self) -> usize {
        self.net.plan.frame.images()
    }

    fn has_all_parameters(&self) -> bool {
        false
    }

    fn all_gather_velocities(&mut self) -> Result<()> {
        Ok(())
    }

    fn writes_to_snapshot(&self, _: &Parameter) -> bool {
        true
    }

    fn shares_to_gather(&self, rank: usize) -> Result<Vec<(usize, String, Range<usize>)>> {
        let entries = parameters_of(self.link.spec(rank))?.into_iter().enumerate();
        let share = |(idx, entry): (usize, Parameter)| {
            (idx, entry.name.clone(), self.link.share_of(rank, &entry))
        };
        Ok(entries.map(share).collect())
    }

    fn stats_of_all(&mut self, own: &LayerStats) -> Result<Vec<LayerStats>> {
        let Tower { net, link, messages, .. } = self;
        let all =
            bytes::gather(&mut *link.comm, &mut net.device, messages.buffer, &own.to_bytes())?;
        let each = all.iter().enumerate();
        each.map(|(rank, bytes)| {
            Ok(LayerStats::from_bytes(&parameters_of(link.spec(rank))?, bytes))
        })
        .collect()
    }

    fn side_channel(&mut self) -> Option<SideChannel<'_>> {
        let Tower { net, link, messages, .. } = self;
        Some(SideChannel { comm: &mut *link.comm, net, buffer: messages.buffer })
    }

    fn traffic(&self) -> Traffic {
        self.link.comm.traffic()
    }

    fn enter<'a>(self: Box<Self>, work: Box<dyn FnOnce(Box<dyn Rank>) + Send + 'a>) {
        Device::enter_with(*self, |rank| &rank.net.device, |rank| work(Box::new(rank)));
    }
}
