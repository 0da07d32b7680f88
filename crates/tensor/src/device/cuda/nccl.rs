//! GPUs that exchange what is in their memory by themselves, through NCCL.
//!
//! A [`Communicator`] has a stream of its own. What it is asked for comes after all that its GPU
//! was asked for before, and runs beside what the GPU is asked for after, until the GPU is told
//! to [follow](Communicator::follow). The host waits for nothing here; where it waits for its GPU
//! it may in truth wait for another, which may be gone. So a GPU that has joined others is never
//! waited for without a limit: when timeout ends NCCL is told to give up.

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

/// A GPU's place among others.
#[derive(Debug)]
pub struct Communicator {
    /// How far the GPU must have come before anything here begins.
    ready: Event,
    /// Events that mark the end of nothing now.
    idle: Vec<Event>,
    /// A number that a barrier adds up.
    one: Memory,
    rank: usize,
    world: usize,
    shared: Arc<Shared>,
}

/// When something that was started is over.
#[derive(Debug)]
pub struct Ended(Event);

/// What the GPU has to know, too.
#[derive(Debug)]
pub(super) struct Shared {
    nccl: &'static Nccl,
    /// Null once it was given up.
    raw: Mutex<Handle>,
    /// In milliseconds.
    timeout: AtomicU64,
    // Dropped when nothing of it is under way any more.
    stream: Stream,
    context: Arc<Context>,
}

#[derive(Debug)]
struct Handle(Raw);

// SAFETY: NCCL's communicators belong to no thread; the mutex around it lets one in at a time.
unsafe impl Send for Handle {}

/// How long a rank that ends lets the others take what it has sent.
const FAREWELL: Duration = Duration::from_secs(2);
/// Longer than a step: whoever waits longer need not hurry.
const SOON: Duration = Duration::from_secs(1);
/// Between two questions to NCCL whether all is well.
const LOOK: Duration = Duration::from_millis(1);

impl Communicator {
    /// Joins as `rank` of `world`, all of whom have the same `id`; waits for them for `timeout` at
    /// most, now and whenever the host waits for this GPU.
    ///
    /// # Errors
    /// [`Error::Unanswered`] if not all come; [`Error::Gpu`] if NCCL fails.
    pub fn join(
        cuda: &mut Cuda,
        nccl: &'static Nccl,
        id: &Id,
        (rank, world): (usize, usize),
        timeout: Duration,
    ) -> Result<Communicator> {
        cuda.context.bind()?;
        let context = &cuda.context;
        let (ready, stream) = (Event::new(context)?, Stream::new(context)?);
        let one = Memory::new(context, size_of::<f32>())
            .map_err(|error| super::driver::failed("memory for a barrier")(error))?;
        // SAFETY: all of the memory, which goes after the stream has come to its end.
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
        shared.settled(status, "joining the other GPUs").inspect_err(|_| shared.give_up())?;
        let shared = Arc::new(shared);
        cuda.others = Some(Arc::clone(&shared));
        Ok(Communicator { ready, idle: Vec::new(), one, rank, world, shared })
    }

    /// From now on others are waited for so long, at most.
    pub fn set_timeout(&self, timeout: Duration) {
        self.shared.timeout.store(timeout.as_millis() as u64, Relaxed);
    }

    /// Starts what `work` asks for, together: none of it waits for the rest. The slots it names may
    /// be neither written nor, where it writes, read until the GPU follows.
    ///
    /// The GPU may have been opened anew since it joined.
    ///
    /// # Errors
    /// [`Error::Unanswered`] or [`Error::Gpu`].
    ///
    /// # Panics
    /// If it is another GPU.
    pub fn start(
        &mut self,
        cuda: &mut Cuda,
        work: impl FnOnce(&mut Group<'_>) -> Result<()>,
    ) -> Result<Ended> {
        assert!(cuda.state == State::Working, "an exchange is no part of what is recorded");
        let shared = &*self.shared;
        assert!(cuda.context.is(&shared.context), "{} has not joined the others", cuda.name());
        cuda.others = Some(Arc::clone(&self.shared));
        cuda.join()?;
        self.ready.record(&cuda.stream)?;
        self.ready.hold_back(&shared.stream)?;
        self.group(cuda, work).inspect_err(|_| shared.give_up())?;
        let event = self.idle.pop().map_or_else(|| Event::new(&shared.context), Ok)?;
        event.record(&shared.stream)?;
        Ok(Ended(event))
    }

    fn group(&self, cuda: &Cuda, work: impl FnOnce(&mut Group<'_>) -> Result<()>) -> Result<()> {
        let (shared, one) = (&*self.shared, self.one.base());
        let handle = shared.handle()?;
        // SAFETY: takes nothing; what it begins is ended just below, whatever happens between.
        let begun = unsafe { (shared.nccl.functions.group_start)() };
        shared.check(begun, "group")?;
        let place = (self.rank, self.world);
        let (asked, ended) = Group::ask(Group { cuda, shared, one, place, handle }, work);
        asked?;
        shared.settled(ended, "exchange")
    }

    /// What the GPU is asked for from here on comes after what has ended then.
    ///
    /// # Errors
    /// [`Error::Gpu`].
    pub fn follow(&self, cuda: &Cuda, ended: &Ended) -> Result<()> {
        cuda.join()?;
        drop(self.shared.handle()?); // else there is nothing to come after
        ended.0.hold_back(&cuda.stream)
    }

    /// Nobody will ask for this end any more.
    pub fn recycle(&mut self, ended: Ended) {
        self.idle.push(ended.0);
    }
}

impl Shared {
    /// Waits until `is_done`, as long as the other GPUs do their part.
    pub(super) fn wait(&self, is_done: impl Fn() -> Result<bool>) -> Result<()> {
        drop(self.handle()?); // what is done after others were given up is not what was asked for
        let waited = self.wait_for(self.timeout(), is_done);
        waited.inspect_err(|_| self.give_up())
    }

    fn wait_for(&self, timeout: Duration, is_done: impl Fn() -> Result<bool>) -> Result<()> {
        let began = Instant::now();
        let mut looked = began;
        while !is_done()? {
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                self.look("exchange")?;
                if began.elapsed() >= timeout {
                    return Err(self.unanswered());
                }
            }
            if began.elapsed() < SOON { thread::yield_now() } else { thread::sleep(LOOK) }
        }
        Ok(())
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout.load(Relaxed))
    }

