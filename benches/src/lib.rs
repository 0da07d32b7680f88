//! How long ops, steps and batches take, against their floors and against PyTorch.
//!
//! * [`Rows`]: a network whose parts, one row one way, are run one at a time on real shapes
//! * [`Step`]: a whole step of training or inference, as a run makes them
//! * [`peaks`]: what the machine could do at most: multiply-adds and bytes a second
//! * [`Peer`]: the same step in PyTorch, in a process beside this one
//! * [`floor`]: every part beside its floor and PyTorch's profile; [`turns`]: whole steps in turn;
//!   [`memory`]: the processes' peaks; [`epoch`]: an epoch with loading and augmentation
//! * [`results`], [`baseline`]: numbers that are kept, and a run against an earlier one
//! * [`ledger`]: tables, on the terminal and in BENCHMARKS.md; [`machine`]: where and when
//! * [`scaling`]: what a step would cost on many devices, by an alpha-beta model
//! * [`loader_table`]: how fast images become batches, against torchvision and memcpy
//!
//! `cargo xtask bench` prints the table; `cargo xtask bench criterion` has criterion's statistics.
//!
//! ```
//! use layers::{Spec, window};
//!
//! let spec = Spec::image("tiny", 12, 12, 3)
//!     .conv("conv1", 8, window(3).pad(1)).relu().pool(window(2).stride(2)).linear("fc2", 10);
//! let mut rows = alexnet_benches::Rows::plan(&spec, &train::recipes::paper(), 4, 1);
//! let names: Vec<String> = rows.parts().iter().map(|part| part.name.clone()).collect();
//! assert_eq!(names[..3], ["preprocess", "conv1", "pool1"]);
//! (0..rows.parts().len()).for_each(|part| rows.run(part));
//! ```
#![forbid(unsafe_code)]

pub mod baseline;
pub mod epoch;
pub mod floor;
pub mod ledger;
mod loader_peer;
pub mod loader_table;
pub mod machine;
pub mod memory;
pub mod paper;
pub mod peaks;
mod peer;
pub mod results;
mod rows;
pub mod scaling;
mod step;
pub mod turns;

pub use peer::{EpochTimes, Form, Peer, Profile};
pub use rows::{Part, Pass, Rows};
pub use step::{InferenceStep, Mode, Step, TrainingStep};

use std::time::{Duration, Instant};

/// The middle of some times.
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

/// PyTorch's threads spin for a while after its last step; ours must not pay for that.
pub(crate) fn rest() {
    std::thread::sleep(Duration::from_millis(300));
}

/// Bytes of noise, for pixels: what is measured on zeros is not measured.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut draws = random::Stream::new(1, random::Purpose::Test, 0, 0);
    (0..len.div_ceil(4)).flat_map(|_| draws.next().to_le_bytes()).take(len).collect()
}
