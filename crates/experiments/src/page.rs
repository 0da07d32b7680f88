//! The results of a protocol as a page, a plot and JSON.

use crate::findings;
use crate::measured::{Epoch, Measured, view_name};
use crate::order::{fastest, next};
use crate::protocol::{Data, Measure, Protocol, Scale};
use crate::spread::{Spread, share};
use evaluate::Score;
use report::plot::{self, Plot, Series, Stroke};
use report::{duration, percent};
use serde_json::json;
use std::fmt::Write;

/// Everything on a results page except the runs.
pub struct Results<'a> {
    /// The protocol.
    pub page: &'a Protocol,
    /// Runs of each arm.
    pub seeds: u64,
    /// The scale at which it was run.
    pub scale: Scale,
    /// The user's remark.
    pub note: Option<&'a str>,
    /// The score of the ensemble of all seeds.
    pub together: Option<Score>,
}

/// A run's result in one line.
pub fn line(page: &Protocol, run: &Measured) -> String {
    let what = match (&run.diverged, page.measure) {
        (Some(why), _) => format!("diverged: {why}"),
        (None, Measure::EpochsTo(error)) => match run.reached {
            Some(epochs) => format!("{epochs:.2} epochs to {} training error", percent(error)),
            None => format!("more than {} epochs", run.epochs.len()),
        },
        (None, Measure::LeavesChance) => match run.left_chance {
            Some(step) => format!("left ln(classes) by step {step}"),
            None => "stayed at ln(classes)".to_string(),
        },
        (None, _) => {
            let tests = run.tested.iter();
            let tests = tests.map(|t| format!("{} ({})", percent(t.top1_error), t.views));
            format!("test error {}", tests.collect::<Vec<_>>().join(", "))
        }
    };
    format!("{}, seed {}: {what} in {}", run.label, run.seed, duration(run.seconds))
}

