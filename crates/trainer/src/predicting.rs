//! `alexnet predict`: what images show, with bars.

use crate::cli::PredictArgs;
use crate::fault::{Fault, Result};
use crate::trained::{Trained, report_bad};
use crate::{console, output};
use data::unlabelled::UnlabelledFiles;
use data::{Loader, Source};
use evaluate::predictions::top;
use evaluate::{Tested, evaluate_each};
use inference::Views;
use report::figures::{Guess, draw_guesses};
use report::grouped;
use report::predicted::{Class, Finished, Predicted, Rows};
use std::path::Path;
use terminal::progress;
use terminal::signals;

/// What a file's name may end in.
const ENDINGS: [&str; 3] = ["csv", "jsonl", "png"];
/// One picture shows so many images at most.
const MAX_DRAWN: usize = 1000;

/// Runs the command.
///
/// # Errors
/// Exit codes 2, 3, 4, 6, 7 as `alexnet --help` lists them; 3 also if some of several images could
/// not be read, after the others.
pub fn predict(args: &PredictArgs) -> Result<u8> {
    let form = args.out.as_deref().map_or(Ok(""), |path| output::ending(path, &ENDINGS))?;
    let trained = Trained::chosen(&args.using)?;
    let mut observer = progress::observer(args.progress);
    let source = trained.files(&args.images, &mut |text| observer.note(text))?;
    if form == "png" && source.len() > MAX_DRAWN {
        return Err(Fault::usage(format!(
            "--out: a picture of {} images is too large (at most {MAX_DRAWN}): name a .csv or \
             .jsonl file",
            source.len()
        )));
    }
    let (count, machine) = (source.len(), &args.using.machine);
    let plan = Views::from(args.views).plan(args.using.batch_size.min(count), trained.crop());
    let predictor = trained.predictor(plan.rows, &[], machine, &mut |text| observer.note(text))?;
    let stop = signals::listen()?;
    let workers = if count == 1 { 1 } else { machine.workers.unwrap_or(0) };
    let mut loader = Loader::new(source.clone(), plan, workers, 0);
    let mut rows = begin(args, form, trained.classes().len())?;
    let mut written = Ok(());
    let titles = trained.titles();
    let done = predictor.enter(|mut predictor| {
        let mut keep = |image: Tested| {
            let at = image.sample as usize;
            if written.is_ok() && !source.bad().contains_key(&at) {
                let row: Vec<f32> = image.probabilities.iter().map(|&p| p as f32).collect();
                let best = top(&row, args.top.max(1)).into_iter();
                let class = |(class, probability): (u32, f32)| Class {
                    id: trained.classes()[class as usize].clone(),
                    name: trained.name_of(class).map(str::to_owned),
                    title: titles[class as usize].clone(),
                    probability,
                };
                let best = best.map(class).collect();
                written = rows.push(Predicted { at, name: source.name(at), best });
            }
        };
        evaluate_each(&mut predictor, &mut loader, &stop, &mut *observer, &mut keep)
    })?;
    drop(observer);
    written?;
    if done.is_none() {
        return Ok(signals::exit_code(stop.requested().expect("it ends early when asked to")));
    }
    source.remarks().iter().for_each(console::note);
    let drawn = finish(args, rows)?;
    if let (Some(path), "png", false) = (&args.out, form, drawn.is_empty()) {
        draw(path, &trained, &source, drawn)?;
    }
    let bad: Vec<data::Error> = source.bad().values().cloned().collect();
    report_bad(&bad, source.len(), "").map(|()| 0)
}

/// Begins a file, or text, of the most probable of `classes` classes.
///
/// # Errors
/// Exit code 7.
fn begin(args: &PredictArgs, form: &str, classes: usize) -> Result<Rows> {
    Ok(match (&args.out, form) {
        (Some(path), "csv") => Rows::csv(output::create(path)?, args.top.clamp(1, classes))?,
        (Some(path), "jsonl") => Rows::jsonl(output::create(path)?),
        (Some(_), _) => Rows::text_and_rows(args.json),
        (None, _) => Rows::text(args.json),
    })
}

/// Prints the text, or gives the file its name and its contents. Gives back what is to be
/// drawn.
///
/// # Errors
/// Exit code 7.
fn finish(args: &PredictArgs, rows: Rows) -> Result<Vec<Predicted>> {
    match rows.finish()? {
        Finished::Text(text, drawn) => {
            console::print(text)?;
            Ok(drawn)
        }
        Finished::File(images) => {
            let (path, images) = (args.out.as_deref().unwrap_or(Path::new("")), grouped(images));
            console::println(format_args!("written: {} ({images} images)", path.display()))?;
            Ok(Vec::new())
        }
    }
}

/// Draws images with their bars.
fn draw(
    path: &Path,
    trained: &Trained,
    source: &UnlabelledFiles,
    rows: Vec<Predicted>,
) -> Result<()> {
    let guesses: Result<Vec<Guess>> = rows
        .into_iter()
        .map(|Predicted { at, best, .. }| {
            let image = trained.read_centre(source, at)?;
            let name = source.path(at).file_name().map(|name| name.to_string_lossy());
            let name = name.unwrap_or_default().to_string();
            let top = best.into_iter().map(|class| (class.title, class.probability)).collect();
            Ok(Guess { image, name, truth: None, top })
        })
        .collect();
    output::write(path, &report::picture::to_png(&draw_guesses(&guesses?, 4)))
}

/// The most probable classes by name.
pub fn named_top(classes: &[String], row: &[f32], count: usize) -> Vec<(String, f32)> {
    let best = top(row, count.max(1)).into_iter();
    best.map(|(class, p)| (classes[class as usize].clone(), p)).collect()
}
