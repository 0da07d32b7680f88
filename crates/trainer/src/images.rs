//! From the name of a data set to the two sources of a run.

use crate::fault::Result;
use data::{ExifMode, Fake, Labelling, Options, Patience, Source, Stalled, Statistics, Subset};
use evaluate::Stop;
use evaluate::observe::Observer;
use files::numbers::mebibytes;
use report::grouped;
use serde_json::{Value, json};
use std::sync::Arc;
use terminal::progress::Reading;

/// What is learned from and what is tested on.
pub struct Images {
    /// What is learned from.
    pub train: Arc<dyn Source>,
    /// What is tested on.
    pub test: Arc<dyn Source>,
    /// Things to say once.
    pub notes: Vec<String>,
    /// What each class is called in words; empty where the data has no names.
    pub class_names: Vec<String>,
    name: String,
    statistics: Option<Statistics>,
    /// What is measured for the statistics, if that is not what is learned from.
    measured: Option<Arc<dyn Source>>,
    /// Digests of what is learned from and of what is tested on.
    fingerprints: Option<[String; 2]>,
}

impl Images {
    /// Of larger sets, so many images make the mean and the colours' statistics.
    const STATISTICS: usize = 100_000;

    /// `shapes`, or a folder, with labels from where they come; as squares of `side`, upright or as
    /// they are stored.
    ///
    /// # Errors
    /// Exit code 3, with the path and what to do.
    pub fn open(
        (name, labelling): (&str, &Labelling),
        (side, exif): (usize, ExifMode),
        threads: usize,
        reading: &Reading,
    ) -> Result<Images> {
        let labelling = labelling.clone();
        let options = Options { threads, labelling, exif, ..Options::with_side(side) };
        let mut watch =
            |(done, of), stalled: Option<&Stalled>| reading.watch("images read", of)(done, stalled);
        let set = data::open_watched(name, &options, Patience::default(), &mut watch)?;
        let set = set.expect("nobody stops it");
        let (train, test, notes) = (set.train, set.test, set.notes);
        let (name, statistics, class_names) = (name.to_string(), set.statistics, set.class_names);
        Ok(Images { statistics, class_names, ..Images::of(name, train, test, notes) })
    }

    fn of(
        name: String,
        train: Arc<dyn Source>,
        test: Arc<dyn Source>,
        notes: Vec<String>,
    ) -> Images {
        let (statistics, measured, fingerprints) = (None, None, None);
        let class_names = Vec::new();
        Images { train, test, notes, class_names, name, statistics, measured, fingerprints }
    }

    /// Some training and test images, generated.
    ///
    /// # Errors
    /// None that is expected.
    pub fn shapes(counts: (u32, u32), side: usize, threads: usize) -> Result<Images> {
        let options = Options { threads, shapes: counts, ..Options::with_side(side) };
        let set = data::open("shapes", &options, &|_, _| ())?;
        Ok(Images::of("shapes".to_string(), set.train, set.test, Vec::new()))
    }

    /// `count` random images of `classes` classes.
    pub fn fake(count: usize, side: usize, classes: usize) -> Images {
        let images: Arc<dyn Source> = Arc::new(Fake::new(count, side, classes));
        let test = Arc::new(Subset::spread(Arc::clone(&images), count.min(256)));
        let notes = vec!["random images: only the times mean anything".to_string()];
        Images::of("random".to_string(), images, test, notes)
    }

    /// The first `count` training images, to learn and to test on.
    pub fn overfit(self, count: usize) -> Images {
        let few: Arc<dyn Source> = Arc::new(Subset::spread(self.train, count));
        let name = format!("{} of {}", few.len(), self.name);
        let class_names = self.class_names;
        Images { class_names, ..Images::of(name, Arc::clone(&few), few, self.notes) }
    }

    /// Takes the last of every `nth` training image away from training, to test on. What is
    /// subtracted stays the mean of all, so that a run may go on with all.
    pub fn hold_out(self, nth: usize) -> Images {
        let whole = self.train;
        let (rest, held) = Subset::hold_out(Arc::clone(&whole), nth);
        let name = format!("{} less every {nth}th", self.name);
        let (measured, statistics) = (Some(whole), self.statistics);
        Images {
            measured,
            statistics,
            class_names: self.class_names,
            ..Images::of(name, Arc::new(rest), Arc::new(held), self.notes)
        }
    }

    /// Finds out what these images are known by, whatever they are called, which is then a part of
    /// their [`summary`](Self::summary): digests of what is learned from and of what is tested on.
    /// `None` if a stop was asked for while one was waited for.
    ///
    /// # Errors
    /// Exit code 3 if a disk does not answer.
    pub fn identify(
        &mut self,
        observer: &mut dyn Observer,
        stop: &Stop,
    ) -> Result<Option<&[String; 2]>> {
        let mut of = |source| {
            data::fingerprint_watched(source, Patience::default(), &mut |stalled| {
                stalled.into_iter().for_each(|stalled| observer.stalled(stalled));
                stop.requested().is_none()
            })
        };
        let Some(train) = of(&self.train)? else { return Ok(None) };
        let Some(test) = of(&self.test)? else { return Ok(None) };
        Ok(Some(self.fingerprints.insert([train, test])))
    }

    /// Mean image and colours of the training images: as they are stored with a prepared set, else
    /// measured.
    ///
    /// # Errors
    /// Exit code 3 if too many images cannot be read.
    pub fn statistics(&self, threads: usize, reading: &Reading) -> Result<Statistics> {
        if let Some(stored) = &self.statistics {
            return Ok(stored.clone());
        }
        let measured = self.measured.as_ref().unwrap_or(&self.train);
        let count = measured.len().min(Self::STATISTICS);
        Ok(reading.measure("images measured for their mean", measured, threads, count)?)
    }

    /// The folder, or `shapes`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One line for people.
    pub fn describe(&self) -> String {
        let (height, width) = self.train.size();
        format!(
            "{}: {} training and {} test images of {height} x {width}, {} classes",
            self.name,
            grouped(self.train.len()),
            grouped(self.test.len()),
            self.train.classes().len(),
        )
    }

    /// The same for `env.json`.
    pub fn summary(&self) -> Value {
        let mut summary = json!({
            "name": self.name,
            "train": self.train.len(),
            "test": self.test.len(),
            "size": self.train.size(),
            "classes": self.train.classes(),
        });
        if let Some(fingerprints) = &self.fingerprints {
            summary["fingerprints"] = json!(fingerprints);
        }
        summary
    }
}

/// One line on memory.
pub fn memory_line(memory: &train::plan::Memory, batch: usize) -> String {
    format!("{} at batch {batch} ({})", mebibytes(memory.total), memory_parts(memory))
}

/// Where it goes.
pub fn memory_parts(memory: &train::plan::Memory) -> String {
    let kept = if memory.adam { "moments" } else { "velocities" };
    let [parameters, activations] = [memory.parameters, memory.activations].map(mebibytes);
    format!("weights, gradients, {kept} {parameters}, activations {activations}")
}
