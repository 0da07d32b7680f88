//! A group of NCCL calls, whose slots and ranks are checked.

use super::library::{FLOAT, Functions, Raw, SUM, Status};
use super::{Handle, Shared};
use crate::device::cuda::Cuda;
use crate::{Result, Slot};
use std::ffi::{c_int, c_void};
use std::fmt;
use std::sync::MutexGuard;

/// A group that has been started on this thread; it is ended even after a panic.
struct Begun<'a>(&'a Shared);

impl Begun<'_> {
    fn end(self) -> Status {
        let nccl = self.0.nccl;
        std::mem::forget(self);
        // SAFETY: takes nothing.
        unsafe { (nccl.functions.group_end)() }
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        // SAFETY: takes no arguments. Only reached during a panic, so the result is ignored.
        let _ = unsafe { (self.0.nccl.functions.group_end)() };
    }
}

/// Collectives that start together. Counts are floats.
pub struct Group<'a> {
    pub(super) cuda: &'a Cuda,
    pub(super) shared: &'a Shared,
    pub(super) one: u64,
    pub(super) rank: usize,
    pub(super) world: usize,
    pub(super) handle: MutexGuard<'a, Handle>,
}

impl fmt::Debug for Group<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Group");
        out.field("rank", &self.rank).field("world", &self.world).finish_non_exhaustive()
    }
}

impl Group<'_> {
    /// Runs `work` in a group that has been started, and ends the group. Returns the result of
    /// `work` and NCCL's status.
    pub(super) fn run(
        mut self,
        work: impl FnOnce(&mut Group<'_>) -> Result<()>,
    ) -> (Result<()>, Status) {
        let begun = Begun(self.shared);
        let called = work(&mut self);
        (called, begun.end())
    }

    /// Replaces `x` by the sum of all ranks' `x`, in NCCL's order.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::Error::Gpu).
    pub fn all_reduce(&mut self, x: Slot) -> Result<()> {
        self.sum_of_all(self.cuda.address_of::<f32>(x), x.len())
    }

    /// Completes when all ranks have started it.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::Error::Gpu).
    pub fn barrier(&mut self) -> Result<()> {
        self.sum_of_all(self.one, 1)
    }

    fn sum_of_all(&mut self, x: u64, floats: usize) -> Result<()> {
        let (f, raw, stream) = self.parts();
        // SAFETY: reads and writes `floats` floats of a slot or of the barrier's memory, on a
        // stream of the communicator's GPU.
        let status = unsafe {
            (f.all_reduce)(x as *const c_void, x as *mut c_void, floats, FLOAT, SUM, raw, stream)
        };
        self.shared.check(status, "all_reduce")
    }

    /// Sets `block` to the sum of all ranks' blocks with this rank's number.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::Error::Gpu).
    ///
    /// # Panics
    /// If `x` does not have one block for each rank, or overlaps `block`.
    pub fn reduce_scatter(&mut self, x: Slot, block: Slot) -> Result<()> {
        self.check_blocks(x, block);
        let (from, to) = self.addresses(x, block);
        let (f, raw, stream) = self.parts();
        // SAFETY: `x` has one block for each rank, as checked.
        let status = unsafe { (f.reduce_scatter)(from, to, block.len(), FLOAT, SUM, raw, stream) };
        self.shared.check(status, "reduce_scatter")
    }

    /// Sets `y` to all ranks' blocks.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::Error::Gpu).
    ///
    /// # Panics
    /// If `y` does not have one block for each rank, or overlaps `block`.
    pub fn all_gather(&mut self, block: Slot, y: Slot) -> Result<()> {
        self.check_blocks(y, block);
        let (from, to) = self.addresses(block, y);
        let (f, raw, stream) = self.parts();
        // SAFETY: `y` has one block for each rank, as checked.
        let status = unsafe { (f.all_gather)(from, to, block.len(), FLOAT, raw, stream) };
        self.shared.check(status, "all_gather")
    }

    /// Sets every rank's `x` to that of `root`.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::Error::Gpu).
    ///
    /// # Panics
    /// If there is no such rank.
    pub fn broadcast(&mut self, x: Slot, root: usize) -> Result<()> {
        assert!(root < self.world, "rank {root} in a world of {}", self.world);
        let (from, to) = self.addresses(x, x);
        let (f, raw, stream) = self.parts();
        // SAFETY: reads or writes a slot in place.
        let status = unsafe { (f.broadcast)(from, to, x.len(), FLOAT, root as c_int, raw, stream) };
        self.shared.check(status, "broadcast")
    }

    /// Sends `x` to `to`.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::Error::Gpu).
    ///
    /// # Panics
    /// If there is no such other rank.
    pub fn send(&mut self, x: Slot, to: usize) -> Result<()> {
        self.check_peer(to);
        let (from, _) = self.addresses(x, x);
        let (f, raw, stream) = self.parts();
        // SAFETY: reads a slot.
        let status = unsafe { (f.send)(from, x.len(), FLOAT, to as c_int, raw, stream) };
        self.shared.check(status, "send")
    }

    /// Receives `x` from `from`.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::Error::Gpu).
    ///
    /// # Panics
    /// If there is no such other rank.
    pub fn recv(&mut self, x: Slot, from: usize) -> Result<()> {
        self.check_peer(from);
        let (_, to) = self.addresses(x, x);
        let (f, raw, stream) = self.parts();
        // SAFETY: writes a slot.
        let status = unsafe { (f.recv)(to, x.len(), FLOAT, from as c_int, raw, stream) };
        self.shared.check(status, "recv")
    }

    fn check_blocks(&self, whole: Slot, block: Slot) {
        let world = self.world;
        assert_eq!(
            Some(whole.len()),
            block.len().checked_mul(world),
            "{whole:?} and {block:?} in a world of {world}: one block a rank"
        );
        assert!(!whole.overlaps(&block), "{whole:?} and {block:?} overlap");
    }

    fn check_peer(&self, peer: usize) {
        let (rank, world) = (self.rank, self.world);
        assert!(peer < world && peer != rank, "rank {rank} of {world} and rank {peer}");
    }

    fn addresses(&self, from: Slot, to: Slot) -> (*const c_void, *mut c_void) {
        let [from, to] = [from, to].map(|slot| self.cuda.address_of::<f32>(slot));
        (from as *const c_void, to as *mut c_void)
    }

    fn parts(&self) -> (&Functions, Raw, *mut c_void) {
        (&self.shared.nccl.functions, self.handle.0, self.shared.stream.raw.cast())
    }
}
