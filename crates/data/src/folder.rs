//! Folders of images.

use crate::collection::Class;
use crate::decode::{ExifMode, read_file, read_square};
use crate::ilsvrc::tiny_imagenet;
use crate::jpeg::Extent;
use crate::layout::classes::{check_count, scan};
use crate::layout::skipped::Skipped;
use crate::layout::tree::{Disk, EntryKind, Tree};
use crate::layout::{Arranged, Labelling, arrange};
use crate::seen::Seen;
use crate::source::part_of;
use crate::{Error, ReadBuffer, Result, Source};
use augment::{Resizer, View};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Image files and their labels: mostly in folders named for their classes, in the order of their
/// names.
#[derive(Debug)]
pub struct Folder {
    classes: Arc<[String]>,
    files: Vec<(u32, PathBuf)>,
    side: usize,
    exif: ExifMode,
    seen: Seen,
}

/// A training and a test set, and what should be said about them.
pub(crate) struct Split {
    pub(crate) train: Folder,
    pub(crate) test: Folder,
    /// In words; empty where no class has a name besides its id.
    pub(crate) class_names: Vec<String>,
    pub(crate) notes: Vec<String>,
}

impl Folder {
    /// The images of `root/<class>/`; each is delivered as `side` x `side` pixels: shorter side
    /// resized, then the centre.
    ///
    /// Files in subfolders count as their class's. Hidden files, and files whose names end in
    /// something that no image does, are passed over.
    ///
    /// # Errors
    /// If a folder cannot be read, there are fewer than two classes, a class has no image, or two
    /// classes cannot be told apart.
    pub fn open(root: &Path, side: usize) -> Result<Folder> {
        let classes = scan(&Disk::new(root), Path::new(""), &mut Skipped::default())?;
        check_count(root, &classes.names)?;
        Ok(Folder::of(root, classes.names.into(), classes.files, side))
    }

    fn of(root: &Path, classes: Arc<[String]>, files: Vec<(u32, PathBuf)>, side: usize) -> Folder {
        let absolute = |(label, path)| (label, root.join(path));
        let files: Vec<_> = files.into_iter().map(absolute).collect();
        let seen = Seen::new(files.len());
        Folder { classes, files, side, exif: ExifMode::Ignore, seen }
    }

    /// The same images with what is done about their EXIF orientation; at first it is ignored.
    pub fn with_exif(self, exif: ExifMode) -> Folder {
        Folder { exif, ..self }
    }

    fn notice(&self, index: usize, is_oriented: bool, is_enlarged: bool) {
        if is_oriented {
            self.seen.oriented(index);
        }
        if is_enlarged {
            self.seen.enlarged(index);
        }
    }

    /// The path of image `index`.
    pub fn path(&self, index: usize) -> &Path {
        &self.files[index].1
    }

    /// What `root` holds, in any layout that is known.
    pub(crate) fn split(root: &Path, labelling: &Labelling, side: usize) -> Result<Split> {
        let arranged = arrange(&Disk::new(root), labelling)?;
        let Arranged { kind, classes, train, test, mut notes } = arranged;
        if kind == tiny_imagenet::KIND {
            let root = root.display();
            notes.push(format!(
                "{root}: taken for Tiny-ImageNet; `alexnet data prepare --from {root} --out \
                 tiny-imagenet` packs it into shards, which are read faster"
            ));
        }
        let class_names = class_names(&classes);
        let ids: Arc<[String]> = classes.into_iter().map(|class| class.id).collect();
        let of = |files| Folder::of(root, Arc::clone(&ids), files, side);
        Ok(Split { train: of(train), test: of(test), class_names, notes })
    }
}

/// What classes are called in words; empty if no class has words.
pub(crate) fn class_names(classes: &[Class]) -> Vec<String> {
    if classes.iter().any(|class| !class.words.is_empty()) {
        classes.iter().map(|class| class.words.clone()).collect()
    } else {
        Vec::new()
    }
}

/// What lies in a folder, in the order of names, without what is hidden or junk.
pub(crate) fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = Disk::new(folder).list(Path::new(""))?.into_iter();
    let shown = entries.filter(|entry| entry.kind != EntryKind::Hidden);
    Ok(shown.map(|entry| folder.join(entry.name)).collect())
}

impl Source for Folder {
    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn size(&self) -> (usize, usize) {
        (self.side, self.side)
    }

    fn len(&self) -> usize {
        self.files.len()
    }

    fn label(&self, index: usize) -> u32 {
        self.files[index].0
    }

    fn name(&self, index: usize) -> String {
        self.path(index).display().to_string()
    }

    fn read<'a>(&'a self, index: usize, buffer: &'a mut ReadBuffer) -> Result<&'a [u8]> {
        let (_, enlarged) = read_square(self.path(index), self.side, self.exif, buffer)?;
        self.notice(index, buffer.is_oriented(), enlarged);
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
        read_file(self.path(index), buffer)?;
        let part = part_of(views, size, self.size());
        buffer
            .decode_part(
                self.exif,
                |whole| Resizer::square_reach(whole, self.side, part),
                Extent::Needed,
            )
            .map_err(|reason| Error::image(self.path(index), reason))?;
        let enlarged = buffer.decoded.height.min(buffer.decoded.width) < self.side;
        self.notice(index, buffer.is_oriented(), enlarged);
        buffer.square_crops(self.side, views, size, into);
        Ok(())
    }

    fn remarks(&self) -> Vec<String> {
        self.seen.remarks(self.side, self.exif, |index| self.name(index))
    }
}

#[cfg(test)]
mod tests;
