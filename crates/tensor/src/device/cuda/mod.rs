//! An NVIDIA GPU: one block of its memory, one stream of work, and the kernels that were loaded.
//!
//! libcuda is found when the program runs; nothing of CUDA is needed to build it. All work goes to
//! one stream and so happens in order; only the next batch may travel beside it ([`ahead`]). The
//! host waits where it must: in a download, and where an upload would overwrite staged bytes that
//! are still on their way. The work of a step is recorded once and replayed ([`Recording`]).

mod ahead;
pub mod cublaslt;
pub mod cudnn;
mod driver;
mod event;
mod graph;
mod launch;
mod library;
pub mod nccl;
mod nvrtc;
mod profile;
mod staging;
pub mod tune;

pub use graph::Recording;
pub use launch::{Address, Argument, Grid, Image};
pub use profile::Lap;

use crate::{Element, Error, Precision, Result, Slot};
use ahead::Ahead;
use driver::{Context, Gpu, Memory, Stream};
use launch::Kernels;
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
    /// Names this reservation of memory and the way of multiplying: what was recorded under
    /// another is out of date.
    reservation: u64,
    // Fields are dropped in this order: the context last.
    cublaslt: Option<cublaslt::Engine>,
    cudnn: Option<cudnn::Engine>,
    tuner: Option<tune::Tuner>,
    kernels: Kernels,
    staging: Option<Staging>,
    ahead: Option<Ahead>,
    /// GPUs that this one has joined: to wait for it may be to wait for them.
    others: Option<Arc<nccl::Shared>>,
    memory: Option<Memory>,
    stream: Stream,
    context: Arc<Context>,
}

/// What happens to the ops that are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// They are done.
    Working,
    /// Their kernels are loaded and their arguments checked, no more.
    Rehearsing,
    /// They become part of a graph.
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
    /// [`Error::DeviceUnavailable`] in one sentence: no driver, one that is too old, no GPU, none
    /// of this number, one that is too old.
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
            reservation: 0,
            cublaslt: None,
            cudnn: None,
            tuner: None,
            kernels,
            staging: None,
            ahead: None,
            others: None,
            memory: None,
            stream,
            context,
        })
    }

    /// `cuda:0: NVIDIA H200, compute capability 9.0`.
    pub fn name(&self) -> String {
        format!("cuda:{}: {}", self.gpu.number, self.model())
    }

    /// The same of all GPUs that are alike: without the number.
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

    /// In which numbers it multiplies. A GPU that was opened does so in f32.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// From now on it multiplies in these numbers; in f32 where it has no tensor cores for them
    /// (before compute capability 8.0). Gives back what it is. What was recorded before is recorded
    /// anew.
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
        self.memory = None;
        self.reservation = number_of_reservation();
        self.check_room(bytes)?;
        if self.staging.is_none() {
            self.staging = Some(Staging::new(&self.context)?);
            self.ahead = Some(Ahead::new(&self.context)?);
        }
        let memory = Memory::new(&self.context, bytes).map_err(|_| self.no_room(bytes))?;
        // SAFETY: all of the memory, which goes after the stream has come to its end.
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

    /// Binds the context; what is asked for from here on comes after what was uploaded ahead.
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
        let address = self.address_of::<f32>(slot);
        self.join()?;
        // SAFETY: a slot's bytes lie in the reserved memory. Four such bytes are a NaN.
        unsafe { self.stream.fill(address, 0xFF, slot.range().len()) }
    }

    /// Waits until all that was asked for is done.
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

    /// Before the host waits for this GPU's work, part of which may wait for another GPU's.
    fn wait_for_others(&self) -> Result<()> {
        let Some(others) = &self.others else { return Ok(()) };
        others.wait(|| self.stream.is_idle("a kernel"))
    }

    /// Waits for all work, however long it takes.
    fn settle(&self) -> Result<()> {
        self.ahead.as_ref().map_or(Ok(()), Ahead::synchronize)?;
        self.stream.synchronize("a kernel")
    }

    /// Whether work is done as it is asked for, never recorded and replayed: for whoever looks for
    /// a mistake, or compares the two.
    pub fn eager(&mut self, eager: bool) {
        self.eager = eager;
    }

    /// Where a slot's first element lies, for a kernel.
    ///
    /// # Panics
    /// If the slot is not within the reserved memory.
    pub fn address(&self, slot: Slot) -> Address {
        if slot.is_empty() {
            return Address::NOWHERE;
        }
        match &self.memory {
            // Nothing will be read or written there, so it may be anywhere.
            _ if self.state == State::Rehearsing => Address::at(slot.range().start as u64),
            Some(memory) if slot.range().end <= memory.bytes() => {
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

    /// Has `kernel`, of `image`, run over `grid` with these arguments, after all that was asked for
    /// before. A grid of nothing is no launch.
    ///
    /// # Errors
    /// [`Error::Gpu`] with the kernel's name.
    ///
    /// # Panics
    /// If the kernel takes other arguments, in number or in size.
    ///
    /// # Safety
    /// The arguments mean what the kernel takes them for, and with them it reads and writes inside
    /// the slots whose addresses it is given.
    pub unsafe fn launch(
        &mut self,
        image: &'static Image,
        kernel: &'static str,
        grid: Grid,
        arguments: &[&dyn Argument],
    ) -> Result<()> {
        self.context.bind()?;
        let function = self.kernels.find(image, kernel, arguments, grid)?;
        if self.state == State::Rehearsing || grid.is_empty() {
            return Ok(());
        }
        self.follow()?; // before a recording all was joined: nothing of this becomes part of it
        // SAFETY: number and sizes of the arguments have been checked; the rest is the caller's.
        unsafe { launch::start(function, kernel, grid, &self.stream, arguments)? };
        self.launched(kernel)
    }

    /// After a launch: times it or waits for it, if that is asked for.
    fn launched(&mut self, kernel: &'static str) -> Result<()> {
        if let Some(profile) = &mut self.profile {
            profile.lap(kernel, &self.stream)?;
        }
        if driver::blocking() && self.state == State::Working {
            self.stream.synchronize(kernel)?;
        }
        Ok(())
    }

    /// What an op without a CUDA half gives back: met at planning, where the step is rehearsed.
    ///
    /// # Errors
    /// Always [`Error::NoKernel`].
    pub fn lacks(&self, op: &'static str) -> Result<()> {
        Err(Error::NoKernel { op })
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        // The memory that goes now may still be worked on. A failure now comes too late.
        let _ = self.context.bind();
        if let Some(others) = &self.others {
            let _ = others.let_go();
        }
        let _ = self.settle();
    }
}
