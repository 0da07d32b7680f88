//! Ten steps of the same network from the same beginning, on the CPU and on the GPU.

use crate::Verdict;
use crate::budget::Budget;
use crate::cli::Cli;
use crate::gpu::{self, TINY};
use alexnet_benches::TrainingStep;
use alexnet_benches::ledger::Table;
use tensor::{Device, Precision};

const STEPS: u64 = 10;
/// How far two losses may lie apart, as a share of the CPU's: both sides round, in other orders. To
/// round operands turns rectifiers and maxima over, a share of about a unit of them, whose whole
/// terms gradients then have or have not: they are off by its root.
fn tolerance(precision: Precision) -> f64 {
    precision.unit().sqrt().max(1e-3)
}

/// Runs the section.
pub fn run(cli: &Cli, budget: &Budget) -> Result<Verdict, String> {
    let units = if cli.small {
        vec![(TINY, 2, 1.0)]
    } else {
        vec![("alexnet-64", 64, 10.0), ("alexnet", 64, 30.0), ("torchvision", 64, 30.0)]
    };
    let mut verdict = Verdict::Passed;
    for (model, images, seconds) in units {
        if budget.lacks(seconds) {
            println!("{model}: no time was left for it\n");
            verdict = verdict.and(Verdict::Unfinished);
            continue;
        }
        budget.say(&format!("curves: {model}, {images} images, {STEPS} steps"));
        let cpu = losses(Device::cpu(0), model, images)?;
        for precision in gpu::precisions()? {
            verdict = verdict.and(compare(&cpu, model, images, precision)?);
        }
    }
    Ok(verdict)
}

/// The GPU's losses beside the CPU's.
fn compare(
    cpu: &[f64],
    model: &str,
    images: usize,
    precision: Precision,
) -> Result<Verdict, String> {
    let Some(device) = gpu::open_in(precision)? else { return Ok(Verdict::Passed) };
    let gpu = losses(device, model, images)?;
    let mut table = Table::new(&["step"], &["CPU", "GPU", "apart"]);
    let mut worst = 0.0f64;
    for (step, (cpu, gpu)) in cpu.iter().zip(&gpu).enumerate() {
        let apart = (cpu - gpu).abs() / cpu.abs();
        worst = worst.max(if apart.is_nan() { f64::INFINITY } else { apart });
        let losses = [cpu, gpu].map(|loss| format!("{loss:.6}"));
        table.push([(step + 1).to_string()].into_iter().chain(losses).chain([sci(apart)]));
    }
    let agree = worst <= tolerance(precision);
    let word = if agree { "agree" } else { "DISAGREE" };
    println!(
        "{model}, {images} images, {precision}: the losses {word}, {} apart at most ({} allowed)\n",
        sci(worst),
        sci(tolerance(precision))
    );
    println!("{}", table.render());
    Ok(Verdict::of(agree))
}

fn losses(device: Device, model: &str, images: usize) -> Result<Vec<f64>, String> {
    let (spec, recipe) = gpu::find(model)?;
    let step = TrainingStep::on(device, &spec, &recipe, images);
    let losses: train::Result<Vec<f64>> = step
        .map_err(|error| error.to_string())?
        .enter(|mut step| (1..=STEPS).map(|number| Ok(step.learn(number)?.score().loss)).collect());
    losses.map_err(|error| format!("{model}: {error}"))
}

fn sci(number: f64) -> String {
    format!("{number:.1e}")
}
