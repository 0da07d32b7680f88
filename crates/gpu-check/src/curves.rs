//! Ten steps of the same network from the same initial weights, on the CPU and on the GPU.

use crate::Verdict;
use crate::budget::Budget;
use crate::cli::Cli;
use crate::gpu::{self, TINY};
use alexnet_benches::TrainingStep;
use alexnet_benches::ledger::Table;
use tensor::{Device, Precision};

const STEPS: u64 = 10;
/// The allowed relative difference of two losses. CPU and GPU sum in different orders. Rounded
/// operands, moreover, flip the choice of about one in 1/u rectifiers and maxima, where u is the
/// unit roundoff; each flip adds or removes a whole term of a gradient, which changes it by
/// sqrt(u).
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
            println!("{model}: not started: no time left\n");
            verdict = verdict.and(Verdict::Unfinished);
            continue;
        }
        budget.log(&format!("curves: {model}, {images} images, {STEPS} steps"));
        let cpu = losses(Device::cpu(0), model, images)?;
        for precision in gpu::precisions()? {
            verdict = verdict.and(compare(&cpu, model, images, precision)?);
        }
    }
    Ok(verdict)
}

/// Compares the GPU's losses with the CPU's.
fn compare(
    cpu: &[f64],
    model: &str,
    images: usize,
    precision: Precision,
) -> Result<Verdict, String> {
    let Some(device) = gpu::open_in(precision)? else { return Ok(Verdict::Passed) };
    let gpu = losses(device, model, images)?;
    let mut table = Table::new(&["step"], &["CPU", "GPU", "difference"]);
    let mut worst = 0.0f64;
    for (step, (cpu, gpu)) in cpu.iter().zip(&gpu).enumerate() {
        let difference = (cpu - gpu).abs() / cpu.abs();
        worst = worst.max(if difference.is_nan() { f64::INFINITY } else { difference });
        let losses = [cpu, gpu].map(|loss| format!("{loss:.6}"));
        table.push([(step + 1).to_string()].into_iter().chain(losses).chain([sci(difference)]));
    }
    let agree = worst <= tolerance(precision);
    let result = if agree { "agree" } else { "DISAGREE" };
    println!(
        "{model}, {images} images, {precision}: the losses {result}, difference up to {} ({} \
         allowed)\n",
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
