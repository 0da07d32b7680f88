//! Asynchronous uploads.
//!
//! The GPU copies asynchronously only from pinned host memory. Data are therefore first copied into
//! a ring of pinned pieces, and each piece is sent while the next is filled. The host waits only
//! before it refills a piece that is still being sent.

use super::driver::{Context, Stream, failed};
use super::event::Event;
use crate::Result;
use cudarc::driver::{result, sys};
use std::ptr;
use std::sync::Arc;

const PIECE: usize = 1 << 20;
const PIECES: usize = 16;

#[derive(Debug)]
pub(super) struct Staging {
    memory: Pinned,
    /// For each piece, the end of its copy.
    sent: [Event; PIECES],
    next: usize,
}

impl Staging {
    pub fn new(context: &Arc<Context>) -> Result<Staging> {
        let memory = Pinned::new(context, PIECES * PIECE)?;
        let sent: Vec<Event> = (0..PIECES).map(|_| Event::new(context)).collect::<Result<_>>()?;
        let sent = sent.try_into().expect("one for each piece");
        Ok(Staging { memory, sent, next: 0 })
    }

    /// Whether this many bytes can be sent without waiting for earlier pieces.
    pub fn has_room(&self, bytes: usize) -> Result<bool> {
        let pieces = bytes.div_ceil(PIECE).min(PIECES);
        let next = (0..pieces).map(|idx| &self.sent[(self.next + idx) % PIECES]);
        next.map(Event::is_reached).try_fold(true, |all, one| Ok(all && one?))
    }

    /// Copies `bytes` to `to`; they may be overwritten as soon as this returns.
    ///
    /// # Safety
    /// As many bytes from `to` on are device memory, and stay allocated until the copy is complete.
    pub unsafe fn upload(&mut self, stream: &Stream, to: u64, bytes: &[u8]) -> Result<()> {
        for (idx, chunk) in bytes.chunks(PIECE).enumerate() {
            let piece = self.next;
            self.next = (piece + 1) % PIECES;
            self.sent[piece].wait()?;
            let staged = &mut self.memory.bytes()[piece * PIECE..][..chunk.len()];
            staged.copy_from_slice(chunk);
            let to = to + (idx * PIECE) as u64;
            // SAFETY: the target is the caller's promise; the piece is not filled again before the
            // event below says that it was sent.
            unsafe { result::memcpy_htod_async(to, staged, stream.raw) }
                .map_err(failed("an upload"))?;
            self.sent[piece].record(stream)?;
        }
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Copies in progress still read the pinned memory.
        self.sent.iter().for_each(|sent| drop(sent.wait()));
    }
}

/// Pinned host memory.
#[derive(Debug)]
struct Pinned {
    base: *mut u8,
    bytes: usize,
    _context: Arc<Context>,
}

// SAFETY: plain memory with one owner.
unsafe impl Send for Pinned {}

impl Pinned {
    fn new(context: &Arc<Context>, bytes: usize) -> Result<Pinned> {
        // SAFETY: freed once, below. Write-combining: it is only ever filled from the front.
        let base = unsafe { result::malloc_host(bytes, sys::CU_MEMHOSTALLOC_WRITECOMBINED) };
        let base = base.map_err(failed("pinning host memory"))?.cast::<u8>();
        // SAFETY: fresh memory of this size, made initialised bytes.
        unsafe { ptr::write_bytes(base, 0, bytes) };
        Ok(Pinned { base, bytes, _context: context.clone() })
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: of this size and initialised; lent with `self`.
        unsafe { std::slice::from_raw_parts_mut(self.base, self.bytes) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: allocated once, freed once.
        let _ = unsafe { result::free_host(self.base.cast()) };
    }
}
