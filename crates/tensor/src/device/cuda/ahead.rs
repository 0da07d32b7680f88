//! Uploads beside the work in hand: the next batch travels while the GPU is still busy with this
//! one.
//!
//! They have a stream and pinned memory of their own. What was asked for before the mark comes
//! before them, what is asked for after them comes after: two events see to that, and the host
//! waits for neither.

use super::driver::{Context, Stream};
use super::event::Event;
use super::staging::Staging;
use crate::Result;
use std::cell::Cell;
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Ahead {
    // Dropped first: it waits for what uses the rest.
    stream: Stream,
    staging: Staging,
    /// How far the work must have come before anything is overwritten.
    mark: Event,
    marked: Cell<bool>,
    /// When everything that was sent has arrived.
    arrived: Event,
    /// Something was sent, and no work asked for since.
    under_way: Cell<bool>,
}

impl Ahead {
    pub fn new(context: &Arc<Context>) -> Result<Ahead> {
        Ok(Ahead {
            stream: Stream::new(context)?,
            staging: Staging::new(context)?,
            mark: Event::new(context)?,
            marked: Cell::new(false),
            arrived: Event::new(context)?,
            under_way: Cell::new(false),
        })
    }

    /// Uploads need not wait for what `work` is asked for from here on.
    pub fn mark(&self, work: &Stream) -> Result<()> {
        self.mark.record(work)?;
        self.marked.set(true);
        Ok(())
    }

    /// Sends `bytes` to `to`, after the mark; without one, after all that `work` was asked for.
    ///
    /// # Safety
    /// As [`Staging::upload`].
    pub unsafe fn upload(&mut self, work: &Stream, to: u64, bytes: &[u8]) -> Result<()> {
        if !self.under_way.get() {
            if !self.marked.get() {
                self.mark(work)?;
            }
            self.mark.hold_back(&self.stream)?;
        }
        // SAFETY: the caller's promise.
        unsafe { self.staging.upload(&self.stream, to, bytes)? };
        self.arrived.record(&self.stream)?;
        self.under_way.set(true);
        Ok(())
    }

    /// What `work` is asked for from here on comes after what was sent.
    pub fn join(&self, work: &Stream) -> Result<()> {
        if self.under_way.replace(false) {
            self.marked.set(false);
            self.arrived.hold_back(work)?;
        }
        Ok(())
    }

    /// Waits for what was sent. The mark goes: memory that is reserved after it is filled after it.
    pub fn synchronize(&self) -> Result<()> {
        self.marked.set(false);
        self.stream.synchronize("an upload")
    }
}
