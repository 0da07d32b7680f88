//! In which way a piece of work is done, where there are several.
//!
//! A [`Work`] is an op's pass over operands of some sizes. Its rule names one [`Way`]: our own
//! kernels, cut as the sizes say. Tiles of another size, k in more or fewer slices and vendors'
//! libraries are others, and which is fastest depends on the GPU. While a GPU is
//! [tuned](Cuda::tune), whatever is rehearsed is done in all ways on memory of its own, and timed
//! (`trial`). A way decides bits, as it decides the order of sums; so what was chosen comes out
//! as [`Choices`], names to be written down, and whoever is given them times nothing.

mod trial;

use super::{Cuda, State};
use crate::{Error, Precision, Result, Slot};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;

/// A way to do a [`Work`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// With our own kernels: `own/128/2`.
    Own {
        /// Rows and columns of a tile.
        tile: usize,
        /// Slices of the sum over k.
        slices: usize,
    },
    /// With cuBLASLt, in the way that it names in this place, the one it holds for the best first:
    /// `cublaslt/0`.
    Cublaslt(usize),
    /// With cuDNN, by the algorithm of this number, `cudnn/1`, or by the best that works, `cudnn`.
    Cudnn(Option<usize>),
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::Own { tile, slices } => write!(f, "own/{tile}/{slices}"),
            Way::Cublaslt(number) => write!(f, "cublaslt/{number}"),
            Way::Cudnn(None) => write!(f, "cudnn"),
            Way::Cudnn(Some(number)) => write!(f, "cudnn/{number}"),
        }
    }
}

impl FromStr for Way {
    type Err = Error;

    fn from_str(text: &str) -> Result<Way> {
        let words: Vec<&str> = text.split('/').collect();
        let numbers: Option<Vec<usize>> = words[1..].iter().map(|word| word.parse().ok()).collect();
        match (words[0], numbers.as_deref()) {
            ("own", Some(&[tile, slices])) if slices > 0 => Ok(Way::Own { tile, slices }),
            ("cublaslt", Some(&[number])) => Ok(Way::Cublaslt(number)),
            ("cudnn", Some(&[])) => Ok(Way::Cudnn(None)),
            ("cudnn", Some(&[number])) => Ok(Way::Cudnn(Some(number))),
            _ => Err(Error::UnknownWay(text.to_string())),
        }
    }
}

/// The ways of pieces of work, by their names.
pub type Choices = BTreeMap<String, Way>;

/// An op's pass that can be made in several ways.
pub struct Work<'a, const N: usize> {
    /// `linear_forward`.
    pub pass: &'static str,
    /// What it does not share with other work of this pass; zeros behind it.
    pub sizes: [u32; 13],
    /// The same for people: `128 x 9216 to 4096`.
    pub text: &'a dyn Fn() -> String,
    /// What is read, then what is written, and scratch memory; all of floats.
    pub slots: [Slot; N],
    /// How many are read.
    pub reads: usize,
    /// Its way where nothing else was chosen. There always is this one.
    pub rule: Way,
}

/// All that decides which ways there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    pass: &'static str,
    sizes: [u32; 13],
    precision: Precision,
    /// Floats of scratch memory.
    room: usize,
    /// What divides all operands' offsets, [`ALIGNMENT`] at most.
    alignment: usize,
}

/// Bytes: no way asks for more of its operands.
pub(super) const ALIGNMENT: usize = 16;

/// A piece of work that was met.
#[derive(Clone, Debug, PartialEq)]
pub struct Met {
    /// Its name in [`Choices`]: the pass, its sizes, the precision and the scratch memory.
    pub name: String,
    /// How it is done from now on.
    pub way: Way,
    /// Why so.
    pub why: Why,
}

/// What a way was chosen by.
#[derive(Clone, Debug, PartialEq)]
pub enum Why {
    /// The choices that were given name it.
    Given,
    /// They do not, and nothing was timed.
    Rule,
    /// The clock.
    Timed {
        /// Ways, the rule's first, with their milliseconds.
        tried: Vec<(Way, f64)>,
        /// Ways that were left out, with the reason.
        failed: Vec<(Way, String)>,
    },
}

/// What was chosen for a GPU so far.
#[derive(Debug)]
pub(super) struct Tuner {
    given: Choices,
    ways: HashMap<Key, Way>,
    met: Vec<Met>,
    times: bool,
}

