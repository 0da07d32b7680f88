//! A run's folder: settings, environment, measurements, checkpoints and weights.

mod lock;

pub use crate::log::{LayerNumbers, Record};

use crate::early_stopping::BestWeights;
use crate::log::Log;
use crate::{Error, Result, clock};
use evaluate::Score;
use files::atomic;
use files::disk::{Disk, FileKind, RealDisk, make_folders};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The folder of one run.
///
/// | file | content |
/// |---|---|
/// | `config.toml` | every setting, with defaults filled in; `--config` reads it back |
/// | `model.toml` | the network's rows |
/// | `env.json` | program, machine, data |
/// | `run.json` | the state of the run: [`Status`] |
/// | `metrics.jsonl` | a [`Record`] a line, written as it happens |
/// | `metrics.csv`, `events.out.tfevents` | its numbers for spreadsheets and for TensorBoard |
/// | `checkpoints/` | the state from which a run [resumes](crate::checkpoint) |
/// | `weights.safetensors` | the trained parameters; with early stopping the best so far |
/// | `lock` | locked while a process trains here |
///
/// `run.json` is written after the files above it: in a folder without it no run has begun.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// `None` if nothing is written.
    kept: Option<Kept>,
}

#[derive(Debug)]
struct Kept {
    log: Log,
    _locks: Vec<File>,
}

/// The state of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// Training is in progress, or the program was killed.
    Running,
    /// All steps are done.
    Finished,
    /// A signal ended it after the current step.
    Interrupted,
    /// The observer ended it.
    StoppedEarly,
    /// An error ended it.
    Failed,
}

/// `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The state.
    pub status: RunState,
    /// When it began, UTC.
    pub started: String,
    /// The process.
    pub pid: u32,
    /// Steps done.
    pub step: u64,
    /// Epochs begun.
    pub epoch: u32,
    /// The last validation.
    pub validation: Option<Score>,
    /// Why it failed.
    pub error: Option<String>,
    /// How often it has been resumed.
    #[serde(default)]
    pub resumed: u32,
    /// The step of a written checkpoint, not necessarily the last; `None` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<u64>,
    /// With early stopping: the validation whose weights are in `weights.safetensors`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<BestWeights>,
}

impl Status {
    /// The status of a run that begins now.
    pub fn begun() -> Status {
        Status {
            status: RunState::Running,
            started: clock::stamp(SystemTime::now()),
            pid: std::process::id(),
            step: 0,
            epoch: 0,
            validation: None,
            error: None,
            resumed: 0,
            saved: None,
            early_stopping: None,
        }
    }
}

