//! What a run shows while it runs.

mod bar;
mod json;
mod lines;

use crate::cli::ProgressKind;
use crate::console;
use crate::fault::Result;
use data::{Patience, Source, Stalled, Statistics};
use evaluate::observe::{Observer, Silent};
pub use report::{duration, percent};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Whoever shows progress as asked.
pub fn observer(kind: ProgressKind) -> Box<dyn Observer> {
    match kind {
        ProgressKind::Auto if console::is_terminal() => Box::new(bar::Bar::new()),
        ProgressKind::Auto | ProgressKind::Plain => Box::new(lines::Lines::new()),
        ProgressKind::Bar => Box::new(bar::Bar::new()),
        ProgressKind::Json => Box::new(json::Json::new()),
        ProgressKind::None => Box::new(Silent),
    }
}

/// What is said while a data set is read, if that takes long.
pub struct Reading {
    kind: ProgressKind,
    /// Which of several processes says it, if it is not the first.
    rank: Option<usize>,
    rate: Option<Mutex<Rate>>,
}

impl Reading {
    /// Says nothing for the first seconds, and nothing at all where progress is for programs. Of an
    /// image that does not come it says what an observer would.
    pub fn new(kind: ProgressKind) -> Reading {
        let shown = !matches!(kind, ProgressKind::None | ProgressKind::Json);
        let rate = || Rate { interval: Duration::from_secs(3), last: Some(Instant::now()) };
        Reading { kind, rank: None, rate: shown.then(|| Mutex::new(rate())) }
    }

    /// Of a process that is not the first: it says what it waits for, and nothing else.
    pub fn of_rank(rank: usize) -> Reading {
        Reading { kind: ProgressKind::Plain, rank: Some(rank), rate: None }
    }

    /// `done` of `of` are done; from any thread.
    pub fn say(&self, what: &str, done: usize, of: usize) {
        let rate = self.rate.as_ref().and_then(|rate| rate.try_lock().ok());
        if rate.is_some_and(|mut rate| rate.due()) {
            console::note(format_args!("{what}: {done} of {of}"));
        }
    }

    /// An image does not come.
    fn stalled(&self, stalled: &Stalled) {
        match (self.rank, self.kind) {
            (Some(rank), _) => console::note(format_args!("rank {rank}: {stalled}")),
            (None, ProgressKind::Json) => json::say_stalled(stalled),
            (None, ProgressKind::None) => {}
            (None, _) => console::note(stalled),
        }
    }

    /// The statistics of `count` images of a source, as `what`.
    ///
    /// # Errors
    /// Exit code 3 if none can be read, or one does not come.
    pub fn measure(
        &self,
        what: &str,
        source: &Arc<dyn Source>,
        threads: usize,
        count: usize,
    ) -> Result<Statistics> {
        let (patience, mut watch) = (Patience::default(), self.watch(what, count));
        let measured = Statistics::of_watched(source, threads, Some(count), patience, &mut watch)?;
        Ok(measured.expect("nobody stops it"))
    }

    /// Hears how many of `of` are done, and of an image that does not come; never stops whoever
    /// reads.
    pub fn watch(&self, what: &str, of: usize) -> impl FnMut(usize, Option<&Stalled>) -> bool {
        move |done, stalled| {
            self.say(what, done, of);
            stalled.into_iter().for_each(|stalled| self.stalled(stalled));
            true
        }
    }
}

/// Lets something through at first, and then not more often than its interval.
#[derive(Debug)]
struct Rate {
    interval: Duration,
    last: Option<Instant>,
}

impl Rate {
    fn new(interval: Duration) -> Rate {
        Rate { interval, last: None }
    }

    fn due(&mut self) -> bool {
        let due = self.last.is_none_or(|last| last.elapsed() >= self.interval);
        if due {
            self.last = Some(Instant::now());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_lets_the_first_through_and_holds_the_next() {
        let mut rate = Rate::new(Duration::from_secs(3600));
        assert!(rate.due());
        assert!(!rate.due());
        assert!(Rate { interval: Duration::ZERO, ..rate }.due());
    }
}
