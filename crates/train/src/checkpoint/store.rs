//! The folder of a run's checkpoints: how they are written and found.

use super::lost::Trace;
use super::{Checkpoint, Refusal, RunMetadata, Snapshot};
use crate::{Error, Result};
use files::atomic;
use files::disk::{self, Disk, RealDisk};
use std::io;
use std::path::{Path, PathBuf};
use weights::run::{CHECKPOINTS, Saved, checkpoint_name, saved, step_of, unreadable};

/// Writes checkpoints and removes old ones.
pub(crate) struct Store {
    pub(super) folder: PathBuf,
    pub(super) keep: usize,
    pub(super) disk: Box<dyn Disk>,
}

/// What is wrong with a checkpoint, or with their folder.
fn refused(error: weights::Error) -> Error {
    match error {
        weights::Error::Unusable { path, reason } => Error::Checkpoint { path, reason },
        other => other.into(),
    }
}

/// The newest checkpoint of a run that is intact; `None` if it never had one. Damaged ones on the
/// way there are named to `say` and put aside as `*.damaged`, and those whose name is another
/// step's as `*.misnamed`. Call it for a run that this process has locked.
///
/// # Errors
/// [`Error::Checkpoint`] if there are checkpoints and none can be used, if one cannot be read now
/// or is of another version of this program (they stay as they are), or if something shows that the
/// run had a checkpoint and there is none.
pub fn load_newest(run: impl AsRef<Path>, say: &mut dyn FnMut(&str)) -> Result<Option<Checkpoint>> {
    load_newest_on(&RealDisk, run.as_ref(), say)
}

pub(super) fn load_newest_on(
    disk: &dyn Disk,
    run: &Path,
    say: &mut dyn FnMut(&str),
) -> Result<Option<Checkpoint>> {
    let Some((checkpoint, unfit)) = search(disk, run, say)? else { return Ok(None) };
    // The steps of damaged ones will be made again.
    for Unfit { path, aside, .. } in unfit {
        let mut name = path.clone().into_os_string();
        name.push(aside);
        if let Err(error) = disk.rename(&path, Path::new(&name)) {
            say(&format!("WARNING: {}: cannot be put aside as *{aside}: {error}", path.display()));
        }
    }
    Ok(Some(checkpoint))
}

/// As [`load_newest`], of a run that another process may be training: nothing is renamed.
///
/// # Errors
/// As there.
pub fn find_newest(run: impl AsRef<Path>, say: &mut dyn FnMut(&str)) -> Result<Option<Checkpoint>> {
    Ok(search(&RealDisk, run.as_ref(), say)?.map(|(checkpoint, _)| checkpoint))
}

/// A file with a checkpoint's name that cannot be gone on from, whenever it is read.
struct Unfit {
    path: PathBuf,
    reason: String,
    /// What is added to its name.
    aside: &'static str,
}

fn search(
    disk: &dyn Disk,
    run: &Path,
    say: &mut dyn FnMut(&str),
) -> Result<Option<(Checkpoint, Vec<Unfit>)>> {
    let mut unfit: Vec<Unfit> = Vec::new();
    for Saved { step, path, is_file } in saved(disk, run).map_err(refused)? {
        if !is_file {
            say(&format!("WARNING: {}: ignored, as this is no regular file", path.display()));
            continue;
        }
        let bytes = match disk.read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // removed just now
            read => read.map_err(|error| refused(unreadable(&path, &error)))?,
        };
        let (reason, aside) = match Checkpoint::from_bytes(&bytes, &path) {
            Ok(checkpoint) if checkpoint.progress.step == step => {
                announce(&checkpoint, &unfit, say);
                warn_if_older_than_latest(disk, run, step, say);
                return Ok(Some((checkpoint, unfit)));
            }
            Ok(other) => {
                let holds = other.progress.step;
                (format!("its name says step {step}, and it holds step {holds}"), ".misnamed")
            }
            Err(Refusal::Damaged(reason)) => (reason, ".damaged"),
            Err(Refusal::Foreign(reason)) => {
                let remedy = "it is intact: go on with the version of this program that wrote it, \
                              or move it away to go on from the one before";
                return Err(Error::Checkpoint { path, reason: format!("{reason}; {remedy}") });
            }
        };
        unfit.push(Unfit { path, reason, aside });
    }
    let folder = run.join(CHECKPOINTS);
    if let Some(first) = unfit.first() {
        let (count, newest, reason) = (unfit.len(), first.path.display(), &first.reason);
        let reason = format!(
            "none of its {count} checkpoints is intact: the run cannot be resumed (the newest: \
             {newest}: {reason})"
        );
        return Err(Error::Checkpoint { path: folder, reason });
    }
    match Trace::of(disk, run)? {
        None => Ok(None),
        Some(Trace(trace)) => Err(Error::Checkpoint {
            path: folder,
            reason: format!(
                "there is no checkpoint, although {trace}: beginning again would lose what the \
                 run has logged. Put its checkpoints back, or start a new run in another folder"
            ),
        }),
    }
}

