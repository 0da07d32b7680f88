//! `alexnet sweep`: many runs with different settings, in search of the best.

mod command;
mod page;
mod runner;

use crate::cli::SweepArgs;
use crate::console;
use crate::fault::{Fault, Result};
use crate::output;
use crate::ranks;
use crate::run_file;
use command::Planned;
use evaluate::Stop;
use experiments::sweep::{Results, Sweep, Trial, TrialEnd, search};
use runner::Trials;
use std::path::{Path, PathBuf};
use terminal::progress;
use terminal::signals;

/// The files of a sweep's folder.
const DEFINITION: &str = "sweep.toml";
const RESULTS: &str = "results.json";
const TABLE: &str = "results.csv";
const PAGE: &str = "index.html";

/// Runs the command.
///
/// # Errors
/// Every exit code that `alexnet --help` lists. A trial that diverges or fails is a result; 5 if no
/// trial has a value of the metric, 2 if all fail.
pub fn sweep(args: &SweepArgs) -> Result<u8> {
    ranks::check_alone()?;
    let file = args.file.display();
    let usage = |message: String| Fault::usage(format!("{file}: {message}"));
    let text = data::bounded::read_text_or_pipe(&args.file)
        .map_err(|error| usage(format!("cannot read: {error}")))?;
    let sweep = Sweep::parse(&text).map_err(|message| usage(message.trim_end().to_string()))?;
    let trials = sweep.trials().map_err(usage)?;
    let planned = Planned { sweep: &sweep, machine: &args.machine };
    let epochs = planned.check_all(&trials).map_err(|fault| fault.inside(&file))?;
    if args.dry_run {
        let line = |trial: &Trial| format!("{}  {}\n", trial.number, trial.summary());
        console::print(trials.iter().map(line).collect::<String>())?;
        return Ok(0);
    }
    let out = args.out.clone().unwrap_or_else(|| default_folder(&args.file));
    let stop = Stop::new();
    let mut runner = Trials::new(planned, &trials, &out, args.output.progress, &stop);
    if !run_file::exists(&out.join(DEFINITION))? {
        runner.check(sweep.metric).map_err(|fault| fault.inside(&file))?;
    }
    let mut results = open(&out, &text, &sweep, trials.len())?;
    runner.check_precision()?;
    signals::listen_with(&stop)?;
    let mut observer = progress::observer(args.output.progress);
    let ended = search(&sweep, &trials, epochs, &mut results, &mut runner, &mut *observer);
    drop(observer); // clears the bar
    let written = write_all(&out, planned, &trials, &results);
    let is_whole = ended?;
    written?;
    report(args, planned, &trials, &results, &out)?;
    match stop.requested() {
        Some(signal) if !is_whole => Ok(signals::exit_code(signal)),
        _ if results.best(sweep.metric).is_none() => {
            Err(without_value(&sweep, &results).inside(&file))
        }
        _ => Ok(0),
    }
}

/// Why no trial has a value of the metric.
fn without_value(sweep: &Sweep, results: &Results) -> Fault {
    let [diverged, failed] = [TrialEnd::Diverged, TrialEnd::Failed].map(|end| results.count(end));
    let (all, metric) = (results.trials.len(), sweep.metric.name());
    if diverged == all {
        return Fault::new(5, "every trial has diverged: try lower learning rates");
    }
    if failed == all {
        let reasons = results.trials.iter().filter_map(|trial| trial.last()?.reason.as_deref());
        let first = reasons.map(|reason| format!(": {reason}")).next().unwrap_or_default();
        return Fault::usage(format!("every trial has failed; the first{first}"));
    }
    let finished = all - diverged - failed;
    Fault::new(
        5,
        format!(
            "no trial has a finite {metric}: {diverged} diverged, {failed} failed, {finished} \
             ended without one ({RESULTS} has the reasons)"
        ),
    )
}

/// `runs/sweep-rates` for `rates.toml`.
fn default_folder(file: &Path) -> PathBuf {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    Path::new("runs").join(format!("sweep-{stem}"))
}

