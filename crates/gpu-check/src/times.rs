//! Times of steps, passes and kernels, against lower bounds from the GPU's peak rates.

use crate::Verdict;
use crate::budget::Budget;
use crate::cli::Cli;
use crate::gpu::{self, Limits};
use alexnet_benches::ledger::Table;
use alexnet_benches::{SplitStep, StepMode, StepPart, TrainingStep, median, milliseconds, percent};
use serde::{Deserialize, Serialize};
use std::fs;
use tensor::{Lap, Precision, Recording};

/// Seconds for a model and batch size in all precisions; with less time left it is not started.
const MIN_SECONDS: f64 = 15.0;

/// The time of a training step.
#[derive(Debug, Serialize, Deserialize)]
pub struct Timed {
    /// A built-in model.
    pub model: String,
    /// Images per step.
    pub batch: usize,
    /// `f32`, `tf32`, `bf16`.
    pub precision: String,
    /// Milliseconds of a step whose images are on the GPU already.
    pub ms: f64,
}

/// Runs the section; saves the times for the section `peer`.
pub fn run(cli: &Cli, budget: &Budget) -> Result<Verdict, String> {
    let limits = gpu::limits(cli.small)?;
    let Limits { flops, bytes, over } = limits;
    println!(
        "Memory bandwidth {:.0} GB/s (measured with y = s x over {} MiB); f32 peak {:.1} TFLOP/s \
         (data sheet). The bound of a pass is the larger of its memory time, with every operand \
         read or written once, and its f32 time; tensor cores may be faster.\n",
        bytes / 1e9,
        over as f64 / f64::from(1 << 20),
        flops / 1e12
    );
    let mut timed = Vec::new();
    let mut verdict = Verdict::Passed;
    let precisions = gpu::precisions()?;
    // Each group in all its precisions; of a quick check, the fastest precision first.
    let groups: Vec<Vec<Precision>> = if cli.quick {
        precisions.into_iter().rev().map(|precision| vec![precision]).collect()
    } else {
        vec![precisions]
    };
    let units = groups.iter().flat_map(|group| cli.units().into_iter().map(move |u| (group, u)));
    for (group, (model, batch)) in units {
        if budget.lacks(MIN_SECONDS) && !cli.small {
            println!("{model}, {batch} images: not started: no time left\n");
            verdict = verdict.and(Verdict::Unfinished);
            continue;
        }
        budget.log(&format!("times: {model}, {batch} images"));
        for &precision in group {
            match time(cli, &limits, &model, batch, precision) {
                Ok(one) => timed.push(one),
                Err(message) => {
                    println!("{model}, {batch} images, {precision}: FAILED: {message}\n");
                    verdict = Verdict::Failed;
                }
            }
        }
        let text = serde_json::to_string_pretty(&timed).expect("plain data") + "\n";
        let path = cli.times();
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(verdict)
}

/// Times a model with a batch size in a precision and prints its tables.
fn time(
    cli: &Cli,
    limits: &Limits,
    model: &str,
    batch: usize,
    precision: Precision,
) -> Result<Timed, String> {
    let open = || Ok::<_, String>(gpu::open_in(precision)?.expect("the GPU has this precision"));
    let rounds = if cli.small { 2 } else { 20 };
    let (spec, recipe) = gpu::find(model)?;
    let message = |error: tensor::Error| error.to_string();
    let mut rows =
        SplitStep::on(open()?, &spec, &recipe, StepMode::Train, batch).map_err(message)?;
    let mut recording = Recording::default();
    let mut times = Vec::new();
    for round in 0..rounds + 3 {
        let mut done = Ok(());
        let ms = milliseconds(|| {
            done = rows.step(&mut recording).map_err(message);
            done = done.clone().and_then(|()| gpu::wait(rows.device()));
        });
        done?;
        if round >= 3 {
            times.push(ms); // the first three record and warm up
        }
    }
    let ms = median(times);
    let profile = StepProfile::take(&mut rows, if cli.small { 1 } else { 5 }).map_err(message)?;
    drop(rows);

    let step = TrainingStep::on(open()?, &spec, &recipe, batch);
    let mut step = step.map_err(|error| error.to_string())?;
    let steps = |step: &mut TrainingStep, range: std::ops::Range<u64>| {
        let learned: train::Result<Vec<_>> = range.map(|number| step.learn(number)).collect();
        learned.map(drop).map_err(|error| error.to_string())
    };
    steps(&mut step, 1..4)?;
    gpu::wait(step.inner().device())?;
    let mut done = Ok(());
    let whole_ms = milliseconds(|| {
        done = steps(&mut step, 4..4 + rounds as u64);
        done = done.clone().and_then(|()| gpu::wait(step.inner().device()));
    }) / f64::from(rounds);
    done?;

    let (table, bound) = profile.parts(limits);
    println!("### {model}, {batch} images, {precision}\n");
    println!(
        "A step on the GPU takes {ms:.3} ms ({:.0} images/s, {:.0} % of the bound, {bound:.3} ms) \
         in {} launches; with upload of the images and download of the loss {whole_ms:.3} ms ({:.0} images/s).\n",
        batch as f64 / ms * 1e3,
        100.0 * bound / ms,
        recording.launches(),
        batch as f64 / whole_ms * 1e3
    );
    println!("{}\n{}", table.render(), profile.kernels().render());
    Ok(Timed { model: model.to_string(), batch, precision: precision.to_string(), ms })
}

/// The kernel times of several steps.
struct StepProfile {
    parts: Vec<StepPart>,
    /// For each step and each pass, the times of its kernels.
    steps: Vec<Vec<Vec<Lap>>>,
}

impl StepProfile {
    fn take(rows: &mut SplitStep, steps: usize) -> tensor::Result<StepProfile> {
        let parts = rows.parts().to_vec();
        let mut all = Vec::new();
        for _ in 0..steps {
            // Launch a step before the timed one, so that the GPU does not wait for the host.
            (0..parts.len()).try_for_each(|part| rows.try_run(part))?;
            gpu::cuda(rows.device()).begin_profile()?;
            let mut ends = Vec::new();
            for part in 0..parts.len() {
                rows.try_run(part)?;
                ends.push(gpu::cuda(rows.device()).laps());
            }
            let laps = gpu::cuda(rows.device()).end_profile()?;
            let begins = [0].into_iter().chain(ends.iter().copied());
            all.push(begins.zip(&ends).map(|(from, &to)| laps[from..to].to_vec()).collect());
        }
        Ok(StepProfile { parts, steps: all })
    }

    /// The median of a value over the steps.
    fn median(&self, value: impl Fn(&Vec<Vec<Lap>>) -> f64) -> f64 {
        median(self.steps.iter().map(value).collect())
    }

    /// A row per pass, and the sum of the bounds in milliseconds.
    fn parts(&self, limits: &Limits) -> (Table, f64) {
        let values = ["kernels", "ms", "TFLOP/s", "GB/s", "bound ms", "bound/time"];
        let mut table = Table::new(&["row", "pass"], &values);
        let (mut total, mut bounds) = (0.0, 0.0);
        let sum = |laps: &[Lap]| laps.iter().map(|lap| lap.ms).sum::<f64>();
        for (idx, part) in self.parts.iter().enumerate() {
            let ms = self.median(|step| sum(&step[idx]));
            let bound = (part.flops / limits.flops).max(part.bytes / limits.bytes) * 1e3;
            let mut row = vec![part.name.clone(), part.pass.name().to_string()];
            row.push(self.steps[0][idx].len().to_string());
            row.push(format!("{ms:.4}"));
            row.push(if part.flops > 0.0 {
                format!("{:.2}", part.flops / ms / 1e9)
            } else {
                String::new()
            });
            row.push(format!("{:.0}", part.bytes / ms / 1e6));
            row.extend([format!("{bound:.4}"), percent(bound / ms)]);
            table.push(row);
            (total, bounds) = (total + ms, bounds + bound);
        }
        let mut row = ["sum", "", "", &format!("{total:.3}"), "", ""].map(String::from).to_vec();
        row.extend([format!("{bounds:.3}"), percent(bounds / total)]);
        table.push(row);
        (table, bounds)
    }

    /// A row per kernel, the slowest first.
    fn kernels(&self) -> Table {
        let mut table = Table::new(&["kernel"], &["launches", "ms", "share"]);
        let all = |step: &Vec<Vec<Lap>>, kernel: Option<&str>| {
            let of_it = |lap: &&Lap| kernel.is_none_or(|kernel| lap.kernel == kernel);
            step.iter().flatten().filter(of_it).map(|lap| lap.ms).sum::<f64>()
        };
        let laps = || self.steps[0].iter().flatten();
        let mut names: Vec<&str> = laps().map(|lap| lap.kernel).collect();
        names.sort_unstable();
        names.dedup();
        let total = self.median(|step| all(step, None));
        let mut rows: Vec<(f64, &str)> = names
            .into_iter()
            .map(|name| (self.median(|step| all(step, Some(name))), name))
            .collect();
        rows.sort_by(|a, b| b.0.total_cmp(&a.0));
        for (ms, name) in rows {
            let launches = laps().filter(|lap| lap.kernel == name).count().to_string();
            table.push([name.to_string(), launches, format!("{ms:.4}"), percent(ms / total)]);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alexnet_benches::Pass;

    #[test]
    fn times_are_printed_as_tables() {
        let (spec, recipe) = gpu::find(gpu::TINY).unwrap();
        let rows = SplitStep::plan(&spec, &recipe, 2, 1);
        let parts = rows.parts()[..2].to_vec();
        assert_eq!((parts[1].name.as_str(), parts[1].pass), ("conv1", Pass::Forward));
        let lap = |kernel, ms| Lap { kernel, ms };
        let step = |ms| vec![vec![lap("copy", 1.0)], vec![lap("pack", 0.5), lap("conv", ms)]];
        let profile = StepProfile { parts, steps: vec![step(1.0), step(2.5), step(7.0)] };
        let (table, bound) = profile.parts(&Limits { flops: 1e9, bytes: 1e9, over: 0 });
        let text = table.render();
        assert!(text.contains("| conv1 | forward | 2 | 3.0000 |"), "{text}");
        assert!(text.contains("| sum |  |  | 4.000 |"), "{text}");
        assert!(bound > 0.0);
        let text = profile.kernels().render();
        let rows: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(rows[0], "| conv | 1 | 2.5000 | 62 % |");
        assert_eq!(rows[2], "| pack | 1 | 0.5000 | 12 % |");
    }
}
