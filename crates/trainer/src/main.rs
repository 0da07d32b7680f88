//! `alexnet`: the command line. A thin layer that calls the library crates.
//!
//! * [`cli`] has the arguments
//! * [`settings`]: resolves arguments, files and defaults to a run's settings
//! * [`images`]: opens a data set's training and test images
//! * [`train`](crate::training), [`find-lr`](crate::find_lr), [`eval`](crate::testing), [`describe`],
//!   [`data`](crate::datasets), [`inspect`], [`doctor`]: commands
//! * [`watch`](crate::watching): a run of another process on the whole screen
//! * [`predict`](crate::predicting), [`features`], [`neighbours`], [`report`](crate::reporting):
//!   commands that use a trained network ([`trained`])
//! * [`explain`](crate::explaining): what a prediction depends on
//! * [`serve`](crate::serving): the HTTP server
//! * [`export`](crate::exporting): a network for other programs; [`distance`]: of two images
//! * [`track`](crate::tracking): runs for MLflow and TensorBoard
//! * [`reproduce`]: runs the paper's experiments; [`sweep`]: many runs in search of the best
//! * [`completions`, `man`](manual): shell completions and manual pages
//! * [`run_file`]: reads files of a run's folder
//! * [`console`] writes the output
//! * [`ranks`]: this process among those that a launcher started
//! * [`limits`]: limits of threads and images
//! * [`fault`]: exit codes
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod cli;
mod console;
mod datasets;
mod describe;
mod devices;
mod distance;
mod doctor;
mod explaining;
mod exporting;
mod fault;
mod features;
mod find_lr;
mod images;
mod importing;
mod inspect;
mod limits;
mod machine;
mod manual;
mod model_file;
mod neighbours;
mod output;
mod predicting;
mod ranks;
mod reporting;
mod reproduce;
mod run_file;
mod serving;
mod settings;
mod sweep;
mod testing;
mod tracking;
mod trained;
mod training;
mod tuning;
mod vendor;
mod watching;

use clap::Parser;
use cli::{Cli, Command};
use std::process::ExitCode;
use terminal::signals;

fn main() -> ExitCode {
    signals::outlive_file_limits();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => {
            let command = std::env::args_os().nth(1).unwrap_or_default();
            let answer = cli::with_hint(answer, &command.to_string_lossy());
            return ExitCode::from(console::answer(&answer));
        }
    };
    let done = match &cli.command {
        Command::Train(args) => training::train(args),
        Command::FindLr(args) => find_lr::find_lr(args),
        Command::Sweep(args) => sweep::sweep(args),
        Command::Watch(args) => watching::watch(args),
        Command::Eval(args) => testing::eval(args),
        Command::Predict(args) => predicting::predict(args),
        Command::Features(args) => features::features(args),
        Command::Neighbours(args) => neighbours::neighbours(args),
        Command::Explain(args) => explaining::explain(args),
        Command::Distance(args) => distance::distance(args).map(|()| 0),
        Command::Report(args) => reporting::report(args),
        Command::Serve(args) => serving::serve(args),
        Command::Export(args) => exporting::export(args),
        Command::Track(args) => tracking::track(args),
        Command::Reproduce(args) => reproduce::reproduce(args),
        Command::Describe(args) => describe::describe(args).map(|()| 0),
        Command::Data(args) => datasets::run(args),
        Command::Inspect(args) => inspect::inspect(args).map(|()| 0),
        Command::Doctor(args) => doctor::doctor(args).map(|()| 0),
        Command::Completions(args) => manual::completions(args).map(|()| 0),
        Command::Man(args) => manual::man(args).map(|()| 0),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(fault) => ExitCode::from(console::fault(fault)),
    }
}
