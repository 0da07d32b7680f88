//! A protocol that is to be run: on what, where its runs lie, and what each of them is to be.

use crate::error::{Error, Result};
use crate::protocol::{Arm, Data, Form, Protocol, Stage, Takes};
use crate::runner::{Images, Init, Task};
use std::path::{Path, PathBuf};

/// A rehearsal's training and test images, and the steps of each of its runs.
const REHEARSED: Images = Images::Shapes { train: 48, test: 24 };
const REHEARSED_STEPS: u64 = 9;

/// A protocol that is to be run.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// The protocol, in its form.
    pub page: Protocol,
    /// How much of it is run. A rehearsal needs no images: it draws some.
    pub form: Form,
    /// Runs of each arm.
    pub seeds: u64,
    /// The folder of its images.
    pub data: Option<String>,
    /// The folder of the larger set that comes first, where the protocol has one.
    pub larger: Option<String>,
    /// In which precision its runs multiply; `None`: each as it began.
    pub precision: Option<String>,
    /// The folder of all runs.
    pub runs: PathBuf,
    /// The folder for the results.
    pub out: PathBuf,
    /// A sentence for the results.
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
        if self.form == Form::Rehearsal {
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
        let stage = if stage.name.is_empty() { "" } else { &format!("-{}", stage.name) };
        self.runs.join(format!("{}-seed-{seed}{stage}", arm.name))
    }

    /// The run of a stage; `before` is that of the stage before.
    ///
    /// # Errors
    /// As [`images`](Self::images).
    pub(crate) fn task(&self, stage: &Stage, seed: u64, before: Option<&Path>) -> Result<Task> {
        let [height, width, _] = stage.spec.input;
        let mut recipe = stage.recipe.clone();
        recipe.input.side = Some(recipe.side(height, width));
        let init = before
            .filter(|_| stage.takes != Takes::Nothing)
            .map(|from| Init { from: from.to_path_buf(), velocities: stage.takes == Takes::All });
        Ok(Task {
            spec: stage.spec.clone(),
            recipe,
            images: self.images(stage.data)?,
            hold_out: stage.hold_out,
            seed,
            max_steps: (self.form == Form::Rehearsal).then_some(REHEARSED_STEPS),
            precision: self.precision.clone(),
            init,
        })
    }
}
