//! `alexnet train` in one of several processes: how they come to do the same.
//!
//! The first process reads what belongs to the run and shares it; all compare what they are about
//! to do before anything is written. Errors are the first's, or name their rank.

use super::{
    Checked, Place, Ready, Saved, begin_with, check_kept, ended, meant, new_folder, open_images,
    reopen, settle_precision, tell,
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

/// mpirun kills the others as soon as one process has ended with a code: the first may take so long
/// to say its last word.
const LAST_WORD: Duration = Duration::from_millis(300);

/// Runs the command as one of several.
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
    std::thread::sleep(LAST_WORD);
    Ok(code)
}

fn as_rank(args: &TrainArgs, mut ranks: Ranks) -> Result<u8> {
    let rank = ranks.rank();
    let (resumed, is_first) = (args.resume.as_deref(), ranks.is_first());
    let here = resumed.filter(|_| is_first); // the others need not see the run's folder
    here.map_or(Ok(()), RunFolder::check_begun)?;
    ranks.check_resumed(resumed.is_some())?;
    let saved = read(&mut ranks, args)?;
    let config = saved.config.clone();
    let (mut settings, spec) = meant(args, saved)?;
    if args.print_config {
        return if is_first { console::print(settings.to_toml()).map(|()| 0) } else { Ok(0) };
    }
    let asked = Stop::new();
    signals::listen_for_checkpoints(&asked)?;
    args.run.as_deref().filter(|_| is_first).map_or(Ok(()), RunFolder::check)?;
    let notes = settle_precision(&mut settings, (resumed, config))?;
    let own = ranks.own(&settings)?.unwrap_or_else(|| settings.clone());
    let choices = devices::choices(&own)?;
    let gpus = devices::open_gpus(&choices, own.threads)?;
    let (mut observer, reading) = ranks.observer(args.output.progress);
    begin_with(&notes, &own, &mut *observer);

    let mut say = |text: &str| observer.note(text);
    let (folder, found) = here.map(|run| reopen(run, &mut say)).transpose()?.unzip();
    let checkpoint = match (&mut ranks.group, resumed) {
        (Some(group), Some(_)) => group.checkpoint(found.flatten())?,
        _ => found.flatten(),
    };
    let images = open_images(&own, &spec, &reading)?;
    let spec = devices::settle(spec, &own, ranks.world(), resumed.is_some(), &mut say)?;
    here.map_or(Ok(()), |run| check_kept(run, &own, checkpoint.is_some(), &mut say))?;
    let watchers: (&Reading, &mut dyn Observer) = (&reading, &mut *observer);
    let part = (ranks.place(), checkpoint.is_some());
    let mut ready = Ready::new(&own, spec, &images, watchers, part)?;
    drop(gpus); // the run has opened its own
    ready.tune(&mut ranks, here, &mut *observer)?;
    ready.complete(&mut settings); // of all processes, which may be others when it goes on
    let identity = ready.meet(&mut ranks, &mut *observer, &asked)?;
    let Checked::From(from) = ready.check(checkpoint, args, &mut *observer, &asked)? else {
        return Ok(asked.requested().map_or(0, signals::exit_code));
    };
    ranks.listen(&asked)?;
    signals::listen_with(&asked)?; // until here a signal ends the program: there is nothing to save
    let folder = match folder {
        Some(folder) => folder,
        None if !is_first => RunFolder::nowhere(), // the first writes it all down
        None => new_folder(args.run.as_deref(), &ready.job.spec)?,
    };
    let place = match resumed {
        Some(_) => Place::Reopened(folder, from),
        None => Place::New(folder, identity.map(Box::new)),
    };
    let stop = Stop::new(); // all stop at once: the loop sees what they have agreed on
    ready.link = ranks.group.map(|group| ProcessLink {
        comm: group.into_comm(),
        requested: asked,
        agreed: stop.clone(),
    });
    let (outcome, run) = ready.go(place, &mut *observer, &stop)?;
    drop(observer); // clears the bar
    let told = if rank == 0 { tell(&outcome, &run, args.output.json) } else { Ok(()) };
    ended(&outcome, told)
}

/// The files of the run that is resumed, which only the first process need see.
fn read(ranks: &mut Ranks, args: &TrainArgs) -> Result<Saved> {
    let run = args.resume.as_deref();
    let config = ranks.read(run, "config.toml")?;
    let text = match run.filter(|_| args.model.is_none()) {
        Some(run) => ranks.read(Some(run), "model.toml")?,
        None => None,
    };
    let name = run.map_or(String::new(), |run| run.join("model.toml").display().to_string());
    Ok(Saved { config, model: text.map(|text| (text, name)) })
}
