//! `cargo xtask bench`: the table of ops and steps.
#![forbid(unsafe_code)]

use benches::peaks::{self, Peaks};
use benches::{Form, Part, Pass, Peer, Rows, Step, median};
use clap::{Parser, ValueEnum};
use layers::{Mode, Spec};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use train::recipe::Recipe;
use train::recipes;

/// Times ops and steps, against the machine's peaks and against PyTorch.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    /// Built-in models
    #[arg(long, num_args = 1.., default_values = ["alexnet", "torchvision"], value_name = "NAME")]
    model: Vec<String>,
    /// Images a step
    #[arg(long, default_value_t = 128, value_name = "N", value_parser = positive)]
    batch: usize,
    /// Whole steps, or testing alone
    #[arg(long, value_enum, default_value = "train")]
    mode: What,
    /// Times every number is taken; the median is shown
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = positive)]
    rounds: usize,
    /// Threads that compute; 0: one for each core
    #[arg(long, default_value_t = 0, value_name = "N")]
    threads: usize,
    /// Only measure the machine's peaks
    #[arg(long)]
    peaks: bool,
    /// Make steps in turn with PyTorch instead of timing ops
    #[arg(long, value_enum)]
    peer: Option<PeerKind>,
    /// The Python that has PyTorch
    #[arg(long, default_value = "python3", value_name = "FILE")]
    python: PathBuf,
    /// How PyTorch runs
    #[arg(long, num_args = 1.., value_enum, default_values = ["eager"])]
    form: Vec<FormName>,
}

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench                                       every row of alexnet and torchvision
  cargo xtask bench --model cifar-18pct --batch 64
  cargo xtask bench --peaks                               multiply-adds and bytes a second
  cargo xtask bench --peer torch --python venv/bin/python --form eager channels-last compiled
  cargo xtask bench --loader --data DIR --peer torch      the data path; --loader --help: its flags
  cargo xtask bench criterion conv2                       criterion's statistics of the same ops";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    Train,
    Infer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PeerKind {
    Torch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormName {
    Eager,
    ChannelsLast,
    Compiled,
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if n > 0 => Ok(n),
        _ => Err("expected a whole number of at least 1".to_string()),
    }
}

fn main() -> ExitCode {
    if std::env::args_os().any(|word| word == "--loader") {
        return ended(benches::loader_table::run()); // a table of its own, with flags of its own
    }
    let cli = Cli::parse();
    ended(match cli.peer {
        Some(PeerKind::Torch) => against_torch(&cli),
        None if cli.peaks => {
            tell_peaks(&peaks::measure(cli.threads));
            Ok(())
        }
        None => table(&cli),
    })
}

fn ended(done: Result<(), String>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn tell_peaks(peaks: &Peaks) {
    let Peaks { flops, bytes } = peaks;
    println!("peaks: {:.0} GFLOP/s, {:.1} GB/s", flops / 1e9, bytes / 1e9);
}

fn find(name: &str) -> Result<(Spec, Recipe), String> {
    let spec = models::find(name).map_err(|error| error.to_string())?;
    let recipe = recipes::find(recipes::default_for(name)).expect("every model has a recipe");
    Ok((spec, recipe))
}

impl Cli {
    fn step(&self, spec: &Spec, recipe: &Recipe) -> Step {
        let mode = match self.mode {
            What::Train => Mode::Train,
            What::Infer => Mode::Infer,
        };
        Step::plan(spec, recipe, mode, self.batch, self.threads)
    }
}

fn milliseconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e3
}

/// Every part of a step with its floor: what it would take at the peaks.
fn table(cli: &Cli) -> Result<(), String> {
    let peaks = peaks::measure(cli.threads);
    tell_peaks(&peaks);
    for name in &cli.model {
        let (spec, recipe) = find(name)?;
        let whole = cli.step(&spec, &recipe).enter(|mut step| {
            step.run();
            median((0..cli.rounds).map(|_| milliseconds(|| step.run())).collect())
        });
        let images_per_s = cli.batch as f64 / whole * 1e3;
        if cli.mode == What::Train {
            let rows = Rows::plan(&spec, &recipe, cli.batch, cli.threads);
            let (parts, times) = rows.enter(|rows| time_parts(rows, cli.rounds));
            tell_parts(name, cli.batch, &peaks, &parts, &times);
        }
        let mode = if cli.mode == What::Train { "training" } else { "testing" };
        println!(
            "{name}: {mode} step of {} images {whole:.1} ms, {images_per_s:.1} images/s",
            cli.batch
        );
    }
    Ok(())
}