fn announce(checkpoint: &Checkpoint, unfit: &[Unfit], say: &mut dyn FnMut(&str)) {
    for Unfit { path, reason, aside } in unfit {
        say(&format!("WARNING: {}: {reason}; put aside as *{aside}", path.display()));
    }
    let (step, name) = (checkpoint.progress.step, checkpoint.path.display());
    say(&if unfit.iter().any(|unfit| unfit.aside == ".damaged") {
        format!("WARNING: falls back to the checkpoint before, after step {step}: {name}")
    } else {
        format!("goes on after step {step}, from {name}")
    });
}

/// Says so if the newest checkpoint was removed; that `latest` cannot be read is no news.
fn warn_if_older_than_latest(disk: &dyn Disk, run: &Path, step: u64, say: &mut dyn FnMut(&str)) {
    let folder = run.join(CHECKPOINTS);
    let latest = disk.read(&folder.join("latest")).ok();
    let latest = latest.and_then(|text| String::from_utf8(text).ok());
    let latest = latest.and_then(|name| step_of(&folder.join(name.trim())));
    if let Some(latest) = latest.filter(|&latest| latest > step) {
        say(&format!("WARNING: the checkpoint after step {latest}, which was the last, is gone"));
    }
}

impl Store {
    /// The checkpoints of the run in `run`; what a killed program left unfinished is removed.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn open(run: &Path, keep: usize) -> Result<Store> {
        Store::on(run, keep, Box::new(RealDisk))
    }

    pub(crate) fn on(run: &Path, keep: usize, disk: Box<dyn Disk>) -> Result<Store> {
        let folder = run.join(CHECKPOINTS);
        let failed = |source| files::Error::Write { path: folder.clone(), source };
        disk::make_folders(&*disk, &folder).map_err(failed)?;
        for path in atomic::leftovers(&*disk, &folder).map_err(failed)? {
            disk.remove(&path).map_err(|source| files::Error::Write { path, source })?;
        }
        Ok(Store { folder, keep: keep.max(1), disk })
    }

    pub(crate) fn path(&self, step: u64) -> PathBuf {
        self.folder.join(checkpoint_name(step))
    }

    /// Writes a checkpoint, then says that it is the latest, then removes old ones.
    ///
    /// # Errors
    /// [`Error::File`]; the checkpoint before is then still there.
    pub(crate) fn save(&self, run: &RunMetadata, snapshot: &Snapshot) -> Result<()> {
        let step = snapshot.progress.step;
        self.write(&self.path(step), run, snapshot)?;
        self.point("latest", step)?;
        let lowest_error = snapshot.progress.best.map(|(step, _)| step);
        if lowest_error == Some(step) {
            self.point("best", step)?;
        }
        let best_weights = snapshot.progress.early_stopping.best.map(|best| best.step);
        self.prune(step, [lowest_error, best_weights])
    }

    fn write(&self, path: &Path, run: &RunMetadata, snapshot: &Snapshot) -> Result<()> {
        let contents = run.checkpoint(snapshot);
        atomic::write_on(&*self.disk, path, contents.bytes(), |file| contents.write(file))?;
        Ok(())
    }

    /// A file with nothing in it but the name of a checkpoint.
    fn point(&self, name: &str, step: u64) -> Result<()> {
        let to = self.path(step);
        let to = to.file_name().expect("a file").to_string_lossy() + "\n";
        let path = self.folder.join(name);
        let bytes = to.len() as u64;
        Ok(atomic::write_on(&*self.disk, &path, bytes, |file| file.write_all(to.as_bytes()))?)
    }

    /// Removes all but the newest, as many as are kept, and the best: that of the lowest error, and
    /// that from which early stopping restores weights. What has a later step's name
    /// than the one just saved is not this run's, and neither counts nor is touched.
    fn prune(&self, newest: u64, best: [Option<u64>; 2]) -> Result<()> {
        let run = self.folder.parent().expect("a folder in a run's folder");
        let own = saved(&*self.disk, run).map_err(refused)?.into_iter();
        let own = own.filter(|found| found.is_file && found.step <= newest);
        for Saved { path, .. } in
            own.skip(self.keep).filter(|found| !best.contains(&Some(found.step)))
        {
            self.disk.remove(&path).map_err(|source| files::Error::Write { path, source })?;
        }
        Ok(())
    }
}
