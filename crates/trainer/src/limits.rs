//! Upper bounds on threads and images.

use crate::fault::{Fault, Result};
use weights::range::Range;

/// Threads that compute. More than a few per core only wait for each other: with a thousand on two
/// cores a step takes twenty seconds.
pub const THREADS: Limit = Limit { base: 256, per_core: 4 };
/// Threads that decode images; they also wait for disks.
pub const WORKERS: Limit = Limit { base: 1024, per_core: 16 };
/// Images of `--fake-data`.
pub const FAKE_IMAGES: Limit = Limit { base: 100_000_000, per_core: 0 };

/// A bound: `base` on any machine, more if it has many cores.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    base: usize,
    per_core: usize,
}

impl Limit {
    fn here(self) -> usize {
        self.base.max(self.per_core * cores())
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Checks a setting against a bound.
///
/// # Errors
/// Exit code 2 with the valid range.
pub fn check(name: &str, limit: Limit, value: usize) -> Result<()> {
    Range::of(0.0, limit.here() as f64).check(name, value as f64).map_err(Fault::usage)
}

/// For clap: the number after `--threads`.
///
/// # Errors
/// A sentence with the valid range.
pub fn threads(typed: &str) -> std::result::Result<usize, String> {
    number(typed, THREADS)
}

/// For clap: the number after `--workers`.
///
/// # Errors
/// A sentence with the valid range.
pub fn workers(typed: &str) -> std::result::Result<usize, String> {
    number(typed, WORKERS)
}

/// For clap: the number after `--batch-size` where a trained network is used.
///
/// # Errors
/// A sentence with the valid range.
pub fn batch(typed: &str) -> std::result::Result<usize, String> {
    let number: usize = typed.parse().map_err(|error| format!("{error}"))?;
    let range = train::recipe::ranges::BATCH;
    if range.contains(number as f64) { Ok(number) } else { Err(format!("it must be {range}")) }
}

fn number(typed: &str, limit: Limit) -> std::result::Result<usize, String> {
    let number: usize = typed.parse().map_err(|error| format!("{error}"))?;
    if number <= limit.here() {
        Ok(number)
    } else {
        Err(format!("it must be at most {} here", limit.here()))
    }
}

/// A warning if there are more compute threads than help.
pub fn too_many_threads(threads: usize) -> Option<String> {
    let cores = cores();
    (threads > 4 * cores).then(|| {
        format!(
            "WARNING: --threads {threads} on {cores} cores: threads that wait for each other make \
             steps slower; --threads {cores} is the most that helps"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_threads_are_rejected_or_warned_about() {
        assert_eq!((threads("0"), threads("3"), workers("16")), (Ok(0), Ok(3), Ok(16)));
        for (typed, parse) in [("1000000", threads as fn(&str) -> _), ("100000", workers)] {
            let message = parse(typed).unwrap_err();
            assert!(message.starts_with("it must be at most"), "{message}");
        }
        for typed in ["-1", "many", "", "99999999999999999999"] {
            assert!(threads(typed).is_err() && workers(typed).is_err(), "{typed}");
        }
        assert!(batch("0").is_err() && batch("281474976710656").is_err() && batch("128").is_ok());
        assert_eq!(too_many_threads(4 * cores()), None);
        assert!(too_many_threads(4 * cores() + 1).unwrap().contains("is the most that helps"));
    }
}
