//! Folders of images, one for each class.

use crate::decode::{read_file, read_square};
use crate::formats::{NameKind, kind_of_name};
use crate::jpeg::Extent;
use crate::source::part_of;
use crate::{Error, ReadBuffer, Result, Source};
use augment::{Resizer, View};
use random::Permutation;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// One image in this many is held out where a folder has no test images of its own.
const HELD_OUT: usize = 10;

/// Images in folders named for their classes, in the order of their names.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    classes: Vec<String>,
    files: Vec<(u32, PathBuf)>,
    side: usize,
    first_enlarged: AtomicUsize,
}

/// A training and a test set, and what should be said about them.
pub(crate) struct Split {
    pub(crate) train: Folder,
    pub(crate) test: Folder,
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
    /// If a folder cannot be read, there are fewer than two classes, or a class has no image.
    pub fn open(root: &Path, side: usize) -> Result<Folder> {
        let folder = Folder::scan(root, side)?;
        let remedy = "expected one folder for each class, with its images inside";
        match &folder.classes[..] {
            [] => Err(Error::layout(root, "no folder with images", remedy)),
            [one] => Err(Error::layout(
                root,
                format!("only one class, `{one}`, and a network must choose between two at least"),
                remedy,
            )),
            _ => Ok(folder),
        }
    }

    /// What lies there, however few the classes.
    fn scan(root: &Path, side: usize) -> Result<Folder> {
        let mut classes = Vec::new();
        let mut files = Vec::new();
        for entry in sorted(root)? {
            if !entry.is_dir() {
                continue;
            }
            let label = classes.len() as u32;
            let before = files.len();
            collect(&entry, label, &mut files)?;
            if files.len() == before {
                let remedy = "put images there, or remove the folder";
                return Err(Error::layout(&entry, "no image in this class's folder", remedy));
            }
            classes.push(entry.file_name().unwrap_or_default().to_string_lossy().into_owned());
        }
        Ok(Folder::of(root, classes, files, side))
    }

    fn of(root: &Path, classes: Vec<String>, files: Vec<(u32, PathBuf)>, side: usize) -> Folder {
        Folder {
            root: root.to_owned(),
            classes,
            files,
            side,
            first_enlarged: AtomicUsize::new(usize::MAX),
        }
    }

    /// The path of image `index`.
    pub fn path(&self, index: usize) -> &Path {
        &self.files[index].1
    }

    /// The classes, and the label and path of every image.
    pub(crate) fn into_files(self) -> (Vec<String>, Vec<(u32, PathBuf)>) {
        (self.classes, self.files)
    }

    /// `root/train` with `root/val` or `root/test`; or `root/<class>` with a part held out.
    pub(crate) fn split(root: &Path, side: usize) -> Result<Split> {
        let train = root.join("train");
        if !train.is_dir() {
            return Folder::open(root, side)?.hold_out("no `train` folder");
        }
        let train = Folder::open(&train, side)?;
        let named = ["val", "test"].map(|name| root.join(name));
        let Some(test) = named.into_iter().find(|path| path.is_dir()) else {
            return train.hold_out("no `val` or `test` folder beside `train`");
        };
        let test = Folder::scan(&test, side)?;
        agree(&train, &test)?;
        Ok(Split { train, test, notes: Vec::new() })
    }

    /// Splits off one image in ten of each class, always the same.
    fn hold_out(self, why: &str) -> Result<Split> {
        let mut held = vec![false; self.files.len()];
        let mut first = 0;
        for class in self.files.chunk_by(|a, b| a.0 == b.0) {
            let order = Permutation::new(0, class[0].0, class.len() as u64);
            let part = if class.len() == 1 { 0 } else { (class.len() / HELD_OUT).max(1) };
            for position in 0..part {
                held[first + order.at(position as u64) as usize] = true;
            }
            first += class.len();
        }
        let pick = |wanted: bool| -> Vec<(u32, PathBuf)> {
            let files = self.files.iter().zip(&held);
            files.filter(|&(_, &held)| held == wanted).map(|(file, _)| file.clone()).collect()
        };
        let (train, test) = (pick(false), pick(true));
        let root = self.root.display();
        let (test, note) = if test.is_empty() {
            let note = format!(
                "{root}: {why}, and no class has a second image to hold out: \
                 the test images are the training images"
            );
            (train.clone(), note)
        } else {
            let (count, all) = (test.len(), self.files.len());
            let note = format!(
                "{root}: {why}: {count} of {all} images are held out to test on, \
                 one in {HELD_OUT} of each class"
            );
            (test, note)
        };
        let folder = |files| Folder::of(&self.root, self.classes.clone(), files, self.side);
        Ok(Split { train: folder(train), test: folder(test), notes: vec![note] })
    }
}

/// Both sets must have the same classes, or labels would mean different things.
fn agree(train: &Folder, test: &Folder) -> Result<()> {
    let missing = |from: &Folder, other: &Folder| {
        let class = other.classes.iter().find(|class| !from.classes.contains(class))?;
        Some(Error::layout(
            &from.root,
            format!("class `{class}` is missing, which {} has", other.root.display()),
            "add the folder with some images, or remove the other",
        ))
    };
    missing(test, train).or_else(|| missing(train, test)).map_or(Ok(()), Err)
}

/// The images below `folder`, in the order of their names.
fn collect(folder: &Path, label: u32, files: &mut Vec<(u32, PathBuf)>) -> Result<()> {
    for path in sorted(folder)? {
        // A link to a folder might lead in circles; links to files are followed when they are read.
        if path.is_dir() && !path.is_symlink() {
            collect(&path, label, files)?;
        } else if may_be_image(&path) && path.is_file() {
            files.push((label, path));
        }
    }
    Ok(())
}

/// Whether a file's name ends as an image's may.
pub(crate) fn may_be_image(path: &Path) -> bool {
    kind_of_name(path) == NameKind::Image
}

/// What lies in a folder, in the order of names, without the hidden.
pub(crate) fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let entries = entries.map_err(|error| Error::io(folder, &error))?;
    let mut paths: Vec<PathBuf> = entries
        .iter()
        .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
        .map(fs::DirEntry::path)
        .collect();
    paths.sort();
    Ok(paths)
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
        let (pixels, enlarged) = read_square(self.path(index), self.side, buffer)?;
        if enlarged {
            self.first_enlarged.fetch_min(index, Ordering::Relaxed);
        }
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
        read_file(self.path(index), buffer)?;
        let part = part_of(views, size, self.size());
        buffer
            .decode_part(|whole| Resizer::square_reach(whole, self.side, part), Extent::Needed)
            .map_err(|reason| Error::image(self.path(index), reason))?;
        if buffer.decoded.height.min(buffer.decoded.width) < self.side {
            self.first_enlarged.fetch_min(index, Ordering::Relaxed);
        }
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

#[cfg(test)]
mod tests;
