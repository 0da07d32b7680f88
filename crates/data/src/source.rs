//! The interface of a set of images.

use crate::Result;
use crate::decode::{self, ExifMode, Orientation, Reason};
use crate::jpeg::{Extent, Jpeg};
use augment::{CentreSquare, Image, Rectangle, Resizer, View};
use std::sync::Arc;

/// A set of labelled images of one size. Any image can be read at any time from any thread.
pub trait Source: Send + Sync {
    /// The names of the classes, in the order of their labels.
    fn classes(&self) -> &[String];

    /// Height and width of every image, in pixels.
    fn size(&self) -> (usize, usize);

    /// The number of images.
    fn len(&self) -> usize;

    /// Whether there are no images.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The class of image `index`.
    ///
    /// # Panics
    /// If `index` is out of range (as the methods below).
    fn label(&self, index: usize) -> u32;

    /// The name of image `index` for messages: its path, if it has one.
    fn name(&self, index: usize) -> String;

    /// The pixels of image `index`: height x width x 3 bytes, in the source or in `buffer`.
    ///
    /// # Errors
    /// If the image cannot be read or decoded.
    fn read<'a>(&'a self, index: usize, buffer: &'a mut ReadBuffer) -> Result<&'a [u8]>;

    /// Height and width of the area of image `index` that crops may be taken from. This is
    /// [`size`](Self::size), unless the source stores whole images; then [`read`](Self::read)
    /// returns the centre square.
    fn size_of(&self, index: usize) -> (usize, usize) {
        let _ = index;
        self.size()
    }

    /// Copies crops of image `index`. Their views are positions in an image of
    /// [`size_of`](Self::size_of).
    ///
    /// A source may decode only the part of the image that a crop shows; the pixels are the same.
    ///
    /// # Errors
    /// If the image cannot be read or decoded; the content of `crops.into` is then unspecified.
    ///
    /// # Panics
    /// If a crop exceeds the image, or `crops.into` does not have the size of these crops.
    fn read_crops(&self, index: usize, crops: Crops<'_>, buffer: &mut ReadBuffer) -> Result<()> {
        let width = self.size().1;
        crops.copy(self.read(index, buffer)?, width);
        Ok(())
    }

    /// Messages for the user about the images read so far; to be shown once.
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Crops of one image that are read into memory.
#[derive(Debug)]
pub struct Crops<'a> {
    /// The position of each crop; crops are not mirrored.
    pub views: &'a [View],
    /// Height and width of each crop, in pixels.
    pub size: (usize, usize),
    /// The pixels of the crops, one after another: height x width x 3 bytes each.
    pub into: &'a mut [u8],
}

impl Crops<'_> {
    /// Each view with its pixels.
    ///
    /// # Panics
    /// If `into` does not have the size of these crops.
    pub(crate) fn each(&mut self) -> impl Iterator<Item = (&View, &mut [u8])> {
        let Crops { views, size, into } = self;
        let bytes = size.0 * size.1 * 3;
        assert_eq!(into.len(), views.len() * bytes, "{} crops of {size:?}", views.len());
        views.iter().zip(into.chunks_exact_mut(bytes))
    }

    /// Copies the crops out of an image in memory.
    pub(crate) fn copy(mut self, pixels: &[u8], width: usize) {
        let size = self.size;
        for (view, to) in self.each() {
            augment::crop(pixels, width, view.top, view.left, size, to);
        }
    }

    /// The part of an image of `whole` (height, width) that the views cover.
    pub(crate) fn part(&self, whole: (usize, usize)) -> Rectangle {
        let (height, width) = self.size;
        match *self.views {
            [View { top, left, .. }] => Rectangle { top, left, height, width },
            _ => Rectangle::whole(whole),
        }
    }
}

