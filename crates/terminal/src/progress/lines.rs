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

    /// Whether a line is due for this part of something else than training.
    fn is_shown(&mut self, done: u64, total: u64) -> bool {
        self.tests.due() && self.tests.last.is_some() && done < total && done * 10 > total
    }
}

impl Observer for Lines {
    fn step(&mut self, r: &StepReport) -> ControlFlow<()> {
        if self.steps.due() || r.step == r.steps {
            let StepReport { epoch, epochs, step, steps, loss, .. } = r;
            output::note(format_args!(
                "epoch {epoch}/{epochs}  step {step}/{steps}  loss {loss:.4}  {}",
                speed(r)
            ));
        }
        ControlFlow::Continue(())
    }

    fn progress(&mut self, what: &str, done: u64, total: u64) {
        if self.is_shown(done, total) {
            output::note(format_args!("{what}  {done}/{total} images"));
        }
    }

    fn bytes(&mut self, what: &str, done: u64, total: u64) {
        if self.is_shown(done, total) {
            output::note(format_args!("{what}  {}", mebibytes(done, total)));
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

/// `119/228 MiB`.
pub(super) fn mebibytes(done: u64, total: u64) -> String {
    format!("{}/{} MiB", done >> 20, total.div_ceil(1 << 20))
}

/// The line about a validation.
fn validated(r: &ValidationReport) -> String {
    let top5 = r.score.top5_error.map(|error| format!("  top-5 error {}", percent(error)));
    format!(
        "epoch {}/{}  validation: loss {:.4}  top-1 error {}{}  (training loss {:.4}, {})",
        r.epoch,
        r.epochs,
        r.score.loss,
        percent(r.score.top1_error),
        top5.unwrap_or_default(),
        r.train_loss,
        duration(r.seconds),
    )
}

/// The end of a step's line: error, learning rate, images per second, waiting time, time left.
fn speed(r: &StepReport) -> String {
    format!(
        "error {}  rate {}  {:.0} images/s  data {:.0} %  {} left",
        percent(r.top1_error),
        r.rate as f32, // hides rounding errors of f64: prints 0.0001
        r.images_per_s,
        100.0 * r.data_wait,
        duration(r.eta_s),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_mebibytes() {
        assert_eq!(mebibytes(0, 1), "0/1 MiB");
        assert_eq!(mebibytes(119 << 20, 228 << 20), "119/228 MiB");
    }
}
