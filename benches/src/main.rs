//! `cargo xtask bench`: the tables of ops, steps, memory and epochs.
#![forbid(unsafe_code)]

mod cli;
mod report;

use alexnet_benches::baseline::{self, Basis};
use alexnet_benches::floor::Floor;
use alexnet_benches::ledger::Table;
use alexnet_benches::machine::Machine;
use alexnet_benches::peaks::{self, Peaks};
use alexnet_benches::results::{Measurement, Results, Workload};
use alexnet_benches::{
    OnnxFile, Peer, PeerMode, PeerSteps, SplitStep, Step, StepMode, epoch, machine, median, memory,
    paper, turns,
};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use cli::{Cli, GpuName, Opponent, PeerKind, TableName};
use layers::Spec;
use report::BenchReport;
use std::process::ExitCode;
use tensor::{Device, Precision};
use train::recipe::Recipe;
use train::recipes;

/// Exit code: a row is slower than the baseline by more than is allowed.
const SLOWER: u8 = 3;

fn main() -> ExitCode {
    // These two commands have separate flags.
    let has = |flag: &str| std::env::args_os().any(|argument| argument == flag);
    let result = match () {
        () if has("--loader") => alexnet_benches::loader_table::run().map(|()| ExitCode::SUCCESS),
        () if has("--scaling") => alexnet_benches::scaling::run().map(|()| ExitCode::SUCCESS),
        () => run(&parsed()),
    };
    match result {
        Ok(code) => code,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode, String> {
    if cli.peak_memory {
        return print_peak_memory(cli).map(|()| ExitCode::SUCCESS);
    }
    if cli.peaks {
        println!("{}", peaks_line(&peaks::measure(cli.threads)));
        println!("\n{}", peaks::tiles(cli.threads).render());
        return Ok(ExitCode::SUCCESS);
    }
    // Check all arguments before the measurements, which take minutes.
    for name in &cli.model {
        find(name)?;
        if cli.peer == Some(PeerKind::Torch) && !Peer::MODELS.contains(&name.as_str()) {
            let has = Peer::MODELS.join(" and ");
            return Err(format!("PyTorch is compared on {has} only, not on {name}"));
        }
    }
    let machine = Machine::here(cli.threads);
    let before = load_baseline(cli, &machine)?;
    let command = cli::command(std::env::args().skip(1));
    let mut report = BenchReport::new(cli, &machine, &command)?;
    if cli.epoch.is_some() {
        epochs(cli, &mut report)?;
    }
    if let Some(gpu) = cli.floor {
        computed_floors(cli, gpu, &report)?;
    }
    if cli.wants(TableName::Steps) {
        steps(cli, &mut report)?;
    }
    if cli.wants(TableName::Floor) {
        floors(cli, &mut report)?;
    }
    if cli.wants(TableName::Memory) {
        memories(cli, &mut report)?;
    }
    let results = Results::here(machine, &command, report.rows);
    if let Some(path) = &cli.save {
        results.save(path)?;
    }
    Ok(before.map_or(ExitCode::SUCCESS, |(before, basis)| {
        print_comparison(&before, &results, basis, cli.regression)
    }))
}

/// The command line; exits with code 2 if it is not valid.
fn parsed() -> Cli {
    let cli = Cli::parse();
    if let Err(message) = cli.check() {
        Cli::command().error(ErrorKind::ArgumentConflict, message).exit()
    }
    cli
}

/// The baseline and how to compare with it.
fn load_baseline(cli: &Cli, machine: &Machine) -> Result<Option<(Results, Basis)>, String> {
    let Some(path) = &cli.baseline else { return Ok(None) };
    let before = Results::load(path)?;
    let with_peer = cli.peer.is_some() || cli.epoch.is_some();
    let basis = baseline::basis(&before, machine, &cli.workloads(), with_peer)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Some((before, basis)))
}

fn print_comparison(before: &Results, now: &Results, basis: Basis, allowed: f64) -> ExitCode {
    let comparison = baseline::compare(before, now, basis, allowed);
    println!("\nagainst {}, `{}`:", before.date, before.command);
    if basis == Basis::Peer {
        println!("another machine ({}): comparing ratios to PyTorch", before.machine.describe());
    }
    print!("{}", comparison.table().render());
    match comparison.slower().count() {
        0 => ExitCode::SUCCESS,
        count => {
            let percent = 100.0 * allowed;
            println!("{count} slower by more than {percent} %");
            ExitCode::from(SLOWER)
        }
    }
}

fn peaks_line(Peaks { flops, bytes }: &Peaks) -> String {
    format!("peaks: {:.0} GFLOP/s, {:.1} GB/s", flops / 1e9, bytes / 1e9)
}

fn find(name: &str) -> Result<(Spec, Recipe), String> {
    let spec = models::find(name).map_err(|error| error.to_string())?;
    let recipe = recipes::find(recipes::default_for(name)).expect("every model has a recipe");
    Ok((spec, recipe))
}

/// Computed lower bounds of steps on a GPU.
fn computed_floors(cli: &Cli, gpu: GpuName, report: &BenchReport) -> Result<(), String> {
    let (name, peaks) = match gpu {
        GpuName::H200 => ("h200", paper::H200),
    };
    let Peaks { flops, bytes } = peaks;
    let about = format!(
        "counted on paper at {:.0} TFLOP/s of dense bf16 and {:.1} TB/s",
        flops / 1e12,
        bytes / 1e12
    );
    for model in &cli.model {
        let spec = find(model)?.0;
        let table = paper::floor(&spec, cli.floor_batches(), &peaks);
        let about = format!("{about}, {}", paper::launches(&spec, cli.floor_batches()));
        report.table(&format!("floor {name} {model}"), &table, &about)?;
    }
    Ok(())
}

/// The CPU with the selected precision.
fn device(cli: &Cli) -> Result<Device, String> {
    let mut device = Device::cpu(cli.threads);
    device.set_precision(cli.precision).map_err(|error| error.to_string())?;
    Ok(device)
}

fn plan(
    cli: &Cli,
    spec: &Spec,
    recipe: &Recipe,
    mode: StepMode,
    batch: usize,
) -> Result<Step, String> {
    Step::on(device(cli)?, spec, recipe, mode, batch).map_err(|error| error.to_string())
}

/// PyTorch's steps with the options of the command line.
fn peer_steps<'a>(
    cli: &'a Cli,
    model: &'a str,
    mode: StepMode,
    form: PeerMode,
    batch: usize,
) -> PeerSteps<'a> {
    let Cli { python, precision, threads, .. } = cli;
    PeerSteps { python, model, mode, form, precision: *precision, batch, threads: *threads }
}

