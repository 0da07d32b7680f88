//! Fuzz targets without a fuzzer: seeded changes of valid inputs, and every input that is kept in
//! `fuzz/corpus` and `fuzz/found`.
//!
//! With ALEXNET_FUZZ_SECONDS=N each target is given other changes for N seconds, as
//! `cargo xtask fuzz` does where there is no fuzzer.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// No input may take longer, on however slow a machine.
const LONGEST: Duration = Duration::from_secs(5);

/// Runs `target` on `count` changes of `seeds`, and on the inputs kept for it.
///
/// # Panics
/// If the target does, or takes too long; the input is kept in the system's folder for such files.
pub fn run(name: &str, target: fn(&[u8]), seeds: &[Vec<u8>], count: u32) {
    let attempt = |input: &[u8], what: &str| {
        let start = Instant::now();
        let done = std::panic::catch_unwind(|| target(input));
        if done.is_err() || start.elapsed() > LONGEST {
            let path = std::env::temp_dir().join(format!("alexnet-fuzz-{name}"));
            fs::write(&path, input).unwrap();
            let path = path.display();
            panic!("{name}: {what} panics or takes too long; it is in {path}, for fuzz/found");
        }
    };
    for kept in ["corpus", "found"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(kept).join(name);
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            attempt(&fs::read(&path).unwrap(), &path.display().to_string());
        }
    }
    seeds.iter().for_each(|seed| attempt(seed, "a valid input"));
    let mut chance = Chance(0x9E37_79B9_7F4A_7C15);
    let (long, began) = (seconds(), Instant::now());
    if long.is_some() {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        chance = Chance(now.as_nanos() as u64);
    }
    let mut number = 0;
    while long.map_or(number < count, |long| began.elapsed() < long) {
        // Changes of changes, now and then, get further from what is valid.
        let mut input = chance.change(&seeds[number as usize % seeds.len()]);
        for _ in 0..if chance.below(4) == 0 { chance.below(4) } else { 0 } {
            input = chance.change(&input);
        }
        attempt(&input, &format!("change {number}"));
        number += 1;
    }
    if long.is_some() {
        println!("fuzz {name}: {number} changed inputs, nothing found");
    }
}

/// How long each target is given, if that was asked for.
fn seconds() -> Option<Duration> {
    let text = std::env::var("ALEXNET_FUZZ_SECONDS").ok()?;
    Some(Duration::from_secs(text.parse().expect("ALEXNET_FUZZ_SECONDS is a number of seconds")))
}

/// The splitmix64 sequence.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((bits ^ (bits >> 31)) % end.max(1) as u64) as usize
    }

    /// One to four changes, each of a byte, a number, a range or the length.
    fn change(&mut self, seed: &[u8]) -> Vec<u8> {
        const WORDS: [u32; 6] = [0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x0100_0000];
        let mut bytes = seed.to_vec();
        for _ in 0..1 + self.below(4) {
            let (at, other) = (self.below(bytes.len()), self.below(bytes.len()));
            match self.below(8) {
                0 => bytes.truncate(at),
                1 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                2 if !bytes.is_empty() => bytes[at] = self.below(256) as u8,
                3 if bytes.len() >= at + 4 => {
                    let word = WORDS[self.below(WORDS.len())];
                    bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
                }
                4 => {
                    let end = (at + self.below(64)).min(bytes.len());
                    bytes.drain(at..end);
                }
                5 => {
                    let end = (other + 1 + self.below(600)).min(bytes.len());
                    let part = bytes[other.min(end)..end].to_vec();
                    bytes.splice(at..at, part);
                }
                6 if bytes.len() >= 1024 => {
                    let (from, to) = (at / 512 * 512, other / 512 * 512);
                    if from.max(to) + 512 <= bytes.len() {
                        bytes.copy_within(from..from + 512, to);
                    }
                }
                _ => {
                    let value = self.below(256) as u8;
                    let end = (at + 1 + self.below(12)).min(bytes.len());
                    bytes[at.min(end)..end].fill(value);
                }
            }
        }
        bytes
    }
}
