//! Choice of the algorithm of an operation.
//!
//! An [`Operation`] is a pass of an op over operands of given sizes. A heuristic names one
//! [`GpuAlgorithm`]: this program's kernels with a tile size and a number of slices of k. Other
//! tiles and slices and the vendor's libraries are alternatives; which is fastest depends on the
//! GPU. While a GPU is [tuned](Cuda::tune), each operation of a rehearsal runs with every algorithm
//! on separate memory, and is timed (`trial`). The algorithm fixes the order of sums and so the
//! last bits of results. The result of tuning is therefore saved as [`Choices`]; with saved choices
//! nothing is timed.

mod trial;

use super::{Cuda, State};
use crate::{Error, Precision, Result, Slot};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;

/// An implementation of an [`Operation`] on a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
// Exhaustive: a caller that prints or saves choices must handle every algorithm.
pub enum GpuAlgorithm {
    /// This program's kernels: `own/128x96/2`, or `own/128/2` if the tile is a square.
    Own {
        /// Rows and columns of a tile.
        tile: [usize; 2],
        /// Slices of the sum over k.
        slices: usize,
    },
    /// cuBLASLt's algorithm with this index in its list, whose first is its recommendation:
    /// `cublaslt/0`.
    Cublaslt(usize),
    /// cuDNN's algorithm with this number, `cudnn/1`, or the first that works, `cudnn`.
    Cudnn(Option<usize>),
}

impl fmt::Display for GpuAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GpuAlgorithm::Own { tile: [rows, columns], slices } if rows == columns => {
                write!(f, "own/{rows}/{slices}")
            }
            GpuAlgorithm::Own { tile: [rows, columns], slices } => {
                write!(f, "own/{rows}x{columns}/{slices}")
            }
            GpuAlgorithm::Cublaslt(number) => write!(f, "cublaslt/{number}"),
            GpuAlgorithm::Cudnn(None) => write!(f, "cudnn"),
            GpuAlgorithm::Cudnn(Some(number)) => write!(f, "cudnn/{number}"),
        }
    }
}

impl FromStr for GpuAlgorithm {
    type Err = Error;

    fn from_str(text: &str) -> Result<GpuAlgorithm> {
        let words: Vec<&str> = text.split('/').collect();
        if let ["own", tile, slices] = words[..] {
            let (rows, columns) = tile.split_once('x').unwrap_or((tile, tile));
            let numbers = [rows, columns, slices].map(|number| number.parse().unwrap_or(0));
            let [rows, columns, slices] = numbers;
            if numbers.contains(&0) {
                return Err(Error::UnknownAlgorithm(text.to_string()));
            }
            return Ok(GpuAlgorithm::Own { tile: [rows, columns], slices });
        }
        let numbers: Option<Vec<usize>> = words[1..].iter().map(|word| word.parse().ok()).collect();
        match (words[0], numbers.as_deref()) {
            ("cublaslt", Some(&[number])) => Ok(GpuAlgorithm::Cublaslt(number)),
            ("cudnn", Some(&[])) => Ok(GpuAlgorithm::Cudnn(None)),
            ("cudnn", Some(&[number])) => Ok(GpuAlgorithm::Cudnn(Some(number))),
            _ => Err(Error::UnknownAlgorithm(text.to_string())),
        }
    }
}

/// The algorithms of operations, by the operations' names.
pub type Choices = BTreeMap<String, GpuAlgorithm>;

/// A pass of an op that several algorithms can compute.
pub struct Operation<'a, const N: usize> {
    /// `linear_forward`.
    pub pass: &'static str,
    /// The sizes that distinguish it from other operations of this pass, padded with zeros.
    pub sizes: [u32; 13],
    /// The sizes as text: `128 x 9216 to 4096`.
    pub text: &'a dyn Fn() -> String,
    /// Inputs, then outputs, then scratch memory; all of floats.
    pub slots: [Slot; N],
    /// The number of inputs.
    pub reads: usize,
    /// The algorithm if no other was chosen; it is always available.
    pub heuristic: GpuAlgorithm,
}

impl<const N: usize> fmt::Debug for Operation<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Operation { pass, slots, heuristic, .. } = self;
        write!(f, "{pass} {} on {slots:?}, by default {heuristic:?}", (self.text)())
    }
}

/// Everything that decides which algorithms are available.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    pass: &'static str,
    sizes: [u32; 13],
    precision: Precision,
    /// Floats of scratch memory.
    scratch: usize,
    /// The alignment of all operands, at most [`ALIGNMENT`].
    alignment: usize,
}

/// The strictest alignment that an algorithm requires, in bytes.
pub(super) const ALIGNMENT: usize = 16;

/// An operation with its algorithm.
#[derive(Clone, Debug, PartialEq)]
pub struct TunedOperation {
    /// Its name in [`Choices`]: the pass, its sizes, the precision and the scratch memory.
    pub name: String,
    /// Its algorithm.
    pub algorithm: GpuAlgorithm,
    /// How the algorithm was chosen.
    pub chosen_by: ChosenBy,
}

/// How an algorithm was chosen.
#[derive(Clone, Debug, PartialEq)]
pub enum ChosenBy {
    /// By the choices passed to [`Cuda::tune`].
    File,
    /// By the heuristic: there was no choice, and nothing was timed.
    Heuristic,
    /// By timings.
    Timing {
        /// Algorithms with their milliseconds, the heuristic's first.
        tried: Vec<(GpuAlgorithm, f64)>,
        /// Algorithms that cannot be used, with the reason.
        failed: Vec<(GpuAlgorithm, String)>,
    },
}

