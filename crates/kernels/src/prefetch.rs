//! Fetches cache lines before they are used, where the processor's own prefetchers do not. Changes
//! no value; on processors other than x86-64 it does nothing.

/// Bytes of a cache line.
pub(crate) const LINE: usize = 64;

/// Fetches the cache line at `line`, which may be any address, into all caches.
#[inline(always)]
pub(crate) fn to_read<T>(line: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has it, and it accesses no memory.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(line.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

/// Fetches the cache lines of `y`, which will soon be written.
#[inline(always)]
pub(crate) fn to_write<T>(y: &mut [T]) {
    #[cfg(target_arch = "x86_64")]
    for at in (0..size_of_val(y)).step_by(LINE) {
        use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        let line = y.as_ptr().cast::<i8>().wrapping_add(at);
        // SAFETY: every x86-64 processor has it or does nothing, and it accesses no memory.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(line) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = y;
}
