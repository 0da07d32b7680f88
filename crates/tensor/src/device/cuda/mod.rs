//! An NVIDIA GPU: one block of its memory, one stream of work, and its loaded kernels.
//!
//! libcuda is found when the program runs; the build does not need CUDA. All work is enqueued on
//! one stream and runs in order; only the upload of the next batch may overlap with it ([`ahead`]).
//! The host waits only in downloads, and before an upload overwrites staged bytes that are still
//! being copied. The work of a step is recorded once and replayed ([`Recording`]).

mod ahead;
pub mod cublaslt;
pub mod cudnn;
mod driver;
mod event;
mod graph;
mod image;
mod launch;
mod library;
pub mod nccl;
mod nvrtc;
mod pinned;
mod profile;
mod staging;
pub mod tune;

pub use graph::Recording;
pub use launch::{Address, Argument, Grid, Image, Operand};
pub use pinned::PinnedBuffer;
pub use profile::Lap;

use crate::planner::PlannerInUse;
use crate::{Bf16, DType, Element, Error, Precision, Result, Slot};
use ahead::Ahead;
use driver::{Context, Gpu, Memory, Stream};
use launch::Kernels;
use pinned::PinnedBuffers;
use profile::Profile;
use staging::Staging;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// An NVIDIA GPU.
#[derive(Debug)]
pub struct Cuda {
    gpu: Gpu,
    state: State,
    eager: bool,
    precision: Precision,
    profile: Option<Profile>,
    /// Since the start of a rehearsal or recording.
    launches: usize,
    /// Identifies this reservation of memory and the precision; recordings of another are invalid.
    reservation: u64,
    // Fields are dropped in this order: the context last.
    cublaslt: Option<cublaslt::Engine>,
    cudnn: Option<cudnn::Engine>,
    tuner: Option<tune::Tuner>,
    kernels: Kernels,
    staging: Option<Staging>,
    pinned: PinnedBuffers,
    ahead: Option<Ahead>,
    /// The connection to other GPUs: waiting for this one may mean waiting for them.
    others: Option<Arc<nccl::Shared>>,
    memory: Option<Memory>,
    planner: PlannerInUse,
    stream: Stream,
    context: Arc<Context>,
}

/// How ops that are called are executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// They run.
    Working,
    /// Only their kernels are loaded and their arguments checked.
    Rehearsing,
    /// They are captured into a graph.
    Recording,
}

/// The least GPU with tensor cores for tf32 and bf16.
const TENSOR_CORES: (u32, u32) = (8, 0);

/// One that was never given out.
fn number_of_reservation() -> u64 {
    static RESERVATIONS: AtomicU64 = AtomicU64::new(1);
    RESERVATIONS.fetch_add(1, Relaxed)
}

impl Cuda {
    /// The GPU with this number.
    ///
    /// # Errors
    /// [`Error::DeviceUnavailable`] if the driver or the GPU is missing or too old.
    pub fn open(number: usize) -> Result<Cuda> {
        let unavailable =
            |reason| Error::DeviceUnavailable { device: format!("cuda:{number}"), reason };
        let gpu = driver::find(number).map_err(unavailable)?;
        let context = Context::of(&gpu).map_err(unavailable)?;
        let stream = Stream::new(&context).map_err(|error| unavailable(error.to_string()))?;
        let (kernels, state) = (Kernels::new(&context, gpu.capability), State::Working);
        Ok(Cuda {
            gpu,
            state,
            eager: false,
            precision: Precision::F32,
            profile: None,
            launches: 0,
            reservation: 0,
            cublaslt: None,
            cudnn: None,
            tuner: None,
            kernels,
            staging: None,
            pinned: PinnedBuffers::default(),
            ahead: None,
            others: None,
            memory: None,
            planner: PlannerInUse::default(),
            stream,
            context,
        })
    }

    /// `cuda:0: NVIDIA H200, compute capability 9.0`.
    pub fn name(&self) -> String {
        format!("cuda:{}: {}", self.gpu.number, self.model())
    }

    /// The name without the number, the same for all GPUs of a model.
    pub fn model(&self) -> String {
        let Gpu { name, capability: (major, minor), .. } = &self.gpu;
        format!("{name}, compute capability {major}.{minor}")
    }

    /// The version of CUDA that its driver is made for: `13.0`.
    pub fn driver(&self) -> String {
        driver::version().map_or_else(|why| why, driver::dotted)
    }

    /// The finest that its tensor cores have, if it has such: [`Precision::Tf32`] since compute
    /// capability 8.0.
    pub fn fastest_precision(&self) -> Precision {
        if self.has_tensor_cores() { Precision::Tf32 } else { Precision::F32 }
    }

