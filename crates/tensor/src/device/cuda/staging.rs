//! Asynchronous uploads.
//!
//! The GPU copies asynchronously only from pinned host memory. Data are therefore first copied into
//! a ring of pinned pieces, and each piece is sent while the next is filled. The host waits only
//! before it refills a piece that is still being sent.

use super::driver::{Context, Stream, failed};
use super::event::Event;
use super::pinned::Pinned;
use crate::Result;
use cudarc::driver::{result, sys};
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
        // Write-combining: it is only ever filled from the front.
        let flags = sys::CU_MEMHOSTALLOC_WRITECOMBINED;
        let memory = Pinned::new(context, PIECES * PIECE, flags)?;
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
            let staged = &mut self.memory.bytes_mut()[piece * PIECE..][..chunk.len()];
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