impl RunFolder {
    /// A new folder under `runs`, named by time and model:
    /// `runs/2026-11-24T08-30-05Z-alexnet-64-3fa9`.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn create_under(runs: impl AsRef<Path>, model: &str) -> Result<RunFolder> {
        let runs = runs.as_ref();
        let now = SystemTime::now();
        let nanoseconds =
            now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
        let short = (nanoseconds ^ std::process::id().wrapping_mul(0x9E37_79B1)) & 0xFFFF;
        let model: String =
            model.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let name = format!("{}-{model}-{short:04x}", clock::stamp(now));
        Self::create(runs.join(name))
    }

    /// The folder that the user named. It is created if it does not exist, and must contain nothing
    /// but files of a run that has not begun.
    ///
    /// # Errors
    /// As [`check`](Self::check), and [`Error::File`].
    pub fn create(path: impl AsRef<Path>) -> Result<RunFolder> {
        let path = path.as_ref();
        Self::check(path)?;
        let made = make_folders(&RealDisk, path);
        made.map_err(|source| files::Error::Write { path: path.into(), source })?;
        Self::enter(path)
    }

    /// The folder of a run that is to be resumed. Its logs are not truncated: see
    /// [`cut_back`](Self::cut_back).
    ///
    /// # Errors
    /// [`Error::RunFolder`] if no run has begun there, or another process trains there;
    /// [`Error::File`].
    pub fn open(path: impl AsRef<Path>) -> Result<RunFolder> {
        let path = path.as_ref();
        Self::check_begun(path)?;
        Self::enter(path)
    }

    /// Checks that there is a run to resume.
    ///
    /// # Errors
    /// [`Error::RunFolder`] if there is none.
    pub fn check_begun(path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let status = path.join("run.json");
        match files::exists(&status) {
            Ok(true) => Ok(()),
            Err(error) => refuse(&status, &format!("cannot be read: {error}")),
            Ok(false) => refuse(
                path,
                "no run has begun here (there is no run.json): name the folder of a run, or start \
                 one with --run",
            ),
        }
    }

    /// No folder: nothing is written. For processes other than the one that writes the run's files.
    pub fn nowhere() -> RunFolder {
        RunFolder { path: PathBuf::new(), kept: None }
    }

    /// Locks the folder and opens its logs.
    fn enter(path: &Path) -> Result<RunFolder> {
        let lock = lock::lock(path)?;
        let failed = |source| files::Error::Write { path: path.into(), source };
        for leftover in atomic::leftovers(&RealDisk, path).map_err(failed)? {
            let removed = RealDisk.remove(&leftover);
            removed.map_err(|source| files::Error::Write { path: leftover, source })?;
        }
        let as_they_are = Log::NAMES.map(|name| (name.to_string(), u64::MAX)).into();
        let kept = Kept { log: Log::open(path, &as_they_are)?, _locks: lock };
        Ok(RunFolder { path: path.into(), kept: Some(kept) })
    }

    /// Checks that [`create`](Self::create) would accept the folder, before anything slow is done.
    ///
    /// # Errors
    /// [`Error::RunFolder`] if it is not empty or not a folder.
    pub fn check(path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let found = RealDisk.list(path).and_then(|found| {
            let mut late = found.iter().map(|entry| is_before_the_beginning(entry).map(|is| !is));
            late.find(|late| !matches!(late, Ok(false))).unwrap_or(Ok(false))
        });
        match found {
            Ok(true) => refuse(
                path,
                "the folder is not empty, and a run overwrites nothing: choose another folder, \
                 resume the run in this one, or remove it",
            ),
            Err(error) if error.kind() == ErrorKind::NotADirectory => {
                refuse(path, "this is a file, not a folder")
            }
            Err(error) if error.kind() != ErrorKind::NotFound => {
                refuse(path, &format!("cannot be read: {error}"))
            }
            _ => Ok(()),
        }
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces one of its files atomically.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write(&self, name: &str, contents: &[u8]) -> Result<()> {
        match &self.kept {
            Some(_) => Ok(atomic::write(self.path.join(name), contents)?),
            None => Ok(()),
        }
    }

    /// Writes `run.json`.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn status(&self, status: &Status) -> Result<()> {
        let text = serde_json::to_string_pretty(status).expect("a status is plain data");
        self.write("run.json", (text + "\n").as_bytes())
    }

    /// Reads `run.json`.
    ///
    /// # Errors
    /// [`Error::RunFolder`] if it cannot be understood.
    pub fn read_status(&self) -> Result<Status> {
        if self.kept.is_none() {
            return Ok(Status::begun());
        }
        let path = self.path.join("run.json");
        let text = files::read_to_string(&path).map_err(|error| error.to_string());
        let status = text.and_then(|text| {
            serde_json::from_str(&text).map_err(|error| format!("cannot be understood: {error}"))
        });
        status.map_err(|reason| Error::RunFolder { path, reason })
    }

    /// Appends a line to `metrics.jsonl` and the other logs, with one write each, so that lines are
    /// complete or missing.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn record(&mut self, record: &Record) -> Result<()> {
        self.kept.as_mut().map_or(Ok(()), |kept| kept.log.record(record))
    }

    /// Truncates the logs to their `lengths` at a checkpoint: later steps will be repeated.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn cut_back(&mut self, lengths: &BTreeMap<String, u64>) -> Result<()> {
        if let Some(kept) = &mut self.kept {
            kept.log = Log::open(&self.path, lengths)?;
        }
        Ok(())
    }

    /// `None` if nothing is written.
    pub(crate) fn log(&self) -> Option<&Log> {
        self.kept.as_ref().map(|kept| &kept.log)
    }
}

fn refuse<T>(path: &Path, reason: &str) -> Result<T> {
    Err(Error::RunFolder { path: path.into(), reason: reason.to_string() })
}

