//! `alexnet eval`: wiring.

use crate::cli::EvalArgs;
use crate::fault::{Fault, Result};
use crate::images::Images;
use crate::progress::{self, Reading, percent};
use crate::settings::Settings;
use crate::{machine, signals};
use data::{Loader, Plan};
use layers::Mode;
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;
use tensor::Choice;
use train::evaluate::evaluate;
use train::weights::Weights;

/// Runs the command.
///
/// # Errors
/// Exit codes 2, 3, 4, 6 as `alexnet --help` lists them.
pub fn eval(args: &EvalArgs) -> Result<u8> {
    let (path, config) = what(args)?;
    let weights = Weights::read(&path)?;
    let spec = &weights.about.model;
    let [height, width, _] = spec.input;
    let device_name = args.machine.device.as_deref().unwrap_or("auto");
    let threads = args.machine.threads.unwrap_or(0);
    let workers = args.machine.workers.unwrap_or(0);
    let choice: Choice = device_name.parse()?;
    let stop = signals::listen()?;
    let mut observer = progress::observer(args.output.progress);

    let side = weights.about.input.side.unwrap_or(height.max(width));
    let images = open_images(args, config.as_ref(), side, weights.about.classes.len())?;
    images.notes.iter().for_each(|note| observer.note(note));
    check_classes(&weights, &images, &path)?;
    let (plan, views) = plan(args, (height, width));
    if args.multiview && side == height && side == width {
        observer.note(
            "the images are stored at the size that the network sees: all nine views are the same",
        );
    }
    let mean = (weights.about.input.mean, [side, side]);
    let (device, planned) = machine::open(
        choice,
        threads,
        |device| train::step::Plan::new(spec, plan.rows, Mode::Infer, mean, device.threads()),
        train::step::Plan::check,
        &mut |text| observer.note(text),
    )?;
    let mut step = planned.open(device)?;
    step.set_input(&weights.mean.values, weights.about.input.scale)?;
    step.upload_weights(&weights, &path)?;
    let mut loader = Loader::new(images.test.clone(), plan, workers, 0);

    let began = Instant::now();
    let observed = &mut *observer;
    let tally = step.enter(|mut step| {
        evaluate(&mut step, &mut loader, &stop, &mut |done, of| observed.testing(done, of))
    })?;
    drop(observer);
    let Some(tally) = tally else {
        let signal = stop.requested().expect("a test ends early when asked to");
        return Ok(signals::exit_code(signal));
    };
    let (score, seconds) = (tally.score(), began.elapsed().as_secs_f64());
    let images_per_s = score.images as f64 / seconds.max(1e-9);
    if args.output.json {
        let line = json!({
            "loss": score.loss,
            "top1_error": score.top1_error,
            "top5_error": score.top5_error,
            "images": score.images,
            "views": views,
            "images_per_s": images_per_s,
            "seconds": seconds,
            "weights": path,
        });
        println!("{line}");
    } else {
        println!("{}: {} on {}", path.display(), spec.name, images.describe());
        println!(
            "{views} view{}: loss {:.4}, top-1 error {}, top-5 error {} \
             ({} images, {:.0} images/s)",
            if views == 1 { "" } else { "s" },
            score.loss,
            percent(score.top1_error),
            percent(score.top5_error),
            score.images,
            images_per_s,
        );
    }
    Ok(0)
}

/// How the images are seen, and in how many rows each.
fn plan(args: &EvalArgs, crop: (usize, usize)) -> (Plan, usize) {
    let images = args.batch_size.max(1);
    let of_rows = match (args.ten_crop, args.multiview) {
        (true, _) => Plan::ten_views,
        (false, true) => Plan::nine_views,
        (false, false) => Plan::testing,
    };
    let views = of_rows(1, crop).views_per_image();
    (of_rows(images * views, crop), views)
}

/// The file of weights, and the settings of its run if it lies in one.
fn what(args: &EvalArgs) -> Result<(PathBuf, Option<Settings>)> {
    match (&args.run, &args.weights) {
        (Some(run), _) => {
            let config = Settings::read(&run.join("config.toml"))?;
            Ok((run.join("weights.safetensors"), Some(config)))
        }
        (None, Some(weights)) => {
            let config = weights.parent().map(|run| run.join("config.toml"));
            let config = config.filter(|path| path.exists());
            let config = config.map(|path| Settings::read(&path)).transpose()?;
            Ok((weights.clone(), config))
        }
        (None, None) => unreachable!("clap asks for one of the two"),
    }
}

fn open_images(
    args: &EvalArgs,
    config: Option<&Settings>,
    side: usize,
    classes: usize,
) -> Result<Images> {
    let reading = Reading::new(args.output.progress);
    let named = args.data.as_deref();
    let Some(name) = named.or(config.map(|config| config.data.as_str())) else {
        return Err(Fault::usage(
            "--data: say what to test on; the weights lie in no run's folder",
        ));
    };
    let config = config.filter(|_| named.is_none());
    let images = match config.and_then(|config| config.fake_data) {
        Some(count) => Images::fake(count, side, classes),
        None => Images::open(name, side, args.machine.workers.unwrap_or(0), &reading)?,
    };
    Ok(match config.and_then(|config| config.overfit) {
        Some(count) => images.overfit(count),
        None => images,
    })
}

/// Labels are places in a list of names: the two lists must be one.
fn check_classes(weights: &Weights, images: &Images, path: &std::path::Path) -> Result<()> {
    let (learned, found) = (&weights.about.classes, images.train.classes());
    if learned == found {
        return Ok(());
    }
    let differing = learned.iter().zip(found).find(|(a, b)| a != b);
    let how = match differing {
        Some((learned, found)) => format!("`{learned}` was learned where the data has `{found}`"),
        None => format!("{} were learned, the data has {}", learned.len(), found.len()),
    };
    Err(Fault {
        code: 3,
        message: format!("{}: its classes are not the data's: {how}", path.display()),
    })
}
