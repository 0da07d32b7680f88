//! A protocol with its images and folders, and the settings of each of its runs.

use crate::error::{Error, Result};
use crate::protocol::{Arm, Data, Inherits, Protocol, Scale, Stage};
use crate::runner::{Images, InheritedState, RunRequest};
use std::path::{Path, PathBuf};

/// A rehearsal's training and test images, and the steps of each of its runs.
const REHEARSED: Images = Images::Shapes { train: 48, test: 24 };
const REHEARSED_STEPS: u64 = 9;

/// A protocol with its images and folders.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// The protocol, at its scale.
    pub page: Protocol,
    /// The scale. A rehearsal generates its images.
    pub scale: Scale,
    /// Runs of each arm.
    pub seeds: u64,
    /// The folder of its images.
    pub data: Option<String>,
    /// The folder of the larger set for pre-training, if the protocol has one.
    pub larger: Option<String>,
    /// The precision of its runs; `None`: the one in which a run was started.
    pub precision: Option<String>,
    /// The folder of all runs.
    pub runs: PathBuf,
    /// The folder for the results.
    pub out: PathBuf,
    /// A remark for the results page.
    pub note: Option<String>,
}

impl Experiment {
    /// # Errors
    /// [`Error::NoImages`] if the protocol needs images and no folder was named.
    pub(crate) fn check(&self) -> Result<()> {
        let stages = || self.page.arms.iter().flat_map(|arm| &arm.stages);
        for data in [Data::Own, Data::Larger] {
            if stages().any(|stage| stage.data == data) {
                self.images(data)?;
            }
        }
        Ok(())
    }

    /// # Errors
    /// [`Error::NoImages`] if no folder was named.
    pub(crate) fn images(&self, data: Data) -> Result<Images> {
        if self.scale == Scale::Rehearsal {
            return Ok(REHEARSED);
        }
        let folder = match data {
            Data::Own => &self.data,
            Data::Larger => &self.larger,
        };
        let missing = Error::NoImages { protocol: self.page.name, data };
        folder.clone().map(Images::Folder).ok_or(missing)
    }

    /// The folder of an arm's run.
    pub(crate) fn folder(&self, arm: &Arm, stage: &Stage, seed: u64) -> PathBuf {
        let suffix = if stage.name.is_empty() { "" } else { &format!("-{}", stage.name) };
        let arm = stage.run_of.as_ref().unwrap_or(&arm.name);
        self.runs.join(format!("{arm}-seed-{seed}{suffix}"))
    }

    /// The run of a stage; `before` is that of the stage before.
    ///
    /// # Errors
    /// As [`images`](Self::images).
    pub(crate) fn task(
        &self,
        stage: &Stage,
        seed: u64,
        before: Option<&Path>,
    ) -> Result<RunRequest> {
        let [height, width, _] = stage.spec.input;
        let mut recipe = stage.recipe.clone();
        recipe.input.side = Some(recipe.side(height, width));
        let init = before.filter(|_| stage.inherits != Inherits::Nothing).map(|from| {
            InheritedState { from: from.to_path_buf(), velocities: stage.inherits == Inherits::All }
        });
        Ok(RunRequest {
            spec: stage.spec.clone(),
            recipe,
            images: self.images(stage.data)?,
            hold_out: stage.hold_out,
            seed,
            max_steps: (self.scale == Scale::Rehearsal).then_some(REHEARSED_STEPS),
            precision: self.precision.clone(),
            init,
        })
    }
}
