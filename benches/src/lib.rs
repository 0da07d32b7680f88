//! Benchmarks of ops, steps, epochs and the loader, with lower bounds and PyTorch's times.
//!
//! * [`Step`]: a whole step of training or inference, as in a run
//! * [`SplitStep`]: a step whose parts (the forward or backward pass of a row) run one at a time
//! * [`peaks`]: the machine's peak rates of multiply-adds and memory
//! * [`Peer`]: the same step in PyTorch, or in a program that reads ONNX, in a separate process
//! * [`floor`]: every part with its lower bound and PyTorch's profile; [`turns`]: whole steps,
//!   alternately; [`memory`]: peak memory; [`epoch`]: epochs with loading and augmentation
//! * [`results`], [`baseline`]: saved results, and the comparison of two runs
//! * [`ledger`]: tables, on the terminal and in BENCHMARKS.md; [`machine`]: the processor
//! * [`scaling`]: step times on many devices, by an alpha-beta model
//! * [`loader_table`]: loader throughput, with torchvision and memcpy
//!
//! `cargo xtask bench` prints the tables; `cargo xtask bench criterion` runs criterion.
//!
//! ```
//! use layers::{Spec, window};
//!
//! let spec = Spec::image("tiny", 12, 12, 3)
//!     .conv("conv1", 8, window(3).pad(1)).relu().pool(window(2).stride(2)).linear("fc2", 10);
//! let mut step = alexnet_benches::SplitStep::plan(&spec, &train::recipes::paper(), 4, 1);
//! let names: Vec<String> = step.parts().iter().map(|part| part.name.clone()).collect();
//! assert_eq!(names[..3], ["preprocess", "conv1", "pool1"]);
//! (0..step.parts().len()).for_each(|part| step.run(part));
//! ```
#![forbid(unsafe_code)]

pub mod baseline;
pub mod epoch;
mod expected;
pub mod floor;
mod layer_products;
pub mod ledger;
mod loader_peer;
pub mod loader_table;
pub mod machine;
pub mod memory;
mod onnx_file;
pub mod paper;
pub mod peaks;
mod peer;
pub mod results;
pub mod scaling;
mod split_step;
mod step;
mod step_part;
pub mod turns;

pub use expected::assumed_rate;
pub use onnx_file::OnnxFile;
pub use peer::{Engine, EpochTimes, Peer, PeerMode, PeerProfile, PeerSteps};
pub use split_step::SplitStep;
pub use step::{InferenceStep, Step, StepMode, TrainingStep};
pub use step_part::{Pass, Product, StepPart, Taps, Work};

use std::time::{Duration, Instant};

/// The median of some times; the upper one of an even number.
///
/// # Panics
/// If there are none.
pub fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Milliseconds that `work` takes.
pub fn milliseconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e3
}

/// A share as a whole percentage: `38 %`.
pub fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

/// Waits until PyTorch's threads, which spin for a while after a step, are asleep.
pub(crate) fn rest() {
    std::thread::sleep(Duration::from_millis(300));
}

/// Random bytes for pixels; times of zeros would not be representative.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut draws = random::Stream::new(1, random::Purpose::Test, 0, 0);
    (0..len.div_ceil(4)).flat_map(|_| draws.next().to_le_bytes()).take(len).collect()
}
