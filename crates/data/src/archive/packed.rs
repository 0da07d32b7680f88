//! An archive as layouts look at it.

use super::{Passed, list};
use crate::bounded::LONGEST_TEXT;
use crate::collection::{Collection, Place};
use crate::layout::tree::{Entry, EntryKind, Tree, is_junk};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The folders and files of an archive.
#[derive(Debug)]
pub(crate) struct Packed {
    path: PathBuf,
    files: BTreeMap<PathBuf, Place>,
    folders: BTreeMap<PathBuf, BTreeMap<OsString, EntryKind>>,
    /// Reads what lies in the archive.
    pub(crate) contents: Collection,
    pub(crate) passed: Passed,
}

impl Packed {
    /// Lists the archive at `path`. `progress` receives how many bytes of how many have been walked
    /// through.
    ///
    /// # Errors
    /// If it cannot be read, is none, is not to be trusted, or has a name that is a file's and a
    /// folder's.
    pub(crate) fn open(path: &Path, progress: &dyn Fn(u64, u64)) -> Result<Packed> {
        let mut contents = Collection::default();
        let (listed, passed) = list(path, &mut contents, progress)?;
        let mut packed = Packed {
            path: path.to_owned(),
            files: BTreeMap::new(),
            folders: BTreeMap::from([(PathBuf::new(), BTreeMap::new())]),
            contents,
            passed,
        };
        for (name, place) in listed {
            packed.add(PathBuf::from(name), place)?;
        }
        Ok(packed)
    }

    fn add(&mut self, name: PathBuf, place: Place) -> Result<()> {
        let mut kind = EntryKind::File;
        let mut path = name.as_path();
        while let (Some(own), Some(parent)) = (path.file_name(), path.parent()) {
            let is_hidden = own.as_encoded_bytes().starts_with(b".");
            if kind == EntryKind::File && is_hidden {
                kind = EntryKind::Hidden;
            }
            let folder = self.folders.entry(parent.to_owned()).or_default();
            let known = folder.insert(own.to_owned(), kind);
            if known.is_some_and(|known| known != kind) {
                let problem = format!("{} is a file and a folder", path.display());
                let remedy = "unpack it, and name the folder";
                return Err(Error::layout(&self.path, problem, remedy));
            }
            if known.is_some() {
                break; // so are the folders around it
            }
            (kind, path) = (EntryKind::Folder, parent);
        }
        self.files.insert(name, place);
        Ok(())
    }

    /// Where a file of the archive lies.
    pub(crate) fn place(&self, path: &Path) -> Option<&Place> {
        self.files.get(path)
    }

    /// All files and where they lie, in the order of their paths.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&Path, &Place)> {
        self.files.iter().map(|(path, place)| (path.as_path(), place))
    }

    /// Whether any part of a path is hidden, or left behind by a system.
    pub(crate) fn is_junk(&self, path: &Path) -> bool {
        path.iter().any(|part| is_junk(part) || part.as_encoded_bytes().starts_with(b"."))
    }

    /// Files with one of these endings.
    pub(crate) fn names_ending_in(&self, endings: &[&str]) -> Vec<String> {
        let fits = |path: &&PathBuf| {
            let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
            endings.iter().any(|known| ending == *known) && !self.is_junk(path)
        };
        self.files.keys().filter(fits).map(|path| path.display().to_string()).collect()
    }
}

impl Tree for Packed {
    fn list(&self, folder: &Path) -> Result<Vec<Entry>> {
        let Some(entries) = self.folders.get(folder) else {
            let problem = format!("it has no folder {}", folder.display());
            return Err(Error::layout(&self.path, problem, "name the archive that has it"));
        };
        let seen = entries.iter().filter(|(name, kind)| {
            let is_hidden = name.as_encoded_bytes().starts_with(b".");
            !is_junk(name) && (!is_hidden || **kind == EntryKind::Hidden)
        });
        Ok(seen.map(|(name, &kind)| Entry { name: name.clone(), kind }).collect())
    }

    fn read(&self, file: &Path) -> Result<Vec<u8>> {
        let full = self.full(file);
        let Some(place) = self.files.get(file) else {
            return Err(Error::layout(&full, "there is no such file", "name one that is there"));
        };
        if place.known_len().is_none_or(|len| len > LONGEST_TEXT) {
            let problem = format!("longer than {} MiB", LONGEST_TEXT >> 20);
            return Err(Error::layout(&full, problem, "name the list of labels or names"));
        }
        let mut bytes = Vec::new();
        self.contents.read_at(&full, place, &mut bytes)?;
        Ok(bytes)
    }

    fn full(&self, path: &Path) -> PathBuf {
        if path.as_os_str().is_empty() { self.path.clone() } else { self.path.join(path) }
    }
}
