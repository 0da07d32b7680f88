//! A run from its first step, or from its last checkpoint, to its end.

use super::job::Job;
use super::outcome::{Outcome, conclude};
use super::training::{Beginning, Training};
use crate::Result;
use crate::checkpoint::{Checkpoint, Identity};
use crate::executor::Executor;
use crate::folder::{RunFolder, RunState, Status};
use crate::start::Start;
use evaluate::Stop;
use evaluate::observe::Observer;
use std::fmt;
use std::sync::Arc;

/// A job with its run folder, its observer and the flag that stops it.
///
/// ```no_run
/// # use alexnet_train::{folder::RunFolder, run::{Job, Session}};
/// # use evaluate::{Silent, Stop};
/// # fn example(job: Job, folder: &mut RunFolder) -> alexnet_train::Result<()> {
/// let plan = job.plan(tensor::Target::Cpu { threads: 2 })?;
/// let (mut observer, stop) = (Silent, Stop::new());
/// Session::new(&job, folder, &mut observer, &stop)
///     .start(|start| plan.open_boxed(tensor::Device::cpu(2), start))?;
/// # Ok(())
/// # }
/// ```
pub struct Session<'a> {
    job: &'a Job,
    folder: &'a mut RunFolder,
    observer: &'a mut dyn Observer,
    stop: &'a Stop,
    identity: Option<Identity>,
}

impl fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Session");
        text.field("job", self.job).field("folder", &self.folder.path()).finish_non_exhaustive()
    }
}

impl<'a> Session<'a> {
    /// A session that writes into `folder`. Nothing is read or written before it
    /// [starts](Self::start) or [resumes](Self::resume).
    pub fn new(
        job: &'a Job,
        folder: &'a mut RunFolder,
        observer: &'a mut dyn Observer,
        stop: &'a Stop,
    ) -> Session<'a> {
        Session { job, folder, observer, stop, identity: None }
    }

    /// Sets the job's identity, if [`Job::check`] has returned it. Otherwise images are read to
    /// compute it.
    pub fn with_identity(self, identity: Option<Identity>) -> Session<'a> {
        Session { identity, ..self }
    }

    /// Trains from the beginning. `open` creates the executor, on one device or several, from the
    /// initial state.
    ///
    /// # Errors
    /// Any [`Error`](crate::Error); `run.json` then has the status `failed` and the reason.
    pub fn start(self, open: impl FnOnce(&Start) -> Result<Box<dyn Executor>>) -> Result<Outcome> {
        self.run(open, Status::begun(), None)
    }

    /// Resumes the folder's run from a checkpoint, or from the beginning if there is none. Results
    /// are bit-identical to those of an uninterrupted run. The number of devices may differ.
    ///
    /// # Errors
    /// As [`start`](Self::start), and [`Error::Checkpoint`](crate::Error::Checkpoint) if the
    /// checkpoint is another network's. [`Job::check`] checks before whether it is this job's.
    pub fn resume(
        self,
        checkpoint: Option<Checkpoint>,
        open: impl FnOnce(&Start) -> Result<Box<dyn Executor>>,
    ) -> Result<Outcome> {
        let before = self.folder.read_status()?; // logs are truncated only if this succeeds
        let lengths = checkpoint.as_ref().map(|checkpoint| checkpoint.progress.logs.clone());
        self.folder.cut_back(&lengths.unwrap_or_default())?;
        let (started, resumed) = (before.started, before.resumed + 1);
        let mut status = Status { started, resumed, ..Status::begun() };
        if let Some(checkpoint) = &checkpoint {
            let progress = &checkpoint.progress;
            (status.step, status.epoch) = (progress.step, progress.epoch);
            status.validation = progress.validation.map(|(_, score)| score);
            status.saved = Some(progress.step);
        }
        self.run(open, status, checkpoint)
    }

    fn run(
        self,
        open: impl FnOnce(&Start) -> Result<Box<dyn Executor>>,
        mut status: Status,
        from: Option<Checkpoint>,
    ) -> Result<Outcome> {
        let Session { job, folder, observer, stop, identity } = self;
        folder.status(&status)?;
        let identity = match identity {
            Some(identity) => Ok(Some(identity)),
            None => job.identity(observer, stop),
        };
        let from = from.map(Arc::new);
        let outcome = identity.and_then(|identity| {
            let Some(identity) = identity else {
                return Ok(Outcome::before_the_first_step(stop, from.as_deref()));
            };
            job.check_validation(&identity)?;
            let executor = open(&job.start(from.clone())?)?;
            let (mut ended, begin, status) = (None, Beginning { identity, from }, &mut status);
            executor.enter(Box::new(|executor| {
                let training = Training::new(job, executor, folder, observer, stop, status, begin);
                ended = Some(training.and_then(Training::run_to_end));
            }));
            ended.expect("`enter` has run it")
        });
        match status.status {
            RunState::Running => conclude(outcome, folder, &mut status), // the first step never ran
            _ => outcome,
        }
    }
}
