//! The images of a collection, for training as they lie: in archives, for instance.

use crate::collection::{Collection, Item};
use crate::decode::{ExifMode, square};
use crate::jpeg::Extent;
use crate::seen::Seen;
use crate::source::part_of;
use crate::{Error, ReadBuffer, Result, Source};
use augment::{Resizer, View};
use std::path::Path;
use std::sync::Arc;

/// One of the two sets of a collection; each image is delivered as `side` x `side` pixels: shorter
/// side resized, then the centre.
pub(crate) struct Items {
    collection: Arc<Collection>,
    is_test: bool,
    classes: Arc<[String]>,
    side: usize,
    exif: ExifMode,
    seen: Seen,
}

impl Items {
    /// The training and the test images, upright or as they are stored.
    pub(crate) fn of(collection: Collection, (side, exif): (usize, ExifMode)) -> (Items, Items) {
        let classes = collection.classes.iter().map(|class| class.id.clone()).collect();
        let (collection, classes) = (Arc::new(collection), classes);
        let set = |is_test| Items {
            collection: Arc::clone(&collection),
            is_test,
            classes: Arc::clone(&classes),
            side,
            exif,
            seen: Seen::new(collection.train.len().max(collection.test.len())),
        };
        (set(false), set(true))
    }

    fn items(&self) -> &[Item] {
        if self.is_test { &self.collection.test } else { &self.collection.train }
    }

    fn notice(&self, index: usize, is_oriented: bool, is_enlarged: bool) {
        if is_oriented {
            self.seen.oriented(index);
        }
        if is_enlarged {
            self.seen.enlarged(index);
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
        let (_, is_enlarged) = square(self.side, self.exif, buffer).map_err(failed)?;
        self.notice(index, buffer.is_oriented(), is_enlarged);
        Ok(&buffer.image.pixels)
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
            .decode_part(
                self.exif,
                |whole| Resizer::square_reach(whole, self.side, part),
                Extent::Needed,
            )
            .map_err(|reason| Error::image(Path::new(&item.name), reason))?;
        let shorter = buffer.decoded.height.min(buffer.decoded.width);
        self.notice(index, buffer.is_oriented(), shorter < self.side);
        buffer.square_crops(self.side, views, size, into);
        Ok(())
    }

    fn remarks(&self) -> Vec<String> {
        self.seen.remarks(self.side, self.exif, |index| self.name(index))
    }
}
