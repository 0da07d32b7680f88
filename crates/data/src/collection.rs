//! Labelled image files before they are a data set: in folders, or inside archives as they came.

mod open;
pub(crate) mod packed;

use crate::archive::zip::{ZipFile, ZipPlace};
use crate::bounded::{self, LONGEST_IMAGE};
use crate::huggingface::Rows;
use crate::reason::Reason;
use crate::{Error, Result};
use std::fs::File;
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
    /// Whether images are read fast only one after the other.
    pub(crate) in_order: bool,
    archives: Vec<Archive>,
}

/// What items lie in.
#[derive(Debug)]
enum Archive {
    /// Opened for each read, if too many are open already.
    File(PathBuf, Option<File>),
    Zip(ZipFile),
    /// Files of a packed archive, which has no places to read from.
    Held(Vec<Box<[u8]>>),
    Rows(Rows),
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
    /// An entry of a zip file.
    Zip {
        /// Which, as its archive's number.
        archive: u32,
        /// Where it lies there.
        entry: ZipPlace,
    },
    /// In memory.
    Held {
        /// The number of the archive it was read from.
        archive: u32,
        /// Its place among what was read from there.
        index: u32,
        /// How many bytes.
        len: u64,
    },
    /// A row of a parquet file.
    Row {
        /// The number of its data set's files.
        archive: u32,
        /// Which file of those.
        table: u32,
        /// Which group of rows.
        group: u32,
        /// Which row of the group.
        row: u32,
    },
}

impl Place {
    /// How many bytes, where that is known without a look at the file.
    pub(crate) fn known_len(&self) -> Option<u64> {
        match self {
            Place::File(_) | Place::Row { .. } => None,
            Place::Within { len, .. } | Place::Held { len, .. } => Some(*len),
            Place::Zip { entry, .. } => Some(entry.len()),
        }
    }
}

/// So many archives are kept open; others are opened for each read, as a process may hold no more
/// than a thousand files open unless told otherwise.
const KEPT_OPEN: usize = 256;
/// Image files longer than this are not read.
pub(crate) const LONGEST_FILE: u64 = LONGEST_IMAGE;

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
        let (file, _) = bounded::open(path).map_err(|error| Error::io(path, &error))?;
        let file = (self.archives.len() < KEPT_OPEN).then_some(file);
        self.archives.push(Archive::File(path.to_owned(), file));
        Ok(self.next_archive() - 1)
    }

    /// The number that the next archive gets.
    pub(crate) fn next_archive(&self) -> u32 {
        self.archives.len() as u32
    }

    /// Adds a zip file; returns its number.
    pub(crate) fn add_zip(&mut self, file: ZipFile) -> u32 {
        self.archives.push(Archive::Zip(file));
        self.next_archive() - 1
    }

    /// Adds the files of an archive that were read into memory; returns its number.
    pub(crate) fn add_held(&mut self, files: Vec<Box<[u8]>>) -> u32 {
        self.archives.push(Archive::Held(files));
        self.next_archive() - 1
    }

    /// Adds the rows of parquet files; returns their number.
    #[cfg(feature = "parquet")]
    pub(crate) fn add_rows(&mut self, rows: Rows) -> u32 {
        self.archives.push(Archive::Rows(rows));
        self.next_archive() - 1
    }

    /// How long the images in rows of parquet files are, as those state it.
    #[cfg(feature = "parquet")]
    pub(crate) fn rows_bytes(&self) -> u64 {
        let bytes = self.archives.iter().map(|archive| match archive {
            Archive::Rows(rows) => rows.stated_bytes(),
            _ => 0,
        });
        bytes.fold(0, u64::saturating_add)
    }

    /// Reads all images in rows of parquet files into memory, in their order. `progress` receives
    /// how many of how many have been read. Those without an image stay as they are: reading them
    /// says why.
    #[cfg(feature = "parquet")]
    pub(crate) fn hold_rows(&mut self, progress: &(dyn Fn(u64, u64) + Sync)) {
        let archive = self.next_archive();
        let (mut files, mut bytes) = (Vec::<Box<[u8]>>::new(), Vec::new());
        let [mut train, mut test] = [&mut self.train, &mut self.test].map(std::mem::take);
        let all = (train.len() + test.len()) as u64;
        for (done, item) in train.iter_mut().chain(&mut test).enumerate() {
            if matches!(item.place, Place::Row { .. }) && self.read(item, &mut bytes).is_ok() {
                let (index, len) = (files.len() as u32, bytes.len() as u64);
                item.place = Place::Held { archive, index, len };
                files.push(bytes.as_slice().into());
            }
            if done.is_multiple_of(256) {
                progress(done as u64, all);
            }
        }
        (self.train, self.test) = (train, test);
        for archive in &self.archives {
            if let Archive::Rows(rows) = archive {
                rows.forget();
            }
        }
        self.archives.push(Archive::Held(files));
    }

    /// Replaces `bytes` with an item's.
    ///
    /// # Errors
    /// If they cannot be read, or are more than any image has.
    pub fn read(&self, item: &Item, bytes: &mut Vec<u8>) -> Result<()> {
        self.read_at(Path::new(&item.name), &item.place, bytes)
    }

    /// Replaces `bytes` with those at `place`; `name` is for messages.
    pub(crate) fn read_at(&self, name: &Path, place: &Place, bytes: &mut Vec<u8>) -> Result<()> {
        let failed = |reason: String| Error::image(name, Reason::Unreadable(reason));
        bytes.clear();
        match place {
            Place::File(path) => {
                bounded::read_into(path, LONGEST_IMAGE, bytes)
                    .map_err(|error| failed(error.to_string()))?;
            }
            _ if place.known_len().is_some_and(|len| len > LONGEST_FILE) => {
                return Err(failed(too_long()));
            }
            Place::Within { archive, offset, len } => {
                bytes.resize(*len as usize, 0);
                let Archive::File(path, file) = self.archive(*archive) else { mismatched() };
                let read = match file {
                    Some(file) => file.read_exact_at(bytes, *offset),
                    None => {
                        bounded::open(path).and_then(|(file, _)| file.read_exact_at(bytes, *offset))
                    }
                };
                read.map_err(|error| failed(error.to_string()))?;
            }
            Place::Zip { archive, entry } => {
                let Archive::Zip(zip) = self.archive(*archive) else { mismatched() };
                zip.read(entry, LONGEST_FILE, bytes).map_err(failed)?;
            }
            Place::Held { archive, index, .. } => {
                let Archive::Held(files) = self.archive(*archive) else { mismatched() };
                bytes.extend_from_slice(&files[*index as usize]);
            }
            Place::Row { archive, table, group, row } => {
                let Archive::Rows(rows) = self.archive(*archive) else { mismatched() };
                bytes.extend_from_slice(&rows.read(*table, *group, *row).map_err(failed)?);
            }
        }
        if bytes.len() as u64 > LONGEST_FILE {
            return Err(failed(too_long()));
        }
        Ok(())
    }

    fn archive(&self, number: u32) -> &Archive {
        &self.archives[number as usize]
    }
}

fn mismatched() -> ! {
    unreachable!("a place is of its archive's kind")
}

fn too_long() -> String {
    format!("longer than {} MiB", LONGEST_FILE >> 20)
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
