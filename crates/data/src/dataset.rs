//! A training set with its test set.

use crate::{
    Fake, ReadTimeouts, ReadWatch, Result, Source, StalledRead, Statistics, Subset,
    fingerprint_watched,
};
use files::numbers::grouped;
use serde_json::{Value, json};
use std::sync::Arc;

/// A training set and a test set with the same classes and image size.
#[derive(Clone)]
pub struct Dataset {
    /// What was opened, and how it was changed; for example `shapes less every 10th`.
    pub name: String,
    /// Images to train on.
    pub train: Arc<dyn Source>,
    /// Images to test on.
    pub test: Arc<dyn Source>,
    /// The name of each class in words, in the order of labels. Empty if the data has no names
    /// besides the identifiers in [`Source::classes`]. Names need not be unique.
    pub class_names: Vec<String>,
    /// Messages for the user, to be shown once.
    pub notes: Vec<String>,
    /// The statistics stored with a prepared set, if it is opened at the size it was prepared for.
    pub statistics: Option<Statistics>,
    /// The images that statistics are measured on, if not the training images.
    pub(crate) measured: Option<Arc<dyn Source>>,
    /// Digests of the training and the test images.
    pub(crate) fingerprints: Option<[String; 2]>,
}

/// A callback during a long read: it receives the number of images read and the total, and a
/// stalled read if there is one. Reading stops if it returns `false`.
pub type ProgressWatch<'a> = dyn FnMut((usize, usize), Option<&StalledRead>) -> bool + 'a;

impl Dataset {
    /// At most this many images are read to measure statistics.
    const MEASURED: usize = 100_000;

    pub(crate) fn new(name: String, train: Arc<dyn Source>, test: Arc<dyn Source>) -> Dataset {
        let (class_names, notes) = (Vec::new(), Vec::new());
        let (statistics, measured, fingerprints) = (None, None, None);
        Dataset { name, train, test, class_names, notes, statistics, measured, fingerprints }
    }

    /// The set in one line: name, numbers of images, their size, number of classes.
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

    /// `count` random images of `classes` classes; up to 256 of them are the test set.
    pub fn random(count: usize, side: usize, classes: usize) -> Dataset {
        let images: Arc<dyn Source> = Arc::new(Fake::new(count, side, classes));
        let test = Arc::new(Subset::spread(Arc::clone(&images), count.min(256)));
        let notes = vec!["random images: only the timings are meaningful".to_string()];
        Dataset { notes, ..Dataset::new("random".to_string(), images, test) }
    }

    /// Keeps `count` of the training images, evenly spaced, for both training and testing.
    pub fn few(self, count: usize) -> Dataset {
        let few: Arc<dyn Source> = Arc::new(Subset::spread(self.train, count));
        let name = format!("{} of {}", few.len(), self.name);
        let Dataset { class_names, notes, .. } = self;
        Dataset { class_names, notes, ..Dataset::new(name, Arc::clone(&few), few) }
    }

    /// Moves the last of every `nth` training images to the test set, which it replaces. The
    /// subtracted mean stays that of all images, so that a run can be resumed on the full set.
    pub fn hold_out(self, nth: usize) -> Dataset {
        let (rest, held) = Subset::hold_out(Arc::clone(&self.train), nth);
        let name = format!("{} less every {nth}th", self.name);
        let Dataset { class_names, notes, statistics, train, .. } = self;
        let held_out = Dataset::new(name, Arc::new(rest), Arc::new(held));
        Dataset { class_names, notes, statistics, measured: Some(train), ..held_out }
    }

    /// Computes the digests of the training and the test images with [`fingerprint_watched`]. The
    /// [`summary`](Self::summary) contains them from then on. They do not depend on the set's name
    /// or location. `None` if `watch` stopped reading.
    ///
    /// # Errors
    /// As [`fingerprint_watched`].
    pub fn identify(
        &mut self,
        timeouts: ReadTimeouts,
        watch: &mut ReadWatch,
    ) -> Result<Option<&[String; 2]>> {
        let mut of = |source| fingerprint_watched(source, timeouts, watch);
        let Some(train) = of(&self.train)? else { return Ok(None) };
        let Some(test) = of(&self.test)? else { return Ok(None) };
        Ok(Some(self.fingerprints.insert([train, test])))
    }

    /// The mean image and the colour statistics of the training images: those stored with a
    /// prepared set, or else measured with [`Statistics::of_watched`]. `None` if `watch` stopped
    /// reading.
    ///
    /// # Errors
    /// As [`Statistics::of_watched`].
    pub fn measure(
        &self,
        threads: usize,
        timeouts: ReadTimeouts,
        watch: &mut ProgressWatch,
    ) -> Result<Option<Statistics>> {
        if let Some(stored) = &self.statistics {
            return Ok(Some(stored.clone()));
        }
        let measured = self.measured.as_ref().unwrap_or(&self.train);
        let count = measured.len().min(Self::MEASURED);
        let mut watch = |done, stalled: Option<&StalledRead>| watch((done, count), stalled);
        Statistics::of_watched(measured, threads, Some(count), timeouts, &mut watch)
    }

    /// Name, image counts, size, classes and, once computed, the
    /// [fingerprints](Self::identify); recorded with a run.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint;

    #[test]
    fn a_few_images_are_both_trained_and_tested_on() {
        let set = Dataset::random(100, 8, 5);
        assert_eq!((set.name.as_str(), set.train.len(), set.test.len()), ("random", 100, 100));
        let few = Dataset { class_names: vec!["a".to_string()], ..set }.few(10);
        assert_eq!((few.name.as_str(), few.train.len(), few.test.len()), ("10 of random", 10, 10));
        assert_eq!((few.class_names.len(), few.notes.len()), (1, 1));
    }

    #[test]
    fn statistics_are_those_of_all_images_with_or_without_a_hold_out() {
        let set = Dataset::random(20, 8, 5);
        let measured = |set: &Dataset| {
            set.measure(1, ReadTimeouts::default(), &mut |_, _| true).unwrap().unwrap()
        };
        let all = measured(&set);
        let less = set.hold_out(4);
        assert_eq!((less.train.len(), less.test.len()), (15, 5));
        assert_eq!(less.name, "random less every 4th");
        assert_eq!(measured(&less), all);
    }

    #[test]
    fn a_summary_has_fingerprints_once_they_are_computed() {
        let mut set = Dataset::random(20, 8, 5);
        assert!(set.summary().get("fingerprints").is_none());
        let known = set.identify(ReadTimeouts::default(), &mut |_| true).unwrap().cloned().unwrap();
        assert_eq!(known, [&set.train, &set.test].map(|source| fingerprint(&**source)));
        assert_eq!(set.summary()["fingerprints"], json!(known));
    }
}
