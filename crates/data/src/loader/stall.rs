//! Stalled reads: a network file system that is gone, or a failing disk.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The time limits of reading one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadTimeouts {
    /// The time after which a stalled read is reported; it is reported again each time it doubles.
    pub notice: Duration,
    /// The time after which the read is an error.
    pub limit: Duration,
}

impl Default for ReadTimeouts {
    /// 10 seconds and 10 minutes, enough for a file server to restart.
    fn default() -> ReadTimeouts {
        ReadTimeouts { notice: Duration::from_secs(10), limit: Duration::from_secs(600) }
    }
}

/// A read that has not returned while its result is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StalledRead {
    /// The image.
    pub name: String,
    /// The duration of the read so far.
    pub waited: Duration,
    /// The time after which it is an error.
    pub limit: Duration,
}

impl fmt::Display for StalledRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StalledRead { name, waited, limit } = self;
        let [waited, limit] = [waited, limit].map(Duration::as_secs_f64).map(f64::round);
        write!(f, "{name}: no answer for {waited} s, still waiting ({limit} s at most)")
    }
}

/// The image that a worker is reading, and the start time; readable from any thread.
#[derive(Debug)]
pub(crate) struct ReadClock {
    start: Instant,
    image: AtomicUsize,
    /// Nanoseconds since `start`, plus one; zero if no image is being read.
    since: AtomicU64,
}

impl ReadClock {
    pub(crate) fn new() -> ReadClock {
        ReadClock { start: Instant::now(), image: AtomicUsize::new(0), since: AtomicU64::new(0) }
    }

    pub(crate) fn begin(&self, image: usize) {
        // The time is stored last: a thread that sees it sees this image, or a later one.
        self.image.store(image, Ordering::Relaxed);
        self.since.store(self.start.elapsed().as_nanos() as u64 + 1, Ordering::Release);
    }

    pub(crate) fn end(&self) {
        self.since.store(0, Ordering::Release);
    }

    pub(crate) fn image(&self) -> usize {
        self.image.load(Ordering::Relaxed)
    }

    /// How long the current image has been read.
    pub(crate) fn waited(&self) -> Option<Duration> {
        let since = self.since.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.start.elapsed().saturating_sub(Duration::from_nanos(since)))
    }
}

/// The reports of a stalled read so far.
#[derive(Debug, Default)]
pub(crate) struct StallNotices {
    image: usize,
    /// The wait at the last check, and at the last report; zero if there was none.
    checked: Duration,
    reported: Duration,
}

impl StallNotices {
    /// Whether to report now that `image` has been read for `waited`.
    pub(crate) fn is_due(&mut self, image: usize, waited: Duration, notice: Duration) -> bool {
        if self.image != image || waited < self.checked {
            *self = StallNotices { image, ..StallNotices::default() }; // another read
        }
        self.checked = waited;
        let due = waited >= if self.reported.is_zero() { notice } else { self.reported * 2 };
        if due {
            self.reported = waited;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_reported_each_time_its_wait_has_doubled() {
        let seconds = Duration::from_secs;
        let mut told = StallNotices::default();
        let mut due = |image, waited| told.is_due(image, seconds(waited), seconds(10));
        let said: Vec<u64> = (0..100).filter(|&waited| due(7, waited)).collect();
        assert_eq!(said, [10, 20, 40, 80]);
        assert!(!due(8, 9) && due(8, 10), "another image");
        assert!(!due(8, 9) && due(8, 11), "the same one in a later epoch");
    }

    #[test]
    fn a_worker_without_an_image_is_not_stalled() {
        let hand = ReadClock::new();
        assert_eq!(hand.waited(), None);
        hand.begin(5);
        assert!(hand.waited().is_some_and(|waited| waited < Duration::from_secs(60)));
        assert_eq!(hand.image(), 5);
        hand.end();
        assert_eq!(hand.waited(), None);
    }

    #[test]
    fn a_stall_is_displayed_in_one_sentence() {
        let (waited, limit) = (Duration::from_millis(12_300), Duration::from_secs(600));
        let stalled = StalledRead { name: "a/b.jpg".into(), waited, limit };
        let wanted = "a/b.jpg: no answer for 12 s, still waiting (600 s at most)";
        assert_eq!(stalled.to_string(), wanted);
    }
}
