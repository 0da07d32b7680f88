//! CUDA events.

use super::driver::{Context, Stream, failed, is_reached};
use crate::Result;
use cudarc::driver::{DriverError, result, sys};
use std::sync::Arc;

/// A point in a stream that can be waited for.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) raw: sys::CUevent,
    _context: Arc<Context>,
}

// SAFETY: an event belongs to a context, not to a thread.
unsafe impl Send for Event {}

impl Event {
    pub fn new(context: &Arc<Context>) -> Result<Event> {
        Event::with(context, sys::CUevent_flags::CU_EVENT_DISABLE_TIMING)
    }

    /// An event that records its time.
    pub fn timed(context: &Arc<Context>) -> Result<Event> {
        Event::with(context, sys::CUevent_flags::CU_EVENT_DEFAULT)
    }

    fn with(context: &Arc<Context>, flags: sys::CUevent_flags) -> Result<Event> {
        let raw = result::event::create(flags).map_err(failed("making an event"))?;
        Ok(Event { raw, _context: context.clone() })
    }

    /// Marks the current end of `stream`.
    pub fn record(&self, stream: &Stream) -> Result<()> {
        // SAFETY: both are alive.
        unsafe { result::event::record(self.raw, stream.raw) }.map_err(failed("marking an event"))
    }

    /// Makes later work of `stream` wait for the marked point.
    pub fn hold_back(&self, stream: &Stream) -> Result<()> {
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: both are alive; an event that is destroyed is waited for all the same.
        unsafe { result::stream::wait_event(stream.raw, self.raw, flags) }
            .map_err(failed("waiting for an event"))
    }

    /// From this event to a later one; both are timed and reached.
    pub fn milliseconds_to(&self, later: &Event) -> Result<f32> {
        elapsed(self.raw, later.raw).map_err(failed("reading an event"))
    }

    /// Whether the marked point is reached, or none is marked.
    pub fn is_reached(&self) -> Result<bool> {
        // SAFETY: the event is alive.
        is_reached(unsafe { sys::cuEventQuery(self.raw) }).map_err(failed("an upload"))
    }

    /// Waits until the marked point is reached; returns at once if none is marked.
    pub fn wait(&self) -> Result<()> {
        // SAFETY: the event is alive.
        unsafe { result::event::synchronize(self.raw) }.map_err(failed("an upload"))
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: created once, destroyed once.
        let _ = unsafe { result::event::destroy(self.raw) };
    }
}

/// Milliseconds between two events that are reached. cudarc calls the second version of this
/// function, which CUDA 12.8 added.
fn elapsed(from: sys::CUevent, to: sys::CUevent) -> std::result::Result<f32, DriverError> {
    type Elapsed = unsafe extern "C" fn(*mut f32, sys::CUevent, sys::CUevent) -> sys::CUresult;
    let mut milliseconds = 0.0;
    // SAFETY: opening the GPU has checked that the function exists; every version of CUDA declares
    // it so.
    let elapsed = unsafe { sys::culib().get::<Elapsed>(b"cuEventElapsedTime") };
    let elapsed = elapsed.map_err(|_| DriverError(sys::CUresult::CUDA_ERROR_NOT_FOUND))?;
    // SAFETY: both are alive, and the driver writes one number.
    unsafe { elapsed(&mut milliseconds, from, to) }.result()?;
    Ok(milliseconds)
}
