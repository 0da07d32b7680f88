//! `alexnet eval`: wiring.

mod ensemble;
mod written;

use crate::cli::{EvalArgs, MachineArgs, ViewsArg};
use crate::console;
use crate::fault::Result;
use crate::images::Images;
use crate::trained::Trained;
use data::{Loader, Source};
use evaluate::Score;
use evaluate::Stop;
use evaluate::evaluate_each;
use evaluate::observe::Observer;
use evaluate::predictions::Predictions;
use inference::Views;
use report::{percent, quality, tested};
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;
use terminal::progress::{self, Reading};
use terminal::signals;

/// Runs the command.
///
/// # Errors
/// Exit codes 2, 3, 4, 6, 7 as `alexnet --help` lists them.
pub fn eval(args: &EvalArgs) -> Result<u8> {
    written::check(args)?; // before anything slow is done
    if !args.ensemble.is_empty() {
        return ensemble::eval(args);
    }
    let mut trained = Trained::open(args.run.as_deref(), args.weights.as_deref(), &args.import)?;
    trained.set_exif(args.exif);
    let stop = signals::listen()?;
    let mut observer = progress::observer(args.output.progress);
    let images = open(args, &trained, args.data.as_deref(), &mut *observer)?;
    let began = Instant::now();
    let seen = (views(args), args.batch_size, &args.machine);
    let done = test(seen, &trained, &images.test, &mut *observer, &stop)?;
    drop(observer);
    let Some((score, predictions)) = done else {
        return Ok(stopped(&stop));
    };
    let seconds = began.elapsed().as_secs_f64();
    let images_per_s = score.images as f64 / seconds.max(1e-9);
    written::write_files(args, &images, &predictions)?;
    let views = Views::from(views(args)).plan(1, trained.crop()).views_per_image();
    let json = || {
        json!({
            "loss": score.loss,
            "top1_error": score.top1_error,
            "top5_error": score.top5_error,
            "images": score.images,
            "views": views,
            "images_per_s": images_per_s,
            "seconds": seconds,
            "weights": trained.path.to_string_lossy(),
            "metrics": quality::to_json(&predictions.quality()),
            "per_class": tested::classes_json(images.test.classes(), &predictions),
        })
    };
    let text = || {
        let (path, model) = (trained.path.display(), &trained.weights.about.model.name);
        let (on, views) = (images.describe(), plural(views, "view"));
        let result = result(&score);
        let head =
            format!("{path}: {model} on {on}\n{views}: {result} ({images_per_s:.0} images/s)\n");
        head + &by_class(args, &images, &predictions)
    };
    console::result(args.output.json, json, text)?;
    Ok(0)
}

/// Quality measures, the table by class and the confusion matrix, and which files were written.
fn by_class(args: &EvalArgs, images: &Images, predictions: &Predictions) -> String {
    tested::classes_text(images.test.classes(), predictions) + &written::names(args)
}

/// How images are to be seen.
fn views(args: &EvalArgs) -> ViewsArg {
    match (args.ten_crop, args.multiview) {
        (true, _) => ViewsArg::Ten,
        (_, true) => ViewsArg::Nine,
        (false, false) => args.views.unwrap_or_default(),
    }
}

/// The images to test on, and what is to be printed of them.
fn open(
    args: &EvalArgs,
    trained: &Trained,
    named: Option<&str>,
    observer: &mut dyn Observer,
) -> Result<Images> {
    let reading = Reading::new(args.output.progress);
    let images = trained.images(named, args.machine.workers.unwrap_or(0), &reading)?;
    images.notes.iter().for_each(|note| observer.note(note));
    let (side, (height, width)) = (trained.side(), trained.crop());
    if views(args) == ViewsArg::Nine && side == height && side == width {
        observer.note(
            "the images are stored at the size that the network sees: all nine views are the same",
        );
    }
    Ok(images)
}

/// Tests a network on `images`, on views of so many at a time; `None` if a signal came before the
/// end.
///
/// # Errors
/// Exit codes 1, 2, 3, 4 and 6.
pub fn test(
    (views, batch, machine): (ViewsArg, usize, &MachineArgs),
    trained: &Trained,
    images: &Arc<dyn Source>,
    observer: &mut dyn Observer,
    stop: &Stop,
) -> Result<Option<(Score, Predictions)>> {
    let plan = Views::from(views).plan(batch, trained.crop());
    let predictor = trained.predictor(plan.rows, &[], machine, &mut |text| observer.note(text))?;
    let workers = machine.workers.unwrap_or(0);
    let mut loader = Loader::new(images.clone(), plan, workers, 0);
    let mut predictions = Predictions::new(trained.classes().len());
    let tally = predictor.enter(|mut predictor| {
        let mut keep = |image: evaluate::Tested| predictions.push(image);
        evaluate_each(&mut predictor, &mut loader, stop, observer, &mut keep)
    })?;
    Ok(tally.map(|tally| (tally.score_of(predictions.classes), predictions)))
}

/// The exit code of a test that a signal ended.
fn stopped(stop: &Stop) -> u8 {
    signals::exit_code(stop.requested().expect("a test ends early when asked to"))
}

/// A score in words.
fn result(score: &Score) -> String {
    let top5 = score.top5_error.map(|error| format!(", top-5 error {}", percent(error)));
    format!(
        "loss {:.4}, top-1 error {}{} over {} images",
        score.loss,
        percent(score.top1_error),
        top5.unwrap_or_default(),
        score.images
    )
}

/// `1 view`, `10 views`.
fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
