//! JSON lines on stdout: for programs.

use super::Rate;
use crate::output;
use data::StalledRead;
use evaluate::observe::{Observer, StepReport, ValidationReport};
use serde_json::json;
use std::ops::ControlFlow;
use std::time::Duration;

pub(super) struct Json {
    steps: Rate,
}

impl Json {
    pub(super) fn new() -> Json {
        Json { steps: Rate::new(Duration::from_secs(1)) }
    }
}

impl Observer for Json {
    fn step(&mut self, r: &StepReport) -> ControlFlow<()> {
        if self.steps.due() || r.step == r.steps {
            let line = json!({
                "kind": "train",
                "step": r.step,
                "steps": r.steps,
                "epoch": r.epoch,
                "epochs": r.epochs,
                "loss": r.loss,
                "top1_error": r.top1_error,
                "rate": r.rate,
                "images_per_s": r.images_per_s,
                "data_wait": r.data_wait,
                "eta_s": r.eta_s,
            });
            output::progress(line);
        }
        ControlFlow::Continue(())
    }

    fn validation(&mut self, r: &ValidationReport) -> ControlFlow<()> {
        let line = json!({
            "kind": "validation",
            "step": r.step,
            "epoch": r.epoch,
            "loss": r.score.loss,
            "top1_error": r.score.top1_error,
            "top5_error": r.score.top5_error,
            "images": r.score.images,
            "seconds": r.seconds,
        });
        output::progress(line);
        ControlFlow::Continue(())
    }

    fn stalled(&mut self, stalled: &StalledRead) {
        print_stalled(stalled);
    }

    fn note(&mut self, text: &str) {
        output::progress(json!({ "kind": "note", "text": text }));
    }

    fn take_warning(&mut self) -> Option<String> {
        output::take_trouble()
    }
}

/// The line for a slow read.
pub(super) fn print_stalled(stalled: &StalledRead) {
    let seconds = stalled.waited.as_secs_f64();
    output::progress(json!({ "kind": "stalled", "image": stalled.name, "seconds": seconds }));
}
