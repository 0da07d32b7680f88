//! `alexnet report`: collects the data of runs for the page.

use crate::cli::{ReportArgs, ViewsArg};
use crate::console;
use crate::explaining::{by_gradients, read_square};
use crate::fault::{Fault, Result};
use crate::importing;
use crate::neighbours::{pictures, search};
use crate::predicting::named_top;
use crate::trained::{Trained, has_network, newest_run, placement};
use crate::{output, testing};
use data::{Source, Subset, spread_over_classes};
use evaluate::Stop;
use evaluate::observe::Observer;
use inference::neighbours::{Selection, among};
use report::explain::Explained;
use report::export::Picture;
use report::figures::Guess;
use report::{Page, Run, TestSummary};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use terminal::progress::{self, Reading};
use terminal::signals;

/// Figure 4 has eight predictions, and five queries with six neighbours each.
const GUESSES: usize = 8;
const QUERIES: usize = 5;
const NEAREST: usize = 6;
const MISTAKES: usize = 12;
const EXPLAINED: usize = 4;
const TOP: usize = 5;

/// Runs the command.
///
/// # Errors
/// Exit codes 2 if a folder is not a run's, 7 if a file cannot be written. The page lists whatever
/// else is missing or corrupt.
pub fn report(args: &ReportArgs) -> Result<u8> {
    let stop = signals::listen()?;
    let mut observer = progress::observer(args.progress);
    let mut runs = Vec::new();
    let named = args.runs.iter().map(|path| importing::resolve(path));
    let mut paths = named.collect::<Result<Vec<PathBuf>>>()?;
    if paths.is_empty() {
        paths.push(newest_run()?);
    }
    if let (Some(flag), true) = (args.import.typed(), paths.iter().all(|path| path.is_dir())) {
        return Err(Fault::usage(format!("{flag}: name a weights file of another program")));
    }
    for path in paths {
        let (mut run, trained) = if path.is_file() {
            let trained = Trained::open(None, Some(&path), &args.import)?;
            (Run::of_network(&path, &trained.weights.about.model), Ok(Some(trained)))
        } else {
            (Run::read(&path)?, of_run(&path))
        };
        let added =
            trained.and_then(|trained| use_network(args, trained, &mut run, &mut *observer, &stop));
        if let Err(fault) = added {
            run.missing.push(format!("Some sections are missing: {}.", fault.message));
        }
        if let Some(signal) = stop.requested() {
            return Ok(signals::exit_code(signal));
        }
        runs.push(run);
    }
    drop(observer);
    let page = Page::of(runs);
    output::write(&args.out, page.to_html().as_bytes())?;
    console::println(format_args!("written: {}", args.out.display()))?;
    for missing in page.runs.iter().flat_map(|run| &run.missing) {
        console::note(missing);
    }
    match &args.pictures {
        Some(folder) => {
            console::note_palette(args.palette);
            write_pictures(folder, &page.runs).map(|()| 0)
        }
        None => Ok(0),
    }
}

/// The network of a run; `None` if it has no weights yet.
fn of_run(path: &Path) -> Result<Option<Trained>> {
    has_network(path)?.then(|| Trained::of_run(path)).transpose()
}

/// Adds the network's results. If something fails, earlier results are kept.
fn use_network(
    args: &ReportArgs,
    trained: Option<Trained>,
    run: &mut Run,
    observer: &mut dyn Observer,
    stop: &Stop,
) -> Result<()> {
    let Some(trained) = trained else {
        run.missing.push(
            "There are no weights yet, so no kernels, predictions or neighbours: a run writes them \
             after its first validation."
                .to_string(),
        );
        return Ok(());
    };
    run.kernels = report::kernels::first_layer(&trained.weights);
    let reading = Reading::new(args.progress);
    let workers = args.machine.workers.unwrap_or(0);
    let images = trained.images(args.data.as_deref(), workers, &reading)?;
    let few: Arc<dyn Source> = if images.test.len() > args.images {
        Arc::new(Subset::spread(images.test.clone(), args.images.max(1)))
    } else {
        images.test.clone()
    };
    observer.note(&format!("{}: testing on {} images", run.name, few.len()));
    let seen = (ViewsArg::Centre, args.batch_size, &args.machine);
    let predictions = match testing::test(seen, &trained, &few, observer, stop)? {
        Some((_, predictions)) if !predictions.is_empty() => predictions,
        _ => return Ok(()),
    };
    let titles = trained.titles();
    let guess = |at: usize| -> Result<Guess> {
        let sample = predictions.samples[at] as usize;
        let top = named_top(&titles, predictions.row(at), TOP);
        let truth = Some(titles[predictions.labels[at] as usize].clone());
        Ok(Guess { image: trained.read_centre(&*few, sample)?, name: few.name(sample), truth, top })
    };
    let place = |sample: usize| predictions.samples.binary_search(&(sample as u32)).ok();
    let chosen: Vec<usize> =
        spread_over_classes(&*few, GUESSES).into_iter().filter_map(place).collect();
    run.guesses = chosen.iter().copied().map(&guess).collect::<Result<_>>()?;
    let explained: Vec<usize> =
        chosen.iter().take(EXPLAINED).map(|&at| predictions.samples[at] as usize).collect();
    run.mistakes = predictions.worst(MISTAKES).into_iter().map(&guess).collect::<Result<_>>()?;
    let is_part = few.len() < images.test.len();
    run.tested = Some(TestSummary::of(&titles, &predictions, is_part));

    let mut silent = |_: &str| {}; // the test has already reported the device
    let search = search(&trained, args.batch_size, None, &args.machine, &mut silent)?;
    let queries = Selection { indices: spread_over_classes(&*few, QUERIES), source: few.clone() };
    let pool = among(&images.train, Some(args.among));
    observer.note(&format!("{}: looking for neighbours among {} images", run.name, pool.len()));
    if let Some(found) = search.run(queries.clone(), &pool, NEAREST, stop, observer)? {
        run.neighbours = pictures(&trained, &queries, &*pool, &found, true)?;
    }
    run.explained = explain(args, &trained, &*few, &explained)?;
    Ok(())
}

/// Explanations of the predictions for some images.
fn explain(
    args: &ReportArgs,
    trained: &Trained,
    source: &dyn Source,
    samples: &[usize],
) -> Result<Vec<Explained>> {
    let titles = trained.titles();
    let mut explainer = trained.explainer(placement(&args.machine)?, &mut |_| ())?;
    let layer = explainer.last_convolution().map(str::to_string);
    let mut explained = Vec::new();
    for &sample in samples {
        let square = read_square(trained, source, sample)?;
        let found = by_gradients(&mut explainer, trained, &square, None, layer.as_deref())?;
        explained.push(Explained {
            name: source.name(sample),
            class: (titles[found.class].clone(), found.probability),
            truth: Some(titles[source.label(sample) as usize].clone()),
            pictures: found.pictures,
        });
    }
    Ok(explained)
}

/// Writes the first run's figures.
fn write_pictures(folder: &Path, runs: &[Run]) -> Result<()> {
    output::make_folder(folder)?;
    for Picture { name, bytes } in report::export::pictures(runs) {
        let path = folder.join(name);
        output::write(&path, &bytes)?;
        console::println(format_args!("written: {}", path.display()))?;
    }
    Ok(())
}
