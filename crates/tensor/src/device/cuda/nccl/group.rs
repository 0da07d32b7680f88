//! What is asked of NCCL together: each call is held to the world and to its slots.

use super::library::{FLOAT, Functions, Raw, SUM, Status};
use super::{Handle, Shared};
use crate::device::cuda::Cuda;
use crate::{Result, Slot};
use std::ffi::{c_int, c_void};
use std::sync::MutexGuard;

/// A group that NCCL has begun on this thread, to be ended even if asking for its work panics.
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
        // SAFETY: takes nothing. What it returns matters to nobody: a panic is under way.
        let _ = unsafe { (self.0.nccl.functions.group_end)() };
    }
}

/// What starts together. Counts are floats.
pub struct Group<'a> {
    pub(super) cuda: &'a Cuda,
    pub(super) shared: &'a Shared,
    pub(super) one: u64,
    /// This rank, and how many there are.
    pub(super) place: (usize, usize),
    pub(super) handle: MutexGuard<'a, Handle>,
}

impl Group<'_> {
    /// Asks for work in a group that NCCL has begun, and ends the group. Gives what asking comes to
    /// and NCCL's word.
    pub(super) fn ask(
        mut self,
        work: impl FnOnce(&mut Group<'_>) -> Result<()>,
    ) -> (Result<()>, Status) {
        let begun = Begun(self.shared);
        let asked = work(&mut self);
        (asked, begun.end())
    }

    /// `x` becomes the sum of all ranks' `x`, in an order that is NCCL's.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::Error::GPU).
    pub fn all_reduce(&mut self, x: Slot) -> Result<()> {
        self.sum_of_all(self.cuda.address_of::<f32>(x), x.len())
    }

    /// Ends when all ranks have started one.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::Error::GPU).
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

    /// `block` becomes the sum of all ranks' blocks with this rank's number.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::Error::GPU).
    ///
    /// # Panics
    /// If `x` has not one block a rank, or overlaps `block`.
    pub fn reduce_scatter(&mut self, x: Slot, block: Slot) -> Result<()> {
        self.check_blocks(x, block);
        let (from, to) = self.addresses(x, block);
        let (f, raw, stream) = self.parts();
        // SAFETY: `x` has a block a rank, as has been checked.
        let status = unsafe { (f.reduce_scatter)(from, to, block.len(), FLOAT, SUM, raw, stream) };
        self.shared.check(status, "reduce_scatter")
    }

    /// `y` becomes all ranks' blocks.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::Error::GPU).
    ///
    /// # Panics
    /// If `y` has not one block a rank, or overlaps `block`.
    pub fn all_gather(&mut self, block: Slot, y: Slot) -> Result<()> {
        self.check_blocks(y, block);
        let (from, to) = self.addresses(block, y);
        let (f, raw, stream) = self.parts();
        // SAFETY: `y` has a block a rank, as has been checked.
        let status = unsafe { (f.all_gather)(from, to, block.len(), FLOAT, raw, stream) };
        self.shared.check(status, "all_gather")
    }

    /// `x` becomes that of `root`.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::Error::GPU).
    ///
    /// # Panics
    /// If there is no such rank.
    pub fn broadcast(&mut self, x: Slot, root: usize) -> Result<()> {
        assert!(root < self.place.1, "rank {root} in a world of {}", self.place.1);
        let (from, to) = self.addresses(x, x);
        let (f, raw, stream) = self.parts();
        // SAFETY: reads or writes a slot in place.
        let status = unsafe { (f.broadcast)(from, to, x.len(), FLOAT, root as c_int, raw, stream) };
        self.shared.check(status, "broadcast")
    }

    /// Sends `x` to `to`.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::Error::GPU).
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

    /// `x` becomes what `from` sends.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::Error::GPU).
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
        let world = self.place.1;
        assert_eq!(
            Some(whole.len()),
            block.len().checked_mul(world),
            "{whole:?} and {block:?} in a world of {world}: one block a rank"
        );
        assert!(!whole.overlaps(&block), "{whole:?} and {block:?} overlap");
    }

    fn check_peer(&self, peer: usize) {
        let (rank, world) = self.place;
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
