//! A progress bar, for terminals, below a table of validations.

use super::Rate;
use super::lines::mebibytes;
use super::table::Table;
use crate::output;
use evaluate::observe::{Observer, StepReport, ValidationReport};
use report::{duration, percent};
use std::ops::ControlFlow;
use std::time::Duration;

/// The shortest and the longest bar, in characters between its brackets.
const LEAST: usize = 10;
const MOST: usize = 40;
/// Columns left free at the right, so that the `^C` that a terminal shows stays on the line.
const FREE: usize = 4;

pub(super) struct Bar {
    redraws: Rate,
    /// The last training step, if the bar shows training.
    step: Option<StepReport>,
    table: Table,
}

/// A part of the line beside the bar; parts of low importance are left out of narrow terminals.
#[derive(Clone)]
pub(crate) struct Part {
    text: String,
    /// 0: the most important.
    importance: u8,
}

impl Bar {
    pub(super) fn new() -> Bar {
        let redraws = Rate::new(Duration::from_millis(125));
        Bar { redraws, step: None, table: Table::default() }
    }

    /// Draws the bar of something else than training: beside the epoch if there is one.
    fn show(&self, what: &str, (done, total): (u64, u64), amount: String) {
        match &self.step {
            Some(r) => draw(&epoch(r), (r.step, r.steps), &[part(format!("{what} {amount}"), 0)]),
            None => draw(what, (done, total), &[part(amount, 0)]),
        }
    }
}

impl Observer for Bar {
    fn step(&mut self, r: &StepReport) -> ControlFlow<()> {
        if self.redraws.due() || r.step >= r.steps {
            draw(&epoch(r), (r.step, r.steps), &parts(r));
        }
        self.step = Some(*r);
        ControlFlow::Continue(())
    }

    fn progress(&mut self, what: &str, done: u64, total: u64) {
        if self.redraws.due() || done >= total {
            self.show(what, (done, total), format!("{done}/{total} images"));
        }
    }

    fn bytes(&mut self, what: &str, done: u64, total: u64) {
        if self.redraws.due() || done >= total {
            self.show(what, (done, total), mebibytes(done, total));
        }
    }

    fn validation(&mut self, r: &ValidationReport) -> ControlFlow<()> {
        output::note(self.table.row(r, self.step.as_ref(), output::columns()));
        ControlFlow::Continue(())
    }

    fn note(&mut self, text: &str) {
        output::note(text);
    }

    fn take_warning(&mut self) -> Option<String> {
        output::take_trouble()
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        output::erase();
    }
}

fn draw(prefix: &str, (done, total): (u64, u64), parts: &[Part]) {
    output::draw(&line(prefix, done as f64 / total.max(1) as f64, parts, output::columns()));
}

pub(crate) fn epoch(r: &StepReport) -> String {
    format!("epoch {}/{}", r.epoch, r.epochs)
}

pub(crate) fn part(text: String, importance: u8) -> Part {
    Part { text, importance }
}

/// A step's results, in the order of the line.
pub(crate) fn parts(r: &StepReport) -> [Part; 6] {
    [
        part(format!("loss {:.3}", r.loss), 1),
        part(format!("error {}", percent(r.top1_error)), 2),
        part(format!("rate {}", r.rate as f32), 4), // hides rounding errors of f64: prints 0.0001
        part(format!("{:.0} images/s", r.images_per_s), 3),
        part(format!("data {:.0} %", 100.0 * r.data_wait), 5),
        part(format!("{} left", duration(r.eta_s)), 0),
    ]
}

/// The line of a bar on a terminal of `columns` columns: as many parts as fit beside a bar of at
/// least ten characters, the most important first; the bar takes what is left. At least the prefix
/// remains, cut off where the terminal ends.
pub(crate) fn line(prefix: &str, share: f64, parts: &[Part], columns: usize) -> String {
    let room = columns.saturating_sub(FREE);
    let bar = |length: usize| length + 3; // brackets, and the space before
    let mut used = prefix.chars().count() + bar(LEAST);
    let mut order: Vec<&Part> = parts.iter().collect();
    order.sort_by_key(|part| part.importance);
    let mut least = None;
    for part in order {
        let with = used + 2 + part.text.chars().count();
        if with > room {
            break; // less important parts are left out, too
        }
        (used, least) = (with, Some(part.importance));
    }
    let length = (LEAST + room.saturating_sub(used)).min(MOST);
    let mut line = format!("{prefix} {}", drawn(share, length));
    for part in parts.iter().filter(|part| least.is_some_and(|least| part.importance <= least)) {
        line += "  ";
        line += &part.text;
    }
    line.chars().take(room).collect()
}

/// `[===>    ]`, with `length` characters between the brackets.
fn drawn(share: f64, length: usize) -> String {
    let full = (share.clamp(0.0, 1.0) * length as f64) as usize;
    let head = if full < length { ">" } else { "" };
    let bar = "=".repeat(full) + head;
    format!("[{bar:length$}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> StepReport {
        StepReport {
            step: 250,
            steps: 1000,
            epoch: 23,
            epochs: 90,
            loss: 2.12345,
            top1_error: 0.651,
            rate: 0.01,
            images_per_s: 1234.4,
            data_wait: 0.03,
            eta_s: 4000.0,
        }
    }

    #[test]
    fn a_line_fits_its_terminal_and_has_a_bar() {
        let r = report();
        let line = |columns| line(&epoch(&r), 0.25, &parts(&r), columns);
        assert_eq!(line(60), "epoch 23/90 [===>         ]  loss 2.123  1 h 06 min left");
        assert_eq!(
            line(80),
            "epoch 23/90 [====>             ]  loss 2.123  error 65.10 %  1 h 06 min left"
        );
        assert_eq!(
            line(100),
            "epoch 23/90 [===>        ]  loss 2.123  error 65.10 %  rate 0.01  1234 images/s  \
             1 h 06 min left"
        );
        assert_eq!(
            line(120),
            "epoch 23/90 [=====>                ]  loss 2.123  error 65.10 %  rate 0.01  \
             1234 images/s  data 3 %  1 h 06 min left"
        );
        for columns in 1..200 {
            let line = line(columns);
            assert!(line.chars().count() <= columns.saturating_sub(FREE), "{columns}: {line}");
            let has_bar = line.contains('[') && line.contains(']');
            assert!(columns < 30 || has_bar, "{columns}: {line}");
        }
    }

    #[test]
    fn a_bar_is_empty_at_first_and_full_at_the_end() {
        assert_eq!(drawn(0.0, 4), "[>   ]");
        assert_eq!(drawn(0.5, 4), "[==> ]");
        assert_eq!(drawn(1.0, 4), "[====]");
        assert_eq!(drawn(f64::NAN, 4), "[>   ]");
    }
}
