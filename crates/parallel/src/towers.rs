//! A network in towers, each on a device of its own (section 3.5).
//!
//! Every tower has its share of the weights and a link to the others. All of them are given the
//! same batches; only the first has the classifier, and so the loss. What crosses is what
//! [`layers::towers`] says. No gradient of a weight does, since no weight is on two devices.
//!
//! The bits are those of one device that runs [`on_one_device`](layers::towers::on_one_device).

use crate::accord::Accord;
use crate::rank::{Line, Rank};
use crate::{Result, parameters_of};
use comm::{Comm, Handle, Traffic, bytes};
use data::Batch;
use evaluate::Frame;
use evaluate::Tally;
use layers::towers::{self, Towers};
use layers::{Parameter, Phase, Row, Spec, TrainableNetwork, Transfer};
use std::ops::Range;
use std::sync::Arc;
use tensor::{DType, Device, Planner, Shape, Slot, Target};
use train::device_network::{DeviceNetwork, Share};
use train::optimizer::Optimizer;
use train::plan::Plan;
use train::recipe::Mean;
use train::stats::LayerStats;

/// A tower, laid out before any memory is taken.
#[derive(Debug)]
pub struct TowerPlan {
    /// The tower and what surrounds it.
    pub base: Plan,
    towers: Arc<Towers>,
    meeting: Meeting,
    /// Whether it ends in the classifier.
    is_first: bool,
}

/// Slots through which towers in processes of their own talk beside their exchanges.
#[derive(Clone, Copy, Debug)]
struct Meeting {
    /// A tally and a word: this tower's, and all towers'.
    own: Slot,
    all: Slot,
    /// Pieces of whatever else.
    room: Slot,
}

/// A tally and a word.
const SAID: usize = 5;
/// Floats of a piece of what is sent beside a step.
const ROOM: usize = 1 << 18;

/// A tower on its device.
#[derive(Debug)]
pub struct Tower {
    net: DeviceNetwork,
    link: Link,
    meeting: Meeting,
    is_first: bool,
    /// What all towers said last.
    heard: Vec<f32>,
}

/// A tower's way to the others.
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

    /// A tower's network.
    fn spec(&self, rank: usize) -> &Spec {
        &self.towers.specs[rank]
    }

    /// Floats that a parameter has on all towers together.
    fn whole_len(&self, entry: &Parameter) -> usize {
        self.towers.whole_len(&entry.name, entry.len())
    }

    /// Its shape there: filters and units come first.
    fn whole_shape(&self, entry: &Parameter) -> Shape {
        let first = entry.shape.dims()[0];
        entry.shape.with_outer(first * self.whole_len(entry) / entry.len().max(1))
    }

    /// Which of them are here.
    fn share(&self, entry: &Parameter) -> Range<usize> {
        self.share_of(self.comm.rank(), entry)
    }

    /// Which of them are on a tower that has such a parameter.
    fn share_of(&self, rank: usize, entry: &Parameter) -> Range<usize> {
        let whole = self.whole_len(entry);
        let share = self.towers.share(&entry.name, whole, rank);
        share.ok().flatten().expect("a parameter of this tower")
    }
}

impl TowerPlan {
    /// Lays out each tower for batches of `images` images, less a mean image of a height and width
    /// or less a mean colour, on its own device.
    ///
    /// # Errors
    /// If the rows do not fit together.
    pub fn each(
        towers: &Towers,
        images: usize,
        input: (Mean, [usize; 2]),
        targets: &[Target],
    ) -> Result<Vec<TowerPlan>> {
        let shared = Arc::new(towers.clone());
        let each = towers.specs.iter().zip(targets);
        let plan = |(spec, &target)| TowerPlan::new(&shared, spec, images, input, target);
        each.map(plan).collect()
    }

    fn new(
        towers: &Arc<Towers>,
        spec: &Spec,
        images: usize,
        input: (Mean, [usize; 2]),
        target: Target,
    ) -> Result<TowerPlan> {
        spec.check_images(images).map_err(train::Error::from)?;
        let is_first = !matches!(spec.rows.last(), Some(Row::Exchange(_)));
        let classes = if is_first { spec.classes().map_err(train::Error::from)? } else { 0 };
        let mut planner = Planner::new();
        let frame = Frame::plan(spec, (images, classes), input, &mut planner);
        let network = TrainableNetwork::plan(spec, images, &mut planner, target);
        let network = network.map_err(train::Error::from)?;
        let optimizer = Optimizer::sgd(&network, &mut planner);
        let ranks = towers.specs.len();
        let mut floats = |len: usize| planner.claim(DType::F32, Shape::from([len]));
        let meeting = Meeting { own: floats(SAID), all: floats(SAID * ranks), room: floats(ROOM) };
        let base = Plan { network, frame, optimizer, bytes: planner.total() };
        Ok(TowerPlan { base, towers: Arc::clone(towers), meeting, is_first })
    }

    /// So that no step allocates: a tower is at most one exchange ahead of another. How many
    /// messages of how many floats.
    pub(crate) fn messages(&self) -> impl Iterator<Item = (usize, usize)> {
        let (count, images) = (2 * self.towers.specs.len(), self.base.frame.images());
        self.towers.traffic.iter().map(move |traffic| (count, traffic.floats * images))
    }

