//! `alexnet report`: what can be shown of runs, collected for the page.

use crate::cli::{ReportArgs, ViewsArg};
use crate::console;
use crate::fault::{Fault, Result};
use crate::images::Images;
use crate::neighbours::{pictures, search};
use crate::predicting::named_top;
use crate::trained::{Trained, has_network};
use crate::{output, run_file, testing};
use data::{Source, Subset, spread_over_classes};
use evaluate::Stop;
use evaluate::observe::Observer;
use evaluate::predictions::Predictions;
use inference::neighbours::among;
use layers::{Row, Spec};
use report::figures::Guess;
use report::kernels::Kernels;
use report::{ClassRow, Confusion, Curves, Measure, Page, Run, Tested, network};
use std::path::Path;
use std::sync::Arc;
use terminal::progress::{self, Reading};
use terminal::signals;

/// Figure 4 has eight predictions, and five queries with six neighbours each.
const GUESSES: usize = 8;
const QUERIES: usize = 5;
const NEAREST: usize = 6;
const MISTAKES: usize = 12;
const TOP: usize = 5;

/// Runs the command.
///
/// # Errors
/// Exit codes 2 if a folder is no run's, 7 if a file cannot be written. What else is missing or
/// broken, the page says.
pub fn report(args: &ReportArgs) -> Result<u8> {
    let stop = signals::listen()?;
    let mut observer = progress::observer(args.progress);
    let mut runs = Vec::new();
    for path in &args.runs {
        let mut run = read(path)?;
        if let Err(fault) = use_network(args, path, &mut run, &mut *observer, &stop) {
            run.missing.push(format!("Not all could be shown: {}.", fault.message));
        }
        if let Some(signal) = stop.requested() {
            return Ok(signals::exit_code(signal));
        }
        runs.push(run);
    }
    drop(observer);
    let title = match &runs[..] {
        [run] => run.name.clone(),
        several => format!("{} runs compared", several.len()),
    };
    let page = Page { title, runs };
    output::write(&args.out, page.to_html().as_bytes())?;
    console::println(format_args!("written: {}", args.out.display()))?;
    for missing in page.runs.iter().flat_map(|run| &run.missing) {
        console::note(missing);
    }
    match &args.pictures {
        Some(folder) => write_pictures(folder, &page.runs, args.palette).map(|()| 0),
        None => Ok(0),
    }
}

/// What a run's folder tells without its network.
fn read(path: &Path) -> Result<Run> {
    let mut missing = Vec::new();
    let mut text = |name: &str| {
        let read = run_file::read(&path.join(name));
        read.unwrap_or_else(|fault| {
            missing.push(format!("Not all could be read: {}.", fault.message));
            None
        })
    };
    let (config, status, metrics) = (text("config.toml"), text("run.json"), text("metrics.jsonl"));
    let (model_text, environment) = (text("model.toml"), text("env.json"));
    if config.is_none() && status.is_none() && metrics.is_none() {
        if let Some(message) = missing.into_iter().next() {
            return Err(Fault { code: 4, message });
        }
        return Err(Fault::usage(format!(
            "{}: this is no run's folder: it has no config.toml, run.json or metrics.jsonl",
            path.display()
        )));
    }
    let whole = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let name =
        whole.file_name().map_or_else(String::new, |name| name.to_string_lossy().to_string());
    let spec = model_text.and_then(|text| Spec::from_toml(&text).ok());
    if spec.is_none() {
        missing.push("There is no model.toml that can be read.".to_string());
    }
    Ok(Run {
        name,
        status: status.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default(),
        curves: Curves::parse(&metrics.unwrap_or_default()),
        model: spec.and_then(|spec| network::model(&spec).ok()),
        config,
        environment,
        missing,
        ..Run::default()
    })
}

