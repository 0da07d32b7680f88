//! A training and a test set, and what a run makes of them.

use crate::{
    Fake, Patience, Result, Source, Stalled, Statistics, Subset, Watch, fingerprint_watched,
};
use serde_json::{Value, json};
use std::sync::Arc;

/// A training and a test set with the same classes and sizes.
#[derive(Clone)]
pub struct Dataset {
    /// What was opened, and what was made of it.
    pub name: String,
    /// Images to train on.
    pub train: Arc<dyn Source>,
    /// Images to test on.
    pub test: Arc<dyn Source>,
    /// What each class is called in words, in the order of labels; empty where the data has no
    /// names besides [`Source::classes`], which tell classes apart. Names need not be unique.
    pub class_names: Vec<String>,
    /// What the user should be told, once.
    pub notes: Vec<String>,
    /// What was measured when the set was prepared, if it was, and at the size that is asked for.
    pub statistics: Option<Statistics>,
    /// What is measured for the statistics, if that is not what is trained on.
    pub(crate) measured: Option<Arc<dyn Source>>,
    /// Digests of what is trained on and of what is tested on.
    pub(crate) fingerprints: Option<[String; 2]>,
}

/// Hears how many of how many images have been read, and of one that takes long; says whether to go
/// on.
pub type WatchOfMany<'a> = dyn FnMut((usize, usize), Option<&Stalled>) -> bool + 'a;

impl Dataset {
    /// Of larger sets, so many images make the mean and the colours' statistics.
    const MEASURED: usize = 100_000;

    pub(crate) fn new(name: String, train: Arc<dyn Source>, test: Arc<dyn Source>) -> Dataset {
        let (class_names, notes) = (Vec::new(), Vec::new());
        let (statistics, measured, fingerprints) = (None, None, None);
        Dataset { name, train, test, class_names, notes, statistics, measured, fingerprints }
    }

    /// `count` random images of `classes` classes; some of them, spread over all, to test on.
    pub fn random(count: usize, side: usize, classes: usize) -> Dataset {
        let images: Arc<dyn Source> = Arc::new(Fake::new(count, side, classes));
        let test = Arc::new(Subset::spread(Arc::clone(&images), count.min(256)));
        let notes = vec!["random images: only the times mean anything".to_string()];
        Dataset { notes, ..Dataset::new("random".to_string(), images, test) }
    }

    /// `count` of the training images, spread over all, to train and to test on.
    pub fn few(self, count: usize) -> Dataset {
        let few: Arc<dyn Source> = Arc::new(Subset::spread(self.train, count));
        let name = format!("{} of {}", few.len(), self.name);
        let Dataset { class_names, notes, .. } = self;
        Dataset { class_names, notes, ..Dataset::new(name, Arc::clone(&few), few) }
    }

    /// Takes the last of every `nth` training image away from training, to test on. What is
    /// subtracted stays the mean of all, so that a run may go on with all.
    pub fn hold_out(self, nth: usize) -> Dataset {
        let (rest, held) = Subset::hold_out(Arc::clone(&self.train), nth);
        let name = format!("{} less every {nth}th", self.name);
        let Dataset { class_names, notes, statistics, train, .. } = self;
        let held_out = Dataset::new(name, Arc::new(rest), Arc::new(held));
        Dataset { class_names, notes, statistics, measured: Some(train), ..held_out }
    }

    /// Finds out what these images are known by, whatever they are called, which is then a part of
    /// their [`summary`](Self::summary): digests of what is trained on and of what is tested on,
    /// with [`fingerprint_watched`]. `None` if `watch` stopped it.
    ///
    /// # Errors
    /// As there.
    pub fn identify(
        &mut self,
        patience: Patience,
        watch: &mut Watch,
    ) -> Result<Option<&[String; 2]>> {
        let mut of = |source| fingerprint_watched(source, patience, watch);
        let Some(train) = of(&self.train)? else { return Ok(None) };
        let Some(test) = of(&self.test)? else { return Ok(None) };
        Ok(Some(self.fingerprints.insert([train, test])))
    }

    /// Mean image and colours of the training images: as they are stored with a prepared set, else
    /// measured, with [`Statistics::of_watched`]. `None` if `watch` stopped it.
    ///
    /// # Errors
    /// As there.
    pub fn measure(
        &self,
        threads: usize,
        patience: Patience,
        watch: &mut WatchOfMany,
    ) -> Result<Option<Statistics>> {
        if let Some(stored) = &self.statistics {
            return Ok(Some(stored.clone()));
        }
        let measured = self.measured.as_ref().unwrap_or(&self.train);
        let count = measured.len().min(Self::MEASURED);
        let mut watch = |done, stalled: Option<&Stalled>| watch((done, count), stalled);
        Statistics::of_watched(measured, threads, Some(count), patience, &mut watch)
    }

    /// Name, numbers, size and classes, and what the images are [known by](Self::identify), for
    /// whoever keeps a record of them.
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
    fn of_a_few_images_all_are_learned_and_tested() {
        let set = Dataset::random(100, 8, 5);
        assert_eq!((set.name.as_str(), set.train.len(), set.test.len()), ("random", 100, 100));
        let few = Dataset { class_names: vec!["a".to_string()], ..set }.few(10);
        assert_eq!((few.name.as_str(), few.train.len(), few.test.len()), ("10 of random", 10, 10));
        assert_eq!((few.class_names.len(), few.notes.len()), (1, 1));
    }

    #[test]
    fn what_is_subtracted_is_the_mean_of_all_whatever_is_held_out() {
        let set = Dataset::random(20, 8, 5);
        let measured =
            |set: &Dataset| set.measure(1, Patience::default(), &mut |_, _| true).unwrap().unwrap();
        let all = measured(&set);
        let less = set.hold_out(4);
        assert_eq!((less.train.len(), less.test.len()), (15, 5));
        assert_eq!(less.name, "random less every 4th");
        assert_eq!(measured(&less), all);
    }

    #[test]
    fn a_summary_has_fingerprints_once_they_are_known() {
        let mut set = Dataset::random(20, 8, 5);
        assert!(set.summary().get("fingerprints").is_none());
        let known = set.identify(Patience::default(), &mut |_| true).unwrap().cloned().unwrap();
        assert_eq!(known, [&set.train, &set.test].map(|source| fingerprint(&**source)));
        assert_eq!(set.summary()["fingerprints"], json!(known));
    }
}
