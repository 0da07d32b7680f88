//! An archive as a tree of files and folders.

use super::{SkippedEntries, list};
use crate::bounded::LONGEST_TEXT;
use crate::collection::{Collection, FileLocation};
use crate::layout::tree::{FileTree, TreeEntry, TreeEntryKind, is_junk};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The folders and files of an archive.
#[derive(Debug)]
pub(crate) struct ArchiveTree {
    path: PathBuf,
    files: BTreeMap<PathBuf, FileLocation>,
    folders: BTreeMap<PathBuf, BTreeMap<OsString, TreeEntryKind>>,
    /// Reads the files of the archive.
    pub(crate) contents: Collection,
    pub(crate) skipped: SkippedEntries,
}

impl ArchiveTree {
    /// Lists the archive at `path`. `progress` receives the number of bytes scanned and the total.
    ///
    /// # Errors
    /// If it cannot be read, is not an archive or is unsafe, or if a name is both a file's and a
    /// folder's.
    pub(crate) fn open(path: &Path, progress: &dyn Fn(u64, u64)) -> Result<ArchiveTree> {
        let mut contents = Collection::default();
        let (listed, skipped) = list(path, &mut contents, progress)?;
        let mut packed = ArchiveTree {
            path: path.to_owned(),
            files: BTreeMap::new(),
            folders: BTreeMap::from([(PathBuf::new(), BTreeMap::new())]),
            contents,
            skipped,
        };
        for (name, location) in listed {
            packed.add(PathBuf::from(name), location)?;
        }
        Ok(packed)
    }

    fn add(&mut self, name: PathBuf, location: FileLocation) -> Result<()> {
        let mut kind = TreeEntryKind::File;
        let mut path = name.as_path();
        while let (Some(own), Some(parent)) = (path.file_name(), path.parent()) {
            let is_hidden = own.as_encoded_bytes().starts_with(b".");
            if kind == TreeEntryKind::File && is_hidden {
                kind = TreeEntryKind::Hidden;
            }
            let folder = self.folders.entry(parent.to_owned()).or_default();
            let known = folder.insert(own.to_owned(), kind);
            if known.is_some_and(|known| known != kind) {
                let problem = format!("{} is both a file and a folder", path.display());
                let remedy = "unpack it, and open the folder";
                return Err(Error::layout(&self.path, problem, remedy));
            }
            if known.is_some() {
                break; // the folders above are known, too
            }
            (kind, path) = (TreeEntryKind::Folder, parent);
        }
        self.files.insert(name, location);
        Ok(())
    }

    /// The location of a file in the archive.
    pub(crate) fn location(&self, path: &Path) -> Option<&FileLocation> {
        self.files.get(path)
    }

    /// All files and their locations, sorted by path.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&Path, &FileLocation)> {
        self.files.iter().map(|(path, location)| (path.as_path(), location))
    }

    /// Whether any component of a path is hidden, or a system's junk.
    pub(crate) fn is_junk(&self, path: &Path) -> bool {
        path.iter().any(|part| is_junk(part) || part.as_encoded_bytes().starts_with(b"."))
    }

    /// The names of files with one of these extensions.
    pub(crate) fn names_ending_in(&self, endings: &[&str]) -> Vec<String> {
        let fits = |path: &&PathBuf| {
            let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
            endings.iter().any(|known| ending == *known) && !self.is_junk(path)
        };
        self.files.keys().filter(fits).map(|path| path.display().to_string()).collect()
    }
}

impl FileTree for ArchiveTree {
    fn list(&self, folder: &Path) -> Result<Vec<TreeEntry>> {
        let Some(entries) = self.folders.get(folder) else {
            let problem = format!("it has no folder {}", folder.display());
            return Err(Error::layout(&self.path, problem, "open the archive that has it"));
        };
        let seen = entries.iter().filter(|(name, kind)| {
            let is_hidden = name.as_encoded_bytes().starts_with(b".");
            !is_junk(name) && (!is_hidden || **kind == TreeEntryKind::Hidden)
        });
        Ok(seen.map(|(name, &kind)| TreeEntry { name: name.clone(), kind }).collect())
    }

    fn read(&self, file: &Path) -> Result<Vec<u8>> {
        let full = self.full(file);
        let Some(location) = self.files.get(file) else {
            return Err(Error::layout(&full, "no such file", "name an existing file"));
        };
        if location.known_len().is_none_or(|len| len > LONGEST_TEXT) {
            let problem = format!("longer than {} MiB", LONGEST_TEXT >> 20);
            return Err(Error::layout(&full, problem, "name the list of labels or names"));
        }
        let mut bytes = Vec::new();
        self.contents.read_at(&full, location, &mut bytes)?;
        Ok(bytes)
    }

    fn full(&self, path: &Path) -> PathBuf {
        if path.as_os_str().is_empty() { self.path.clone() } else { self.path.join(path) }
    }
}