fn workload(model: &str, mode: &str, batch: usize) -> Workload {
    Workload { model: model.to_string(), mode: mode.to_string(), batch }
}

/// Steps of ours and of another program, alternately.
fn steps(cli: &Cli, report: &mut BenchReport) -> Result<(), String> {
    let title = cli.peer.expect("this table has a peer").title();
    let mut table = Table::new(
        &["model", "mode", "batch", title],
        &["ours ms", "images/s", "its ms", "images/s", "ratio"],
    );
    let mut version = String::new();
    for name in &cli.model {
        let (spec, recipe) = find(name)?;
        let onnx = cli.engine().map(|_| OnnxFile::new(&spec, &recipe)).transpose()?;
        for (mode, batch) in cli.units() {
            for opponent in cli.opponents(mode) {
                let mut peer = match (opponent, &onnx) {
                    (Opponent::Torch(form), _) => {
                        Peer::steps(peer_steps(cli, name, mode, form, batch))?
                    }
                    (Opponent::Onnx(engine), file) => {
                        let file = file.as_ref().expect("exported above").path();
                        let (threads, precision) = (cli.threads, cli.precision);
                        Peer::onnx(&cli.python, engine, file, batch, threads, precision)?
                    }
                };
                let (ours, theirs) = plan(cli, &spec, &recipe, mode, batch)?
                    .enter(|mut step| turns::alternate(&mut step, &mut peer, cli.rounds))?;
                let (our_ms, its_ms) = (median(ours.clone()), median(theirs.clone()));
                let rate = |ms: f64| format!("{:.1}", batch as f64 / ms * 1e3);
                let (mode, batch_name) = (cli.mode_name(mode), batch.to_string());
                let names = [name.as_str(), &mode, &batch_name, opponent.name()];
                let mut row = names.map(String::from).to_vec();
                row.extend([format!("{our_ms:.1}"), rate(our_ms), format!("{its_ms:.1}")]);
                row.extend([rate(its_ms), format!("{:.2}", its_ms / our_ms)]);
                eprintln!("{}", row.join(" "));
                table.push(row);
                version = peer.version().to_string();
                let what = format!("step beside {}", opponent.name());
                report.rows.push(Measurement::ms(
                    &workload(name, &mode, batch),
                    what,
                    ours,
                    theirs,
                ));
            }
        }
    }
    report.table(&cli.steps_title(), &table, &format!("{title} {version}"))
}

