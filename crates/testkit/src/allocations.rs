//! Counts heap allocations.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

/// The system allocator with a counter. An integration test installs it as its global allocator,
/// and must contain a single test, since the threads of others would be counted, too:
///
/// ```
/// #[global_allocator]
/// static COUNTING: alexnet_testkit::CountingAllocator = alexnet_testkit::CountingAllocator;
///
/// assert_eq!(alexnet_testkit::allocations_during(|| drop(std::hint::black_box(Box::new(1)))), 1);
/// assert_eq!(alexnet_testkit::allocations_during(|| ()), 0);
/// ```
#[derive(Debug)]
pub struct CountingAllocator;

// SAFETY: every call is forwarded to the system allocator unchanged.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, SeqCst);
        // SAFETY: the caller fulfils `alloc`'s contract, which is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, SeqCst);
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, SeqCst);
        // SAFETY: as in `alloc`; the block came from the system allocator.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block came from the system allocator.
        unsafe { System.dealloc(block, layout) }
    }
}

/// The number of heap allocations (including reallocations) of all threads while `work` ran.
///
/// # Panics
/// If [`CountingAllocator`] is not this program's allocator: the count would always be zero.
pub fn allocations_during(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.load(SeqCst);
    drop(std::hint::black_box(Box::new(0u8)));
    let start = ALLOCATIONS.load(SeqCst);
    assert!(start > before, "CountingAllocator is not this program's #[global_allocator]");
    work();
    ALLOCATIONS.load(SeqCst) - start
}
