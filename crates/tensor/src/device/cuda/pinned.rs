//! Pinned host memory, which the GPU copies asynchronously: for whole batches that other threads
//! fill.

use super::Cuda;
use super::driver::{Context, Stream, failed};
use super::event::Event;
use crate::Result;
use cudarc::driver::{result, sys};
use std::ops::{Deref, DerefMut, Range};
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Pinned host memory with one owner.
#[derive(Debug)]
pub(super) struct Pinned {
    base: *mut u8,
    bytes: usize,
    context: Arc<Context>,
}

// SAFETY: plain memory with one owner.
unsafe impl Send for Pinned {}
// SAFETY: it changes through `&mut` only.
unsafe impl Sync for Pinned {}

impl Pinned {
    /// Zeros; `flags` are those of `cuMemHostAlloc`.
    pub fn new(context: &Arc<Context>, bytes: usize, flags: u32) -> Result<Pinned> {
        context.bind()?;
        // SAFETY: freed once, below.
        let base = unsafe { result::malloc_host(bytes, flags) };
        let base = base.map_err(failed("pinning host memory"))?.cast::<u8>();
        // SAFETY: fresh memory of this size, made initialised bytes.
        unsafe { ptr::write_bytes(base, 0, bytes) };
        Ok(Pinned { base, bytes, context: context.clone() })
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: of this size and initialised; lent with `self`.
        unsafe { std::slice::from_raw_parts(self.base, self.bytes) }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: of this size and initialised; lent with `self`.
        unsafe { std::slice::from_raw_parts_mut(self.base, self.bytes) }
    }

    /// The addresses of its bytes.
    fn range(&self) -> Range<usize> {
        let base = self.base.addr();
        base..base + self.bytes
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = self.context.bind();
        // SAFETY: allocated once, freed once.
        let _ = unsafe { result::free_host(self.base.cast()) };
    }
}

/// Pinned host memory of a GPU's process: an early upload of its bytes
/// ([`Device::upload_ahead`](crate::Device::upload_ahead)) is one asynchronous copy, which returns
/// at once. Access to change the bytes waits until the GPU has read them.
#[derive(Debug)]
pub struct PinnedBuffer {
    memory: Pinned,
    last_copy: Arc<LastCopy>,
    buffers: PinnedBuffers,
}

impl Deref for PinnedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.memory.bytes()
    }
}

impl DerefMut for PinnedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.last_copy.wait(&self.memory.context);
        self.memory.bytes_mut()
    }
}

impl Drop for PinnedBuffer {
    fn drop(&mut self) {
        self.buffers.lock().retain(|(_, other)| !Arc::ptr_eq(other, &self.last_copy));
        self.last_copy.wait(&self.memory.context);
    }
}

/// The last copy from a buffer.
#[derive(Debug)]
pub(super) struct LastCopy(Mutex<CopyState>);

#[derive(Debug)]
struct CopyState {
    end: Event,
    is_pending: bool,
}

impl LastCopy {
    fn lock(&self) -> MutexGuard<'_, CopyState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is complete. An error of the GPU is reported by its next operation; it then
    /// reads nothing more.
    fn wait(&self, context: &Context) {
        let mut state = self.lock();
        if std::mem::take(&mut state.is_pending) {
            let _ = context.bind().and_then(|()| state.end.wait());
        }
    }

    /// Copies `bytes`, which lie in the buffer, to `to`.
    ///
    /// # Safety
    /// As many bytes from `to` on are device memory, and stay allocated until the copy is complete.
    pub unsafe fn upload(&self, stream: &Stream, to: u64, bytes: &[u8]) -> Result<()> {
        let mut state = self.lock();
        // SAFETY: the target is the caller's promise; the buffer is neither changed nor freed
        // before the event below.
        unsafe { result::memcpy_htod_async(to, bytes, stream.raw) }.map_err(failed("an upload"))?;
        state.is_pending = true;
        state.end.record(stream)
    }
}

/// All buffers of a GPU.
#[derive(Clone, Debug, Default)]
pub(super) struct PinnedBuffers(Arc<Mutex<Vec<Entry>>>);

/// The addresses of a buffer, and the last copy from it.
type Entry = (Range<usize>, Arc<LastCopy>);

impl PinnedBuffers {
    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last copy of the buffer in which these bytes lie.
    pub fn containing(&self, bytes: &[u8]) -> Option<Arc<LastCopy>> {
        let Range { start, end } = bytes.as_ptr_range();
        let (start, end) = (start.addr(), end.addr());
        let buffers = self.lock();
        let found = buffers.iter().find(|(range, _)| range.start <= start && end <= range.end);
        found.map(|(_, last_copy)| last_copy.clone())
    }
}

impl Cuda {
    /// Zeros in pinned host memory, from which early uploads are asynchronous.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::Error::Gpu) if so many bytes cannot be pinned.
    pub fn pinned(&self, bytes: usize) -> Result<PinnedBuffer> {
        // Not write-combined: the threads that fill it also read it.
        let memory = Pinned::new(&self.context, bytes, sys::CU_MEMHOSTALLOC_PORTABLE)?;
        let end = Event::new(&self.context)?;
        let last_copy = Arc::new(LastCopy(Mutex::new(CopyState { end, is_pending: false })));
        let buffers = self.pinned.clone();
        buffers.lock().push((memory.range(), last_copy.clone()));
        Ok(PinnedBuffer { memory, last_copy, buffers })
    }
}
