//! Uploads that overlap with computation: the next batch is copied while the GPU still works on
//! this one.
//!
//! They have their own stream and pinned memory. Bytes that already lie in a
//! [pinned buffer](super::pinned) are copied from there. They wait for the work before the mark, and later
//! work waits for them; two events keep this order, and the host waits for neither.

use super::driver::{Context, Stream};
use super::event::Event;
use super::pinned::PinnedBuffers;
use super::staging::Staging;
use crate::Result;
use std::cell::Cell;
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Ahead {
    // Dropped first: it waits for copies that use the rest.
    stream: Stream,
    staging: Staging,
    pinned: PinnedBuffers,
    /// The work that must be complete before slots are overwritten.
    mark: Event,
    marked: Cell<bool>,
    /// The end of all uploads.
    arrived: Event,
    /// Something was uploaded, and no work has been enqueued since.
    under_way: Cell<bool>,
}

impl Ahead {
    pub fn new(context: &Arc<Context>, pinned: &PinnedBuffers) -> Result<Ahead> {
        Ok(Ahead {
            stream: Stream::new(context)?,
            staging: Staging::new(context)?,
            pinned: pinned.clone(),
            mark: Event::new(context)?,
            marked: Cell::new(false),
            arrived: Event::new(context)?,
            under_way: Cell::new(false),
        })
    }

    /// Marks the current end of `work`: uploads need not wait for later work.
    pub fn mark(&self, work: &Stream) -> Result<()> {
        self.mark.record(work)?;
        self.marked.set(true);
        Ok(())
    }

    /// Copies `bytes` to `to` after the mark; without one, after all of `work`.
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
        unsafe {
            match self.pinned.containing(bytes) {
                Some(buffer) => buffer.upload(&self.stream, to, bytes)?,
                None => self.staging.upload(&self.stream, to, bytes)?,
            }
        }
        self.arrived.record(&self.stream)?;
        self.under_way.set(true);
        Ok(())
    }

    /// Makes later `work` wait for the uploads.
    pub fn join(&self, work: &Stream) -> Result<()> {
        if self.under_way.replace(false) {
            self.marked.set(false);
            self.arrived.hold_back(work)?;
        }
        Ok(())
    }

    /// Waits for the uploads, and forgets the mark, which belongs to the memory reserved before.
    pub fn synchronize(&self) -> Result<()> {
        self.marked.set(false);
        self.stream.synchronize("an upload")
    }
}