    /// GPUs of 11.x have no code of their own among our kernels, and get that of 7.5.
    fn has_tensor_cores(&self) -> bool {
        self.gpu.capability >= TENSOR_CORES && self.gpu.capability.0 != 11
    }

    /// The precision of products; initially f32.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Sets the precision, and returns it: f32 if the GPU has no tensor cores for the requested one
    /// (before compute capability 8.0). Recorded steps are recorded again.
    pub fn set_precision(&mut self, wanted: Precision) -> Precision {
        let precision = if self.has_tensor_cores() { wanted } else { Precision::F32 };
        if precision != self.precision {
            self.precision = precision;
            self.reservation = number_of_reservation();
        }
        precision
    }

    pub(super) fn reserve(&mut self, bytes: usize) -> Result<()> {
        self.context.bind()?;
        self.synchronize()?;
        (self.memory, self.planner) = (None, PlannerInUse::default());
        self.reservation = number_of_reservation();
        self.check_room(bytes)?;
        if self.staging.is_none() {
            self.staging = Some(Staging::new(&self.context)?);
            self.ahead = Some(Ahead::new(&self.context, &self.pinned)?);
        }
        let memory = Memory::new(&self.context, bytes).map_err(|_| self.no_room(bytes))?;
        // SAFETY: all of the memory, which is freed after the stream is idle.
        unsafe { self.stream.fill(memory.base(), 0, bytes)? };
        self.memory = Some(memory);
        Ok(())
    }

    pub(super) fn check_room(&self, bytes: usize) -> Result<()> {
        self.context.bind()?;
        let free = self.free_bytes()?;
        if bytes <= free { Ok(()) } else { Err(self.no_room(bytes)) }
    }

    fn free_bytes(&self) -> Result<usize> {
        let reserved = self.memory.as_ref().map_or(0, Memory::bytes);
        Ok(driver::free_memory()? + reserved)
    }

    fn no_room(&self, needed: usize) -> Error {
        let device = format!("cuda:{}", self.gpu.number);
        let free = self.free_bytes().unwrap_or(0);
        Error::OutOfMemory { device, needed, free, group: None }
    }

    pub(super) fn upload<T: Element>(&mut self, slot: Slot, host: &[T]) -> Result<()> {
        assert!(self.state == State::Working, "an upload is no part of what is recorded");
        assert!(host.len() <= slot.len(), "{} elements for a slot of {}", host.len(), slot.len());
        let to = self.address_of::<T>(slot);
        self.join()?;
        let staging = self.staging.as_mut().expect("memory is reserved before an upload");
        if let Some(others) = &self.others {
            others.wait(|| staging.has_room(size_of_val(host)))?;
        }
        // SAFETY: the slot lies in the reserved memory and has as many elements.
        unsafe { staging.upload(&self.stream, to, bytemuck::cast_slice(host)) }
    }

    pub(super) fn upload_ahead<T: Element>(&mut self, slot: Slot, host: &[T]) -> Result<()> {
        assert!(self.state == State::Working, "an upload is no part of what is recorded");
        assert!(host.len() <= slot.len(), "{} elements for a slot of {}", host.len(), slot.len());
        let to = self.address_of::<T>(slot);
        self.context.bind()?;
        let ahead = self.ahead.as_mut().expect("memory is reserved before an upload");
        // SAFETY: the slot lies in the reserved memory and has as many elements.
        unsafe { ahead.upload(&self.stream, to, bytemuck::cast_slice(host)) }
    }

    pub(super) fn mark_read(&mut self) -> Result<()> {
        self.context.bind()?;
        let ahead = self.ahead.as_ref().expect("memory is reserved before work");
        ahead.mark(&self.stream)
    }

    /// Binds the context, and makes later work wait for early uploads.
    fn join(&self) -> Result<()> {
        self.context.bind()?;
        self.follow()
    }

    /// The same where the context is bound.
    fn follow(&self) -> Result<()> {
        self.ahead.as_ref().map_or(Ok(()), |ahead| ahead.join(&self.stream))
    }

    pub(super) fn download_into<T: Element>(&self, slot: Slot, host: &mut [T]) -> Result<()> {
        assert!(self.state == State::Working, "a download is no part of what is recorded");
        assert!(host.len() <= slot.len(), "{} elements of a slot of {}", host.len(), slot.len());
        let from = self.address_of::<T>(slot);
        self.join()?;
        self.wait_for_others()?;
        // SAFETY: the slot lies in the reserved memory and has as many elements.
        unsafe { self.stream.read(from, bytemuck::cast_slice_mut(host)) }
    }