    /// Whether nothing is under way here.
    pub(super) fn is_idle(&self) -> Result<bool> {
        self.stream.is_idle("an exchange")
    }

    /// Waits until NCCL has done what a call that does not block only began.
    fn settled(&self, status: Status, what: &str) -> Result<()> {
        self.check(status, what)?;
        let (began, mut status) = (Instant::now(), status);
        while status == IN_PROGRESS {
            if began.elapsed() >= self.timeout() {
                return Err(self.unanswered());
            }
            thread::sleep(LOOK / 20);
            status = self.look(what)?;
        }
        Ok(())
    }

    /// Asks NCCL whether something went wrong since.
    fn look(&self, what: &str) -> Result<Status> {
        let mut status = SUCCESS;
        let handle = self.handle()?;
        // SAFETY: the communicator is alive; writes one status.
        let asked = unsafe { (self.nccl.functions.async_error)(handle.0, &mut status) };
        self.check(asked, what)?;
        self.check(status, what)?;
        Ok(status)
    }

    fn check(&self, status: Status, what: &str) -> Result<()> {
        if matches!(status, SUCCESS | IN_PROGRESS) {
            return Ok(());
        }
        let reason = format!("it reports {}", self.nccl.functions.reason(status));
        Err(Error::Gpu { what: format!("NCCL's {what}"), reason })
    }

    fn unanswered(&self) -> Error {
        Error::Unanswered { seconds: self.timeout().as_secs_f64() }
    }

    fn handle(&self) -> Result<MutexGuard<'_, Handle>> {
        let handle = self.raw.lock().unwrap_or_else(PoisonError::into_inner);
        if handle.0.is_null() { Err(self.unanswered()) } else { Ok(handle) }
    }

    /// The communicator, for whoever ends it: nobody else finds it any more.
    fn take(&self) -> Option<Raw> {
        let mut handle = self.raw.lock().unwrap_or_else(PoisonError::into_inner);
        let raw = std::mem::replace(&mut handle.0, ptr::null_mut());
        (!raw.is_null()).then_some(raw)
    }

    /// Ends what is under way, as it is.
    fn give_up(&self) {
        if let Some(raw) = self.take() {
            // SAFETY: alive until now, and known to nobody else. It may fail: there is nothing
            // more to do about it.
            let _ = unsafe { (self.nccl.functions.abort)(raw) };
        }
    }

    /// Before a GPU's memory goes: lets what is under way come to its end, if it soon does.
    pub(super) fn let_go(&self) -> Result<()> {
        let done = self.wait_for(FAREWELL.min(self.timeout()), || self.is_idle());
        let done = if thread::panicking() { Err(self.unanswered()) } else { done };
        done.inspect_err(|_| self.give_up())
    }

    /// Ends the communicator: well, if all others are as far.
    fn leave(&self) {
        let finalize = || {
            self.let_go()?;
            let handle = self.handle()?;
            // SAFETY: the communicator is alive.
            let status = unsafe { (self.nccl.functions.finalize)(handle.0) };
            drop(handle);
            self.check(status, "farewell")?;
            self.wait_for(FAREWELL, || Ok(self.look("farewell")? == SUCCESS))
        };
        match (finalize(), self.take()) {
            (Ok(()), Some(raw)) => {
                // SAFETY: finalized, and known to nobody else. What fails now comes too late.
                let _ = unsafe { (self.nccl.functions.destroy)(raw) };
            }
            (_, Some(raw)) => {
                // SAFETY: alive until now, and known to nobody else.
                let _ = unsafe { (self.nccl.functions.abort)(raw) };
            }
            (_, None) => {}
        }
    }
}

impl Drop for Communicator {
    fn drop(&mut self) {
        let _ = self.shared.context.bind(); // what fails now comes too late
        self.shared.leave();
    }
}
