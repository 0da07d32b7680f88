//! When a run is saved, and as what.
//!
//! Of several processes the first writes. What it alone knows, the time and whether its disk is
//! done, it tells the others ([`Control`]), and so all of them give what is theirs at the same
//! step.

use super::training::Training;
use crate::Result;
use crate::checkpoint::What;
use crate::executor::Control;
use std::time::{Duration, Instant};

impl Training<'_> {
    /// A validation that is not the best is followed by a checkpoint if the last is so old.
    const SAVE_AFTER: Duration = Duration::from_secs(60);
    /// A checkpoint is never older than this.
    const SAVE_AT_LEAST: Duration = Duration::from_secs(600);
    /// While a disk is waited for, the others hear so often that it is.
    const WORD: Duration = Duration::from_secs(5);

    /// What the time is, and whether the disk is done, after some step. Here a full disk is heard
    /// of.
    pub(super) fn control_at(&mut self, step: u64) -> Result<Control> {
        let every = self.job.checkpoints.every;
        Ok(Control {
            old: self.saved.elapsed() > Self::SAVE_AFTER,
            late: self.saved.elapsed() > Self::SAVE_AT_LEAST
                || every.is_some_and(|every| step.is_multiple_of(every.max(1))),
            free: match &mut self.saver {
                Some(saver) => saver.free()?.is_some(),
                None => false,
            },
            ends: self.wants_end,
        })
    }

    /// The same for all processes, outside a step.
    pub(super) fn agree(&mut self) -> Result<Control> {
        let own = self.control_at(self.progress.step)?;
        self.control = self.executor.agree(own)?;
        Ok(self.control)
    }

    /// Waits until the last checkpoint has been written.
    pub(super) fn wait_for_disk(&mut self) -> Result<Control> {
        loop {
            if let Some(saver) = &mut self.saver {
                saver.wait_for(Self::WORD)?;
            }
            let control = self.agree()?;
            if control.free {
                return Ok(control);
            }
        }
    }

    /// Takes a checkpoint if it is time and the last has been written; else the next step sees to
    /// it. After an epoch's last step its validation comes first.
    pub(super) fn save_if_due(&mut self) -> Result<()> {
        let is_asked_for = self.stop.take_checkpoint_request();
        let step = self.progress.step;
        if self.executor.is_alone() {
            self.control = self.control_at(step)?;
        }
        self.due |= is_asked_for || self.control.late;
        if self.note_saved() {
            self.folder.status(self.status)?;
        }
        if is_asked_for {
            self.observer.note(&format!("step {step}: writes a checkpoint, as asked"));
        }
        if self.due && self.control.free && self.progress.batches < self.train.batches_per_epoch() {
            self.save(What::Checkpoint)?;
        }
        Ok(())
    }

    /// Takes a checkpoint after an epoch if one is waiting, or if its validation was `due` and was
    /// the best or the last checkpoint is old.
    pub(super) fn save_after_epoch(&mut self, is_due: bool, is_best: bool) -> Result<()> {
        let is_old = self.agree()?.old;
        if !self.due && !(is_due && (is_best || is_old)) {
            return Ok(());
        }
        self.aside(|run| {
            let is_old = run.wait_for_disk()?.old;
            run.save(if is_old { What::CheckpointAndWeights } else { What::Checkpoint })
        })
    }

    /// Records that there is a checkpoint; returns whether it is the first, of which the run's
    /// status says nothing yet.
    pub(super) fn note_saved(&mut self) -> bool {
        let saved = self.saver.as_ref().and_then(|saver| saver.saved());
        let is_first = self.status.saved.is_none() && saved.is_some();
        self.status.saved = saved.or(self.status.saved);
        is_first
    }

    /// Hands a snapshot to the thread that writes; where there is none, to the process that has it.
    pub(super) fn save(&mut self, what: What) -> Result<()> {
        self.progress.seconds = self.seconds();
        match (&mut self.saver, self.folder.log()) {
            (Some(saver), Some(log)) => {
                self.progress.logs = log.lengths();
                let snapshot = saver.free()?.expect("whoever calls has waited");
                self.executor.snapshot(&mut snapshot.values, &mut snapshot.velocities)?;
                snapshot.progress.clone_from(&self.progress);
                saver.send(what);
            }
            _ => self.executor.snapshot(&mut Vec::new(), &mut Vec::new())?,
        }
        self.due = false;
        self.saved = Instant::now();
        self.saved_at = Some(self.progress.place());
        Ok(())
    }

    /// Leaves a checkpoint of where the run is, if there is none, and the weights.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.wait_for_disk()?;
        let is_saved = self.saved_at == Some(self.progress.place());
        self.save(if is_saved { What::Weights } else { What::CheckpointAndWeights })?;
        self.saver.as_mut().map_or(Ok(()), |saver| saver.wait())
    }
}
