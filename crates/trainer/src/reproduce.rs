//! `alexnet reproduce`: wiring.

mod inspector;
mod runner;

use crate::cli::ReproduceArgs;
use crate::console;
use crate::fault::{Fault, Result};
use crate::ranks;
use crate::settings::did_you_mean;
use experiments::{Data, Error, Experiment};
use runner::Trainer;
use std::fs;
use std::path::PathBuf;
use terminal::progress;
use terminal::signals;

/// Runs the command.
///
/// # Errors
/// Every exit code that `alexnet --help` lists. A network that diverges is a result, not an error.
pub fn reproduce(args: &ReproduceArgs) -> Result<u8> {
    let Some(name) = &args.name else {
        console::print(list())?;
        return Ok(0);
    };
    ranks::check_alone()?;
    let experiment = find_experiment(name, args)?;
    let stop = signals::listen()?;
    let mut observer = progress::observer(args.progress);
    let trainer = Trainer::new(args, &stop)?;
    if experiments::reproduce(&experiment, &trainer, &mut *observer)?.is_none() {
        return Ok(signals::exit_code(stop.requested().expect("runs end early when asked to")));
    }
    drop(observer);
    let written = experiment.out.join(format!("{name}.md"));
    console::println(format_args!("written: {}", written.display()))?;
    Ok(0)
}

fn list() -> String {
    let mut text = String::from("Protocols, the cheapest first:\n");
    for page in experiments::all() {
        text += &format!("  {:<16} {}\n", page.name, page.about);
    }
    text + "\nalexnet reproduce NAME --data DIR; --rehearse goes through all of one in seconds, \
            --miniature runs\none on ImageNet with small images\n"
}

/// What was asked for.
///
/// # Errors
/// Exit code 2 if there is no such protocol, or not in this scale.
fn find_experiment(name: &str, args: &ReproduceArgs) -> Result<Experiment> {
    let page = experiments::find(name).ok_or_else(|| {
        let all = experiments::all();
        let hint = did_you_mean(name, all.iter().map(|page| page.name));
        Fault::usage(format!(
            "there is no protocol `{name}`{hint} (`alexnet reproduce` lists them)"
        ))
    })?;
    let scale = args.scale();
    let page = page.at_scale(scale).ok_or_else(|| {
        Fault::usage(format!("--miniature: {name}'s images are small as they are: leave it out"))
    })?;
    let default = if args.rehearse { "runs/rehearse" } else { "runs/reproduce" };
    let runs = args.runs.clone().unwrap_or_else(|| PathBuf::from(default));
    let out = args.out.clone().unwrap_or_else(|| {
        if args.rehearse { runs.clone() } else { PathBuf::from("docs/results") }
    });
    Ok(Experiment {
        seeds: args.seeds.unwrap_or(page.seeds),
        page,
        scale,
        data: args.data.as_deref().map(canonical),
        larger: args.larger.as_deref().map(canonical),
        precision: args.machine.precision.clone(),
        runs,
        out,
        note: args.note.clone(),
    })
}

/// A folder's whole name, so that a later command finds it from anywhere.
fn canonical(folder: &str) -> String {
    fs::canonicalize(folder).map_or(folder.to_string(), |whole| whole.display().to_string())
}

/// What names the images of a stage.
fn flag(data: Data) -> &'static str {
    match data {
        Data::Own => "--data",
        Data::Larger => "--larger",
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        let message = error.to_string();
        let code = match error {
            Error::NoImages { data, .. } => {
                let flag = flag(data);
                return Fault::usage(format!(
                    "{flag}: {message}; name their folder, or --rehearse without any"
                ));
            }
            Error::AnotherRun { .. } => {
                return Fault::usage(format!(
                    "{message}: move it away, or name another folder with --runs"
                ));
            }
            Error::AnotherPrecision { .. } => {
                return Fault::usage(format!(
                    "{message}: leave --precision out, move the run away, or name another folder \
                     with --runs"
                ));
            }
            Error::OtherImages { data, .. } => {
                let flag = flag(data);
                return Fault::usage(format!(
                    "{message}: name its own with {flag}, move it away, or name another folder \
                     with --runs"
                ));
            }
            Error::Network(error) => return error.into(),
            Error::Train(error) => return error.into(),
            Error::Unreadable { .. } => 4,
            Error::Apart(_) => 3,
            Error::Folder { .. } | Error::Remove { .. } => 7,
            _ => 1,
        };
        Fault::new(code, message)
    }
}
