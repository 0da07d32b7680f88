//! Counter-based random numbers: every draw is a function of its name.
//!
//! There is no generator whose state must be saved, shared or advanced. A draw is named by a seed,
//! a [`Purpose`], an epoch (or step) and an index (of a sample, parameter or unit). The same name
//! gives the same bits on any thread, in any order, on any device. So a resumed run is
//! bit-identical to an uninterrupted one, and one worker or sixteen build the same batch.
//!
//! * [`philox`]: the block function, Philox4x32-10 (Salmon et al., "Parallel random numbers: as
//!   easy as 1, 2, 3", 2011)
//! * [`Stream`]: the sequence of numbers of one name
//! * [`Permutation`]: a shuffled order whose position `p` is computed directly
//!
//! ```
//! use alexnet_random::{Permutation, Purpose, Stream};
//!
//! let crop = || {
//!     let mut draws = Stream::new(7, Purpose::Crop, 3, 41); // seed 7, epoch 3, sample 41
//!     (draws.below(30), draws.below(30))
//! };
//! assert_eq!(crop(), crop());
//!
//! let order = Permutation::new(7, 3, 1000); // the order of epoch 3
//! let mut seen: Vec<u64> = (0..1000).map(|position| order.at(position)).collect();
//! seen.sort();
//! assert_eq!(seen, (0..1000).collect::<Vec<_>>());
//! ```
//!
//! A stream is a generator for [`rand`](https://docs.rs/rand), so its distributions and shuffles
//! work on named draws:
//!
//! ```
//! use alexnet_random::{Purpose, Stream};
//! use rand::{RngExt, seq::SliceRandom};
//!
//! let mut draws = Stream::new(7, Purpose::Test, 0, 0);
//! assert!((1..=6).contains(&draws.random_range(1..=6)));
//! let mut deck: Vec<u8> = (0..52).collect();
//! deck.shuffle(&mut draws);
//! ```
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod permutation;
pub mod philox;
mod stream;

pub use permutation::Permutation;
pub use stream::{Purpose, Stream};
