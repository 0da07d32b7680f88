//! Direct communication between GPUs, through NCCL.
//!
//! A [`Communicator`] has its own stream. A collective starts after the work that its GPU has been
//! given before, and runs in parallel to later work until the GPU [waits for
//! it](Communicator::follow). The host does not wait here. But when the host waits for its GPU,
//! that may be waiting for another one, which may be lost. Such waits therefore have a timeout,
//! after which NCCL's communicator is aborted.

mod group;
mod library;

pub use group::Group;
pub use library::{Id, Nccl};

use super::driver::{Context, Memory, Stream};
use super::event::Event;
use super::{Cuda, State};
use crate::{Error, Result};
use library::{Config, IN_PROGRESS, Raw, SUCCESS, Status};
use std::ffi::c_int;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{ptr, thread};

/// A GPU's connection to the other GPUs.
#[derive(Debug)]
pub struct Communicator {
    /// The work of the GPU after which a collective starts.
    ready: Event,
    /// Events for reuse.
    idle: Vec<Event>,
    /// The float that a barrier sums.
    one: Memory,
    rank: usize,
    world: usize,
    shared: Arc<Shared>,
}

/// The end of a group of collectives.
#[derive(Debug)]
pub struct Ended(Event);

/// The state that the communicator shares with its GPU.
#[derive(Debug)]
pub(super) struct Shared {
    nccl: &'static Nccl,
    /// Null after an abort.
    raw: Mutex<Handle>,
    /// In milliseconds.
    timeout: AtomicU64,
    // Dropped when it is idle.
    stream: Stream,
    context: Arc<Context>,
}

#[derive(Debug)]
struct Handle(Raw);

// SAFETY: NCCL's communicators belong to no thread; the mutex around it lets one in at a time.
unsafe impl Send for Handle {}

/// How long a rank that ends waits for the others to receive its messages.
const FAREWELL: Duration = Duration::from_secs(2);
/// Waits poll without sleeping for this time, which is longer than a step.
const SPIN: Duration = Duration::from_secs(1);
/// The interval between queries of NCCL's status.
const POLL: Duration = Duration::from_millis(1);

impl Communicator {
    /// Joins as `rank` of `world` ranks with the same `id`. The timeout applies now and whenever
    /// the host waits for this GPU.
    ///
    /// # Errors
    /// [`Error::Unanswered`] if a rank is missing; [`Error::Gpu`] if NCCL fails.
    pub fn join(
        cuda: &mut Cuda,
        nccl: &'static Nccl,
        id: &Id,
        rank: usize,
        world: usize,
        timeout: Duration,
    ) -> Result<Communicator> {
        cuda.context.bind()?;
        let context = &cuda.context;
        let (ready, stream) = (Event::new(context)?, Stream::new(context)?);
        let one = Memory::new(context, size_of::<f32>())
            .map_err(|error| super::driver::failed("memory for a barrier")(error))?;
        // SAFETY: all of the memory, which is freed after the stream is idle.
        unsafe { stream.fill(one.base(), 0, one.bytes())? };
        let mut raw: Raw = ptr::null_mut();
        let mut config = Config::nonblocking();
        // SAFETY: writes the communicator; the GPU whose context is bound is the one it joins.
        let status = unsafe {
            let (world, rank) = (world as c_int, rank as c_int);
            (nccl.functions.init)(&mut raw, world, *id, rank, &mut config)
        };
        let raw = Mutex::new(Handle(raw));
        let millis = AtomicU64::new(timeout.as_millis() as u64);
        let shared = Shared { nccl, raw, timeout: millis, stream, context: context.clone() };
        shared.complete(status, "joining the other GPUs").inspect_err(|_| shared.abort())?;
        let shared = Arc::new(shared);
        cuda.others = Some(Arc::clone(&shared));
        Ok(Communicator { ready, idle: Vec::new(), one, rank, world, shared })
    }

    /// Sets the timeout of waits for other ranks.
    pub fn set_timeout(&self, timeout: Duration) {
        self.shared.timeout.store(timeout.as_millis() as u64, Relaxed);
    }

