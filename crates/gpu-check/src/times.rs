//! How long steps, their parts and their kernels take, against what the GPU could do at most.

use crate::Verdict;
use crate::budget::Budget;
use crate::cli::Cli;
use crate::gpu::{self, Limits};
use alexnet_benches::ledger::Table;
use alexnet_benches::{Mode, Part, Rows, TrainingStep, median, milliseconds, percent};
use serde::{Deserialize, Serialize};
use std::fs;
use tensor::{Lap, Precision, Recording};

/// Seconds that a model and batch size should have, in all precisions: less is not begun.
const LEAST_S: f64 = 15.0;

/// A training step that was timed.
#[derive(Debug, Serialize, Deserialize)]
pub struct Timed {
    /// A built-in model.
    pub model: String,
    /// Images a step.
    pub batch: usize,
    /// `f32`, `tf32`, `bf16`.
    pub precision: String,
    /// Of the step on the GPU, its images there already.
    pub ms: f64,
}

/// Runs the section; its times are kept for the peer.
pub fn run(cli: &Cli, budget: &Budget) -> Result<Verdict, String> {
    let limits = gpu::limits(cli.small)?;
    let Limits { flops, bytes, over } = limits;
    println!(
        "The GPU copies {:.0} GB/s (y = s x over {} MiB, measured); its f32 multiply-adds are \
         taken to be {:.1} TFLOP/s. A part's floor is the longer of its bytes and its operations \
         at that rate, every operand read or written once; what tensor cores do may be below it.\n",
        bytes / 1e9,
        over as f64 / f64::from(1 << 20),
        flops / 1e12
    );
    let mut timed = Vec::new();
    let mut verdict = Verdict::Passed;
    for (model, batch) in cli.units() {
        if budget.lacks(LEAST_S) && !cli.small {
            println!("{model}, {batch} images: no time was left for it\n");
            verdict = verdict.and(Verdict::Unfinished);
            continue;
        }
        budget.say(&format!("times: {model}, {batch} images"));
        for precision in gpu::precisions()? {
            match unit(cli, &limits, (&model, batch), precision) {
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

fn unit(
    cli: &Cli,
    limits: &Limits,
    (model, batch): (&str, usize),
    precision: Precision,
) -> Result<Timed, String> {
    let open = || Ok::<_, String>(gpu::open_in(precision)?.expect("a precision that it has"));
    let rounds = if cli.small { 2 } else { 20 };
    let (spec, recipe) = gpu::find(model)?;
    let said = |error: tensor::Error| error.to_string();
    let mut rows = Rows::on(open()?, &spec, &recipe, Mode::Train, batch).map_err(said)?;
    let mut recording = Recording::default();
    let mut times = Vec::new();
    for round in 0..rounds + 3 {
        let mut done = Ok(());
        let ms = milliseconds(|| {
            done = rows.step(&mut recording).map_err(said);
            done = done.clone().and_then(|()| gpu::wait(rows.device()));
        });
        done?;
        if round >= 3 {
            times.push(ms); // the first record, and wake the GPU up
        }
    }
    let ms = median(times);
    let profile = Profile::take(&mut rows, if cli.small { 1 } else { 5 }).map_err(said)?;
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

    let (table, floor) = profile.parts(limits);
    println!("### {model}, {batch} images, {precision}\n");
    println!(
        "A step on the GPU {ms:.3} ms, {:.0} images/s, {:.0} % of the floor ({floor:.3} ms); \
         with its images from the host and its loss back to it {whole_ms:.3} ms, {:.0} images/s.\n",
        batch as f64 / ms * 1e3,
        100.0 * floor / ms,
        batch as f64 / whole_ms * 1e3
    );
    println!("{}\n{}", table.render(), profile.kernels().render());
    Ok(Timed { model: model.to_string(), batch, precision: precision.to_string(), ms })
}

/// Every launch of some steps.
struct Profile {
    parts: Vec<Part>,
    /// For each step, the laps of each part.
    steps: Vec<Vec<Vec<Lap>>>,
}

impl Profile {
    fn take(rows: &mut Rows, steps: usize) -> tensor::Result<Profile> {
        let parts = rows.parts().to_vec();
        let mut all = Vec::new();
        for _ in 0..steps {
            // A step ahead of the one that is timed, so that the GPU does not wait for the host.
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
        Ok(Profile { parts, steps: all })
    }

    /// The middle over the steps of what `number` makes of each.
    fn middle(&self, number: impl Fn(&Vec<Vec<Lap>>) -> f64) -> f64 {
        median(self.steps.iter().map(number).collect())
    }

    /// A row a part, and the floor of all of them in milliseconds.
    fn parts(&self, limits: &Limits) -> (Table, f64) {
        let values = ["kernels", "ms", "TFLOP/s", "GB/s", "floor ms", "of the floor"];
        let mut table = Table::new(&["row", "pass"], &values);
        let (mut total, mut floors) = (0.0, 0.0);
        let sum = |laps: &[Lap]| laps.iter().map(|lap| lap.ms).sum::<f64>();
        for (idx, part) in self.parts.iter().enumerate() {
            let ms = self.middle(|step| sum(&step[idx]));
            let floor = (part.flops / limits.flops).max(part.bytes / limits.bytes) * 1e3;
            let mut row = vec![part.name.clone(), part.pass.name().to_string()];
            row.push(self.steps[0][idx].len().to_string());
            row.push(format!("{ms:.4}"));
            row.push(if part.flops > 0.0 {
                format!("{:.2}", part.flops / ms / 1e9)
            } else {
                String::new()
            });
            row.push(format!("{:.0}", part.bytes / ms / 1e6));
            row.extend([format!("{floor:.4}"), percent(floor / ms)]);
            table.push(row);
            (total, floors) = (total + ms, floors + floor);
        }
        let mut row = ["sum", "", "", &format!("{total:.3}"), "", ""].map(String::from).to_vec();
        row.extend([format!("{floors:.3}"), percent(floors / total)]);
        table.push(row);
        (table, floors)
    }

    /// A row a kernel, the longest first.
    fn kernels(&self) -> Table {
        let mut table = Table::new(&["kernel"], &["launches", "ms", "of all"]);
        let all = |step: &Vec<Vec<Lap>>, kernel: Option<&str>| {
            let of_it = |lap: &&Lap| kernel.is_none_or(|kernel| lap.kernel == kernel);
            step.iter().flatten().filter(of_it).map(|lap| lap.ms).sum::<f64>()
        };
        let laps = || self.steps[0].iter().flatten();
        let mut names: Vec<&str> = laps().map(|lap| lap.kernel).collect();
        names.sort_unstable();
        names.dedup();
        let total = self.middle(|step| all(step, None));
        let mut rows: Vec<(f64, &str)> = names
            .into_iter()
            .map(|name| (self.middle(|step| all(step, Some(name))), name))
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
    fn laps_become_tables() {
        let (spec, recipe) = gpu::find(gpu::TINY).unwrap();
        let rows = Rows::plan(&spec, &recipe, 2, 1);
        let parts = rows.parts()[..2].to_vec();
        assert_eq!((parts[1].name.as_str(), parts[1].pass), ("conv1", Pass::Forward));
        let lap = |kernel, ms| Lap { kernel, ms };
        let step = |ms| vec![vec![lap("copy", 1.0)], vec![lap("pack", 0.5), lap("conv", ms)]];
        let profile = Profile { parts, steps: vec![step(1.0), step(2.5), step(7.0)] };
        let (table, floor) = profile.parts(&Limits { flops: 1e9, bytes: 1e9, over: 0 });
        let text = table.render();
        assert!(text.contains("| conv1 | forward | 2 | 3.0000 |"), "{text}");
        assert!(text.contains("| sum |  |  | 4.000 |"), "{text}");
        assert!(floor > 0.0);
        let text = profile.kernels().render();
        let rows: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(rows[0], "| conv | 1 | 2.5000 | 62 % |");
        assert_eq!(rows[2], "| pack | 1 | 0.5000 | 12 % |");
    }
}
