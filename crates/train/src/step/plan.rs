//! What a step takes and does, laid out before any memory is taken.

use super::accord::Meeting;
use super::shards::{Layout, Replica};
use super::{Adam, Recorded, Step};
use crate::Result;
use crate::recipe::{Mean, Optimizer};
use crate::replicas::Cut;
use kernels::{preprocess, sgd, softmax_loss};
use layers::hybrid::{self, Head};
use layers::{Mode, Network, Parameter, Phase, Row, Spec};
use std::ops::Range;
use tensor::{DType, Device, Planner, Shape, Slot, Target};

/// A network with everything around it laid out, before any memory is taken.
#[derive(Debug)]
pub struct Plan {
    pub(super) network: Network,
    pub(super) slots: Slots,
    /// Rate, momentum and decay of each parameter.
    pub(super) table: Slot,
    pub(super) preprocess: preprocess::Geometry,
    /// Absent in a tower without the classifier.
    pub(super) loss: Option<softmax_loss::Geometry>,
    /// What of each parameter is updated here.
    segments: Vec<sgd::Segment>,
    /// If that is how it learns.
    pub(super) adam: Option<Adam>,
    /// The linear layers, where their units are shared: then the network ends below them.
    pub(super) head: Option<Head>,
    /// Of a replica, or of one device that makes one micro-shard after the other.
    pub(super) layout: Option<Layout>,
    /// Of a rank with a part of the parameters, if the others are in processes of their own.
    pub(super) meeting: Option<Meeting>,
    bytes: usize,
}

/// What surrounds the network.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slots {
    pub(super) pixels: Slot,
    pub(super) views: Slot,
    pub(super) tints: Slot,
    pub(super) labels: Slot,
    pub(super) mean: Slot,
    pub(super) probabilities: Slot,
    /// Loss, top-1 errors, top-5 errors, images.
    pub(super) tally: Slot,
}

/// Where the bytes of a plan go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub total: usize,
    /// Weights, and in training their gradients and velocities, or both of Adam's moments.
    pub parameters: usize,
    /// Whether that is Adam's.
    pub adam: bool,
    /// Everything else: images, activations and their gradients, scratch.
    pub activations: usize,
}

/// What of the work is a plan's.
enum Part {
    /// All, or a tower's.
    Whole(Optimizer),
    /// Some images.
    Replica(Cut),
    /// Some images, and some units.
    Hybrid(Cut),
}

impl Plan {
    /// Lays out a network for batches of `images` images, less a mean image of `stored` height and
    /// width or less a mean colour, on such a device.
    ///
    /// # Errors
    /// [`Error::Network`](crate::Error::Network) if the rows do not fit together.
    pub fn new(
        spec: &Spec,
        images: usize,
        mode: Mode,
        input: (Mean, [usize; 2]),
        target: Target,
    ) -> Result<Plan> {
        Plan::lay_out(spec, images, mode, input, target, Part::Whole(Optimizer::Sgd))
    }

    /// As [`new`](Self::new), to train with Adam.
    ///
    /// # Errors
    /// As there.
    pub fn with_adam(
        spec: &Spec,
        images: usize,
        input: (Mean, [usize; 2]),
        target: Target,
    ) -> Result<Plan> {
        let part = Part::Whole(Optimizer::Adam);
        Plan::lay_out(spec, images, Mode::Train, input, target, part)
    }

    /// As [`new`](Self::new), to train on a cut of batches of `batch` images.
    ///
    /// # Errors
    /// As there.
    pub fn of_replica(
        spec: &Spec,
        batch: usize,
        cut: Cut,
        input: (Mean, [usize; 2]),
        target: Target,
    ) -> Result<Plan> {
        Plan::lay_out(spec, batch / cut.shards, Mode::Train, input, target, Part::Replica(cut))
    }

    /// As [`of_replica`](Self::of_replica), with a share of the linear layers' units instead of
    /// all of them: see [`hybrid`](crate::hybrid).
    ///
    /// # Errors
    /// As there, and if the units cannot be shared.
    pub fn of_hybrid(
        spec: &Spec,
        batch: usize,
        cut: Cut,
        input: (Mean, [usize; 2]),
        target: Target,
    ) -> Result<Plan> {
        Plan::lay_out(spec, batch / cut.shards, Mode::Train, input, target, Part::Hybrid(cut))
    }

