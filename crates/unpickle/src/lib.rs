//! Parses Python pickles as plain values. Nothing is executed, and memory is proportional to the
//! input.
//!
//! A pickle is a program for a small stack machine, and Python's own loader calls whatever the
//! program names. This crate calls nothing. Globals are looked up in an allow-list that the caller
//! defines as an enum ([`Callable`]); any other name is an error. A call of an allowed global is
//! recorded as a [`Value`] with its arguments and state, and the caller interprets it:
//! [`numpy::array`] does so for NumPy arrays.
//!
//! Protocols 0 to 5 are supported, including those of Python 2, without extension codes and
//! out-of-band buffers. Integers have 64 bits. Values are stored in an arena in the order of their
//! creation, and long strings stay in the input, so that a program that refers to one value
//! a million times costs a million indices and no copies. Cycles, and nesting deeper than
//! [`PickleLimits::depth`], are errors, so that callers may traverse values recursively.
//!
//! ```
//! use alexnet_unpickle::{NoGlobals, PickleLimits, load};
//!
//! // pickle.dumps({"labels": [6, 9]}, protocol=2)
//! let bytes = b"\x80\x02}q\x00X\x06\x00\x00\x00labelsq\x01]q\x02(K\x06K\x09es.";
//! let pickle = load::<NoGlobals>(bytes, &PickleLimits::default())?;
//! let labels = pickle.root().get("labels").expect("there are labels");
//! let labels: Vec<Option<i64>> = labels.items().expect("a list").map(|v| v.as_int()).collect();
//! assert_eq!(labels, [Some(6), Some(9)]);
//!
//! // In Python, unpickling this runs a shell command.
//! let program = b"cos\nsystem\n(S'ls'\ntR.";
//! let error = load::<NoGlobals>(program, &PickleLimits::default()).unwrap_err();
//! assert_eq!(error.to_string(), "the pickle calls os.system, which is not allowed");
//! # Ok::<(), alexnet_unpickle::Error>(())
//! ```
//!
//! * [`load`]: parses bytes as a [`Pickle`]; [`load_prefix`] also returns the number of bytes used
//! * [`Value`]: a value in a pickle
//! * [`Callable`]: the allow-list; [`numpy`]: arrays and scalars
//! * `machine` has the instructions, `arena` the values, `text` the literals of protocol 0
#![forbid(unsafe_code)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod arena;
mod error;
mod machine;
pub mod numpy;
mod text;
mod value;

pub use error::{Error, Result};
pub use machine::{load, load_prefix};
pub use value::{Call, Pickle, Value};

/// The globals that a pickle may use, as the caller's own type.
pub trait Callable: Copy {
    /// The global `module.name`, if it is allowed.
    fn find(module: &str, name: &str) -> Option<Self>;

    /// The corresponding NumPy global, for [`numpy::array`].
    fn as_numpy(self) -> Option<numpy::Global> {
        None
    }
}

/// The empty allow-list, for plain values only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoGlobals {}

impl Callable for NoGlobals {
    fn find(_: &str, _: &str) -> Option<NoGlobals> {
        None
    }
}

/// Limits of a pickle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PickleLimits {
    /// The number of values, of memo entries, and of elements on the stack; each takes less than
    /// 200 bytes.
    pub values: usize,
    /// The depth of nested containers and calls.
    pub depth: u32,
}

impl Default for PickleLimits {
    /// 2^20 values, 100 levels.
    fn default() -> PickleLimits {
        PickleLimits { values: 1 << 20, depth: 100 }
    }
}

#[cfg(test)]
mod tests;
