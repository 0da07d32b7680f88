//! Progress of a run.

pub(crate) mod bar;
mod json;
mod lines;
pub(crate) mod table;

use crate::output;
use data::{ReadTimeouts, Source, StalledRead, Statistics};
use evaluate::observe::{Observer, Silent};
use report::{duration, percent};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Progress {
    /// A bar on a terminal, lines elsewhere
    #[default]
    Auto,
    /// A progress bar
    Bar,
    /// A line every few seconds
    Plain,
    /// A line of JSON every few seconds
    Json,
    /// Nothing
    None,
}

/// An observer that shows progress in this way.
pub fn observer(kind: Progress) -> Box<dyn Observer> {
    match kind {
        Progress::Auto if output::is_terminal() => Box::new(bar::Bar::new()),
        Progress::Auto | Progress::Plain => Box::new(lines::Lines::new()),
        Progress::Bar => Box::new(bar::Bar::new()),
        Progress::Json => Box::new(json::Json::new()),
        Progress::None => Box::new(Silent),
    }
}

/// Reports the progress of reading a data set, if that takes long.
#[derive(Debug)]
pub struct Reading {
    kind: Progress,
    /// The rank of this process, if it is not the first of several.
    rank: Option<usize>,
    rate: Option<Mutex<Rate>>,
}

impl Reading {
    /// Reports nothing in the first seconds, and nothing with progress in JSON. Slow reads are
    /// reported as by an observer.
    pub fn new(kind: Progress) -> Reading {
        let shown = !matches!(kind, Progress::None | Progress::Json);
        let rate = || Rate { interval: Duration::from_secs(3), last: Some(Instant::now()) };
        Reading { kind, rank: None, rate: shown.then(|| Mutex::new(rate())) }
    }

    /// For a rank above 0: reports only slow reads.
    pub fn of_rank(rank: usize) -> Reading {
        Reading { kind: Progress::Plain, rank: Some(rank), rate: None }
    }

    /// Reports that `done` of `of` are done; can be called from any thread.
    pub fn say(&self, what: &str, done: usize, of: usize) {
        let rate = self.rate.as_ref().and_then(|rate| rate.try_lock().ok());
        if rate.is_some_and(|mut rate| rate.due()) {
            output::note(format_args!("{what}: {done} of {of}"));
        }
    }

    /// Reports a slow read.
    fn stalled(&self, stalled: &StalledRead) {
        match (self.rank, self.kind) {
            (Some(rank), _) => output::note(format_args!("rank {rank}: {stalled}")),
            (None, Progress::Json) => json::print_stalled(stalled),
            (None, Progress::None) => {}
            (None, _) => output::note(stalled),
        }
    }

    /// Measures the statistics of `count` images of a source, reported as `what`.
    ///
    /// # Errors
    /// If none can be read, or a read times out.
    pub fn measure(
        &self,
        what: &str,
        source: &Arc<dyn Source>,
        threads: usize,
        count: usize,
    ) -> data::Result<Statistics> {
        let (timeouts, mut watch) = (ReadTimeouts::default(), self.watch(what, count));
        let measured = Statistics::of_watched(source, threads, Some(count), timeouts, &mut watch)?;
        Ok(measured.expect("never stopped"))
    }

    /// A callback that reports progress and slow reads; it never stops reading.
    pub fn watch(&self, what: &str, of: usize) -> impl FnMut(usize, Option<&StalledRead>) -> bool {
        move |done, stalled| {
            self.say(what, done, of);
            stalled.into_iter().for_each(|stalled| self.stalled(stalled));
            true
        }
    }
}

/// A rate limiter: due at first, then once per interval.
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
    fn a_rate_is_due_at_first_and_then_after_its_interval() {
        let mut rate = Rate::new(Duration::from_secs(3600));
        assert!(rate.due());
        assert!(!rate.due());
        assert!(Rate { interval: Duration::ZERO, ..rate }.due());
    }
}
