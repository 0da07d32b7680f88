//! A line every few seconds: for files, pipes and batch systems.

use super::{Rate, duration, percent};
use crate::output;
use evaluate::observe::{Observer, StepReport, ValidationReport};
use std::ops::ControlFlow;
use std::time::Duration;

pub(super) struct Lines {
    steps: Rate,
    tests: Rate,
}

impl Lines {
    const INTERVAL: Duration = Duration::from_secs(5);

    pub(super) fn new() -> Lines {
        Lines { steps: Rate::new(Self::INTERVAL), tests: Rate::new(Self::INTERVAL) }
    }
}

impl Observer for Lines {
    fn step(&mut self, r: &StepReport) -> ControlFlow<()> {
        if self.steps.due() || r.step == r.steps {
            output::note(format_args!(
                "epoch {}/{}  step {}/{}  loss {:.4}  error {}  rate {}  {:.0} images/s  \
                 data {:.0} %  {} left",
                r.epoch,
                r.epochs,
                r.step,
                r.steps,
                r.loss,
                percent(r.top1_error),
                shortest(r.rate),
                r.images_per_s,
                100.0 * r.data_wait,
                duration(r.eta_s),
            ));
        }
        ControlFlow::Continue(())
    }

    fn seen(&mut self, what: &str, done: u64, of: u64) {
        if self.tests.due() && self.tests.last.is_some() && done < of && done * 10 > of {
            output::note(format_args!("{what}  {done}/{of} images"));
        }
    }

    fn validation(&mut self, r: &ValidationReport) -> ControlFlow<()> {
        output::note(validated(r));
        ControlFlow::Continue(())
    }

    fn note(&mut self, text: &str) {
        output::note(text);
    }

    fn take_warning(&mut self) -> Option<String> {
        output::take_trouble()
    }
}

/// The line that a validation leaves, on a terminal too.
pub(super) fn validated(r: &ValidationReport) -> String {
    format!(
        "epoch {}/{}  validation: loss {:.4}  top-1 error {}  top-5 error {}  \
         (training loss {:.4}, {})",
        r.epoch,
        r.epochs,
        r.score.loss,
        percent(r.score.top1_error),
        percent(r.score.top5_error),
        r.train_loss,
        duration(r.seconds),
    )
}

/// A rate without the last digits that f64 arithmetic leaves: 0.0001 and not
/// 0.00010000000000000002.
pub(super) fn shortest(rate: f64) -> f32 {
    rate as f32
}
