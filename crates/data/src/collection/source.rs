//! The images of a collection, read where they are: from archives, for instance.

use super::{Collection, LabelledFile};
use crate::decode::ExifMode;
use crate::square::SquareDecoder;
use crate::{Crops, ReadBuffer, Result, Source};
use augment::CentreSquare;
use std::path::Path;
use std::sync::Arc;

/// The training or the test images of a collection.
pub(crate) struct CollectionSource {
    collection: Arc<Collection>,
    is_test: bool,
    classes: Arc<[String]>,
    decoder: SquareDecoder,
}

impl CollectionSource {
    /// The training and the test images as squares.
    pub(crate) fn split(
        collection: Collection,
        square: CentreSquare,
        exif: ExifMode,
    ) -> (CollectionSource, CollectionSource) {
        let classes: Arc<[String]> =
            collection.classes.iter().map(|class| class.id.clone()).collect();
        let (train, test) = (collection.train.len(), collection.test.len());
        let collection = Arc::new(collection);
        let set = |is_test, images| CollectionSource {
            collection: Arc::clone(&collection),
            is_test,
            classes: Arc::clone(&classes),
            decoder: SquareDecoder::new(square, exif, images),
        };
        (set(false, train), set(true, test))
    }

    fn files(&self) -> &[LabelledFile] {
        if self.is_test { &self.collection.test } else { &self.collection.train }
    }
}

impl Source for CollectionSource {
    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn size(&self) -> (usize, usize) {
        self.decoder.size()
    }

    fn len(&self) -> usize {
        self.files().len()
    }

    fn label(&self, index: usize) -> u32 {
        self.files()[index].label
    }

    fn name(&self, index: usize) -> String {
        self.files()[index].name.clone()
    }

    fn read<'a>(&'a self, index: usize, buffer: &'a mut ReadBuffer) -> Result<&'a [u8]> {
        let file = &self.files()[index];
        self.collection.read(file, &mut buffer.file)?;
        self.decoder.read(index, Path::new(&file.name), buffer)
    }

    fn read_crops(&self, index: usize, crops: Crops<'_>, buffer: &mut ReadBuffer) -> Result<()> {
        let file = &self.files()[index];
        self.collection.read(file, &mut buffer.file)?;
        self.decoder.read_crops(index, Path::new(&file.name), crops, buffer)
    }

    fn remarks(&self) -> Vec<String> {
        self.decoder.remarks(|index| self.name(index))
    }
}
