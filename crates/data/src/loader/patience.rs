//! Reads that do not come back: a network disk that has gone away, a disk that is dying.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a loader waits for one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// After this time it is said, and again each time that the wait has doubled.
    pub notice: Duration,
    /// After this time the batch is an error.
    pub limit: Duration,
}

impl Default for Patience {
    /// Ten seconds, and ten minutes: a server that is started anew is waited for.
    fn default() -> Patience {
        Patience { notice: Duration::from_secs(10), limit: Duration::from_secs(600) }
    }
}

/// A read that has not come back, while a batch is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stalled {
    /// The image.
    pub name: String,
    /// How long it has been read.
    pub waited: Duration,
    /// How long it will be waited for.
    pub limit: Duration,
}

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stalled { name, waited, limit } = self;
        let [waited, limit] = [waited, limit].map(Duration::as_secs_f64).map(f64::round);
        write!(f, "{name}: no answer for {waited} s, still waiting ({limit} s at most)")
    }
}

/// The image that a worker is reading, and since when; for any thread to see.
#[derive(Debug)]
pub(super) struct AtHand {
    start: Instant,
    image: AtomicUsize,
    /// Nanoseconds since `start`, plus one; zero: none is being read.
    since: AtomicU64,
}

impl AtHand {
    pub(super) fn new() -> AtHand {
        AtHand { start: Instant::now(), image: AtomicUsize::new(0), since: AtomicU64::new(0) }
    }

    pub(super) fn begin(&self, image: usize) {
        // The time last: whoever sees it sees the image, or a later one.
        self.image.store(image, Ordering::Relaxed);
        self.since.store(self.start.elapsed().as_nanos() as u64 + 1, Ordering::Release);
    }

    pub(super) fn end(&self) {
        self.since.store(0, Ordering::Release);
    }

    pub(super) fn image(&self) -> usize {
        self.image.load(Ordering::Relaxed)
    }

    /// How long the image has been read.
    pub(super) fn waited(&self) -> Option<Duration> {
        let since = self.since.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.start.elapsed().saturating_sub(Duration::from_nanos(since)))
    }
}

/// What has been said of a wait.
#[derive(Debug, Default)]
pub(super) struct Told {
    image: usize,
    /// The wait when it was last looked at, and when it was last said; zero: never.
    seen: Duration,
    at: Duration,
}

impl Told {
    /// Whether it is time to say that `image` has been read for `waited`.
    pub(super) fn is_due(&mut self, image: usize, waited: Duration, notice: Duration) -> bool {
        if self.image != image || waited < self.seen {
            *self = Told { image, ..Told::default() }; // another read
        }
        self.seen = waited;
        let due = waited >= if self.at.is_zero() { notice } else { self.at * 2 };
        if due {
            self.at = waited;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_each_time_it_has_doubled() {
        let seconds = Duration::from_secs;
        let mut told = Told::default();
        let mut due = |image, waited| told.is_due(image, seconds(waited), seconds(10));
        let said: Vec<u64> = (0..100).filter(|&waited| due(7, waited)).collect();
        assert_eq!(said, [10, 20, 40, 80]);
        assert!(!due(8, 9) && due(8, 10), "another image");
        assert!(!due(8, 9) && due(8, 11), "the same one in a later epoch");
    }

    #[test]
    fn a_worker_without_an_image_waits_for_none() {
        let hand = AtHand::new();
        assert_eq!(hand.waited(), None);
        hand.begin(5);
        assert!(hand.waited().is_some_and(|waited| waited < Duration::from_secs(60)));
        assert_eq!(hand.image(), 5);
        hand.end();
        assert_eq!(hand.waited(), None);
    }

    #[test]
    fn a_stall_is_one_sentence() {
        let (waited, limit) = (Duration::from_millis(12_300), Duration::from_secs(600));
        let stalled = Stalled { name: "a/b.jpg".into(), waited, limit };
        let wanted = "a/b.jpg: no answer for 12 s, still waiting (600 s at most)";
        assert_eq!(stalled.to_string(), wanted);
    }
}