/// Every part of a step with its lower bound, and the whole step.
fn floors(cli: &Cli, report: &mut BenchReport) -> Result<(), String> {
    let peaks = peaks::measure(cli.threads);
    println!("{}", peaks_line(&peaks));
    for name in &cli.model {
        let (spec, recipe) = find(name)?;
        for (mode, batch) in cli.floor_units() {
            let work = workload(name, &cli.mode_name(mode), batch);
            let times = plan(cli, &spec, &recipe, mode, batch)?
                .enter(|mut step| turns::alone(&mut step, cli.rounds));
            let ms = median(times.clone());
            report.rows.push(Measurement::ms(&work, "step", times, Vec::new()));
            let form = cli.form();
            let peer = cli.peer.map(|_| Peer::steps(peer_steps(cli, name, mode, form, batch)));
            let mut peer = peer.transpose()?;
            let step = SplitStep::on(device(cli)?, &spec, &recipe, mode, batch)
                .map_err(|error| error.to_string())?;
            let floor = step.enter(|step| Floor::measure(step, peer.as_mut(), cli.rounds))?;
            report.rows.extend(floor.measures(&work));
            let mut about = format!("{}, whole step {ms:.1} ms", peaks_line(&peaks));
            if cli.precision != Precision::F32 {
                about += &format!(" in {}; the peak and floors are those of f32", cli.precision);
            }
            if let Some(peer) = peer {
                let its = median(floor.peer_steps.clone());
                let (version, form) = (peer.version(), form.name());
                about += &format!(", PyTorch {version} {form}, its step {its:.1} ms");
            }
            println!("\n{name}, {batch} images");
            report.table(&cli.floor_title(name, mode, batch), &floor.table(&peaks), &about)?;
            if mode == StepMode::Infer {
                let bytes: f64 = floor.parts.iter().map(|part| part.bytes).sum();
                let least = bytes / peaks.bytes * 1e3;
                let (megabytes, rate) = (bytes / 1e6, peaks.bytes / 1e9);
                println!("{name}: {megabytes:.0} MB at {rate:.1} GB/s take {least:.1} ms");
            }
            let rate = batch as f64 / ms * 1e3;
            let mode = if mode == StepMode::Train { "training" } else { "testing" };
            println!("{name}: {mode} step of {batch} images {ms:.1} ms, {rate:.1} images/s");
        }
    }
    Ok(())
}