    /// Does on the device what a tower does, without the others: for a rehearsal.
    pub(crate) fn rehearse(&self, device: &mut Device) -> tensor::Result<()> {
        let Plan { network, frame, optimizer, .. } = &self.base;
        let mut no_exchange = |_: &mut Device, _| tensor::Result::Ok(());
        frame.preprocess(device, network.input)?;
        towers::forward(network, device, Phase::Train, &mut no_exchange)?;
        if self.is_first {
            frame.loss(device, network.output, network.d_output)?;
        }
        towers::backward(network, device, &mut no_exchange)?;
        optimizer.update(device, network)?;
        frame.preprocess(device, network.input)?;
        towers::forward(network, device, Phase::Test, &mut no_exchange)?;
        if self.is_first { frame.probabilities(device, network.output) } else { Ok(()) }
    }

    /// Takes the memory; `comm` is the way to the other towers.
    ///
    /// # Errors
    /// If there is not enough.
    pub fn open(self, device: Device, comm: Box<dyn Comm>) -> Result<Tower> {
        let TowerPlan { base, towers, meeting, is_first } = self;
        let (net, link) = (DeviceNetwork::open(base, device)?, Link { comm, towers });
        Ok(Tower { net, link, meeting, is_first, heard: Vec::new() })
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

    /// Sends the other towers' processes what the one with the classifier knows, and this rank's
    /// word; nothing where there are none.
    fn say(&mut self, tally: Tally, accord: Option<&mut Accord>) -> Result<Option<Handle>> {
        let Some(accord) = accord else { return Ok(None) };
        let Tower { net, link, meeting, .. } = self;
        let mut said = [0.0; SAID];
        said[..4].copy_from_slice(&tally.to_kernel());
        said[4] = accord.word();
        net.device.upload(meeting.own, &said)?;
        Ok(Some(link.comm.all_gather(&mut net.device, meeting.own, meeting.all)?))
    }

    /// What the one with the classifier knows; alone in its process, a tower knows its own tally.
    fn hear(
        &mut self,
        said: Option<Handle>,
        own: Tally,
        accord: Option<&mut Accord>,
    ) -> Result<Tally> {
        let (Some(said), Some(accord)) = (said, accord) else { return Ok(own) };
        let Tower { net, link, meeting, heard, .. } = self;
        link.comm.wait(&mut net.device, said)?;
        heard.resize(meeting.all.len(), 0.0);
        net.device.download_into(meeting.all, heard)?;
        let (each, _) = heard.as_chunks::<SAID>();
        accord.hear(each.iter().map(|said| said[4]));
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
        (self.link.whole_shape(entry), self.link.share(entry))
    }

    fn learn(
        &mut self,
        batch: &Batch,
        step: u64,
        mut stats: Option<&mut LayerStats>,
        mut accord: Option<&mut Accord>,
    ) -> Result<Tally> {
        self.net.load(batch)?;
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
        let said = self.say(tally, accord.as_deref_mut())?;
        let Tower { net, link, .. } = self;
        let DeviceNetwork { plan, device, .. } = net;
        let mut cross = |device: &mut Device, crossing| link.cross(device, crossing);
        towers::backward(&plan.network, device, &mut cross)?;
        plan.optimizer.update(device, &plan.network)?;
        if let Some(stats) = stats {
            stats.after_update(device, plan)?;
        }
        self.hear(said, tally, accord)
    }

    fn test(&mut self, batch: &Batch, mut accord: Option<&mut Accord>) -> Result<Tally> {
        self.net.load(batch)?;
        self.forward(Phase::Test)?;
        let DeviceNetwork { plan, device, .. } = &mut self.net;
        if self.is_first {
            plan.frame.probabilities(device, plan.network.output)?;
        }
        let tally = plan.frame.tally(device)?;
        let said = self.say(tally, accord.as_deref_mut())?;
        self.hear(said, tally, accord)
    }

    fn probabilities(&mut self, into: &mut [f32]) -> Result<()> {
        Ok(self.net.device.download_into(self.net.plan.frame.probabilities, into)?)
    }

    fn agree(&mut self, accord: &mut Accord) -> Result<()> {
        let said = self.say(Tally::default(), Some(accord))?;
        self.hear(said, Tally::default(), Some(accord)).map(drop)
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

    fn new_stats(&self) -> LayerStats {
        LayerStats::new(&self.net.plan.network)
    }

    fn has_all(&self) -> bool {
        false
    }

    fn share_out_velocities(&mut self) -> Result<()> {
        Ok(())
    }

    fn is_its_own(&self, _: &Parameter) -> bool {
        true
    }

    fn shares_of(&self, rank: usize) -> Result<Vec<(usize, String, Range<usize>)>> {
        let entries = parameters_of(self.link.spec(rank))?.into_iter().enumerate();
        let share = |(idx, entry): (usize, Parameter)| {
            (idx, entry.name.clone(), self.link.share_of(rank, &entry))
        };
        Ok(entries.map(share).collect())
    }

    fn stats_of_all(&mut self, own: &LayerStats) -> Result<Vec<LayerStats>> {
        let Tower { net, link, meeting, .. } = self;
        let device = (&mut net.device, meeting.room);
        let all = bytes::gather(&mut *link.comm, device, &own.to_bytes())?;
        let each = all.iter().enumerate();
        each.map(|(rank, bytes)| {
            Ok(LayerStats::from_bytes(&parameters_of(link.spec(rank))?, bytes))
        })
        .collect()
    }

    fn line(&mut self) -> Option<Line<'_>> {
        let Tower { net, link, meeting, .. } = self;
        Some(Line { comm: &mut *link.comm, net, room: meeting.room })
    }

    fn traffic(&self) -> Traffic {
        self.link.comm.traffic()
    }

    fn enter<'a>(self: Box<Self>, work: Box<dyn FnOnce(Box<dyn Rank>) + Send + 'a>) {
        let Tower { net, link, meeting, is_first, heard } = *self;
        net.enter(|net| work(Box::new(Tower { net, link, meeting, is_first, heard })));
    }
}
