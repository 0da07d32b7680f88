//! The folder of a run's checkpoints.

use super::{Checkpoint, Form, Snapshot};
use crate::disk::{Disk, Real};
use crate::{Error, Result, atomic};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Writes checkpoints and removes old ones.
pub(crate) struct Store {
    folder: PathBuf,
    keep: usize,
    disk: Box<dyn Disk>,
}

/// The checkpoints of a run, newest first, by their steps: nothing is said of whether they are
/// intact.
pub fn list(run: &Path) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(run.join(Store::FOLDER)).into_iter().flatten().flatten();
    let mut found: Vec<(u64, PathBuf)> =
        entries.filter_map(|entry| Some((step_of(&entry.path())?, entry.path()))).collect();
    found.sort_by(|a, b| b.cmp(a));
    found
}

fn step_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let digits = name.strip_prefix("step-")?.strip_suffix(".safetensors")?;
    let is_number = digits.len() >= 8 && digits.bytes().all(|digit| digit.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

/// The newest checkpoint of a run that is intact; `None` if it has none at all. Damaged ones on the
/// way there are named to `say` and put aside.
///
/// # Errors
/// [`Error::Checkpoint`] if there are checkpoints and none can be used.
pub fn load_newest(run: &Path, say: &mut dyn FnMut(&str)) -> Result<Option<Checkpoint>> {
    let found = list(run);
    let mut damaged = Vec::new();
    for (_, path) in &found {
        match Checkpoint::read(path) {
            Ok(checkpoint) => {
                for error in damaged {
                    say(&format!("WARNING: {error}; put aside as *.damaged"));
                }
                let name = path.display();
                let step = checkpoint.progress.step;
                match found[0].1 == *path {
                    true => say(&format!("goes on after step {step}, from {name}")),
                    false => say(&format!(
                        "WARNING: falls back to the checkpoint before, after step {step}: {name}"
                    )),
                }
                // Their steps will be made again. Whoever cannot rename here cannot train either.
                let newer = found.iter().take_while(|(_, other)| other != path);
                newer.for_each(|(_, path)| _ = fs::rename(path, aside(path)));
                return Ok(Some(checkpoint));
            }
            Err(error) => damaged.push(error),
        }
    }
    match damaged.into_iter().next() {
        None => Ok(None),
        Some(first) => Err(Error::Checkpoint {
            path: run.join(Store::FOLDER),
            reason: format!(
                "none of its {} checkpoints is intact: the run cannot be resumed (the newest: \
                 {first})",
                found.len()
            ),
        }),
    }
}

fn aside(path: &Path) -> PathBuf {
    path.with_extension("safetensors.damaged")
}

impl Store {
    pub(crate) const FOLDER: &str = "checkpoints";

    /// The checkpoints of the run in `run`; what a killed program left unfinished is removed.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub(crate) fn open(run: &Path, keep: usize) -> Result<Store> {
        Store::on(run, keep, Box::new(Real))
    }

    pub(crate) fn on(run: &Path, keep: usize, disk: Box<dyn Disk>) -> Result<Store> {
        let folder = run.join(Store::FOLDER);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(Error::Write { path: folder, source: error });
            }
            _ => {}
        }
        for path in atomic::leftovers(&folder) {
            fs::remove_file(&path).map_err(|source| Error::Write { path, source })?;
        }
        Ok(Store { folder, keep: keep.max(1), disk })
    }

    pub(crate) fn path(&self, step: u64) -> PathBuf {
        self.folder.join(format!("step-{step:08}.safetensors"))
    }

    /// Writes a checkpoint, then says that it is the latest, then removes old ones.
    ///
    /// # Errors
    /// [`Error::Write`], [`Error::NoRoom`]; the checkpoint before is then still there.
    pub(crate) fn save(&self, form: &Form, snapshot: &Snapshot) -> Result<()> {
        let step = snapshot.progress.step;
        self.write(&self.path(step), form, snapshot)?;
        self.point("latest", step)?;
        let best = snapshot.progress.best.map(|(step, _)| step);
        if best == Some(step) {
            self.point("best", step)?;
        }
        self.prune(best)
    }

    fn write(&self, path: &Path, form: &Form, snapshot: &Snapshot) -> Result<()> {
        let contents = form.checkpoint(snapshot);
        atomic::write_on(&*self.disk, path, contents.bytes(), |file| contents.write(file))
    }

    /// A file with nothing in it but the name of a checkpoint.
    fn point(&self, name: &str, step: u64) -> Result<()> {
        let to = self.path(step);
        let to = to.file_name().expect("a file").to_string_lossy() + "\n";
        let path = self.folder.join(name);
        atomic::write_on(&*self.disk, &path, to.len() as u64, |file| file.write_all(to.as_bytes()))
    }

    /// Removes all but the newest, as many as are kept, and the best.
    fn prune(&self, best: Option<u64>) -> Result<()> {
        let run = self.folder.parent().expect("a folder in a run's folder");
        let old = list(run).into_iter().skip(self.keep);
        for (_, path) in old.filter(|(step, _)| Some(*step) != best) {
            self.disk.remove(&path).map_err(|source| Error::Write { path, source })?;
        }
        Ok(())
    }
}
