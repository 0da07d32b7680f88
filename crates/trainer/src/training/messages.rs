//! The outcome of a run, as text or JSON.

use crate::console;
use crate::fault::Result;
use crate::trained::WEIGHTS;
use report::{duration, percent};
use serde_json::{Value, json};
use std::path::Path;
use train::run::{End, Outcome};

/// Prints the outcome as text or as a line of JSON.
///
/// # Errors
/// Exit code 7 if it cannot be printed.
pub(super) fn print_outcome(outcome: &Outcome, run: &Path, as_json: bool) -> Result<()> {
    if as_json {
        console::println(as_line(outcome, run))
    } else {
        console::print(as_text(outcome, run))
    }
}

fn as_line(outcome: &Outcome, run: &Path) -> Value {
    let validation = outcome.validation;
    json!({
        "loss": validation.map(|score| score.loss),
        "top1_error": validation.map(|score| score.top1_error),
        "top5_error": validation.map(|score| score.top5_error),
        "train_loss": outcome.train.loss,
        "train_top1_error": outcome.train.top1_error,
        "images_per_s": outcome.images_per_s,
        "steps": outcome.steps,
        "seconds": outcome.seconds,
        "bookkeeping_s": outcome.bookkeeping_s,
        "sent_bytes_per_step": outcome.exchanged.map(|sent| sent.bytes),
        "stopped": outcome.signal(),
        "run": run.to_string_lossy(),
    })
}

fn as_text(outcome: &Outcome, run: &Path) -> String {
    let how = if outcome.end == End::Finished { "done" } else { "stopped" };
    let (steps, time) = (outcome.steps, duration(outcome.seconds));
    let sent = outcome.exchanged.map_or_else(String::new, |sent| {
        format!(", {:.1} MB sent a step", sent.bytes as f64 / 1e6)
    });
    let rate = outcome.images_per_s;
    let mut text = format!("{how}: {steps} steps in {time}, {rate:.0} images/s{sent}\n");
    if let Some(score) = outcome.validation {
        let (top1, top5) = (percent(score.top1_error), percent(score.top5_error));
        let loss = score.loss;
        text +=
            &format!("last validation: loss {loss:.4}, top-1 error {top1}, top-5 error {top5}\n");
    }
    let weights = run.join(WEIGHTS);
    if weights.exists() {
        text += &format!("weights: {}\n", weights.display()); // none yet before the first step
    }
    text
}
