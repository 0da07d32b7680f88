//! A run from its first step, or from its last checkpoint, to its end.

use super::job::Job;
use super::outcome::{Outcome, conclude};
use super::training::Training;
use crate::checkpoint::{Checkpoint, Identity};
use crate::folder::{RunFolder, State, Status};
use crate::observe::Observer;
use crate::team::Team;
use crate::{Result, Stop};

/// A job about to be done: where it is written down, who watches it, who may end it.
///
/// ```no_run
/// # use alexnet_train::{Stop, folder::RunFolder, observe::Silent, run::{Job, Session}};
/// # fn example(job: Job, folder: &mut RunFolder) -> alexnet_train::Result<()> {
/// let plan = job.plan(tensor::Target::Cpu { threads: 2 })?;
/// let (mut observer, stop) = (Silent, Stop::new());
/// Session::new(&job, folder, &mut observer, &stop)
///     .start(|| plan.open(tensor::Device::cpu(2)))?;
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

    /// Trains from the beginning, on what `open` gives: it takes the memory of one device or of
    /// several.
    ///
    /// # Errors
    /// Any [`Error`](crate::Error); `run.json` then says `failed` and why.
    pub fn start<T: Into<Team>>(self, open: impl FnOnce() -> Result<T>) -> Result<Outcome> {
        self.run(open, Status::begun(), None)
    }

    /// Trains on from a checkpoint of the folder's run, or from the beginning if it never wrote
    /// one, to the bits that an uninterrupted run would have come to. The run may have been on
    /// other devices so far, and on another number of them.
    ///
    /// # Errors
    /// As [`start`](Self::start), and [`Error::Checkpoint`](crate::Error::Checkpoint) if it is not
    /// this network's. Whether it is this job's is for [`Job::check`] to say, before.
    pub fn resume<T: Into<Team>>(
        self,
        checkpoint: Option<Checkpoint>,
        open: impl FnOnce() -> Result<T>,
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

    fn run<T: Into<Team>>(
        self,
        open: impl FnOnce() -> Result<T>,
        mut status: Status,
        from: Option<Checkpoint>,
    ) -> Result<Outcome> {
        let Session { job, folder, observer, stop, identity } = self;
        folder.status(&status)?;
        let identity = match identity {
            Some(identity) => Ok(Some(identity)),
            None => job.identity(observer, stop),
        };
        let outcome = identity.and_then(|identity| match identity {
            None => Ok(Outcome::before_the_first_step(stop, from.as_ref())),
            Some(identity) => open()?.into().enter(|team| {
                let watchers: (&mut dyn Observer, _) = (observer, stop);
                let begin = (identity, from);
                Training::new(job, team, folder, watchers, &mut status, begin)?.run_to_end()
            }),
        });
        match status.status {
            State::Running => conclude(outcome, folder, &mut status), // it never began
            _ => outcome,
        }
    }
}