    pub(super) fn poison(&mut self, slot: Slot) -> Result<()> {
        if self.state == State::Rehearsing || slot.is_empty() {
            return Ok(());
        }
        let address = match slot.dtype() {
            DType::Bf16 => self.address_of::<Bf16>(slot),
            _ => self.address_of::<f32>(slot),
        };
        self.join()?;
        // SAFETY: a slot's bytes lie in the reserved memory. Two or four such bytes are a NaN.
        unsafe { self.stream.fill(address, 0xFF, slot.range().len()) }
    }

    /// Waits for all work.
    ///
    /// # Errors
    /// [`Error::Gpu`] if some of it failed.
    pub fn synchronize(&self) -> Result<()> {
        self.context.bind()?;
        self.wait_for_others()?;
        if let Some(others) = &self.others {
            others.wait(|| others.is_idle())?;
        }
        self.settle()
    }

    /// Waits for collectives with a timeout, before the host waits for this GPU's work.
    fn wait_for_others(&self) -> Result<()> {
        let Some(others) = &self.others else { return Ok(()) };
        others.wait(|| self.stream.is_idle("a kernel"))
    }

    /// Waits for all work, without a timeout.
    fn settle(&self) -> Result<()> {
        self.ahead.as_ref().map_or(Ok(()), Ahead::synchronize)?;
        self.stream.synchronize("a kernel")
    }

    /// Runs all work directly instead of recording and replaying it, for debugging and comparisons.
    pub fn eager(&mut self, eager: bool) {
        self.eager = eager;
    }

    /// The device address of a slot's first element.
    ///
    /// # Panics
    /// If the slot is not within the reserved memory, or of another planner than the first slot in
    /// use.
    pub fn address(&self, slot: Slot) -> Address {
        if slot.is_empty() {
            return Address::NOWHERE;
        }
        match &self.memory {
            // In a rehearsal nothing is accessed, so any address will do.
            _ if self.state == State::Rehearsing => Address::at(slot.range().start as u64),
            Some(memory) if slot.range().end <= memory.bytes() => {
                self.planner.check(&slot);
                Address::at(memory.base() + slot.range().start as u64)
            }
            _ => panic!("{slot:?} lies outside the reserved memory"),
        }
    }

    /// [`address`](Self::address) of several slots at once.
    pub fn addresses<const N: usize>(&self, slots: [Slot; N]) -> [Address; N] {
        slots.map(|slot| self.address(slot))
    }

    fn address_of<T: Element>(&self, slot: Slot) -> u64 {
        assert_eq!(slot.dtype(), T::DTYPE, "a slot of another type");
        self.address(slot).get()
    }

    /// Launches `kernel` of `image` over `grid`, after all earlier work. An empty grid launches
    /// nothing.
    ///
    /// # Errors
    /// [`Error::Gpu`] with the kernel's name.
    ///
    /// # Panics
    /// If the kernel takes other arguments, in number or in size.
    ///
    /// # Safety
    /// The arguments have the kernel's types, and with them it accesses only the slots whose
    /// addresses it is given.
    pub unsafe fn launch(
        &mut self,
        image: &'static Image,
        kernel: &'static str,
        grid: Grid,
        arguments: &[&dyn Argument],
    ) -> Result<()> {
        self.context.bind()?;
        let function = self.kernels.find(image, kernel, arguments, grid)?;
        if grid.is_empty() {
            return Ok(());
        }
        self.launches += 1;
        if self.state == State::Rehearsing {
            return Ok(());
        }
        self.follow()?; // not captured: all streams were joined before a recording
        // SAFETY: number and sizes of arguments have been checked; the rest is the caller's
        // promise.
        unsafe { launch::start(function, kernel, grid, &self.stream, arguments)? };
        self.launched(kernel)
    }

    /// After a launch: times it when profiling, waits for it when blocking.
    fn launched(&mut self, kernel: &'static str) -> Result<()> {
        if let Some(profile) = &mut self.profile {
            profile.lap(kernel, &self.stream)?;
        }
        if driver::blocking() && self.state == State::Working {
            self.stream.synchronize(kernel)?;
        }
        Ok(())
    }

    /// The error of an op without a CUDA implementation; returned by the rehearsal at planning.
    ///
    /// # Errors
    /// Always [`Error::NoKernel`].
    pub fn lacks(&self, op: &'static str) -> Result<()> {
        Err(Error::NoKernel { op })
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        // Work may still use the memory that is freed now. A failure cannot be handled.
        let _ = self.context.bind();
        if let Some(others) = &self.others {
            let _ = others.drain();
        }
        let _ = self.settle();
    }
}
