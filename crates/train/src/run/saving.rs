//! When a run is saved, and whether as checkpoint, weights or both.
//!
//! Of several processes rank 0 writes. Its control flags ([`Control`]) depend on time and on its
//! disk; the other processes receive them, so that all take a snapshot at the same step.

use super::training::Training;
use crate::Result;
use crate::checkpoint::Files;
use crate::executor::Control;
use std::time::{Duration, Instant};

impl Training<'_> {
    /// The age of the last checkpoint from which a validation that is not the best is followed by
    /// another.
    const SAVE_AFTER: Duration = Duration::from_secs(60);
    /// The maximum age of the last checkpoint.
    const SAVE_AT_LEAST: Duration = Duration::from_secs(600);
    /// The interval of exchanges between processes while rank 0 waits for its disk.
    const WAIT_INTERVAL: Duration = Duration::from_secs(5);

    /// This process's control flags after a step.
    ///
    /// # Errors
    /// If the last checkpoint could not be written.
    pub(super) fn control_at(&mut self, step: u64) -> Result<Control> {
        let every = self.job.checkpoints.every;
        Ok(Control {
            save_after_validation: self.saved.elapsed() > Self::SAVE_AFTER,
            checkpoint_due: self.saved.elapsed() > Self::SAVE_AT_LEAST
                || every.is_some_and(|every| step.is_multiple_of(every.max(1))),
            writer_free: match &mut self.writer {
                Some(writer) => writer.free()?.is_some(),
                None => false,
            },
            end: self.end_requested,
        })
    }

    /// Exchanges control flags outside a step.
    pub(super) fn agree(&mut self) -> Result<Control> {
        let own = self.control_at(self.progress.step)?;
        self.control = self.executor.agree(own)?;
        Ok(self.control)
    }

    /// Waits until the last checkpoint has been written.
    pub(super) fn wait_for_disk(&mut self) -> Result<Control> {
        loop {
            if let Some(writer) = &mut self.writer {
                writer.wait_for(Self::WAIT_INTERVAL)?;
            }
            let control = self.agree()?;
            if control.writer_free {
                return Ok(control);
            }
        }
    }

    /// Saves a checkpoint if one is due and the last has been written; otherwise the next step
    /// tries again. After the last step of an epoch, the validation comes first.
    pub(super) fn save_if_due(&mut self) -> Result<()> {
        let is_requested = self.stop.take_checkpoint_request();
        let step = self.progress.step;
        if self.executor.is_alone() {
            self.control = self.control_at(step)?;
        }
        self.due |= is_requested || self.control.checkpoint_due;
        if self.note_saved() {
            self.folder.status(self.status)?;
        }
        if is_requested {
            self.observer.note(&format!("step {step}: writes a checkpoint, as requested"));
        }
        let in_epoch = self.progress.batches < self.train.batches_per_epoch();
        if self.due && self.control.writer_free && in_epoch {
            self.save(Files::Checkpoint)?;
        }
        Ok(())
    }

    /// Saves a checkpoint after an epoch if one is due, or if the validation was `due` and was the
    /// best or the last checkpoint is old.
    pub(super) fn save_after_epoch(&mut self, is_due: bool, is_best: bool) -> Result<()> {
        let is_old = self.agree()?.save_after_validation;
        if !self.due && !(is_due && (is_best || is_old)) {
            return Ok(());
        }
        self.aside(|run| {
            let is_old = run.wait_for_disk()?.save_after_validation;
            run.save(run.files_after_validation(is_old))
        })
    }

    /// Records the last checkpoint in the run's status; returns whether it is the first.
    pub(super) fn note_saved(&mut self) -> bool {
        let saved = self.writer.as_ref().and_then(|writer| writer.saved());
        let is_first = self.status.saved.is_none() && saved.is_some();
        self.status.saved = saved.or(self.status.saved);
        is_first
    }

    /// Takes a snapshot and passes it to the writer; processes without a writer only take part in
    /// the snapshot. The writer must be free.
    pub(super) fn save(&mut self, files: Files) -> Result<()> {
        self.progress.seconds = self.seconds();
        match (&mut self.writer, self.folder.log()) {
            (Some(writer), Some(log)) => {
                self.progress.logs = log.lengths();
                let snapshot = writer.free()?.expect("a free writer");
                self.executor.snapshot(&mut snapshot.values, &mut snapshot.state)?;
                snapshot.progress.clone_from(&self.progress);
                writer.send(files);
            }
            _ => self.executor.snapshot(&mut Vec::new(), &mut Vec::new())?,
        }
        self.due = false;
        self.saved = Instant::now();
        self.saved_at = Some(self.progress.position());
        Ok(())
    }

    /// Saves the weights, unless early stopping keeps better ones, and a checkpoint unless the last
    /// one is of this step.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.wait_for_disk()?;
        let is_saved = self.saved_at == Some(self.progress.position());
        if !self.keeps_earlier_weights() {
            self.save(if is_saved { Files::Weights } else { Files::CheckpointAndWeights })?;
        } else if !is_saved {
            self.save(Files::Checkpoint)?;
        }
        self.writer.as_mut().map_or(Ok(()), |writer| writer.wait())
    }
}
