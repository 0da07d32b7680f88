//! A progress bar, for terminals.

use super::Rate;
use super::lines::{mebibytes, speed, validated};
use crate::output;
use evaluate::observe::{Observer, StepReport, ValidationReport};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::ops::ControlFlow;
use std::time::Duration;

pub(super) struct Bar {
    bar: ProgressBar,
    redraws: Rate,
    /// Whether the bar shows training steps.
    is_training: bool,
}

impl Bar {
    pub(super) fn new() -> Bar {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
        let style = ProgressStyle::with_template("{prefix} {wide_bar} {msg}");
        bar.set_style(style.expect("the template is valid").progress_chars("=> "));
        Bar { bar, redraws: Rate::new(Duration::from_millis(125)), is_training: false }
    }

    fn show(&mut self, what: &str, done: u64, total: u64, message: String) {
        self.bar.set_length(total);
        self.bar.set_position(done);
        self.bar.set_prefix(what.to_string());
        self.bar.set_message(message);
    }
}

impl Observer for Bar {
    fn step(&mut self, r: &StepReport) -> ControlFlow<()> {
        if !self.redraws.due() && r.step < r.steps {
            return ControlFlow::Continue(());
        }
        self.is_training = true;
        self.bar.set_length(r.steps);
        self.bar.set_position(r.step);
        self.bar.set_prefix(format!("epoch {}/{}", r.epoch, r.epochs));
        self.bar.set_message(format!("loss {:.3}  {}", r.loss, speed(r)));
        ControlFlow::Continue(())
    }

    fn progress(&mut self, what: &str, done: u64, total: u64) {
        if !self.redraws.due() && done < total {
            return;
        }
        if self.is_training {
            self.bar.set_message(format!("{what} {done}/{total}"));
        } else {
            self.show(what, done, total, format!("{done}/{total} images"));
        }
    }

    fn bytes(&mut self, what: &str, done: u64, total: u64) {
        if self.redraws.due() || done >= total {
            self.show(what, done, total, mebibytes(done, total));
        }
    }

    fn validation(&mut self, r: &ValidationReport) -> ControlFlow<()> {
        self.note(&validated(r));
        ControlFlow::Continue(())
    }

    fn note(&mut self, text: &str) {
        self.bar.suspend(|| output::note(text));
    }

    fn take_warning(&mut self) -> Option<String> {
        output::take_trouble()
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
