//! The algorithms that a run's GPUs use for matrix products and convolutions.
//!
//! The algorithm decides the last bits of a result. A run therefore saves its choices in
//! `choices.toml`, and a resumed run uses the same ones, even if others are faster by then. Timings
//! are also kept in a cache, a file for each GPU, driver, set of libraries and program, so that
//! another run of the same shapes times nothing. A cache file that is damaged or cannot be written
//! is reported and ignored.

mod cache;
mod choices;
mod error;

pub use choices::{FILE, Tuned};
pub use error::Error;

use crate::devices::Devices;
use crate::processes::Group;
use cache::Cache;
use choices::gpu;
use std::path::Path;
use std::time::Instant;
use tensor::Cuda;
use tensor::tune::{Choices, ChosenBy, TunedOperation};

/// Where a run may take its algorithms from; fixed heuristics fill in the rest.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// The folder of a run that is resumed.
    pub run: Option<&'a Path>,
    /// The folder of the cache, if there is one.
    pub cache: Option<&'a Path>,
    /// Use neither timings nor the cache, which holds timings.
    pub deterministic: bool,
    /// Version of this program; timings of other versions are not used.
    pub program: &'a str,
}

/// Chooses an algorithm for every operation of the GPUs among these devices; rank 0 chooses for all
/// processes. `say` receives lines for the log.
///
/// # Errors
/// [`Error::Unreadable`] if the run's own choices cannot be read, [`Error::Unavailable`] if they
/// cannot be used here, [`Error::Train`] if a GPU fails.
pub fn resolve(
    devices: &mut Devices,
    group: Option<&mut Group>,
    sources: Sources<'_>,
    say: &mut dyn FnMut(&str),
) -> Result<Tuned, Error> {
    let Some(group) = group else { return tune(devices, sources, say) };
    let first = || Ok(tune(devices, sources, say)?.to_toml().into_bytes());
    let text = group.share::<Error>(first)?;
    let tuned = Tuned::read(&String::from_utf8_lossy(&text)).map_err(Error::Shared)?;
    if group.rank() > 0 {
        // Operations of this rank alone use the heuristics.
        rehearse(devices, &tuned.choices(), false)?;
    }
    Ok(tuned)
}

fn tune(
    devices: &mut Devices,
    sources: Sources<'_>,
    say: &mut dyn FnMut(&str),
) -> Result<Tuned, Error> {
    let begun = Instant::now();
    let mut tuned = Tuned::here(devices, sources.program);
    let cache = sources.cache.filter(|_| !sources.deterministic);
    let cache = cache.map(|folder| Cache::of(folder, &tuned));
    let own = sources.run.map(|run| tuned.of_run(run, say)).transpose()?.flatten();
    let is_own = own.is_some();
    let (mut known, from) = match (own, &cache) {
        (Some(own), _) => (own, "the run has them".to_string()),
        (None, Some(cache)) => (cache.read(say), format!("{} has them", cache.path().display())),
        (None, None) => (Tuned::default(), String::new()),
    };
    let mut choices = known.choices();
    let mut operations = match (rehearse(devices, &choices, false), sources.run, &cache) {
        (Err(source @ tensor::Error::NoAlgorithm { .. }), Some(run), _) if is_own => {
            return Err(Error::Unavailable { path: run.join(FILE), source });
        }
        (Err(error @ tensor::Error::NoAlgorithm { .. }), _, Some(cache)) => {
            cache.warn(&error.to_string(), say);
            (known, choices) = (Tuned::default(), Choices::new());
            rehearse(devices, &choices, false)?
        }
        (operations, ..) => operations?,
    };
    let unknown = operations.iter().filter(|op| op.chosen_by == ChosenBy::Heuristic).count();
    if unknown > 0 && !sources.deterministic {
        let (gpu, libraries) = (&tuned.gpu, tuned.named_libraries());
        say(&format!("tuning  {unknown} products on {gpu}, with {libraries}"));
        operations = rehearse(devices, &choices, true)?;
    }
    let timed = |op: &&TunedOperation| matches!(op.chosen_by, ChosenBy::Timing { .. });
    let timed = operations.iter().filter(timed).count();
    tuned.add(operations, &known);
    tuned.log_left_out(say);
    let (counted, seconds) = (tuned.counted(), begun.elapsed().as_secs_f64());
    say(&match (timed, unknown) {
        (0, 0) => format!("tuned   {counted} as {from}"),
        (0, all) if all == tuned.work.len() => {
            format!("tuned   {counted} by heuristics, without timings")
        }
        (0, some) => format!("tuned   {counted} as {from}, but {some} by heuristics"),
        _ => format!("tuned   {counted} in {seconds:.1} s"),
    });
    if let Some(cache) = cache.filter(|_| timed > 0) {
        cache.add(&tuned, say);
    }
    if is_own {
        // Keeps choices that are not used now, and the GPU and libraries of the first run.
        let work = known.work.into_iter().chain(tuned.work).collect();
        tuned = Tuned { work, ..known };
    }
    Ok(tuned)
}

/// Runs every operation once with `choices`; an operation without one uses the heuristic or, with
/// `times`, the fastest algorithm. A GPU uses the choices of those before it. Returns the
/// operations of all GPUs.
fn rehearse(
    devices: &mut Devices,
    choices: &Choices,
    times: bool,
) -> tensor::Result<Vec<TunedOperation>> {
    let (mut choices, mut all) = (choices.clone(), Vec::<TunedOperation>::new());
    for (device, plan) in devices.planned_mut() {
        if let Some(gpu) = gpu(device) {
            gpu.tune(choices.clone(), times);
        }
        let checked = plan.check(device);
        let operations = gpu(device).map_or_else(Vec::new, Cuda::tuned);
        checked?;
        choices.extend(operations.iter().map(|op| (op.name.clone(), op.algorithm)));
        let is_new = |op: &TunedOperation| all.iter().all(|known| known.name != op.name);
        let new: Vec<TunedOperation> = operations.into_iter().filter(is_new).collect();
        all.extend(new);
    }
    Ok(all)
}