/// Each part's median over whole steps, so that a part finds in the caches what a step leaves.
fn time_parts(mut rows: Rows, rounds: usize) -> (Vec<Part>, Vec<f64>) {
    let parts = rows.parts().to_vec();
    let mut times = vec![Vec::new(); parts.len()];
    for round in 0..=rounds {
        for (part, times) in times.iter_mut().enumerate() {
            let time = milliseconds(|| rows.run(part));
            if round > 0 {
                times.push(time); // the first round warms up
            }
        }
    }
    (parts, times.into_iter().map(median).collect())
}

fn tell_parts(model: &str, batch: usize, peaks: &Peaks, parts: &[Part], times: &[f64]) {
    println!("\n{model}, {batch} images");
    println!("| row | pass | ms | GFLOP/s | GB/s | floor ms | of the floor |");
    println!("|---|---|---:|---:|---:|---:|---:|");
    let (mut total, mut floors) = (0.0, 0.0);
    for (part, &ms) in parts.iter().zip(times) {
        let floor = (part.flops / peaks.flops).max(part.bytes / peaks.bytes) * 1e3;
        let pass = if part.pass == Pass::Forward { "forward" } else { "backward" };
        let rate = |amount: f64| match amount > 0.0 {
            true => format!("{:.0}", amount / ms / 1e6),
            false => String::new(),
        };
        let (gflops, gbytes) = (rate(part.flops), part.bytes / ms / 1e6);
        let share = 100.0 * floor / ms;
        println!(
            "| {} | {pass} | {ms:.2} | {gflops} | {gbytes:.1} | {floor:.2} | {share:.0} % |",
            part.name
        );
        (total, floors) = (total + ms, floors + floor);
    }
    println!("| sum | | {total:.1} | | | {floors:.1} | {:.0} % |\n", 100.0 * floors / total);
}

/// Ours and PyTorch's steps in turn, so that both meet the machine in the same mood.
fn against_torch(cli: &Cli) -> Result<(), String> {
    let mode = if cli.mode == What::Train { "train" } else { "infer" };
    println!("| model | mode | batch | ours ms | PyTorch | its ms | ratio |");
    println!("|---|---|---:|---:|---|---:|---:|");
    for name in &cli.model {
        if !["alexnet", "torchvision"].contains(&name.as_str()) {
            return Err(format!("PyTorch's side has alexnet and torchvision, and not {name}"));
        }
        let (spec, recipe) = find(name)?;
        for form in &cli.form {
            let form = match form {
                FormName::Eager => Form::Eager,
                FormName::ChannelsLast => Form::ChannelsLast,
                FormName::Compiled => Form::Compiled,
            };
            let size = (cli.batch, cli.threads);
            let mut peer = Peer::start(&cli.python, name, mode, form, size)?;
            let (ours, theirs) = cli
                .step(&spec, &recipe)
                .enter(|mut step| in_turn(&mut step, &mut peer, cli.rounds))?;
            let (batch, about, ratio) = (cli.batch, &peer.about, theirs / ours);
            println!(
                "| {name} | {mode} | {batch} | {ours:.1} | {about} | {theirs:.1} | {ratio:.2} |"
            );
        }
    }
    Ok(())
}

/// Medians of ours and theirs.
fn in_turn(step: &mut Step, peer: &mut Peer, rounds: usize) -> Result<(f64, f64), String> {
    step.run();
    peer.run(1)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push(milliseconds(|| step.run()));
        theirs.extend(peer.run(1)?);
        // Its threads spin for a while after the last step; ours must not pay for that.
        std::thread::sleep(Duration::from_millis(300));
    }
    Ok((median(ours), median(theirs)))
}