    fn lay_out(
        spec: &Spec,
        images: usize,
        mode: Mode,
        (mean, stored): (Mean, [usize; 2]),
        target: Target,
        part: Part,
    ) -> Result<Plan> {
        spec.check_images(images)?;
        let [height, width, channels] = spec.input;
        assert_eq!(channels, 3, "images have three channels");
        let classes = match spec.rows.last() {
            Some(Row::Exchange(_)) => None, // the classifier is on another tower
            _ => Some(spec.classes()?),
        };
        let mut planner = Planner::new();
        let mut claim = |dtype, shape| planner.claim(dtype, shape);
        // These live as long as the step; the network, planned after them, reuses its own as it
        // goes.
        let (mean, mean_form) = match mean {
            Mean::Color => (claim(DType::F32, Shape::from([3])), preprocess::Mean::Color),
            Mean::Image => {
                let [height, width] = stored;
                let slot = claim(DType::F32, Shape::from([height, width, 3]));
                (slot, preprocess::Mean::Image { height, width })
            }
        };
        let slots = Slots {
            pixels: claim(DType::U8, Shape::from([images, height, width, 3])),
            views: claim(DType::U32, Shape::from([images, 3])),
            tints: claim(DType::F32, Shape::from([images, 4])),
            labels: claim(DType::U32, Shape::from([images])),
            mean,
            probabilities: claim(DType::F32, Shape::from([images, classes.unwrap_or(0)])),
            tally: claim(DType::F32, softmax_loss::tally_shape(images)),
        };
        let whole = |planner: &mut _| Network::plan(spec, images, mode, planner, target);
        let (network, head, cut) = match part {
            Part::Whole(_) => (whole(&mut planner)?, None, None),
            Part::Replica(cut) => (whole(&mut planner)?, None, Some(cut)),
            Part::Hybrid(cut) => {
                let Cut { shards, rank, world, .. } = cut;
                let shares = hybrid::Shares { images, shards, rank, world };
                let (network, head) = hybrid::plan(spec, shares, &mut planner, target)?;
                (network, Some(head), Some(cut))
            }
        };
        let entries = &network.parameters.entries;
        let table = planner.claim(DType::F32, Shape::from([entries.len(), 3]));
        let layout = cut.map(|cut| Layout::plan(&network, head.as_ref(), cut, &mut planner));
        let towers = spec.rows.iter().find_map(|row| match row {
            Row::Exchange(exchange) => Some(exchange.part.of),
            _ => None,
        });
        let ranks = head.as_ref().map(|head| head.shares().world).filter(|&world| world > 1);
        let meeting = towers.or(ranks).map(|ranks| Meeting::plan(ranks, &mut planner));
        let adam = match part {
            Part::Whole(Optimizer::Adam) => Some(Adam::plan(&network, &mut planner)),
            _ => None,
        };
        let whole = || entries.iter().map(|e| sgd::Segment { start: e.start, len: e.len() });
        let segments = layout.as_ref().map(|layout| layout.segments(&network));
        Ok(Plan {
            segments: segments.unwrap_or_else(|| whole().collect()),
            adam,
            layout,
            meeting,
            preprocess: preprocess::Geometry { images, height, width, mean: mean_form },
            loss: classes.map(|classes| softmax_loss::Geometry { images, classes }),
            bytes: planner.total(),
            network,
            head,
            slots,
            table,
        })
    }

    /// Which micro-shards it is for, if it is for some.
    pub fn cut(&self) -> Option<Cut> {
        self.layout.as_ref().map(|layout| layout.cut)
    }

    /// Floats of the messages that a replica has under way at once.
    pub(crate) fn messages(&self) -> impl Iterator<Item = usize> {
        self.layout.iter().flat_map(Layout::messages)
    }

    pub(crate) fn segments(&self) -> &[sgd::Segment] {
        &self.segments
    }

    /// The network.
    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    /// The norm of a parameter's last update, if Adam made it.
    pub(crate) fn adams_update_norm(
        &self,
        device: &Device,
        idx: usize,
        room: &mut [f32],
    ) -> Result<Option<f64>> {
        let norm =
            |adam: &Adam| adam.update_norm(device, self.table, &self.network.parameters, idx, room);
        self.adam.as_ref().map(norm).transpose()
    }

    /// What will be learned.
    pub fn parameters(&self) -> &layers::Parameters {
        &self.network.parameters
    }

    /// What it will take of the device's memory.
    pub fn memory(&self) -> Memory {
        let parameters = &self.network.parameters;
        let second = self.adam.as_ref().map(|adam| adam.second);
        let blocks = [Some(parameters.values), parameters.gradients, parameters.velocities, second];
        let parameters = blocks.iter().flatten().map(|block| block.range().len()).sum();
        let (total, activations) = (self.bytes, self.bytes - parameters);
        Memory { total, parameters, adam: second.is_some(), activations }
    }