/// Memory for reading and decoding an image. Each thread reuses one, so that reading does not
/// allocate.
#[derive(Debug, Default)]
pub struct ReadBuffer {
    /// The bytes of a file.
    pub file: Vec<u8>,
    /// The decoded image.
    pub decoded: Image,
    /// The image after resizing.
    pub image: Image,
    /// Resizes `decoded` to `image`.
    pub resizer: Resizer,
    /// A row of colours before rounding.
    pub row: Vec<f32>,
    /// The JPEG decoder's memory.
    pub(crate) jpeg: Jpeg,
    /// The decoded image before its EXIF orientation is applied.
    stored: Image,
    /// Whether the last image has an EXIF orientation that differs from the stored one.
    is_oriented: bool,
}

/// Larger image buffers are freed before the next image, so that one huge image does not occupy
/// memory for the rest of the run.
const KEPT_BYTES: usize = 64 << 20;

impl ReadBuffer {
    /// Decodes `file` into `decoded`, and checks that the image can be resized.
    pub(crate) fn decode(&mut self, exif: ExifMode) -> std::result::Result<(), Reason> {
        self.decode_part(exif, Rectangle::whole, Extent::Whole)
    }

    /// Whether the last decoded image has an EXIF orientation that differs from the stored one.
    pub fn is_oriented(&self) -> bool {
        self.is_oriented
    }

    /// As [`decode`](Self::decode), but only of the part that `part` returns for the image's height
    /// and width; all other pixels are unspecified.
    pub(crate) fn decode_part(
        &mut self,
        exif: ExifMode,
        part: impl FnOnce((usize, usize)) -> Rectangle,
        extent: Extent,
    ) -> std::result::Result<(), Reason> {
        for image in [&mut self.decoded, &mut self.stored, &mut self.image] {
            if image.pixels.capacity() > KEPT_BYTES {
                *image = Image::default();
            }
        }
        let ReadBuffer { file, jpeg, stored, decoded, .. } = self;
        let orientation = Orientation::of(file);
        self.is_oriented = orientation.is_some();
        match orientation.filter(|_| exif == ExifMode::Apply) {
            None => decode::decode_part(file, part, extent, jpeg, decoded)?,
            Some(orientation) => {
                let mut wanted = None;
                let stored_part = |size| {
                    let part = part(orientation.size(size));
                    wanted = Some(part);
                    orientation.stored_part(part, size)
                };
                decode::decode_part(file, stored_part, extent, jpeg, stored)?;
                let whole = Rectangle::whole(orientation.size((stored.height, stored.width)));
                orientation.apply(stored, wanted.unwrap_or(whole), decoded);
            }
        }
        decode::check_shape(decoded)
    }

    /// Crops of the centre square of `decoded`, after its shorter side is resized. For a
    /// single crop, only its pixels are computed.
    pub(crate) fn square_crops(&mut self, square: impl Into<CentreSquare>, crops: Crops<'_>) {
        let square = square.into();
        if let [_] = crops.views {
            let part = crops.part((square.side, square.side));
            self.resizer.square_crop(&self.decoded, square, part, crops.into);
        } else {
            self.resizer.square(&self.decoded, square, &mut self.image);
            crops.copy(&self.image.pixels, square.side);
        }
    }
}

/// A part of another source.
#[derive(Clone)]
pub struct Subset {
    source: Arc<dyn Source>,
    selection: Selection,
    len: usize,
}

/// Which images of the whole. All variants are evenly spaced, because a source may be ordered by
/// class.
#[derive(Clone, Copy, Debug)]
enum Selection {
    /// The requested number of images.
    Spread,
    /// The last of every n images.
    Every(usize),
    /// All but the last of every n images.
    AllBut(usize),
}

impl Subset {
    /// `len` evenly spaced images of `source`, or all if it has fewer.
    pub fn spread(source: Arc<dyn Source>, len: usize) -> Subset {
        let len = len.min(source.len());
        Subset { source, selection: Selection::Spread, len }
    }

