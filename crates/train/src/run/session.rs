//! A run from its first step, or from its last checkpoint, to its end.

use super::job::Job;
use super::outcome::{Outcome, conclude};
use super::training::Training;
use crate::Result;
use crate::checkpoint::{Checkpoint, Identity};
use crate::executor::Executor;
use crate::folder::{RunFolder, State, Status};
use crate::start::Start;
use evaluate::Stop;
use evaluate::observe::Observer;
use std::sync::Arc;

/// A job about to be done: where it is written down, who watches it, who may end it.
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

    /// With the job's identity if it is known, as [`Job::check`] gives it: then the images that it
    /// is made of are not read again.
    pub fn with_identity(self, identity: Option<Identity>) -> Session<'a> {
        Session { identity, ..self }
    }

    /// Trains from the beginning, on what `open` makes of the parameters that the run starts from:
    /// it takes the memory of one device or of several.
    ///
    /// # Errors
    /// Any [`Error`](crate::Error); `run.json` then says `failed` and why.
    pub fn start(self, open: impl FnOnce(&Start) -> Result<Box<dyn Executor>>) -> Result<Outcome> {
        self.run(open, Status::begun(), None)
    }

    /// Trains on from a checkpoint of the folder's run, or from the beginning if it never wrote
    /// one, to the bits that an uninterrupted run would have come to. The run may have been on
    /// other devices so far, and on another number of them.
    ///
    /// # Errors
    /// As [`start`](Self::start), and [`Error::Checkpoint`](crate::Error::Checkpoint) if it is not
    /// this network's. Whether it is this job's is for [`Job::check`] to say, before.
    pub fn resume(
        self,
        checkpoint: Option<Checkpoint>,
        open: impl FnOnce(&Start) -> Result<Box<dyn Executor>>,
    ) -> Result<Outcome> {
        let before = self.folder.read_status()?; // while it cannot be read, nothing is cut
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
            let executor = open(&job.start(from.clone()))?;
            let watchers: (&mut dyn Observer, _) = (observer, stop);
            let (mut ended, begin, status) = (None, (identity, from), &mut status);
            executor.enter(Box::new(|executor| {
                let training = Training::new(job, executor, folder, watchers, status, begin);
                ended = Some(training.and_then(Training::run_to_end));
            }));
            ended.expect("it has run")
        });
        match status.status {
            State::Running => conclude(outcome, folder, &mut status), // it never began
            _ => outcome,
        }
    }
}
