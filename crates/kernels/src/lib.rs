//! The ops: stateless arithmetic from slots to slots.
//!
//! One op, one folder, and in it the same files: `mod.rs` has the formula in the paper's symbols,
//! the geometry, the checks and the match over the device; `reference.rs` is the op in plain loops
//! with f64 sums, kept for ever as its specification; `cpu.rs` is the fast form.

pub mod activation;
pub mod conv;
pub mod dropout;
pub mod gemm;
pub mod linear;
pub mod lrn;
pub mod pool;
pub mod preprocess;
pub mod sgd;
mod simd;
pub mod softmax_loss;
