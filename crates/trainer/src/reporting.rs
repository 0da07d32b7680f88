//! `alexnet report`: what can be shown of runs, collected for the page.

use crate::cli::{ReportArgs, ViewsArg};
use crate::console;
use crate::fault::{Fault, Result};
use crate::neighbours::{pictures, search};
use crate::predicting::named_top;
use crate::trained::{Trained, has_network};
use crate::{output, testing};
use data::{Source, Subset, spread_over_classes};
use evaluate::Stop;
use evaluate::observe::Observer;
use inference::neighbours::among;
use report::export::Picture;
use report::figures::Guess;
use report::{Page, Run, Tested};
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
        let mut run = Run::read(path)?;
        if let Err(fault) = use_network(args, path, &mut run, &mut *observer, &stop) {
            run.missing.push(format!("Not all could be shown: {}.", fault.message));
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
        Some(folder) => write_pictures(folder, &page.runs, args.palette).map(|()| 0),
        None => Ok(0),
    }
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
    run.tested = Some(Tested::of(&titles, &said, few.len() < images.test.len()));

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

/// The first run's pictures as files of their own.
fn write_pictures(folder: &Path, runs: &[Run], palette: Option<u16>) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|error| Fault {
        code: 7,
        message: format!("{}: cannot make the folder: {error}", folder.display()),
    })?;
    for Picture { name, bytes } in report::export::pictures(runs, palette.map(usize::from)) {
        let path = folder.join(name);
        output::write(&path, &bytes)?;
        console::println(format_args!("written: {}", path.display()))?;
    }
    Ok(())
}