/// Makes the folder of a sweep, or opens it and reads its results.
///
/// # Errors
/// Exit codes 2 if the folder has something else, 4 if its files cannot be read, 7.
fn open(out: &Path, text: &str, sweep: &Sweep, trials: usize) -> Result<Results> {
    let (definition, results) = (out.join(DEFINITION), out.join(RESULTS));
    let unreadable = |path: &Path, error: String| {
        Fault::new(4, format!("{}: cannot be understood: {error}", path.display()))
    };
    let Some(earlier) = run_file::read(&definition)? else {
        let is_new = std::fs::read_dir(out).map_or(true, |mut entries| entries.next().is_none());
        if !is_new {
            return Err(Fault::usage(format!(
                "{}: the folder is not empty and has no {DEFINITION}: name another with --out",
                out.display()
            )));
        }
        output::make_folder(out)?;
        output::write(&definition, text.as_bytes())?;
        return Ok(Results::default());
    };
    let earlier = Sweep::parse(&earlier).map_err(|error| unreadable(&definition, error))?;
    if !sweep.continues(&earlier) {
        return Err(Fault::usage(format!(
            "{}: this folder has another sweep (its {DEFINITION} differs in more than a larger \
             number of random trials): name another with --out, or move it away",
            out.display()
        )));
    }
    output::write(&definition, text.as_bytes())?;
    let Some(text) = run_file::read(&results)? else { return Ok(Results::default()) };
    let found = Results::from_json(&text).map_err(|e| unreadable(&results, e.to_string()))?;
    match found.trials.iter().find(|result| result.trial >= trials) {
        Some(beyond) => Err(unreadable(&results, format!("there is no trial {}", beyond.trial))),
        None => Ok(found),
    }
}

/// Writes the results that other programs read.
fn write_results(out: &Path, sweep: &Sweep, trials: &[Trial], results: &Results) -> Result<()> {
    let json = serde_json::to_string_pretty(&results.to_json(sweep, trials)).expect("plain data");
    output::write(&out.join(RESULTS), (json + "\n").as_bytes())?;
    output::write(&out.join(TABLE), results.to_csv(sweep, trials).as_bytes())
}

fn write_all(out: &Path, planned: Planned, trials: &[Trial], results: &Results) -> Result<()> {
    write_results(out, planned.sweep, trials, results)?;
    let page = page::of(out, planned, trials, results);
    output::write(&out.join(PAGE), page.to_html().as_bytes())
}

/// Prints the table and the best trial's command.
fn report(
    args: &SweepArgs,
    planned: Planned,
    trials: &[Trial],
    results: &Results,
    out: &Path,
) -> Result<()> {
    let sweep = planned.sweep;
    console::result(
        args.output.json,
        || {
            let mut json = results.to_json(sweep, trials);
            json["out"] = out.to_string_lossy().into();
            json
        },
        || {
            let mut text = results.to_table(sweep, trials);
            if let Some(best) = results.best(sweep.metric) {
                let command = planned.command(&trials[best.trial]);
                let run = runner::folder(out, best.trial);
                text += &format!("best: trial {}, {}\n{command}\n", best.trial, run.display());
            }
            text + &format!("page: {}\n", out.join(PAGE).display())
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use experiments::sweep::RungResult;

    #[test]
    fn a_sweep_without_a_value_says_why() {
        let text = "[sweep]\nmethod = 'grid'\n[parameters]\nseed.int = [0, 1]";
        let sweep = Sweep::parse(text).unwrap();
        let fault = |ends: [TrialEnd; 2]| {
            let mut results = Results::default();
            for (trial, end) in ends.into_iter().enumerate() {
                let reason = (end == TrialEnd::Failed).then(|| format!("reason {trial}"));
                results.add(trial, RungResult { end, reason, ..RungResult::default() });
            }
            without_value(&sweep, &results)
        };
        use TrialEnd::{Diverged, Failed, Finished};
        for (ends, code, expected) in [
            ([Diverged, Diverged], 5, "every trial has diverged"),
            ([Failed, Failed], 2, "every trial has failed; the first: reason 0"),
            ([Diverged, Failed], 5, "1 diverged, 1 failed, 0 ended without one"),
            ([Finished, Finished], 5, "no trial has a finite validation error"),
        ] {
            let fault = fault(ends);
            assert!(fault.code == code && fault.message.contains(expected), "{fault:?}");
        }
    }
}
