//! What changes from step to step, and what a network's passes require before they run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tensor::{DType, Device, Error, Planner, Result, Shape, Slot};

/// What changes from step to step: dropout masks are drawn for the seed and the step; batch
/// normalisation reads the number of images.
///
/// [`Network::set_clock`](crate::Network::set_clock) uploads it before a pass in
/// [`Phase::Train`](crate::Phase::Train).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clock {
    /// The seed of all random draws.
    pub seed: u64,
    /// The number of the step; a micro-shard counts as a step of its own.
    pub step: u32,
    /// The number of valid images: the first ones. The others are padding.
    pub images: u32,
    /// The valid images' share of the whole batch, if that is split: the weight of their running
    /// statistics.
    pub share: f32,
}

/// Length of a clock in a device's memory, in 32-bit words.
const WORDS: usize = 5;

impl Clock {
    /// A step on a whole batch with `images` valid images.
    pub fn new(seed: u64, step: u32, images: u32) -> Clock {
        Clock { seed, step, images, share: 1.0 }
    }

    /// The seed and the step, as 32-bit words.
    fn words(self) -> [u32; WORDS] {
        let Clock { seed, step, images, share } = self;
        [seed as u32, (seed >> 32) as u32, step, images, share.to_bits()]
    }
}

/// A clock in a device's memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClockSlot(Slot);

impl ClockSlot {
    pub(crate) fn plan(planner: &mut Planner) -> ClockSlot {
        ClockSlot(planner.claim(DType::U32, Shape::from([WORDS])))
    }

    pub(crate) fn slot(self) -> Slot {
        self.0
    }

    pub(crate) fn upload(self, device: &mut Device, clock: Clock) -> Result<()> {
        device.upload(self.0, &clock.words())
    }

    pub(crate) fn upload_share(self, device: &mut Device, share: f32) -> Result<()> {
        device.upload(self.0.part(WORDS - 1, Shape::from([1])), &[share.to_bits()])
    }
}

/// What has been uploaded to a network; shared by the network, its rows and its parameters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readiness(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    has_clock: AtomicBool,
    is_packed: AtomicBool,
}

impl Readiness {
    pub(crate) fn set_clock(&self) {
        self.0.has_clock.store(true, Relaxed);
    }

    /// Whether the packed weights are those of the parameters.
    pub(crate) fn set_packed(&self, is_packed: bool) {
        self.0.is_packed.store(is_packed, Relaxed);
    }

    /// # Errors
    /// [`Error::Misuse`] if the clock was never set.
    pub(crate) fn check_clock(&self, row: &str) -> Result<()> {
        if self.0.has_clock.load(Relaxed) {
            return Ok(());
        }
        Err(Error::Misuse(format!(
            "{row} reads the step's clock in Phase::Train, and it was not set: call \
             Network::set_clock before the forward pass of every step"
        )))
    }

    /// # Errors
    /// [`Error::Misuse`] if the weights were not packed since they changed.
    pub(crate) fn check_packed(&self, row: &str) -> Result<()> {
        if self.0.is_packed.load(Relaxed) {
            return Ok(());
        }
        Err(Error::Misuse(format!(
            "{row} reads packed weights in Phase::Infer, and its parameters were not packed since \
             they were set: call Network::prepare first, or use Phase::Test"
        )))
    }
}
