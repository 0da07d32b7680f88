//! Bit-identical results: repeated steps, and replayed CUDA graphs.

use crate::Verdict;
use crate::budget::Budget;
use crate::cli::Cli;
use crate::gpu::{self, TINY};
use alexnet_benches::TrainingStep;
use tensor::Precision;

/// Repetitions of a step.
const REPEATS: usize = 100;

/// Repeats a step with the same weights and compares losses and gradients.
pub fn repeats(cli: &Cli, budget: &Budget) -> Result<Verdict, String> {
    let (units, repeats) = if cli.small {
        (vec![(TINY, 2)], 3)
    } else {
        (vec![("alexnet-64", 128), ("alexnet", 128), ("torchvision", 128)], REPEATS)
    };
    let mut verdict = Verdict::Passed;
    for (model, images) in units {
        for precision in gpu::precisions()? {
            let what = format!("{model}, {images} images, {precision}");
            budget.log(&format!("repeats: {what}, {repeats} times"));
            let (done, differing) = repeat(model, images, precision, repeats, budget)?;
            println!(
                "* {what}: {done} of {repeats} repetitions, loss and gradients {}",
                match differing {
                    0 => "bit-identical".to_string(),
                    _ => format!("DIFFER in {differing}"),
                }
            );
            let all = if done == repeats { Verdict::Passed } else { Verdict::Unfinished };
            verdict = verdict.and(all).and(Verdict::of(differing == 0));
        }
    }
    Ok(verdict)
}

fn repeat(
    model: &str,
    images: usize,
    precision: Precision,
    repeats: usize,
    budget: &Budget,
) -> Result<(usize, usize), String> {
    let (spec, mut recipe) = gpu::find(model)?;
    // Without updates every step computes the same gradients.
    (recipe.rate, recipe.momentum, recipe.decay) = (0.0, 0.0, 0.0);
    let device = gpu::open_in(precision)?.expect("the GPU has this precision");
    let step = TrainingStep::on(device, &spec, &recipe, images);
    let mut step = step.map_err(|error| format!("{model}: {error}"))?;
    let gradients = step.inner().network().gradients;
    let mut first: Option<(u64, Vec<f32>)> = None;
    let mut values = vec![0.0f32; gradients.len()];
    let (mut done, mut differing) = (0, 0);
    while done < repeats && !budget.lacks(1.0) {
        let tally = step.learn(1).map_err(|error| format!("{model}: {error}"))?;
        let device = step.inner().device();
        device.download_into(gradients, &mut values).map_err(|error| error.to_string())?;
        let loss = tally.loss.to_bits();
        match &first {
            None => first = Some((loss, values.clone())),
            Some((first, gradients)) => {
                differing += usize::from(*first != loss || !same_bits(gradients, &values));
            }
        }
        done += 1;
    }
    Ok((done, differing))
}

/// Compares losses and weights of replayed CUDA graphs with those of direct launches.
pub fn replay(cli: &Cli, budget: &Budget) -> Result<Verdict, String> {
    let units = if cli.small {
        vec![(TINY, 2, 3)]
    } else {
        vec![("alexnet-64", 128, 10), ("alexnet", 128, 10)]
    };
    let mut verdict = Verdict::Passed;
    for (model, images, steps) in units {
        if budget.lacks(5.0) && !cli.small {
            println!("* {model}: not started: no time left");
            verdict = verdict.and(Verdict::Unfinished);
            continue;
        }
        for precision in gpu::precisions()? {
            let what = format!("{model}, {images} images, {precision}");
            budget.log(&format!("replay: {what}, {steps} steps"));
            let replayed = train(model, images, precision, steps, false)?;
            let eager = train(model, images, precision, steps, true)?;
            let equal = replayed.0 == eager.0 && same_bits(&replayed.1, &eager.1);
            let result = if equal { "bit-identical" } else { "DIFFERENT" };
            println!("* {what}: {steps} losses and all weights are {result}");
            verdict = verdict.and(Verdict::of(equal));
        }
    }
    Ok(verdict)
}

/// The losses of some steps, and the weights after them.
fn train(
    model: &str,
    images: usize,
    precision: Precision,
    steps: u64,
    eager: bool,
) -> Result<(Vec<u64>, Vec<f32>), String> {
    let (spec, recipe) = gpu::find(model)?;
    let mut device = gpu::open_in(precision)?.expect("the GPU has this precision");
    gpu::cuda(&mut device).eager(eager);
    let work = || -> train::Result<_> {
        let mut step = TrainingStep::on(device, &spec, &recipe, images)?;
        let losses: train::Result<Vec<u64>> =
            (1..=steps).map(|number| Ok(step.learn(number)?.loss.to_bits())).collect();
        let values = step.inner().network().parameters.values;
        Ok((losses?, step.inner().device().download(values)?))
    };
    work().map_err(|error| format!("{model}: {error}"))
}

fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}
