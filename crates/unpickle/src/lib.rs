//! Python pickles as plain values. Nothing is executed, and memory is proportional to the input.
//!
//! A pickle is a program for a small stack machine, and Python's own loader calls whatever the
//! program names. This one calls nothing. Globals are looked up in an allow-list that the caller
//! writes as an enum ([`Callable`]); any other name is an error before anything is built on it. A
//! call of an allowed global is recorded as a [`Value`] with its arguments and state, and the
//! caller interprets it: [`numpy::array`] does so for NumPy arrays.
//!
//! Read are protocols 0 to 5, those of Python 2 among them, without extension codes and
//! out-of-band buffers. Integers are 64 bits wide. Values lie in an arena in the order in which
//! the program makes them, and long strings stay in the input, so a program that refers to one
//! value a million times costs a million indices and no copies. Cycles, and nesting deeper than
//! [`Limits::depth`], are errors: a caller may walk through the values recursively.
//!
//! ```
//! use alexnet_unpickle::{Limits, NoGlobals, load};
//!
//! // pickle.dumps({"labels": [6, 9]}, protocol=2)
//! let bytes = b"\x80\x02}q\x00X\x06\x00\x00\x00labelsq\x01]q\x02(K\x06K\x09es.";
//! let pickle = load::<NoGlobals>(bytes, &Limits::default())?;
//! let labels = pickle.root().get("labels").expect("there are labels");
//! let labels: Vec<Option<i64>> = labels.items().expect("a list").map(|v| v.as_int()).collect();
//! assert_eq!(labels, [Some(6), Some(9)]);
//!
//! // Anyone who unpickles this in Python runs a shell command.
//! let error = load::<NoGlobals>(b"cos\nsystem\n(S'ls'\ntR.", &Limits::default()).unwrap_err();
//! assert_eq!(error.to_string(), "the pickle calls os.system, which is not allowed");
//! # Ok::<(), alexnet_unpickle::Error>(())
//! ```
//!
//! * [`load`]: from bytes to a [`Pickle`]; [`load_prefix`]: also how many bytes it takes
//! * [`Value`]: what is in it
//! * [`Callable`]: the allow-list; [`numpy`]: arrays and scalars
//! * `machine` has the instructions, `arena` the values, `text` the literals of protocol 0
#![forbid(unsafe_code)]

mod arena;
mod error;
mod machine;
pub mod numpy;
mod text;
mod value;

pub use error::{Error, Result};
pub use machine::{load, load_prefix};
pub use value::{Call, Pickle, Value};

/// The globals that a pickle may name, as the caller's own type.
pub trait Callable: Copy {
    /// The global `module.name`, if it is allowed.
    fn find(module: &str, name: &str) -> Option<Self>;

    /// The same as one of NumPy's, for [`numpy::array`].
    fn as_numpy(self) -> Option<numpy::Global> {
        None
    }
}

/// The empty allow-list: plain values only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoGlobals {}

impl Callable for NoGlobals {
    fn find(_: &str, _: &str) -> Option<NoGlobals> {
        None
    }
}

/// What a pickle may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Values in all, memo entries, and elements of the stack at one time; each takes less than
    /// 200 bytes.
    pub values: usize,
    /// Containers and calls inside each other.
    pub depth: u32,
}

impl Default for Limits {
    /// A million values, a hundred deep.
    fn default() -> Limits {
        Limits { values: 1 << 20, depth: 100 }
    }
}

#[cfg(test)]
mod tests;
