//! The labelled image files of a data set: in folders, or in archives as downloaded.

mod open;
pub(crate) mod packed;
mod source;

pub(crate) use source::CollectionSource;

use crate::archive::zip::{ZipEntry, ZipFile};
use crate::bounded::{self, LONGEST_IMAGE};
use crate::huggingface::ParquetRows;
use crate::reason::Reason;
use crate::{Error, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The encoded image files of a training and a test set, with their labels.
///
/// A file is read with positioned reads, so that threads read in any order and without locks.
#[derive(Debug, Default)]
pub struct Collection {
    /// The path that was opened.
    pub name: String,
    /// The classes in the order of their labels, which is the order of their ids.
    pub classes: Vec<Class>,
    /// The training files.
    pub train: Vec<LabelledFile>,
    /// The test files.
    pub test: Vec<LabelledFile>,
    /// Messages for the user, to be shown once.
    pub notes: Vec<String>,
    /// Whether reading is fast only in sequential order.
    pub(crate) in_order: bool,
    archives: Vec<Archive>,
}

/// A container of image files.
#[derive(Debug)]
enum Archive {
    /// A tar file; opened for each read if too many are open already.
    File(PathBuf, Option<File>),
    Zip(ZipFile),
    /// Files of a compressed archive, decompressed into memory.
    InMemory(Vec<Box<[u8]>>),
    ParquetRows(ParquetRows),
}

/// A class with all its names.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Class {
    /// A WordNet id such as `n01440764`, or the folder's name.
    pub id: String,
    /// The name in words, such as `tench, Tinca tinca`; empty if unknown.
    pub words: String,
    /// The class's number in the development kit of the contest, from 1.
    pub devkit_id: Option<u32>,
}

/// An image file with its label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelledFile {
    /// The name for messages: a path, or `archive.tar/inner.tar/file`.
    pub name: String,
    /// The index in [`Collection::classes`].
    pub label: u32,
    /// The location of its bytes.
    pub location: FileLocation,
}

/// The location of a file's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileLocation {
    /// A separate file.
    File(PathBuf),
    /// A range of an uncompressed archive.
    ArchiveRange {
        /// The archive's number from [`Collection::add_archive`].
        archive: u32,
        /// The offset of the first byte.
        offset: u64,
        /// The length in bytes.
        len: u64,
    },
    /// An entry of a zip file.
    Zip {
        /// The archive's number.
        archive: u32,
        /// The entry.
        entry: ZipEntry,
    },
    /// A buffer in memory.
    InMemory {
        /// The archive's number.
        archive: u32,
        /// The index among the buffers of that archive.
        index: u32,
        /// The length in bytes.
        len: u64,
    },
    /// A row of a parquet file.
    ParquetRow {
        /// The archive's number.
        archive: u32,
        /// The index of the parquet file in that archive.
        table: u32,
        /// The index of the row group.
        group: u32,
        /// The index of the row in its group.
        row: u32,
    },
}

impl FileLocation {
    /// The length in bytes, if it is known without opening the file.
    pub(crate) fn known_len(&self) -> Option<u64> {
        match self {
            FileLocation::File(_) | FileLocation::ParquetRow { .. } => None,
            FileLocation::ArchiveRange { len, .. } | FileLocation::InMemory { len, .. } => {
                Some(*len)
            }
            FileLocation::Zip { entry, .. } => Some(entry.len()),
        }
    }
}

/// At most this many archives are kept open; others are opened for each read. The default limit of
/// open files is 1024 per process.
const KEPT_OPEN: usize = 256;
/// Longer image files are not read.
pub(crate) const LONGEST_FILE: u64 = LONGEST_IMAGE;

impl Collection {
    /// A collection without images.
    pub(crate) fn with_classes(path: &Path, classes: Vec<Class>) -> Collection {
        Collection { name: path.display().to_string(), classes, ..Collection::default() }
    }

