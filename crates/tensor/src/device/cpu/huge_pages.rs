//! Memory in pages of 2 MiB, where the system grants them.
//!
//! Prefetchers stop at the end of a page, and each page needs a lookup in a page table, under a
//! hypervisor in two. Streaming through hundreds of megabytes of weights touches many 4 KiB pages.
//! Their physical addresses are also random, so that cache conflicts, and with them run times,
//! differ between runs.

use std::mem::MaybeUninit;

/// The size of a huge page, and what its address is a multiple of. Another than the system's would
/// only make for less of the memory in huge pages.
#[cfg(target_os = "linux")]
const HUGE_PAGE: usize = 2 << 20;

/// Requests huge pages for the aligned part of `memory`. Has no effect on what has been written
/// already, or if the system does not grant them.
#[cfg(target_os = "linux")]
pub(super) fn advise<T>(memory: &mut [MaybeUninit<T>]) {
    let (start, len) = (memory.as_mut_ptr().cast::<u8>(), size_of_val(memory));
    let from = start.align_offset(HUGE_PAGE);
    let Some(rest) = len.checked_sub(from) else { return };
    let whole = rest / HUGE_PAGE * HUGE_PAGE;
    // SAFETY: the range is inside the slice, which is borrowed exclusively, and this advice
    // changes no byte of it.
    unsafe { libc::madvise(start.add(from).cast(), whole, libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
pub(super) fn advise<T>(_: &mut [MaybeUninit<T>]) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::{HUGE_PAGE, MaybeUninit, advise};

    #[test]
    fn memory_keeps_its_bytes_and_may_be_of_any_size() {
        for len in [0, 1, HUGE_PAGE - 1, HUGE_PAGE, 3 * HUGE_PAGE + 5] {
            let mut memory = vec![MaybeUninit::new(7u8); len];
            advise(&mut memory);
            // SAFETY: it was written.
            assert!(memory.iter().all(|byte| unsafe { byte.assume_init() } == 7));
        }
    }
}