impl Results<'_> {
    /// All measurements as JSON.
    pub fn json(&self, runs: &[Measured]) -> String {
        let together = self.together.map(|score| {
            let Score { loss, top1_error, top5_error, .. } = score;
            json!({ "top1_error": top1_error, "top5_error": top5_error, "loss": loss })
        });
        let value = json!({
            "protocol": self.page.name,
            "miniature": self.scale == Scale::Miniature,
            "paper": self.page.paper,
            "asked": self.page.asked,
            "seeds": self.seeds,
            "note": self.note,
            "together": together,
            "runs": runs,
        });
        format!("{value:#}\n")
    }

    /// Errors by epoch: thick lines for the test images, thin lines for the training images.
    pub fn svg(&self, runs: &[Measured]) -> String {
        let learned = matches!(self.page.measure, Measure::EpochsTo(_));
        let mut lines = Vec::new();
        for (color, arm) in self.shown(runs).enumerate() {
            for run in runs.iter().filter(|run| run.arm == *arm.0) {
                let points = |of: fn(&Epoch) -> f64| {
                    run.epochs.iter().map(|row| (row.epoch, of(row))).collect::<Vec<_>>()
                };
                let label = if run.seed == 0 { arm.1.to_string() } else { String::new() };
                let [thin, dots] = [points(|row| row.train_error), points(|row| row.error)];
                let (stroke, color) = (Stroke::Plain, color);
                if learned {
                    lines.push(Series { points: thin, color, stroke, label });
                } else {
                    let stroke = Stroke::Faint;
                    lines.push(Series { points: thin, color, stroke, label: String::new() });
                    lines.push(Series { points: dots, color, stroke: Stroke::Plain, label });
                }
            }
        }
        let kind = if learned { "training error" } else { "error" };
        plot::to_svg_file(&Plot {
            title: format!("{}{}: {kind} by epoch", self.page.name, self.here()),
            description: runs
                .iter()
                .map(|run| line(self.page, run) + ".")
                .collect::<Vec<_>>()
                .join(" "),
            x_label: "epoch".to_string(),
            y_label: kind.to_string(),
            percent: true,
            lines,
            ..Plot::default()
        })
    }

    /// The arms in the plot: all, or the fastest of each group.
    fn shown<'b>(&'b self, runs: &'b [Measured]) -> impl Iterator<Item = (&'b String, &'b str)> {
        let fastest = fastest(self.page, runs);
        let all = !matches!(self.page.measure, Measure::EpochsTo(_)) || fastest.is_empty();
        self.page.arms.iter().filter_map(move |arm| {
            let is_fastest = fastest.get(arm.group).is_some_and(|(name, _)| *name == arm.name);
            (all || is_fastest).then_some((&arm.name, arm.label.as_str()))
        })
    }

    /// The page.
    pub fn markdown(&self, runs: &[Measured]) -> String {
        let page = self.page;
        let mut text = format!("# {}\n\n{}\n\n", page.name, wrapped(page.what));
        let _ = writeln!(text, "* **Paper:** {}", page.paper);
        let here = self.here();
        let _ = writeln!(text, "* **Here{here}:** {}\n", self.headline(runs));
        text += &self.summary(runs);
        let _ = writeln!(
            text,
            "\nMeans and standard deviations over the seeds.\n\n![{} by epoch]({}.svg)\n",
            page.name, page.name
        );
        let seen = match page.measure {
            Measure::EpochsTo(_) => {
                "Training error by epoch, each network with its fastest learning rate."
            }
            _ => {
                "Thick lines: validation error after each epoch; thin lines: training error, \
                 measured during the epoch."
            }
        };
        let _ = writeln!(text, "{}\n", wrapped(seen));
        if let Some(inspection) = page.inspection {
            text += &findings::markdown(inspection, &page.arms, runs);
            let _ = writeln!(text, "\n{}\n", wrapped(&inspection.note()));
        }
        text += "## Runs\n\n";
        text += &self.table(runs);
        let _ =
            writeln!(text, "\n## Differences from the original\n\n{}\n", wrapped(&self.differs()));
        text += &self.how(runs);
        text
    }

    /// The suffix of "Here" for a miniature.
    fn here(&self) -> &'static str {
        match self.scale {
            Scale::Miniature => ", in miniature",
            Scale::Whole | Scale::Rehearsal => "",
        }
    }

    fn differs(&self) -> String {
        let own = self.scale.differs().into_iter();
        own.chain(self.page.differs.iter().copied()).collect::<Vec<_>>().join(" ")
    }

    /// The main result in one sentence.
    fn headline(&self, runs: &[Measured]) -> String {
        match self.page.measure {
            _ if runs.is_empty() => "no run has finished yet".to_string(),
            Measure::EpochsTo(error) => self.epochs(runs, error),
            Measure::LeavesChance => {
                let said = self.page.arms.iter().map(|arm| {
                    let runs = || runs.iter().filter(|run| run.arm == arm.name);
                    let left = runs().filter(|run| run.left_chance.is_some()).count();
                    format!(
                        "{}: the loss left ln(classes) in {left} of {} runs",
                        arm.label,
                        runs().count()
                    )
                });
                said.collect::<Vec<_>>().join("; ")
            }
            Measure::TestError | Measure::Together => self.errors(runs),
        }
    }

    fn epochs(&self, runs: &[Measured], error: f64) -> String {
        let fastest = fastest(self.page, runs);
        let epochs: Vec<(&str, Spread)> = fastest
            .iter()
            .filter_map(|(group, (arm, _))| {
                let runs = runs.iter().filter(|run| run.arm == *arm);
                Some((*group, Spread::of(runs.filter_map(|run| run.reached))?))
            })
            .collect();
        let groups: Vec<String> = epochs
            .iter()
            .map(|(group, epochs)| format!("{group} {}", epochs.text(1.0, "")))
            .collect();
        let text = if groups.is_empty() { "not reached".to_string() } else { groups.join(", ") };
        let ratio = match &epochs[..] {
            [(_, one), (_, other)] => {
                let times = f64::max(one.mean / other.mean, other.mean / one.mean);
                format!(", {times:.1} times as many")
            }
            _ => String::new(),
        };
        format!("epochs to {} training error: {text}{ratio}", percent(error))
    }

    fn errors(&self, runs: &[Measured]) -> String {
        let of_arm = |name: &str| {
            let tests = runs.iter().filter(|run| run.arm == name).filter_map(Measured::last_test);
            Spread::of(tests.map(|test| test.top1_error))
        };
        let arms = &self.page.arms;
        let results = arms.iter().filter_map(|arm| {
            let label = if arms.len() > 1 { format!(" ({})", arm.label) } else { String::new() };
            Some(format!("{}{label}", of_arm(&arm.name)?.text(100.0, " %")))
        });
        let mut text = format!("test error {}", results.collect::<Vec<_>>().join(", "));
        if let (Some(asked), Some(error)) = (self.page.asked, of_arm(&arms[0].name)) {
            let points = 100.0 * (error.mean - asked);
            text += &if points <= 0.0 {
                format!("; target of at most {} reached", percent(asked))
            } else {
                format!("; target of at most {} missed by {points:.2} points", percent(asked))
            };
        }
        if let Some(Score { top1_error, top5_error, .. }) = self.together {
            text += &format!("; averaged predictions of all seeds: {} top-1", percent(top1_error));
            text += &top5_error.map_or_else(String::new, |e| format!(", {} top-5", percent(e)));
        }
        text
    }

    /// The table of arms.
    fn summary(&self, runs: &[Measured]) -> String {
        let views: Vec<&str> = self.page.views.iter().map(|&view| view_name(view)).collect();
        let own = match self.page.measure {
            Measure::EpochsTo(_) => " epochs |",
            Measure::LeavesChance => " steps at ln(classes) |",
            Measure::TestError | Measure::Together => "",
        };
        let tests: String = views.iter().map(|view| format!(" test error, {view} |")).collect();
        let mut text = format!(
            "| | parameters |{own}{tests} training error | seeds | time per run |\n|---|---:|"
        );
        text += &"---:|".repeat(views.len() + 3 + usize::from(!own.is_empty()));
        text.push('\n');
        for arm in &self.page.arms {
            let runs = || runs.iter().filter(|run| run.arm == arm.name);
            let Some(first) = runs().next() else { continue };
            let parameters = report::grouped(first.parameters as usize);
            let _ = write!(text, "| {} | {parameters} |", arm.label);
            let number = |values: Option<Spread>, none: String| {
                values.map_or(none, |values| values.text(1.0, ""))
            };
            match self.page.measure {
                Measure::EpochsTo(_) => {
                    let reached = Spread::of(runs().filter_map(|run| run.reached));
                    let none = match &first.diverged {
                        Some(_) => "diverged".to_string(),
                        None => format!("> {}", first.epochs.len()),
                    };
                    let _ = write!(text, " {} |", number(reached, none));
                }
                Measure::LeavesChance => {
                    let left = Spread::of(runs().filter_map(|run| run.left_chance));
                    let _ = write!(text, " {} |", number(left, "all".to_string()));
                }
                Measure::TestError | Measure::Together => {}
            }
            for view in &views {
                let tests = runs().flat_map(|run| run.tested.iter().find(|t| t.views == *view));
                let _ = write!(text, " {} |", share(tests.map(|test| test.top1_error)));
            }
            let learned = share(runs().filter_map(|run| run.epochs.last()).map(|e| e.train_error));
            let seconds = Spread::of(runs().map(|run| run.seconds)).map_or(0.0, |s| s.mean);
            let _ = writeln!(text, " {learned} | {} | {} |", runs().count(), duration(seconds));
        }
        text
    }

    /// The table of runs.
    fn table(&self, runs: &[Measured]) -> String {
        let mut text =
            "| run | seed | test error (top-5) | training error | loss | epochs | steps \
                        | seconds |\n|---|---:|---:|---:|---:|---:|---:|---:|\n"
                .to_string();
        for run in runs {
            let tested = match (&run.diverged, run.last_test()) {
                (Some(_), _) => "diverged".to_string(),
                (None, Some(test)) => {
                    let top5 = test.top5_error.map(|error| format!(" ({})", percent(error)));
                    percent(test.top1_error) + &top5.unwrap_or_default()
                }
                (None, None) => "–".to_string(),
            };
            let last = run.epochs.last().copied().unwrap_or_default();
            let _ = writeln!(
                text,
                "| {} | {} | {tested} | {} | {:.3} | {} | {:.0} | {:.0} |",
                run.label,
                run.seed,
                percent(last.train_error),
                last.train_loss,
                last.epoch,
                run.steps,
                run.seconds
            );
        }
        text
    }

    /// The command that executes these runs.
    fn command(&self, runs: &[Measured]) -> String {
        let Protocol { name, arms, seeds, .. } = self.page;
        let mut stages = arms.iter().flat_map(|arm| &arm.stages);
        let data = match (self.scale, stages.any(|stage| stage.data == Data::Larger)) {
            (Scale::Rehearsal, _) => "--rehearse",
            (_, true) => "--data DIR --larger DIR",
            (_, false) => "--data DIR",
        };
        let scale = if self.scale == Scale::Miniature { " --miniature" } else { "" };
        let seeds =
            if self.seeds == *seeds { String::new() } else { format!(" --seeds {}", self.seeds) };
        let precision = runs.first().and_then(|run| run.precision.as_ref());
        let precision = precision.map_or(String::new(), |name| format!(" --precision {name}"));
        format!("cargo xtask reproduce {name}{scale} {data}{seeds}{precision}")
    }

    /// Command, machine, data, and whether runs are missing.
    fn how(&self, runs: &[Measured]) -> String {
        let name = self.page.name;
        let mut text = format!("## How to reproduce\n\n```sh\n{}\n```\n\n", self.command(runs));
        if self.scale == Scale::Rehearsal {
            text += "* A rehearsal: a few steps per run on generated images, with a sixteenth of the \
                     filters. Its results mean nothing.\n";
        }
        let distinct = |of: fn(&Measured) -> &String| {
            let mut all: Vec<&str> = runs.iter().map(|run| of(run).as_str()).collect();
            all.sort_unstable();
            all.dedup();
            all.join("; ")
        };
        let machine = distinct(|run| &run.machine);
        let _ = writeln!(text, "* Machine: {machine}; alexnet {}", distinct(|run| &run.version));
        let _ = writeln!(text, "* Images: {}", distinct(|run| &run.data));
        let _ = writeln!(
            text,
            "* Times are those of whole runs, including validation. All values: \
             [{name}.json]({name}.json)."
        );
        if let Some(note) = self.note {
            let _ = writeln!(text, "* {note}");
        }
        let left = next(self.page, self.seeds, runs).is_some();
        if left {
            let _ = writeln!(text, "* Some runs are missing: the same command continues.");
        }
        text
    }
}

/// Wraps text to lines of at most 100 bytes.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("one at least");
        if !line.is_empty() && line.len() + 1 + word.len() > 100 {
            lines.push(word.to_string());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests;