    /// Splits `source` into all images but the last of every `nth`, and those: a training part and
    /// a held-out part.
    ///
    /// # Panics
    /// If `nth` is less than 2.
    pub fn hold_out(source: Arc<dyn Source>, nth: usize) -> (Subset, Subset) {
        assert!(nth >= 2, "every image is held out");
        let held = source.len() / nth;
        let rest = source.len() - held;
        (
            Subset { source: Arc::clone(&source), selection: Selection::AllBut(nth), len: rest },
            Subset { source, selection: Selection::Every(nth), len: held },
        )
    }

    fn original(&self, index: usize) -> usize {
        assert!(index < self.len, "image {index} of {}", self.len);
        match self.selection {
            Selection::Spread => {
                (index as u64 * self.source.len() as u64 / self.len as u64) as usize
            }
            Selection::Every(nth) => index * nth + nth - 1,
            Selection::AllBut(nth) => index + index / (nth - 1),
        }
    }
}

impl Source for Subset {
    fn classes(&self) -> &[String] {
        self.source.classes()
    }

    fn size(&self) -> (usize, usize) {
        self.source.size()
    }

    fn len(&self) -> usize {
        self.len
    }

    fn label(&self, index: usize) -> u32 {
        self.source.label(self.original(index))
    }

    fn name(&self, index: usize) -> String {
        self.source.name(self.original(index))
    }

    fn read<'a>(&'a self, index: usize, buffer: &'a mut ReadBuffer) -> Result<&'a [u8]> {
        self.source.read(self.original(index), buffer)
    }

    fn size_of(&self, index: usize) -> (usize, usize) {
        self.source.size_of(self.original(index))
    }

    fn read_crops(&self, index: usize, crops: Crops<'_>, buffer: &mut ReadBuffer) -> Result<()> {
        self.source.read_crops(self.original(index), crops, buffer)
    }

    fn remarks(&self) -> Vec<String> {
        self.source.remarks()
    }
}

/// Indices of `count` images of a source (all, if it has fewer), spread over the source and over
/// as many classes as possible.
pub fn spread_over_classes(source: &dyn Source, count: usize) -> Vec<usize> {
    let (classes, len) = (source.classes().len().max(1), source.len());
    let mut chosen: Vec<usize> = Vec::new();
    for number in 0..count.min(len) {
        let few = count < classes;
        let class = if few { number * classes / count } else { number % classes } as u32;
        let from = number * len / count.max(1);
        let order = (from..len).chain(0..from);
        let free: Vec<usize> = order.filter(|at| !chosen.contains(at)).collect();
        let own = free.iter().find(|&&at| source.label(at) == class);
        chosen.extend(own.or(free.first()));
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fake;
    use std::collections::BTreeSet;

    #[test]
    fn held_out_images_and_the_rest_form_the_whole() {
        for (len, nth) in [(50, 5), (53, 5), (9, 2), (3, 7)] {
            let whole: Arc<dyn Source> = Arc::new(Fake::new(len, 4, 10));
            let (rest, held) = Subset::hold_out(whole, nth);
            assert_eq!((rest.len() + held.len(), held.len()), (len, len / nth));
            let indices = |part: &Subset| (0..part.len()).map(|at| part.original(at)).collect();
            let (rest, held): (BTreeSet<_>, BTreeSet<_>) = (indices(&rest), indices(&held));
            assert!(held.iter().all(|at| at % nth == nth - 1), "{held:?}");
            assert_eq!(rest.union(&held).count(), len, "{rest:?} {held:?}");
        }
    }

    #[test]
    fn images_cover_as_many_classes_as_possible() {
        let source = Fake::new(40, 8, 10);
        for (count, expected) in [(4, 4), (10, 10), (25, 10)] {
            let chosen = spread_over_classes(&source, count);
            let distinct: BTreeSet<_> = chosen.iter().collect();
            let classes = chosen.iter().map(|&at| source.label(at));
            let classes: BTreeSet<u32> = classes.collect();
            assert_eq!((chosen.len(), distinct.len()), (count, count));
            assert_eq!(classes.len(), expected, "{chosen:?}");
        }
        assert_eq!(spread_over_classes(&source, 99).len(), 40);
    }
}
