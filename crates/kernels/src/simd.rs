//! Compiling elementwise loops for the processor that runs them.

/// Runs `work` compiled for the widest vectors this processor has. The compiler never contracts a product
/// and a sum by itself, so the bits are the same on every processor.
#[inline(always)]
pub(crate) fn vectorized<T>(work: impl FnOnce() -> T) -> T {
    pulp::Arch::new().dispatch(work)
}