    /// Starts the collectives of `work` as one group, whose members do not wait for each other.
    /// Until the GPU [follows](Self::follow), inputs must not be written, and outputs must be
    /// neither read nor written.
    ///
    /// `cuda` may have been reopened since it joined.
    ///
    /// # Errors
    /// [`Error::Unanswered`] or [`Error::Gpu`].
    ///
    /// # Panics
    /// If `cuda` is another GPU.
    pub fn start(
        &mut self,
        cuda: &mut Cuda,
        work: impl FnOnce(&mut Group<'_>) -> Result<()>,
    ) -> Result<Ended> {
        assert!(cuda.state == State::Working, "collectives cannot be recorded");
        let shared = &*self.shared;
        assert!(cuda.context.is(&shared.context), "{} has not joined the others", cuda.name());
        cuda.others = Some(Arc::clone(&self.shared));
        cuda.join()?;
        self.ready.record(&cuda.stream)?;
        self.ready.hold_back(&shared.stream)?;
        self.group(cuda, work).inspect_err(|_| shared.abort())?;
        let event = self.idle.pop().map_or_else(|| Event::new(&shared.context), Ok)?;
        event.record(&shared.stream)?;
        Ok(Ended(event))
    }

    fn group(&self, cuda: &Cuda, work: impl FnOnce(&mut Group<'_>) -> Result<()>) -> Result<()> {
        let (shared, one) = (&*self.shared, self.one.base());
        let handle = shared.handle()?;
        // SAFETY: takes no arguments; `Group::run` ends the group, even after a panic.
        let begun = unsafe { (shared.nccl.functions.group_start)() };
        shared.check(begun, "group")?;
        let (rank, world) = (self.rank, self.world);
        let group = Group { cuda, shared, one, rank, world, handle };
        let (called, ended) = group.run(work);
        called?;
        shared.complete(ended, "exchange")
    }

    /// Makes later work of the GPU wait for the end of these collectives.
    ///
    /// # Errors
    /// [`Error::Gpu`].
    pub fn follow(&self, cuda: &Cuda, ended: &Ended) -> Result<()> {
        cuda.join()?;
        drop(self.shared.handle()?); // fails after an abort
        ended.0.hold_back(&cuda.stream)
    }

    /// Returns an event for reuse.
    pub fn recycle(&mut self, ended: Ended) {
        self.idle.push(ended.0);
    }
}

impl Shared {
    /// Waits until `is_done`; aborts at the timeout.
    pub(super) fn wait(&self, is_done: impl Fn() -> Result<bool>) -> Result<()> {
        drop(self.handle()?); // after an abort, results are invalid
        let waited = self.wait_for(self.timeout(), is_done);
        waited.inspect_err(|_| self.abort())
    }

    fn wait_for(&self, timeout: Duration, is_done: impl Fn() -> Result<bool>) -> Result<()> {
        let began = Instant::now();
        let mut polled = began;
        while !is_done()? {
            if polled.elapsed() >= POLL {
                polled = Instant::now();
                self.poll("exchange")?;
                if began.elapsed() >= timeout {
                    return Err(self.unanswered());
                }
            }
            if began.elapsed() < SPIN { thread::yield_now() } else { thread::sleep(POLL) }
        }
        Ok(())
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout.load(Relaxed))
    }

    /// Whether no collective is in progress.
    pub(super) fn is_idle(&self) -> Result<bool> {
        self.stream.is_idle("an exchange")
    }

    /// Waits for the end of a nonblocking call.
    fn complete(&self, status: Status, what: &str) -> Result<()> {
        self.check(status, what)?;
        let (began, mut status) = (Instant::now(), status);
        while status == IN_PROGRESS {
            if began.elapsed() >= self.timeout() {
                return Err(self.unanswered());
            }
            thread::sleep(POLL / 20);
            status = self.poll(what)?;
        }
        Ok(())
    }

    /// Queries NCCL's asynchronous errors.
    fn poll(&self, what: &str) -> Result<Status> {
        let mut status = SUCCESS;
        let handle = self.handle()?;
        // SAFETY: the communicator is alive; writes one status.
        let asked = unsafe { (self.nccl.functions.async_error)(handle.0, &mut status) };
        self.check(asked, what)?;
        self.check(status, what)?;
        Ok(status)
    }

    fn check(&self, status: Status, what: &str) -> Result<()> {
        if status == IN_PROGRESS {
            return Ok(());
        }
        self.nccl.check(status, what)
    }

    fn unanswered(&self) -> Error {
        Error::Unanswered { seconds: self.timeout().as_secs_f64() }
    }

    fn handle(&self) -> Result<MutexGuard<'_, Handle>> {
        let handle = self.raw.lock().unwrap_or_else(PoisonError::into_inner);
        if handle.0.is_null() { Err(self.unanswered()) } else { Ok(handle) }
    }

    /// Takes the communicator to end it.
    fn take(&self) -> Option<Raw> {
        let mut handle = self.raw.lock().unwrap_or_else(PoisonError::into_inner);
        let raw = std::mem::replace(&mut handle.0, ptr::null_mut());
        (!raw.is_null()).then_some(raw)
    }

    /// Aborts all collectives.
    fn abort(&self) {
        if let Some(raw) = self.take() {
            // SAFETY: alive until now, and taken out. A failure cannot be handled.
            let _ = unsafe { (self.nccl.functions.abort)(raw) };
        }
    }

    /// Waits a short time for collectives in progress, before the GPU's memory is freed; then
    /// aborts them.
    pub(super) fn drain(&self) -> Result<()> {
        let done = self.wait_for(FAREWELL.min(self.timeout()), || self.is_idle());
        let done = if thread::panicking() { Err(self.unanswered()) } else { done };
        done.inspect_err(|_| self.abort())
    }

    /// Finalizes the communicator if all other ranks do so, too; otherwise aborts it.
    fn leave(&self) {
        let finalize = || {
            self.drain()?;
            let handle = self.handle()?;
            // SAFETY: the communicator is alive.
            let status = unsafe { (self.nccl.functions.finalize)(handle.0) };
            drop(handle);
            self.check(status, "farewell")?;
            self.wait_for(FAREWELL, || Ok(self.poll("farewell")? == SUCCESS))
        };
        match (finalize(), self.take()) {
            (Ok(()), Some(raw)) => {
                // SAFETY: finalized, and taken out. A failure cannot be handled.
                let _ = unsafe { (self.nccl.functions.destroy)(raw) };
            }
            (_, Some(raw)) => {
                // SAFETY: alive until now, and taken out.
                let _ = unsafe { (self.nccl.functions.abort)(raw) };
            }
            (_, None) => {}
        }
    }
}

impl Drop for Communicator {
    fn drop(&mut self) {
        let _ = self.shared.context.bind(); // a failure cannot be handled
        self.shared.leave();
    }
}
