//! Labelled image files before they are a data set: in folders, or inside archives as they came.

mod open;

use crate::{Error, Result};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A training and a test set of image files with their labels; nothing has been decoded.
///
/// Any file is one positioned read, so threads read it in any order and without locks.
#[derive(Debug, Default)]
pub struct Collection {
    /// What was opened.
    pub name: String,
    /// In the order of their labels, which is the order of their ids.
    pub classes: Vec<Class>,
    /// Files to train on.
    pub train: Vec<Item>,
    /// Files to test on.
    pub test: Vec<Item>,
    /// What the user should be told, once.
    pub notes: Vec<String>,
    archives: Vec<(PathBuf, Option<File>)>,
}

/// A class under all its names.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Class {
    /// A WordNet id such as `n01440764`, or the name of its folder.
    pub id: String,
    /// In words, such as `tench, Tinca tinca`; empty where nobody says.
    pub words: String,
    /// Its number in the development kit of its contest, counted from one.
    pub devkit_id: Option<u32>,
}

/// A file, its label and where its bytes lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What to call it in a message: its path, or `archive.tar/inner.tar/file`.
    pub name: String,
    /// Its place in [`Collection::classes`].
    pub label: u32,
    /// Where its bytes lie.
    pub place: Place,
}

/// Where a file's bytes lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file of its own.
    File(PathBuf),
    /// A range of an archive.
    Within {
        /// Which, as [`Collection::add_archive`] numbered it.
        archive: u32,
        /// Its first byte.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
}

/// So many archives are kept open; others are opened for each read, as a process may hold no more
/// than a thousand files open unless told otherwise.
const KEPT_OPEN: usize = 256;
/// Image files longer than this are not read.
const LONGEST_FILE: u64 = 256 << 20;

impl Collection {
    /// A collection without images yet.
    pub(crate) fn with_classes(path: &Path, classes: Vec<Class>) -> Collection {
        Collection { name: path.display().to_string(), classes, ..Collection::default() }
    }

    /// Opens an archive whose members are to be items; returns its number.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn add_archive(&mut self, path: &Path) -> Result<u32> {
        let file = File::open(path).map_err(|error| Error::io(path, &error))?;
        let file = (self.archives.len() < KEPT_OPEN).then_some(file);
        self.archives.push((path.to_owned(), file));
        Ok(self.archives.len() as u32 - 1)
    }

    /// Replaces `bytes` with an item's.
    ///
    /// # Errors
    /// If they cannot be read, or are more than any image has.
    pub fn read(&self, item: &Item, bytes: &mut Vec<u8>) -> Result<()> {
        let failed = |reason: String| Error::image(Path::new(&item.name), reason);
        bytes.clear();
        match &item.place {
            Place::File(path) => {
                let file = File::open(path).map_err(|error| failed(error.to_string()))?;
                let read = file.take(LONGEST_FILE + 1).read_to_end(bytes);
                read.map_err(|error| failed(error.to_string()))?;
            }
            Place::Within { archive, offset, len } => {
                let len = (*len).min(LONGEST_FILE + 1);
                bytes.resize(len as usize, 0);
                let (path, file) = &self.archives[*archive as usize];
                let read = match file {
                    Some(file) => file.read_exact_at(bytes, *offset),
                    None => File::open(path).and_then(|file| file.read_exact_at(bytes, *offset)),
                };
                read.map_err(|error| failed(error.to_string()))?;
            }
        }
        if bytes.len() as u64 > LONGEST_FILE {
            return Err(failed(format!("longer than {} MiB", LONGEST_FILE >> 20)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch_dir::ScratchDir;

    #[test]
    fn items_are_read_from_files_and_out_of_archives() {
        let dir = ScratchDir::new();
        let path = dir.write("a/b.jpg", b"file");
        let mut collection = Collection::default();
        let archive = collection.add_archive(&dir.write("c.tar", b"0123456789")).unwrap();
        let item = |place| Item { name: "x".into(), label: 0, place };
        let mut bytes = vec![9; 99];
        collection.read(&item(Place::File(path)), &mut bytes).unwrap();
        assert_eq!(bytes, b"file");
        collection.read(&item(Place::Within { archive, offset: 3, len: 4 }), &mut bytes).unwrap();
        assert_eq!(bytes, b"3456");
        let beyond = item(Place::Within { archive, offset: 8, len: 4 });
        let error = collection.read(&beyond, &mut bytes).unwrap_err().to_string();
        assert!(error.starts_with("x: "), "{error}");
        assert!(collection.add_archive(&dir.path().join("none.tar")).is_err());
    }
}