/// The choices for a GPU.
#[derive(Debug)]
pub(super) struct Tuner {
    given: Choices,
    algorithms: HashMap<Key, GpuAlgorithm>,
    operations: Vec<TunedOperation>,
    times: bool,
}

impl Cuda {
    /// Uses `choices` from now on, and for all other operations the heuristic. With `times`, an
    /// operation without a choice gets its fastest algorithm, timed when a
    /// [rehearsal](crate::Device::rehearse) first runs it, until [`tuned`](Self::tuned) is called.
    /// Recorded steps are recorded again.
    pub fn tune(&mut self, choices: Choices, times: bool) {
        assert!(self.state == State::Working, "while something is recorded");
        let (algorithms, operations) = (HashMap::new(), Vec::new());
        self.tuner = Some(Tuner { given: choices, algorithms, operations, times });
        self.reservation = super::number_of_reservation();
    }

    /// The operations that have run since [`tune`](Self::tune), in their order. Ends timing.
    pub fn tuned(&mut self) -> Vec<TunedOperation> {
        let Some(tuner) = &mut self.tuner else { return Vec::new() };
        tuner.times = false;
        std::mem::take(&mut tuner.operations)
    }

    /// Runs an operation once with its chosen algorithm. `go` runs an algorithm on operands, which
    /// are copies during trials, and returns whether the algorithm is available; `others` lists the
    /// algorithms beside the heuristic's.
    ///
    /// # Errors
    /// Errors of `go` and `others`; [`Error::NoAlgorithm`] if the chosen one is not available.
    pub fn run<const N: usize>(
        &mut self,
        operation: &Operation<'_, N>,
        others: impl Fn(&mut Cuda) -> Result<Vec<GpuAlgorithm>>,
        mut go: impl FnMut(&mut Cuda, GpuAlgorithm, [Slot; N]) -> Result<bool>,
    ) -> Result<()> {
        let algorithm = match self.tuner.take() {
            None => {
                let cublaslt = self.prefers_cublaslt().then_some(GpuAlgorithm::Cublaslt(0));
                let cudnn = self.prefers_cudnn().then_some(GpuAlgorithm::Cudnn(None));
                for algorithm in [cublaslt, cudnn].into_iter().flatten() {
                    if go(self, algorithm, operation.slots)? {
                        return Ok(());
                    }
                }
                operation.heuristic
            }
            Some(mut tuner) => {
                let algorithm = self.choose(&mut tuner, operation, others, &mut go);
                self.tuner = Some(tuner);
                algorithm?
            }
        };
        if go(self, algorithm, operation.slots)? {
            Ok(())
        } else {
            let name = Key::of(operation, self.precision).name(operation.text);
            Err(Error::NoAlgorithm { algorithm: algorithm.to_string(), operation: name })
        }
    }

    fn choose<const N: usize>(
        &mut self,
        tuner: &mut Tuner,
        operation: &Operation<'_, N>,
        others: impl Fn(&mut Cuda) -> Result<Vec<GpuAlgorithm>>,
        go: &mut impl FnMut(&mut Cuda, GpuAlgorithm, [Slot; N]) -> Result<bool>,
    ) -> Result<GpuAlgorithm> {
        let key = Key::of(operation, self.precision);
        if let Some(&algorithm) = tuner.algorithms.get(&key) {
            return Ok(algorithm);
        }
        let name = key.name(operation.text);
        let (algorithm, chosen_by) = match tuner.given.get(&name) {
            Some(&algorithm) => (algorithm, ChosenBy::File),
            None if tuner.times && self.state == State::Rehearsing => {
                self.fastest(operation, others, go)?
            }
            None => (operation.heuristic, ChosenBy::Heuristic),
        };
        tuner.algorithms.insert(key, algorithm);
        tuner.operations.push(TunedOperation { name, algorithm, chosen_by });
        Ok(algorithm)
    }
}

impl Key {
    fn of<const N: usize>(operation: &Operation<'_, N>, precision: Precision) -> Key {
        let Operation { pass, sizes, slots, .. } = *operation;
        let offsets = slots.iter().fold(ALIGNMENT, |all, slot| all | slot.range().start);
        let alignment = 1 << offsets.trailing_zeros();
        Key { pass, sizes, precision, scratch: slots[N - 1].len(), alignment }
    }

    /// Part of the format of saved choices.
    fn name(&self, text: &dyn Fn() -> String) -> String {
        let Key { pass, precision, scratch, alignment, .. } = self;
        let alignment = match *alignment {
            ALIGNMENT => String::new(),
            less => format!(", {less} bytes apart"),
        };
        format!("{pass} {}, {precision}, room {scratch}{alignment}", text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms_survive_a_round_trip_through_text() {
        use GpuAlgorithm::{Cublaslt, Cudnn, Own};
        let [own, wide] = [[128; 2], [128, 96]].map(|tile| Own { tile, slices: 3 });
        for algorithm in [Cudnn(None), Cudnn(Some(1)), own, wide, Cublaslt(0), Cublaslt(7)] {
            assert_eq!(algorithm.to_string().parse::<GpuAlgorithm>().unwrap(), algorithm);
        }
        assert_eq!([own, wide].map(|own| own.to_string()), ["own/128/3", "own/128x96/3"]);
        for wrong in [
            "",
            "own",
            "own/64",
            "own/64/0",
            "own/64/1/1",
            "own/64x/1",
            "own/64x0/1",
            "own/64x64x64/1",
            "cublaslt/x",
            "cublaslt",
            "cudnn/1/2",
        ] {
            let error = wrong.parse::<GpuAlgorithm>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{wrong}`")), "{error}");
        }
    }
}
