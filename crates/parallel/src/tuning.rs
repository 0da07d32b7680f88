//! In which ways the cards of a run work, found once, kept and read again.
//!
//! Ways decide bits, so a run has its own in `choices.toml`, and goes on with them whatever is
//! faster by then. What was timed is kept in a cache, too, a file for each card, driver, set of
//! libraries and program: another run of the same shapes times nothing. The cache is a convenience:
//! one that is broken or cannot be written is told and done without.

mod cache;
mod choices;
mod error;

pub use choices::{FILE, Tuned};
pub use error::Error;

use crate::devices::Devices;
use crate::processes::Group;
use cache::Cache;
use choices::card;
use std::path::Path;
use std::time::Instant;
use tensor::Cuda;
use tensor::tune::{Choices, Met, Why};

/// What a run may take its ways from, beside rules.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// The folder of a run that goes on.
    pub run: Option<&'a Path>,
    /// The folder of what was timed before; `None` if nothing is kept beside runs.
    pub cache: Option<&'a Path>,
    /// Not from a clock, nor from the cache, where a clock's choices are.
    pub deterministic: bool,
    /// This program: what another one timed is not taken from the cache.
    pub program: &'a str,
}

/// Chooses ways for all that the cards among these devices will do; of several processes the first
/// does so for all. `say` gets lines about it.
///
/// # Errors
/// [`Error::Unreadable`] if the run's own choices cannot be read, [`Error::NotHere`] if they cannot
/// be followed here, [`Error::Train`] if a card fails.
pub fn settle(
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
        // What only this rank does, if there is such, it does by rule.
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
    let mut met = match (rehearse(devices, &choices, false), sources.run, &cache) {
        (Err(source @ tensor::Error::NoWay { .. }), Some(run), _) if is_own => {
            return Err(Error::NotHere { path: run.join(FILE), source });
        }
        (Err(error @ tensor::Error::NoWay { .. }), _, Some(cache)) => {
            cache.tell(&error.to_string(), say);
            (known, choices) = (Tuned::default(), Choices::new());
            rehearse(devices, &choices, false)?
        }
        (met, ..) => met?,
    };
    let unknown = met.iter().filter(|met| met.why == Why::Rule).count();
    if unknown > 0 && !sources.deterministic {
        let (card, libraries) = (&tuned.card, tuned.named_libraries());
        say(&format!("tuning  {unknown} products on {card}, with {libraries}"));
        met = rehearse(devices, &choices, true)?;
    }
    let timed = met.iter().filter(|met| matches!(met.why, Why::Timed { .. })).count();
    tuned.take(met, &known);
    tuned.tell_left_out(say);
    let (counted, seconds) = (tuned.counted(), begun.elapsed().as_secs_f64());
    say(&match (timed, unknown) {
        (0, 0) => format!("tuned   {counted} as {from}"),
        (0, all) if all == tuned.work.len() => {
            format!("tuned   {counted} by rule, as --deterministic asks")
        }
        (0, some) => format!("tuned   {counted} as {from}, but {some} by rule"),
        _ => format!("tuned   {counted} in {seconds:.1} s"),
    });
    if let Some(cache) = cache.filter(|_| timed > 0) {
        cache.add(&tuned, say);
    }
    if is_own {
        // What it has and does not do now it may do again; and it still was found where it was.
        let work = known.work.into_iter().chain(tuned.work).collect();
        tuned = Tuned { work, ..known };
    }
    Ok(tuned)
}

/// Has every card follow `choices`, and what they do not name their rules or, if it is timed, what
/// is fastest; a card follows what those before it found. Gives what all of them met.
fn rehearse(devices: &mut Devices, choices: &Choices, times: bool) -> tensor::Result<Vec<Met>> {
    let (mut choices, mut all) = (choices.clone(), Vec::<Met>::new());
    for (device, plan) in devices.members_mut() {
        if let Some(card) = card(device) {
            card.tune(choices.clone(), times);
        }
        let done = plan.check(device);
        let met = card(device).map_or_else(Vec::new, Cuda::tuned);
        done?;
        choices.extend(met.iter().map(|met| (met.name.clone(), met.way)));
        let is_new = |met: &Met| all.iter().all(|known| known.name != met.name);
        let new: Vec<Met> = met.into_iter().filter(is_new).collect();
        all.extend(new);
    }
    Ok(all)
}
