//! `alexnet eval --ensemble`: several networks asked as one.

use super::result;
use crate::cli::EvalArgs;
use crate::console;
use crate::fault::{Fault, Result};
use crate::trained::Trained;
use evaluate::predictions::Predictions;
use evaluate::{Score, has_top5};
use report::{percent, quality, tested};
use serde_json::json;
use std::time::{Duration, Instant};
use terminal::progress;
use terminal::signals;

/// Tests each network, then the average of their probabilities.
///
/// # Errors
/// As `eval`; exit code 3 if the networks were not tested on the same images.
pub fn eval(args: &EvalArgs) -> Result<u8> {
    let mut all = Vec::new();
    for run in &args.ensemble {
        all.push(Trained::of_run(run)?);
    }
    let first = &all[0];
    if let Some(other) = all.iter().find(|other| other.classes() != first.classes()) {
        let (one, two) = (first.path.display(), other.path.display());
        return Err(Fault::new(3, format!("{one} and {two} have different classes")));
    }
    let data = args.data.clone().or(first.config.as_ref().map(|config| config.data.clone()));
    let fake = first.config.as_ref().is_some_and(|config| config.fake_data.is_some());
    let data = data.filter(|_| args.data.is_some() || !fake);
    let stop = signals::listen()?;
    let mut observer = progress::observer(args.output.progress);
    let (mut outputs, mut scores, mut opened) = (Vec::new(), Vec::new(), None);
    for trained in &all {
        let images = super::open(args, trained, data.as_deref(), &mut *observer)?;
        let options = (super::views(args), args.batch_size, &args.machine);
        let done = super::test(options, trained, &images.test, &mut *observer, &stop)?;
        let Some((score, predictions)) = done else {
            return Ok(super::stopped(&stop));
        };
        observer.note(&format!("{}: {}", trained.path.display(), result(&score)));
        scores.push(score);
        outputs.push(predictions);
        opened = opened.or(Some(images));
    }
    let images = opened.expect("at least one network");
    let differ = |message: String| Fault::new(3, message);
    let watched = if has_top5(first.classes().len()) { "top-5 error" } else { "top-1 error" };
    let mut last = Instant::now();
    let mut watch = |trials, least| {
        if last.elapsed() > Duration::from_secs(3) {
            let least = percent(least);
            observer.note(&format!("search for weights: {trials} trials, {watched} {least}"));
            last = Instant::now();
        }
    };
    let weights = if args.search_weights {
        Predictions::search_weights(&outputs, &mut watch).map_err(differ)?
    } else {
        vec![1.0 / outputs.len() as f64; outputs.len()]
    };
    drop(observer);
    let average = Predictions::average(&outputs, &weights).map_err(differ)?;
    let score = average.score();
    let rest = args.search_weights.then(|| average.score_of_rest());
    super::written::write_files(args, &images, &average)?;
    let networks = || all.iter().zip(&scores).zip(&weights);
    let json = || {
        let network = |((trained, score), weight): ((&Trained, &Score), &f64)| {
            json!({ "weights": trained.path.to_string_lossy(), "weight": weight, "loss": score.loss,
                "top1_error": score.top1_error, "top5_error": score.top5_error })
        };
        json!({
            "loss": score.loss,
            "top1_error": score.top1_error,
            "top5_error": score.top5_error,
            "images": score.images,
            "not_searched": rest,
            "networks": networks().map(network).collect::<Vec<_>>(),
            "metrics": quality::to_json(&average.quality()),
            "per_class": tested::classes_json(images.test.classes(), &average),
        })
    };
    let text = || {
        let mut text = format!("{} networks on {}\n", all.len(), images.describe());
        for ((trained, score), weight) in networks() {
            let (path, result) = (trained.path.display(), result(score));
            text += &format!("{path}: weight {weight:.3}, {result}\n");
        }
        text += &format!("together: {}\n", result(&score));
        if let Some(rest) = &rest {
            let rest = result(rest);
            text += &format!("of these, images that the search did not look at: {rest}\n");
        }
        text + &super::by_class(args, &images, &average)
    };
    console::result(args.output.json, json, text)?;
    Ok(0)
}
