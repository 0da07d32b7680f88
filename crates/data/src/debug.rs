//! `Debug` of sources and loaders: what they are, without pixels, file lists and threads.

use crate::{
    Cifar, Dataset, Epoch, Fake, Idx, LoadedBatch, Loader, LoaderBuilder, Memory, Shards, Source,
    Subset, unlabelled,
};
use std::fmt;

/// The number of images, their size, and the number of classes.
impl fmt::Debug for dyn Source + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe(self, "Source", f)
    }
}

fn describe(source: &dyn Source, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.debug_struct(name)
        .field("images", &source.len())
        .field("size", &source.size())
        .field("classes", &source.classes().len())
        .finish()
}

macro_rules! describe {
    ($($kind:ty),+) => {
        $(impl fmt::Debug for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let name = stringify!($kind).rsplit(':').next().unwrap_or_default();
                describe(self, name, f)
            }
        })+
    };
}

describe!(Cifar, Fake, Idx, Memory, Shards, Subset);
describe!(unlabelled::UnlabelledFiles, unlabelled::UnlabelledImages);

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Dataset { name, train, test, .. } = self;
        let mut lines = f.debug_struct("Dataset");
        lines.field("name", name).field("train", train).field("test", test).finish_non_exhaustive()
    }
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (source, plan) = (self.source(), self.plan());
        f.debug_struct("Loader").field("source", source).field("plan", plan).finish_non_exhaustive()
    }
}

impl fmt::Debug for LoaderBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoaderBuilder").finish_non_exhaustive()
    }
}

impl fmt::Debug for Epoch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Epoch").finish_non_exhaustive()
    }
}

impl fmt::Debug for LoadedBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = f.debug_struct("LoadedBatch");
        lines.field("epoch", &self.epoch).field("position", &self.position);
        lines.field("images", &self.images).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_show_what_they_are_and_no_pixels() {
        let source = Fake::new(5, 24, 2);
        assert_eq!(format!("{source:?}"), "Fake { images: 5, size: (24, 24), classes: 2 }");
        let source: &dyn Source = &source;
        assert_eq!(format!("{source:?}"), "Source { images: 5, size: (24, 24), classes: 2 }");
    }
}
