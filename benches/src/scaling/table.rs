//! `cargo xtask bench --scaling`: computed times on 1 to 512 H200s.

use super::{Cluster, CostModel, Measurements, Parallelism, measure};
use crate::ledger::{Ledger, Table};
use crate::machine::{self, today};
use clap::Parser;
use layers::Spec;

/// Computes step times on many H200s by an alpha-beta model.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench --scaling", max_term_width = 100)]
struct Cli {
    /// (selects this table)
    #[arg(long, required = true)]
    scaling: bool,
    /// Built-in model
    #[arg(long, default_value = "alexnet-source", value_name = "NAME")]
    model: String,
    /// Compare the model with two single-threaded devices of this machine
    #[arg(long)]
    measure: bool,
    /// Images per device, with --measure
    #[arg(long, default_value_t = 32, requires = "measure", value_name = "N")]
    images: usize,
    /// Steps of each mode, with --measure
    #[arg(long, default_value_t = 7, requires = "measure", value_name = "N")]
    steps: usize,
    /// Also write the tables into BENCHMARKS.md
    #[arg(long)]
    write: bool,
}

/// Images per device in weak scaling, and per step in strong scaling.
const WEAK: f64 = 128.0;
const STRONG: f64 = 4096.0;

/// Prints the tables.
///
/// # Errors
/// If there is no such model, or BENCHMARKS.md cannot be written.
pub fn run() -> Result<(), String> {
    let cli = Cli::parse();
    let spec = models::find(&cli.model).map_err(|error| error.to_string())?;
    if cli.measure {
        return compare(&cli, &spec);
    }
    let network = CostModel::new(&spec).map_err(|error| error.to_string())?;
    let command = match cli.model.as_str() {
        "alexnet-source" => "cargo xtask bench --scaling".to_string(),
        model => format!("cargo xtask bench --scaling --model {model}"),
    };
    for (name, title, table) in tables(&network, &Cluster::H200) {
        println!("{}, {title}\n\n{}", cli.model, table.render());
        if cli.write {
            let run = format!("{}, computed, {}, {title}: `{command}`", today(), cli.model);
            Ledger::of_the_repository().write(name, &table, &run)?;
        }
    }
    Ok(())
}

/// Compares the model with measurements on this machine.
fn compare(cli: &Cli, spec: &Spec) -> Result<(), String> {
    let Cli { model, images, steps, .. } = cli;
    let recipe = train::recipes::find(model).unwrap_or_else(train::recipes::paper);
    let measured = measure(spec, &recipe, *images, *steps).map_err(|error| error.to_string())?;
    let Measurements { cluster, alone, .. } = measured;
    println!(
        "a device: {:.0} GFLOP/s, {:.1} GB/s, {:.2} of the bound in a step of {images} images \
         ({:.1} ms)\na message: {:.1} us and {:.2} GB/s each way\n",
        cluster.flops * 1e-9,
        cluster.bytes * 1e-9,
        cluster.reached,
        alone * 1e3,
        cluster.inside.alpha * 1e6,
        cluster.inside.beta * 1e-9,
    );
    let table = comparison(model, *images, &measured);
    println!("{}", table.render());
    if cli.write {
        let how = format!("--model {model} --images {images} --steps {steps}");
        let here = machine::Machine::here(2).describe();
        let run = format!("{}, {here}: `cargo xtask bench --scaling --measure {how}`", today());
        Ledger::of_the_repository().write("scaling measured", &table, &run)?;
    }
    Ok(())
}

fn comparison(model: &str, images: usize, measured: &Measurements) -> Table {
    let mut table = Table::new(
        &["model", "images a device", "mode"],
        &["computed ms", "measured ms", "measured/computed"],
    );
    for row in &measured.modes {
        table.push([
            model.to_string(),
            images.to_string(),
            row.mode.name().to_string(),
            format!("{:.1}", row.predicted * 1e3),
            format!("{:.1}", row.measured * 1e3),
            format!("{:.2}", row.measured / row.predicted),
        ]);
    }
    table
}

/// Weak and strong scaling.
fn tables(network: &CostModel, machine: &Cluster) -> [(&'static str, String, Table); 2] {
    let weak = table(network, machine, |_| WEAK);
    let strong = table(network, machine, |devices| STRONG / devices as f64);
    [
        ("scaling weak", format!("{WEAK} images a device"), weak),
        ("scaling strong", format!("{STRONG} images a step"), strong),
    ]
}

fn table(network: &CostModel, machine: &Cluster, images: impl Fn(usize) -> f64) -> Table {
    let mut table = Table::new(
        &["devices"],
        &["data ms", "speed-up", "towers ms", "speed-up", "hybrid ms", "speed-up", "fastest"],
    )
    .whole();
    let rate = |mode, devices: usize| {
        let images = images(devices);
        let seconds = network.step(machine, mode, devices, images)?;
        Some((seconds, images * devices as f64 / seconds))
    };
    let (_, alone) = rate(Parallelism::Data, 1).expect("data parallelism on one device");
    for devices in (0..=9).map(|power| 1 << power) {
        let rates = Parallelism::ALL.map(|mode| rate(mode, devices));
        let mut row = vec![devices.to_string()];
        for rate in &rates {
            row.extend(match rate {
                Some((seconds, rate)) => {
                    [format!("{:.2}", seconds * 1e3), format!("{:.1}", rate / alone)]
                }
                None => [String::new(), String::new()],
            });
        }
        let with_rate =
            Parallelism::ALL.iter().zip(&rates).filter_map(|(mode, rate)| Some((mode, (*rate)?)));
        let best = with_rate.max_by(|(_, (_, a)), (_, (_, b))| a.total_cmp(b));
        let name = best.map_or("", |(mode, _)| mode.name());
        row.push(if devices == 1 { String::new() } else { name.to_string() });
        table.push(row);
    }
    table
}