/// Peak memory of training processes, ours and PyTorch's.
fn memories(cli: &Cli, report: &mut BenchReport) -> Result<(), String> {
    const MIB: f64 = (1 << 20) as f64;
    let mut table =
        Table::new(&["model", "batch", "PyTorch"], &["ours MiB", "its MiB", "of PyTorch's"]);
    let (form, mut version) = (cli.form(), String::new());
    for name in &cli.model {
        for batch in cli.training_batches() {
            let ours = memory::ours(name, cli.precision, batch, cli.threads)? as f64 / MIB;
            let (theirs, about) =
                memory::theirs(peer_steps(cli, name, StepMode::Train, form, batch))?;
            let theirs = theirs as f64 / MIB;
            version = about;
            let mut row =
                [name.as_str(), &batch.to_string(), form.name()].map(String::from).to_vec();
            let mode = cli.mode_name(StepMode::Train);
            row.extend([format!("{ours:.0}"), format!("{theirs:.0}")]);
            row.push(format!("{:.2}", ours / theirs));
            table.push(row);
            report.rows.push(Measurement {
                unit: "MiB".into(),
                ..Measurement::ms(
                    &workload(name, &mode, batch),
                    "peak memory",
                    vec![ours],
                    vec![theirs],
                )
            });
        }
    }
    report.table("memory", &table, &format!("PyTorch {version}"))
}

fn print_peak_memory(cli: &Cli) -> Result<(), String> {
    let batch = cli.units()[0].1;
    let (spec, recipe) = find(&cli.model[0])?;
    plan(cli, &spec, &recipe, StepMode::Train, batch)?.enter(|mut step| {
        (0..memory::STEPS).for_each(|_| step.run());
    });
    println!("{}", machine::peak_memory()?);
    Ok(())
}

/// Epochs with loading and augmentation, alternately ours and PyTorch's.
fn epochs(cli: &Cli, report: &mut BenchReport) -> Result<(), String> {
    let (Some(name), Some(data)) = (&cli.epoch, &cli.data) else {
        unreachable!("--epoch requires --data");
    };
    let (folder, found) = (data.join("train"), find(name)?);
    let batch = cli.units()[0].1;
    let (images, threads, workers) = (cli.images, cli.threads, cli.workers);
    let size = epoch::EpochOptions { images, batch, threads, workers };
    let mut table = Table::new(
        &["model", "images", "loading", "PyTorch"],
        &["ours images/s", "its images/s", "ratio", "we wait", "it waits"],
    );
    let mut version = String::new();
    for &loading in &cli.loading {
        for form in cli.epoch_forms() {
            let ours = epoch::EpochBenchmark::open(&found.0, &found.1, &folder, loading, size)?;
            let mut peer = epoch::peer(&cli.python, &folder, form, loading, ours.side(), size)?;
            let rounds =
                ours.enter(|mut epoch| epoch::alternate(&mut epoch, &mut peer, cli.rounds))?;
            version = peer.version().to_string();
            let (ours, theirs): (Vec<_>, Vec<_>) = rounds.into_iter().unzip();
            let seconds = |times: &[alexnet_benches::EpochTimes]| -> Vec<f64> {
                times.iter().map(|time| time.seconds * 1e3).collect()
            };
            let waits = |times: &[alexnet_benches::EpochTimes]| {
                let shares = times.iter().map(|time| time.wait / time.seconds).collect();
                format!("{:.0} %", 100.0 * median(shares))
            };
            let n = ours[0].images as f64;
            let (our_ms, its_ms) = (median(seconds(&ours)), median(seconds(&theirs)));
            let names = [name, &ours[0].images.to_string(), loading.name(), form.name()];
            let mut row = names.map(String::from).to_vec();
            row.extend([our_ms, its_ms].map(|ms| format!("{:.0}", n / ms * 1e3)));
            row.extend([format!("{:.2}", its_ms / our_ms), waits(&ours), waits(&theirs)]);
            eprintln!("{}", row.join(" "));
            table.push(row);
            let what = format!("{} images from {} beside {}", n, loading.name(), form.name());
            report.rows.push(Measurement::ms(
                &workload(name, "epoch", batch),
                what,
                seconds(&ours),
                seconds(&theirs),
            ));
        }
    }
    report.table("epoch", &table, &format!("PyTorch {version}, {workers} workers"))
}