    /// Opens an archive of image files; returns its number.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn add_archive(&mut self, path: &Path) -> Result<u32> {
        let (file, _) = bounded::open(path).map_err(|error| Error::io(path, &error))?;
        let file = (self.archives.len() < KEPT_OPEN).then_some(file);
        self.archives.push(Archive::File(path.to_owned(), file));
        Ok(self.next_archive() - 1)
    }

    /// The number of the next archive.
    pub(crate) fn next_archive(&self) -> u32 {
        self.archives.len() as u32
    }

    /// Adds a zip file; returns its number.
    pub(crate) fn add_zip(&mut self, file: ZipFile) -> u32 {
        self.archives.push(Archive::Zip(file));
        self.next_archive() - 1
    }

    /// Adds files that were read into memory; returns their archive's number.
    pub(crate) fn add_in_memory(&mut self, files: Vec<Box<[u8]>>) -> u32 {
        self.archives.push(Archive::InMemory(files));
        self.next_archive() - 1
    }

    /// Adds the rows of parquet files; returns their archive's number.
    #[cfg(feature = "parquet")]
    pub(crate) fn add_rows(&mut self, rows: ParquetRows) -> u32 {
        self.archives.push(Archive::ParquetRows(rows));
        self.next_archive() - 1
    }

    /// The total length of the images in parquet files, according to the files' metadata.
    #[cfg(feature = "parquet")]
    pub(crate) fn rows_bytes(&self) -> u64 {
        let bytes = self.archives.iter().map(|archive| match archive {
            Archive::ParquetRows(rows) => rows.stated_bytes(),
            _ => 0,
        });
        bytes.fold(0, u64::saturating_add)
    }

    /// Reads all images of parquet files into memory, in order. `progress` receives the number of
    /// images read and the total. Rows without an image stay as they are; reading them later fails
    /// with the reason.
    #[cfg(feature = "parquet")]
    pub(crate) fn load_rows(&mut self, progress: &(dyn Fn(u64, u64) + Sync)) {
        let archive = self.next_archive();
        let (mut files, mut bytes) = (Vec::<Box<[u8]>>::new(), Vec::new());
        let [mut train, mut test] = [&mut self.train, &mut self.test].map(std::mem::take);
        let all = (train.len() + test.len()) as u64;
        for (done, file) in train.iter_mut().chain(&mut test).enumerate() {
            let is_row = matches!(file.location, FileLocation::ParquetRow { .. });
            if is_row && self.read(file, &mut bytes).is_ok() {
                let (index, len) = (files.len() as u32, bytes.len() as u64);
                file.location = FileLocation::InMemory { archive, index, len };
                files.push(bytes.as_slice().into());
            }
            if done.is_multiple_of(256) {
                progress(done as u64, all);
            }
        }
        (self.train, self.test) = (train, test);
        for archive in &self.archives {
            if let Archive::ParquetRows(rows) = archive {
                rows.forget();
            }
        }
        self.archives.push(Archive::InMemory(files));
    }

    /// Replaces `bytes` with the content of a file.
    ///
    /// # Errors
    /// If it cannot be read, or is longer than the limit of an image.
    pub fn read(&self, file: &LabelledFile, bytes: &mut Vec<u8>) -> Result<()> {
        self.read_at(Path::new(&file.name), &file.location, bytes)
    }

    /// Replaces `bytes` with those at `location`; `name` is for messages.
    pub(crate) fn read_at(
        &self,
        name: &Path,
        location: &FileLocation,
        bytes: &mut Vec<u8>,
    ) -> Result<()> {
        let failed = |reason: String| Error::image(name, Reason::Unreadable(reason));
        bytes.clear();
        match location {
            FileLocation::File(path) => {
                bounded::read_into(path, LONGEST_IMAGE, bytes)
                    .map_err(|error| failed(error.to_string()))?;
            }
            _ if location.known_len().is_some_and(|len| len > LONGEST_FILE) => {
                return Err(failed(too_long()));
            }
            FileLocation::ArchiveRange { archive, offset, len } => {
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
            FileLocation::Zip { archive, entry } => {
                let Archive::Zip(zip) = self.archive(*archive) else { mismatched() };
                zip.read(entry, LONGEST_FILE, bytes).map_err(failed)?;
            }
            FileLocation::InMemory { archive, index, .. } => {
                let Archive::InMemory(files) = self.archive(*archive) else { mismatched() };
                bytes.extend_from_slice(&files[*index as usize]);
            }
            FileLocation::ParquetRow { archive, table, group, row } => {
                let Archive::ParquetRows(rows) = self.archive(*archive) else { mismatched() };
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
    unreachable!("a location refers to an archive of its kind")
}

fn too_long() -> String {
    format!("longer than {} MiB", LONGEST_FILE >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch_dir::ScratchDir;

    #[test]
    fn files_are_read_from_the_disk_and_from_archives() {
        let dir = ScratchDir::new();
        let path = dir.write("a/b.jpg", b"file");
        let mut collection = Collection::default();
        let archive = collection.add_archive(&dir.write("c.tar", b"0123456789")).unwrap();
        let item = |location| LabelledFile { name: "x".into(), label: 0, location };
        let mut bytes = vec![9; 99];
        collection.read(&item(FileLocation::File(path)), &mut bytes).unwrap();
        assert_eq!(bytes, b"file");
        collection
            .read(&item(FileLocation::ArchiveRange { archive, offset: 3, len: 4 }), &mut bytes)
            .unwrap();
        assert_eq!(bytes, b"3456");
        let beyond = item(FileLocation::ArchiveRange { archive, offset: 8, len: 4 });
        let error = collection.read(&beyond, &mut bytes).unwrap_err().to_string();
        assert!(error.starts_with("x: "), "{error}");
        assert!(collection.add_archive(&dir.path().join("none.tar")).is_err());
    }
}
