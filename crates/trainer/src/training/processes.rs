//! `alexnet train` in one of several processes.
//!
//! Rank 0 reads the files of the run and broadcasts them. All ranks compare their settings before
//! anything is written. An error message names its rank, unless it is rank 0's.

use super::{
    Checked, Destination, Ready, Saved, begin_with, check_kept, ended, new_folder, open_images,
    print_outcome, reopen, resolve_all,
};
use crate::cli::TrainArgs;
use crate::console;
use crate::devices;
use crate::fault::Result;
use crate::ranks::Ranks;
use evaluate::Stop;
use evaluate::observe::Observer;
use parallel::ProcessLink;
use std::time::Duration;
use terminal::progress::Reading;
use terminal::signals;
use train::folder::RunFolder;

/// mpirun kills all processes as soon as one exits with an error code: the others wait this long,
/// so that rank 0 can print its message first.
const EXIT_DELAY: Duration = Duration::from_millis(300);

/// Runs the command in one of several processes.
///
/// # Errors
/// Every exit code that `alexnet --help` lists.
pub(super) fn train(args: &TrainArgs, ranks: Ranks) -> Result<u8> {
    let rank = ranks.rank();
    let ended = as_rank(args, ranks).map_err(|fault| fault.of_rank(rank));
    if rank == 0 || ended == Ok(0) {
        return ended;
    }
    let code = ended.unwrap_or_else(console::fault);
    std::thread::sleep(EXIT_DELAY);
    Ok(code)
}

fn as_rank(args: &TrainArgs, mut ranks: Ranks) -> Result<u8> {
    let rank = ranks.rank();
    let (resumed, is_first) = (args.resume.as_deref(), rank == 0);
    let here = resumed.filter(|_| is_first); // the others may not have access to the run folder
    here.map_or(Ok(()), RunFolder::check_begun)?;
    ranks.check_resumed(resumed.is_some())?;
    let saved = read(&mut ranks, args)?;
    let config = saved.config.clone();
    let (mut settings, spec) = resolve_all(args, saved)?;
    if args.print_config {
        return if is_first { console::print(settings.to_toml()).map(|()| 0) } else { Ok(0) };
    }
    let requested = Stop::new();
    signals::listen_for_checkpoints(&requested)?;
    args.run.as_deref().filter(|_| is_first).map_or(Ok(()), RunFolder::check)?;
    let note = devices::resolve_precision(&mut settings, (resumed, config))?;
    let own = ranks.own(&settings)?.unwrap_or_else(|| settings.clone());
    let choices = devices::choices(&own)?;
    let gpus = devices::open_gpus(&choices, own.threads)?;
    let (mut observer, reading) = ranks.observer(args.output.progress);
    begin_with(note, &own, &mut *observer);

    let mut say = |text: &str| observer.note(text);
    let (folder, found) = here.map(|run| reopen(run, &mut say)).transpose()?.unzip();
    let checkpoint = match (&mut ranks.group, resumed) {
        (Some(group), Some(_)) => group.checkpoint(found.flatten())?,
        _ => found.flatten(),
    };
    let images = open_images(&own, &spec, &reading)?;
    let spec = devices::resolve_spec(spec, &own, ranks.world(), resumed.is_some(), &mut say)?;
    here.map_or(Ok(()), |run| check_kept(run, &own, checkpoint.is_some(), &mut say))?;
    let watchers: (&Reading, &mut dyn Observer) = (&reading, &mut *observer);
    let part = (ranks.place(), checkpoint.is_some());
    let mut ready = Ready::new(&own, spec, &images, watchers, part)?;
    drop(gpus); // the run has opened its own
    ready.tune(&mut ranks, here, &mut *observer)?;
    ready.complete(&mut settings); // the processes may be others when the run is resumed
    let identity = ready.compare(&mut ranks, &mut *observer, &requested)?;
    let Checked::From(from) = ready.check(checkpoint, args, &mut *observer, &requested)? else {
        return Ok(requested.requested().map_or(0, signals::exit_code));
    };
    ranks.listen(&requested)?;
    // Until here a signal ends the program, as there is nothing to save.
    signals::listen_with(&requested)?;
    let folder = match folder {
        Some(folder) => folder,
        None if !is_first => RunFolder::nowhere(), // rank 0 writes the files
        None => new_folder(args.run.as_deref(), &ready.job.spec)?,
    };
    let destination = match resumed {
        Some(_) => Destination::Reopened(folder, from),
        None => Destination::New(folder, identity.map(Box::new)),
    };
    let stop = Stop::new(); // set once all ranks have agreed to stop
    ready.link = ranks.group.map(|group| ProcessLink {
        comm: group.into_comm(),
        requested,
        agreed: stop.clone(),
    });
    let (outcome, run) = ready.train(destination, &mut *observer, &stop)?;
    drop(observer); // clears the bar
    let printed = if rank == 0 { print_outcome(&outcome, &run, args.output.json) } else { Ok(()) };
    ended(&outcome, printed)
}

/// The files of a resumed run, which only rank 0 reads.
fn read(ranks: &mut Ranks, args: &TrainArgs) -> Result<Saved> {
    let run = args.resume.as_deref();
    let config = ranks.read(run, "config.toml")?;
    let text = match run.filter(|_| args.setup.model.is_none()) {
        Some(run) => ranks.read(Some(run), "model.toml")?,
        None => None,
    };
    let name = run.map_or(String::new(), |run| run.join("model.toml").display().to_string());
    Ok(Saved { config, model: text.map(|text| (text, name)) })
}