/// Whether a file is one of those written before the run begins.
fn is_before_the_beginning(path: &Path) -> std::io::Result<bool> {
    const EARLY: [&str; 4] = ["lock", "config.toml", "model.toml", "env.json"];
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name == "metrics.jsonl" && RealDisk.kind(path)? != Some(FileKind::File(0)) {
        return Ok(false); // these are results, even if the rest is missing
    }
    let early = EARLY.iter().chain(&Log::NAMES);
    let is_early =
        early.into_iter().any(|early| name == *early || name.starts_with(&format!("{early}.")));
    Ok(is_early || name.starts_with("run.json."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn temporary(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("alexnet-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn a_folder_in_use_is_refused_with_a_remedy() {
        let path = temporary("folder");
        let folder = RunFolder::create(&path).unwrap();
        folder.status(&Status::begun()).unwrap();
        drop(folder);
        let error = RunFolder::create(&path).unwrap_err().to_string();
        assert!(error.contains("not empty") && error.contains("resume the run"), "{error}");
        let error = RunFolder::create(path.join("metrics.jsonl")).unwrap_err().to_string();
        assert!(error.contains("not a folder"), "{error}");
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn names_itself_by_time_and_model() {
        let runs = temporary("runs");
        let folder = RunFolder::create_under(&runs, "my/net.toml").unwrap();
        let name = folder.path().file_name().unwrap().to_string_lossy().to_string();
        assert!(name.contains("Z-my-net-toml-"), "{name}");
        fs::remove_dir_all(&runs).unwrap();
    }

    #[test]
    fn one_process_trains_in_a_folder() {
        let path = temporary("lock");
        let folder = RunFolder::create(&path).unwrap();
        folder.status(&Status::begun()).unwrap();
        let error = RunFolder::open(&path).unwrap_err().to_string();
        let me = format!("(process {}", std::process::id());
        assert!(error.contains(&me) && error.contains("wait for it"), "{error}");
        drop(folder);
        let folder = RunFolder::open(&path).unwrap();
        assert_eq!(folder.read_status().unwrap().resumed, 0);
        fs::remove_dir_all(&path).unwrap();
    }

    /// The lock outlasts the removal of its file, and the file alone locks, too: older programs
    /// take nothing else.
    #[test]
    fn a_lock_that_was_removed_by_hand_still_locks() {
        let path = temporary("unlocked");
        let folder = RunFolder::create(&path).unwrap();
        folder.status(&Status::begun()).unwrap();
        fs::remove_file(path.join("lock")).unwrap();
        let error = RunFolder::open(&path).unwrap_err().to_string();
        assert!(error.contains("another process trains here: wait for it"), "{error}");
        drop(folder);
        drop(RunFolder::open(&path).unwrap());
        let older = File::open(path.join("lock")).unwrap();
        older.try_lock().unwrap();
        let error = RunFolder::open(&path).unwrap_err().to_string();
        assert!(error.contains("another process trains here (process"), "{error}");
        fs::remove_dir_all(&path).unwrap();
    }

    /// Pipes in place of a run's files are rejected without waiting for them.
    #[cfg(unix)]
    #[test]
    fn pipes_in_a_run_s_folder_are_refused() {
        for name in ["lock", "metrics.jsonl", "metrics.csv", "run.json"] {
            let path = temporary("pipes");
            let folder = RunFolder::create(&path).unwrap();
            folder.status(&Status::begun()).unwrap();
            drop(folder);
            fs::remove_file(path.join(name)).unwrap();
            let made = std::process::Command::new("mkfifo").arg(path.join(name)).status();
            assert!(made.unwrap().success());
            let error = match RunFolder::open(&path) {
                Ok(folder) => folder.read_status().unwrap_err(),
                Err(error) => error,
            };
            let error = error.to_string();
            assert!(error.contains(name) && error.contains("not a regular file"), "{error}");
            fs::remove_dir_all(&path).unwrap();
        }
    }

    #[test]
    fn a_run_that_never_began_may_begin_again_and_cannot_be_resumed() {
        let path = temporary("never");
        drop(RunFolder::create(&path).unwrap());
        fs::write(path.join("config.toml.17.tmp"), "half").unwrap();
        fs::write(path.join("env.json"), "{}").unwrap();
        let error = RunFolder::open(&path).unwrap_err().to_string();
        assert!(error.contains("no run has begun here"), "{error}");
        drop(RunFolder::create(&path).unwrap());
        assert!(!path.join("config.toml.17.tmp").exists());
        fs::remove_dir_all(&path).unwrap();
    }
}