/// Adds what the network can say. What is there stays if something fails on the way.
fn use_network(
    args: &ReportArgs,
    path: &Path,
    run: &mut Run,
    observer: &mut dyn Observer,
    stop: &Stop,
) -> Result<()> {
    if !has_network(path)? {
        run.missing.push(
            "There are no weights yet, so no kernels, predictions or neighbours: a run writes them \
             after its first validation."
                .to_string(),
        );
        return Ok(());
    }
    let trained = Trained::open(Some(path), None)?;
    run.kernels = kernels(&trained);
    let reading = Reading::new(args.progress);
    let workers = args.machine.workers.unwrap_or(0);
    let images = trained.images(args.data.as_deref(), workers, &reading)?;
    let few: Arc<dyn Source> = match images.test.len() > args.images {
        true => Arc::new(Subset::spread(images.test.clone(), args.images.max(1))),
        false => images.test.clone(),
    };
    observer.note(&format!("{}: testing on {} images", run.name, few.len()));
    let seen = (ViewsArg::Centre, args.batch_size, &args.machine);
    let said = match testing::test(seen, &trained, &few, observer, stop)? {
        Some((_, said)) if !said.is_empty() => said,
        _ => return Ok(()),
    };
    let titles = trained.titles();
    let guess = |at: usize| -> Result<Guess> {
        let sample = said.samples[at] as usize;
        let top = named_top(&titles, said.row(at), TOP);
        let truth = Some(titles[said.labels[at] as usize].clone());
        Ok(Guess { image: trained.seen(&*few, sample)?, name: few.name(sample), truth, top })
    };
    let place = |sample: usize| said.samples.binary_search(&(sample as u32)).ok();
    let chosen = spread_over_classes(&*few, GUESSES).into_iter().filter_map(place);
    run.guesses = chosen.map(&guess).collect::<Result<_>>()?;
    run.mistakes = said.worst(MISTAKES).into_iter().map(&guess).collect::<Result<_>>()?;
    run.tested = Some(tested(&trained, &images, &said, few.len()));

    let mut silent = |_: &str| {}; // the test said where it computes
    let search = search(&trained, args.batch_size, &args.machine, &mut silent)?;
    let asked = spread_over_classes(&*few, QUERIES);
    let pool = among(&images.train, Some(args.among));
    observer.note(&format!("{}: looking for neighbours among {} images", run.name, pool.len()));
    if let Some(found) = search.run((&few, &asked), &pool, NEAREST, stop, observer)? {
        run.neighbours = pictures(&trained, (&*few, &asked), &*pool, &found, true)?;
    }
    Ok(())
}

fn tested(trained: &Trained, images: &Images, said: &Predictions, asked: usize) -> Tested {
    let score = said.score();
    let all = if asked < images.test.len() { ", spread over all" } else { "" };
    let titles = trained.titles();
    let rows = titles.iter().zip(said.by_class()).map(|(name, class)| ClassRow {
        name: name.clone(),
        images: class.score.images,
        top1_error: class.score.top1_error,
        top5_error: class.score.top5_error,
        precision: class.precision,
    });
    Tested {
        on: format!("{} test images{all}, one centre view each", score.images),
        loss: score.loss,
        top1_error: score.top1_error,
        top5_error: score.top5_error,
        classes: rows.collect(),
        confusion: Confusion { classes: titles, counts: said.confusion() },
    }
}

/// The first layer's kernels, if it is a convolution of images.
fn kernels(trained: &Trained) -> Option<(augment::Image, String)> {
    let spec = &trained.weights.about.model;
    let conv = spec.rows.iter().find_map(|row| match row {
        Row::Conv(conv) => Some(conv),
        _ => None,
    })?;
    let towers = spec.rows.iter().find_map(|row| match row {
        Row::Conv(conv) if conv.groups > 1 => Some(conv.groups),
        _ => None,
    });
    let towers = towers.unwrap_or(1);
    let name = format!("{}.weight", conv.name);
    let (_, values) = trained.weights.parameters.iter().find(|(other, _)| *other == name)?;
    let &[filters, window, width, 3] = &values.shape[..] else { return None };
    if window != width || filters == 0 {
        return None;
    }
    let weights = &values.values;
    let drawn = report::kernels::draw(&Kernels { weights, filters, window, towers });
    let laid = match towers {
        1 => String::new(),
        _ => format!(
            ", the first tower's {} above the second's, as in Figure 3 of the paper",
            filters / towers
        ),
    };
    let caption = format!("The {filters} kernels of {}, {window} × {window} × 3{laid}.", conv.name);
    Some((drawn, caption))
}

/// The first run's pictures as files of their own.
fn write_pictures(folder: &Path, runs: &[Run], palette: Option<u16>) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|error| Fault {
        code: 7,
        message: format!("{}: cannot make the folder: {error}", folder.display()),
    })?;
    let write = |name: &str, bytes: &[u8]| -> Result<()> {
        let path = folder.join(name);
        output::write(&path, bytes)?;
        console::println(format_args!("written: {}", path.display()))?;
        Ok(())
    };
    let png = |name: &str, image: &augment::Image| {
        write(name, &report::palette::png_of(image, palette.map(usize::from)))
    };
    let run = &runs[0];
    if let Some((image, _)) = &run.kernels {
        png("kernels.png", image)?;
    }
    if !run.guesses.is_empty() {
        png("predictions.png", &report::figures::draw_guesses(&run.guesses, 4))?;
    }
    if !run.mistakes.is_empty() {
        png("mistakes.png", &report::figures::draw_guesses(&run.mistakes, 4))?;
    }
    if !run.neighbours.is_empty() {
        png("neighbours.png", &report::figures::draw_neighbours(&run.neighbours))?;
    }
    if let Some(tested) = &run.tested {
        let confusion = &tested.confusion;
        match confusion.is_small() {
            true => write("confusion.svg", confusion.to_svg_file().as_bytes())?,
            false => png("confusion.png", &confusion.draw())?,
        }
    }
    for (name, measure) in [("loss.svg", Measure::Loss), ("error.svg", Measure::Error)] {
        write(name, report::curves_svg(runs, measure).as_bytes())?;
    }
    Ok(())
}
