//! When a run is saved, and as what.

use super::training::Training;
use crate::Result;
use crate::checkpoint::What;
use crate::progress::Progress;
use std::time::{Duration, Instant};

impl Training<'_> {
    /// A validation that is not the best is followed by a checkpoint if the last is so old.
    pub(super) const SAVE_AFTER: Duration = Duration::from_secs(60);
    /// A checkpoint is never older than this.
    const SAVE_AT_LEAST: Duration = Duration::from_secs(600);

    /// Takes a checkpoint if it is time and the last has been written; else the next step sees to
    /// it. After an epoch's last step its validation comes first.
    pub(super) fn save_if_due(&mut self) -> Result<()> {
        let is_asked_for = self.stop.take_checkpoint_request();
        let step = self.progress.step;
        self.due |= is_asked_for
            || self.job.checkpoints.every.is_some_and(|every| step.is_multiple_of(every.max(1)))
            || self.saved.elapsed() > Self::SAVE_AT_LEAST;
        if is_asked_for {
            self.observer.note(&format!("step {step}: writes a checkpoint, as asked"));
        }
        let is_free = self.saver.free()?.is_some(); // here a full disk is heard of
        if self.due && is_free && self.progress.batches < self.train.batches_per_epoch() {
            self.save(What::Checkpoint)?;
        }
        Ok(())
    }

    /// Hands a snapshot to the thread that writes.
    pub(super) fn save(&mut self, what: What) -> Result<()> {
        self.progress.seconds = self.seconds();
        self.progress.logs = self.folder.log().lengths();
        let snapshot = self.saver.free()?.expect("whoever calls has waited");
        self.team.snapshot(&mut snapshot.values, &mut snapshot.velocities)?;
        snapshot.progress.clone_from(&self.progress);
        self.saver.send(what);
        self.due = false;
        self.saved = Instant::now();
        self.saved_at = Some(place(&self.progress));
        Ok(())
    }

    /// Leaves a checkpoint of where the run is, if there is none, and the weights.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.saver.wait()?;
        let is_saved = self.saved_at == Some(place(&self.progress));
        self.save(if is_saved { What::Weights } else { What::CheckpointAndWeights })?;
        self.saver.wait()
    }
}

/// Where a run is: what tells two checkpoints of it apart.
pub(super) fn place(progress: &Progress) -> (u64, u32, usize) {
    (progress.step, progress.epoch, progress.batches)
}
