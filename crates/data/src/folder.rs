//! Image files in folders.

use crate::collection::Class;
use crate::decode::{ExifMode, read_file};
use crate::ilsvrc::tiny_imagenet;
use crate::layout::classes::{check_count, scan};
use crate::layout::skipped::SkippedFiles;
use crate::layout::tree::{DiskTree, FileTree, TreeEntryKind};
use crate::layout::{Arranged, Labelling, arrange};
use crate::square::SquareDecoder;
use crate::{Crops, ReadBuffer, Result, Source};
use augment::CentreRounding;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Image files and their labels, usually in folders named after their classes; in the order of
/// their paths.
#[derive(Debug)]
pub struct Folder {
    classes: Arc<[String]>,
    files: Vec<(u32, PathBuf)>,
    decoder: SquareDecoder,
}

/// A training and a test set, and notes for the user.
pub(crate) struct TrainTest<S> {
    pub(crate) train: S,
    pub(crate) test: S,
    /// Names in words; empty if classes have only ids.
    pub(crate) class_names: Vec<String>,
    pub(crate) notes: Vec<String>,
}

impl Folder {
    /// The images of `root/<class>/`, delivered as `side` x `side` pixels: shorter side resized,
    /// then the centre square.
    ///
    /// Files in subfolders of a class belong to it. Hidden files, and files without the extension
    /// of an image, are skipped.
    ///
    /// # Errors
    /// If a folder cannot be read, there are fewer than two classes, a class has no image, or two
    /// classes cannot be told apart.
    pub fn open(root: impl AsRef<Path>, side: usize) -> Result<Folder> {
        let root = root.as_ref();
        let classes = scan(&DiskTree::new(root), Path::new(""), &mut SkippedFiles::default())?;
        check_count(root, &classes.names)?;
        Ok(Folder::of(root, classes.names.into(), classes.files, side))
    }

    fn of(root: &Path, classes: Arc<[String]>, files: Vec<(u32, PathBuf)>, side: usize) -> Folder {
        let absolute = |(label, path)| (label, root.join(path));
        let files: Vec<_> = files.into_iter().map(absolute).collect();
        let decoder = SquareDecoder::new(side.into(), ExifMode::Ignore, files.len());
        Folder { classes, files, decoder }
    }

    /// Sets how EXIF orientation is handled; the default is to ignore it.
    pub fn with_exif(mut self, exif: ExifMode) -> Folder {
        self.decoder.exif = exif;
        self
    }

    /// Sets how half a pixel is rounded in the position of the centre square; the default is down.
    pub fn with_centre(mut self, rounding: CentreRounding) -> Folder {
        self.decoder.square.rounding = rounding;
        self
    }

    /// The path of image `index`.
    pub fn path(&self, index: usize) -> &Path {
        &self.files[index].1
    }

    /// The data set in `root`, in any known layout.
    pub(crate) fn split(
        root: &Path,
        labelling: &Labelling,
        side: usize,
    ) -> Result<TrainTest<Folder>> {
        let arranged = arrange(&DiskTree::new(root), labelling)?;
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
        Ok(TrainTest { train: of(train), test: of(test), class_names, notes })
    }
}

/// The names of the classes in words; empty if no class has one.
pub(crate) fn class_names(classes: &[Class]) -> Vec<String> {
    if classes.iter().any(|class| !class.words.is_empty()) {
        classes.iter().map(|class| class.words.clone()).collect()
    } else {
        Vec::new()
    }
}

/// The paths in a folder, sorted by name, without hidden and junk files.
pub(crate) fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = DiskTree::new(folder).list(Path::new(""))?.into_iter();
    let shown = entries.filter(|entry| entry.kind != TreeEntryKind::Hidden);
    Ok(shown.map(|entry| folder.join(entry.name)).collect())
}

impl Source for Folder {
    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn size(&self) -> (usize, usize) {
        self.decoder.size()
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
        read_file(self.path(index), buffer)?;
        self.decoder.read(index, self.path(index), buffer)
    }

    fn read_crops(&self, index: usize, crops: Crops<'_>, buffer: &mut ReadBuffer) -> Result<()> {
        read_file(self.path(index), buffer)?;
        self.decoder.read_crops(index, self.path(index), crops, buffer)
    }

    fn remarks(&self) -> Vec<String> {
        self.decoder.remarks(|index| self.name(index))
    }
}

#[cfg(test)]
mod tests;
