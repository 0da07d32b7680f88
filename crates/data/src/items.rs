//! The images of a collection, for training as they lie: in archives, for instance.

use crate::collection::{Collection, Item};
use crate::decode::square;
use crate::jpeg::Extent;
use crate::source::part_of;
use crate::{Error, ReadBuffer, Result, Source};
use augment::{Resizer, View};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One of the two sets of a collection; each image is delivered as `side` x `side` pixels: shorter
/// side resized, then the centre.
pub(crate) struct Items {
    collection: Arc<Collection>,
    is_test: bool,
    classes: Arc<[String]>,
    side: usize,
    first_enlarged: AtomicUsize,
}

impl Items {
    /// The training and the test images.
    pub(crate) fn of(collection: Collection, side: usize) -> (Items, Items) {
        let classes = collection.classes.iter().map(|class| class.id.clone()).collect();
        let (collection, classes) = (Arc::new(collection), classes);
        let set = |is_test| Items {
            collection: Arc::clone(&collection),
            is_test,
            classes: Arc::clone(&classes),
            side,
            first_enlarged: AtomicUsize::new(usize::MAX),
        };
        (set(false), set(true))
    }

    fn items(&self) -> &[Item] {
        if self.is_test { &self.collection.test } else { &self.collection.train }
    }

    fn note_size(&self, index: usize, is_enlarged: bool) {
        if is_enlarged {
            self.first_enlarged.fetch_min(index, Ordering::Relaxed);
        }
    }
}

impl Source for Items {
    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn size(&self) -> (usize, usize) {
        (self.side, self.side)
    }

    fn len(&self) -> usize {
        self.items().len()
    }

    fn label(&self, index: usize) -> u32 {
        self.items()[index].label
    }

    fn name(&self, index: usize) -> String {
        self.items()[index].name.clone()
    }

    fn read<'a>(&'a self, index: usize, buffer: &'a mut ReadBuffer) -> Result<&'a [u8]> {
        let item = &self.items()[index];
        self.collection.read(item, &mut buffer.file)?;
        let failed = |reason| Error::image(Path::new(&item.name), reason);
        let (pixels, is_enlarged) = square(self.side, buffer).map_err(failed)?;
        self.note_size(index, is_enlarged);
        Ok(pixels)
    }

    fn read_crops(
        &self,
        index: usize,
        views: &[View],
        size: (usize, usize),
        into: &mut [u8],
        buffer: &mut ReadBuffer,
    ) -> Result<()> {
        let item = &self.items()[index];
        self.collection.read(item, &mut buffer.file)?;
        let part = part_of(views, size, self.size());
        buffer
            .decode_part(|whole| Resizer::square_reach(whole, self.side, part), Extent::Needed)
            .map_err(|reason| Error::image(Path::new(&item.name), reason))?;
        let shorter = buffer.decoded.height.min(buffer.decoded.width);
        self.note_size(index, shorter < self.side);
        buffer.square_crops(self.side, views, size, into);
        Ok(())
    }

    fn remarks(&self) -> Vec<String> {
        let side = self.side;
        match self.first_enlarged.load(Ordering::Relaxed) {
            usize::MAX => Vec::new(),
            first => vec![format!(
                "images smaller than {side} x {side} pixels are enlarged, {} among them",
                self.name(first)
            )],
        }
    }
}