    /// Finds out whether `device` can run this plan: it has room, and a form of every op.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) with what is missing.
    pub fn check(&self, device: &mut Device) -> Result<()> {
        device.check_room(self.bytes)?;
        device.rehearse(|device| {
            if self.network.is_tower() {
                return self.rehearse_alone(device);
            }
            if self.head.is_some() {
                return self.rehearse_head(device);
            }
            if self.network.d_output.is_some() {
                self.forward(device)?;
                self.backward(device)?;
            }
            self.test(device) // what trains is validated, too
        })?;
        Ok(())
    }

    /// Images to loss, its gradient and the tally.
    pub(super) fn forward(&self, device: &mut Device) -> tensor::Result<()> {
        self.preprocess(device)?;
        self.network.forward(device, Phase::Train)?;
        self.loss(device)
    }

    /// Logits to loss, its gradient and the tally, where the classifier is.
    pub(super) fn loss(&self, device: &mut Device) -> tensor::Result<()> {
        let Some(loss) = &self.loss else { return Ok(()) };
        let ([scores, d_scores], slots) = (self.scores(), &self.slots);
        softmax_loss::forward_backward(device, loss, scores, slots.labels, d_scores, slots.tally)
    }

    /// The loss's gradient to new parameters.
    pub(super) fn backward(&self, device: &mut Device) -> tensor::Result<()> {
        self.network.backward(device)?;
        self.update(device)
    }

    /// Gradients to new parameters.
    pub(super) fn update(&self, device: &mut Device) -> tensor::Result<()> {
        let parameters = &self.network.parameters;
        if let Some(adam) = &self.adam {
            return adam.update(device, self.table, parameters);
        }
        let (Some(dw), Some(v)) = (parameters.gradients, parameters.velocities) else {
            unreachable!("a network planned for training has gradients");
        };
        sgd::step(device, &self.segments, self.table, dw, parameters.values, v)
    }

    /// Images to probabilities and the tally.
    pub(super) fn test(&self, device: &mut Device) -> tensor::Result<()> {
        // In training, weights change from one test to the next.
        let trains = self.network.d_output.is_some();
        let phase = if trains { Phase::Test } else { Phase::Infer };
        self.preprocess(device)?;
        self.network.forward(device, phase)?;
        self.probabilities(device)
    }

    /// Logits to probabilities and the tally, where the classifier is.
    pub(super) fn probabilities(&self, device: &mut Device) -> tensor::Result<()> {
        let Some(loss) = &self.loss else { return Ok(()) };
        let (logits, slots) = (self.logits(), &self.slots);
        let (labels, probabilities) = (slots.labels, slots.probabilities);
        softmax_loss::forward(device, loss, logits, labels, probabilities, slots.tally)
    }

    fn logits(&self) -> Slot {
        self.head.as_ref().map_or(self.network.output, |head| head.scores)
    }

    /// The classifier's output and its gradient.
    pub(super) fn scores(&self) -> [Slot; 2] {
        let d_output = self.head.as_ref().map(|head| head.d_scores).or(self.network.d_output);
        [self.logits(), d_output.expect("a network planned for training")]
    }

    /// The whole shape of a parameter whose units are shared, and which of its numbers a rank has.
    pub(super) fn units_of(&self, rank: usize, entry: &Parameter) -> Option<(Shape, Range<usize>)> {
        let head = self.head.as_ref()?;
        let (own, whole) = head.units(entry.layer())?;
        let (units, each) = (head.shares().units(whole, rank), entry.len() / own.len());
        Some((entry.shape.with_outer(whole), units.start * each..units.end * each))
    }

    /// Images to the network's output.
    pub(super) fn features(&self, device: &mut Device, phase: Phase) -> tensor::Result<()> {
        self.preprocess(device)?;
        self.network.forward(device, phase)
    }

    pub(super) fn preprocess(&self, device: &mut Device) -> tensor::Result<()> {
        let Slots { pixels, views, tints, mean, .. } = self.slots;
        let x = self.network.input;
        preprocess::forward(device, &self.preprocess, pixels, views, tints, mean, x)
    }

    /// Takes the memory.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) if there is not enough.
    pub fn open(self, mut device: Device) -> Result<Step> {
        device.reserve(self.bytes)?;
        let scaled_tints = vec![0.0; self.slots.tints.len()];
        let replica = self.layout.as_ref().map(|layout| Replica::new(&self, layout));
        Ok(Step {
            replica,
            plan: self,
            device,
            recorded: Recorded::default(),
            scale: 1.0,
            scaled_tints,
            table: Vec::new(),
            seed: 0,
            link: None,
            accord: None,
            heard: Vec::new(),
        })
    }
}