impl Cuda {
    /// From now on work is done as `choices` say, and what they do not name by its rule; under
    /// `times` in its fastest way, which is found out when it is first met in a
    /// [rehearsal](crate::Device::rehearse), until [`tuned`](Self::tuned). What was recorded before
    /// is recorded anew.
    pub fn tune(&mut self, choices: Choices, times: bool) {
        assert!(self.state == State::Working, "while something is recorded");
        let (ways, met) = (HashMap::new(), Vec::new());
        self.tuner = Some(Tuner { given: choices, ways, met, times });
        self.reservation = super::number_of_reservation();
    }

    /// What was met since [`tune`](Self::tune), in its order. From now on nothing is timed.
    pub fn tuned(&mut self) -> Vec<Met> {
        let Some(tuner) = &mut self.tuner else { return Vec::new() };
        tuner.times = false;
        std::mem::take(&mut tuner.met)
    }

    /// Has `go` do this work, once, in the way that is chosen for it. `go` is given a way and
    /// operands, which are not the work's own where ways are tried, and says whether there is such
    /// a way; `others` lists ways beside the rule's.
    ///
    /// # Errors
    /// What `go` and `others` end with; [`Error::NoWay`] if there is no such way here.
    pub fn work<const N: usize>(
        &mut self,
        work: &Work<'_, N>,
        others: impl Fn(&mut Cuda) -> Result<Vec<Way>>,
        mut go: impl FnMut(&mut Cuda, Way, [Slot; N]) -> Result<bool>,
    ) -> Result<()> {
        let way = match self.tuner.take() {
            None => {
                let cublaslt = self.prefers_cublaslt().then_some(Way::Cublaslt(0));
                let cudnn = self.prefers_cudnn().then_some(Way::Cudnn(None));
                for way in [cublaslt, cudnn].into_iter().flatten() {
                    if go(self, way, work.slots)? {
                        return Ok(());
                    }
                }
                work.rule
            }
            Some(mut tuner) => {
                let way = self.way_of(&mut tuner, work, others, &mut go);
                self.tuner = Some(tuner);
                way?
            }
        };
        if go(self, way, work.slots)? {
            Ok(())
        } else {
            let key = Key::of(work, self.precision);
            Err(Error::NoWay { way: way.to_string(), work: key.name(work.text) })
        }
    }

    fn way_of<const N: usize>(
        &mut self,
        tuner: &mut Tuner,
        work: &Work<'_, N>,
        others: impl Fn(&mut Cuda) -> Result<Vec<Way>>,
        go: &mut impl FnMut(&mut Cuda, Way, [Slot; N]) -> Result<bool>,
    ) -> Result<Way> {
        let key = Key::of(work, self.precision);
        if let Some(&way) = tuner.ways.get(&key) {
            return Ok(way);
        }
        let name = key.name(work.text);
        let (way, why) = match tuner.given.get(&name) {
            Some(&way) => (way, Why::Given),
            None if tuner.times && self.state == State::Rehearsing => {
                self.fastest(work, others, go)?
            }
            None => (work.rule, Why::Rule),
        };
        tuner.ways.insert(key, way);
        tuner.met.push(Met { name, way, why });
        Ok(way)
    }
}

impl Key {
    fn of<const N: usize>(work: &Work<'_, N>, precision: Precision) -> Key {
        let Work { pass, sizes, slots, .. } = *work;
        let offsets = slots.iter().fold(ALIGNMENT, |all, slot| all | slot.range().start);
        let alignment = 1 << offsets.trailing_zeros();
        Key { pass, sizes, precision, room: slots[N - 1].len(), alignment }
    }

    fn name(&self, text: &dyn Fn() -> String) -> String {
        let Key { pass, precision, room, alignment, .. } = self;
        let least = match *alignment {
            ALIGNMENT => String::new(),
            less => format!(", {less} bytes apart"),
        };
        format!("{pass} {}, {precision}, room {room}{least}", text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_read_as_it_is_written() {
        let cudnn = [None, Some(1)].map(Way::Cudnn);
        let own = Way::Own { tile: 128, slices: 3 };
        for way in cudnn.into_iter().chain([own, Way::Cublaslt(0), Way::Cublaslt(7)]) {
            assert_eq!(way.to_string().parse::<Way>().unwrap(), way);
        }
        for wrong in
            ["", "own", "own/64", "own/64/0", "own/64/1/1", "cublaslt/x", "cublaslt", "cudnn/1/2"]
        {
            let told = wrong.parse::<Way>().unwrap_err().to_string();
            assert!(told.contains(&format!("`{wrong}`")), "{told}");
        }
    }
}
