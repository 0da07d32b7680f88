//! The identity of a job, and the check whether it may resume a checkpoint.

use super::job::Job;
use crate::checkpoint::{Checkpoint, Difference, Identity};
use crate::{Error, Result};
use data::{ReadTimeouts, Source};
use evaluate::Stop;
use evaluate::observe::Observer;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Differences that are listed one by one.
const MAX_LINES: usize = 12;

impl Job {
    /// Checks that this job may resume a checkpoint, and returns its identity. The number of epochs
    /// and steps may differ, and all settings that do not affect results: threads, workers,
    /// logging; with `new_rate` also the learning rate. A job without [`init`](Self::init) may
    /// resume a run that had one. Images that take long to read are reported to `observer`.
    /// Returns `None` if a stop was requested meanwhile.
    ///
    /// # Errors
    /// [`Error::Resume`] with a line for each difference; [`Error::Data`] if a disk does not
    /// answer.
    pub fn check(
        &self,
        checkpoint: &Checkpoint,
        new_rate: bool,
        observer: &mut dyn Observer,
        stop: &Stop,
    ) -> Result<Option<Identity>> {
        let Some(mut identity) = self.identity(observer, stop)? else { return Ok(None) };
        if self.init.is_none() {
            identity.take_over("init", &checkpoint.identity);
        }
        // Another version of the decoder is allowed if it decodes the same pixels.
        let spans_all = self.recipe.schedule.spans_all_epochs();
        let may_change = |name: &str| match name {
            "recipe.rate" => new_rate,
            "recipe.epochs" => !spans_all,
            _ => [DECODER, "recipe.early-stopping.patience"].contains(&name),
        };
        let differences = checkpoint.identity.differences(&identity, may_change);
        if differences.is_empty() {
            return Ok(Some(identity));
        }
        let mut lines: Vec<String> = differences.iter().map(|line| format!("  {line}")).collect();
        if lines.len() > MAX_LINES {
            let more = lines.split_off(MAX_LINES - 1).len();
            lines.push(format!("  and {more} more"));
        }
        lines.extend(other_decoder(&checkpoint.identity, &identity, &differences));
        let differs = |name: &str| differences.iter().any(|line| line.name == name);
        let hint = if differs("recipe.rate") {
            " (a new learning rate must be given explicitly)"
        } else if differs("recipe.epochs") {
            " (the learning rate follows a curve over all epochs)"
        } else {
            ""
        };
        let epochs = if spans_all { "" } else { "epochs, " };
        Err(Error::Resume {
            path: checkpoint.path.clone(),
            reason: format!(
                "a run is resumed with the same settings, and these differ{hint}:\n{}\nWhat may \
                 change: {epochs}max_steps, the patience of early stopping, threads, workers, \
                 device, checkpoints, logging; the learning rate if given explicitly. Leave the \
                 rest out, or start a new run",
                lines.join("\n")
            ),
        })
    }

    /// Everything on which this run's results depend. Reads some images; those that take long are
    /// reported to `observer`. Returns `None` if a stop was requested meanwhile.
    ///
    /// # Errors
    /// [`Error::Data`] if a disk does not answer.
    pub fn identity(&self, observer: &mut dyn Observer, stop: &Stop) -> Result<Option<Identity>> {
        let mut fingerprint = |source: &Arc<dyn Source>| {
            data::fingerprint_watched(source, ReadTimeouts::default(), &mut |stalled| {
                stalled.into_iter().for_each(|stalled| observer.stalled(stalled));
                stop.requested().is_none()
            })
        };
        let Some(train) = fingerprint(&self.train)? else { return Ok(None) };
        let Some(validation) = fingerprint(&self.validation)? else { return Ok(None) };
        let table = |value| match value {
            Ok(toml::Value::Table(table)) => table,
            _ => unreachable!("recipes and networks are tables"),
        };
        let mut identity = Identity::default();
        identity.insert("seed", self.seed);
        identity.insert_table("recipe", table(toml::Value::try_from(&self.recipe)));
        identity.insert_table("model", table(toml::Value::try_from(&self.spec)));
        identity.insert("data.classes", self.train.classes().len());
        identity.insert(DECODER, data::decode::DECODER_VERSION);
        identity.insert("data.train", train);
        identity.insert("data.validation", validation);
        identity.insert("data.mean", digest(bytemuck::cast_slice(&self.statistics.mean)));
        identity.insert("validate_every", self.validate_every);
        if let Some(init) = &self.init {
            identity.insert("init", init.digest());
        }
        Ok(Some(identity))
    }
}

/// The name of the decoder's version in an identity; if absent, it was 1.
const DECODER: &str = "data.decoder";

/// A hint for the case that pixels differ and so does the decoder.
fn other_decoder(was: &Identity, now: &Identity, differences: &[Difference]) -> Option<String> {
    let pixels = ["data.train", "data.validation", "data.mean"];
    let [was, now] = [was, now].map(|identity| identity.get(DECODER).unwrap_or("1"));
    let other = differences.iter().any(|line| pixels.contains(&&*line.name)) && was != now;
    other.then(|| {
        format!(
            "  images may decode to other pixels than when the run began: decoder version {was} \
             then, {now} now"
        )
    })
}

/// The first half of a SHA-256, in hexadecimal.
fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}
