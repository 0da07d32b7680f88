//! Folders and files on disk or in an archive.

use crate::bounded::{self, LONGEST_TEXT};
use crate::formats::may_be_image;
use crate::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Folders and files below a root. Paths are relative to the root, which is the empty path.
pub(crate) trait FileTree {
    /// The entries of a folder, sorted by name, without [junk](is_junk) and hidden folders.
    ///
    /// # Errors
    /// If the folder cannot be read.
    fn list(&self, folder: &Path) -> Result<Vec<TreeEntry>>;

    /// The content of a text file.
    ///
    /// # Errors
    /// If it cannot be read, or is longer than [`LONGEST_TEXT`].
    fn read(&self, file: &Path) -> Result<Vec<u8>>;

    /// The path for messages.
    fn full(&self, path: &Path) -> PathBuf;

    /// A unique path of a folder, which may be reachable through several.
    fn identity(&self, folder: &Path) -> PathBuf {
        folder.to_owned()
    }

    /// A file of this name in one of the three folders above the root.
    fn find_above(&self, name: &str) -> Option<PathBuf> {
        let _ = name;
        None
    }

    /// Whether there is a folder at `path`.
    fn has_folder(&self, path: &Path) -> bool {
        let Some(name) = path.file_name() else { return true };
        let parent = path.parent().unwrap_or(Path::new(""));
        self.has_folder(parent)
            && self.list(parent).is_ok_and(|entries| {
                entries.iter().any(|entry| entry.is_folder() && entry.name == name)
            })
    }

    /// Whether there is a file at `path`.
    fn has_file(&self, path: &Path) -> bool {
        let Some(name) = path.file_name() else { return false };
        let parent = path.parent().unwrap_or(Path::new(""));
        self.has_folder(parent)
            && self.list(parent).is_ok_and(|entries| {
                entries.iter().any(|entry| entry.kind == TreeEntryKind::File && entry.name == name)
            })
    }
}

/// A file or folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TreeEntry {
    pub(crate) name: OsString,
    pub(crate) kind: TreeEntryKind,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TreeEntryKind {
    Folder,
    /// A symbolic link to a folder.
    FolderLink,
    /// A symbolic link to a folder that contains it.
    Loop,
    File,
    /// A file whose name begins with a dot.
    Hidden,
    /// A dangling symbolic link.
    Broken,
    /// A pipe, a socket or a device.
    Special,
}

impl TreeEntry {
    /// Whether it is a folder or a link to one.
    pub(crate) fn is_folder(&self) -> bool {
        matches!(self.kind, TreeEntryKind::Folder | TreeEntryKind::FolderLink)
    }

    /// Whether it is a file whose extension may be an image's.
    pub(crate) fn is_image(&self) -> bool {
        self.kind == TreeEntryKind::File && may_be_image(Path::new(&self.name))
    }
}

/// Whether this is the name of a file that systems and programs leave behind.
pub(crate) fn is_junk(name: &OsStr) -> bool {
    const JUNK: [&str; 11] = [
        "__macosx",
        ".ds_store",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        ".ipynb_checkpoints",
        "@eadir",
        "#recycle",
        "$recycle.bin",
        "system volume information",
        "lost+found",
    ];
    let name = name.to_string_lossy().to_lowercase();
    name.starts_with("._") || JUNK.contains(&&*name)
}

/// A folder on disk.
pub(crate) struct DiskTree {
    root: PathBuf,
}

impl DiskTree {
    pub(crate) fn new(root: &Path) -> DiskTree {
        DiskTree { root: root.to_owned() }
    }

    fn kind(&self, path: &Path, entry: &fs::DirEntry) -> TreeEntryKind {
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let kind = match entry.file_type() {
            Ok(kind) => kind,
            Err(_) => return TreeEntryKind::Broken,
        };
        if kind.is_dir() {
            return TreeEntryKind::Folder;
        }
        let kind = match kind.is_symlink().then(|| fs::metadata(path)) {
            None => kind,
            Some(Err(_)) => return TreeEntryKind::Broken,
            Some(Ok(about)) if about.is_dir() => return link_kind(path),
            Some(Ok(about)) => about.file_type(),
        };
        if !kind.is_file() {
            TreeEntryKind::Special
        } else if is_hidden {
            TreeEntryKind::Hidden
        } else {
            TreeEntryKind::File
        }
    }
}

/// Whether a link to a folder leads to one that contains the link.
fn link_kind(path: &Path) -> TreeEntryKind {
    let parent = path.parent().map(fs::canonicalize);
    match (parent, fs::canonicalize(path)) {
        (Some(Ok(parent)), Ok(target)) if !parent.starts_with(&target) => TreeEntryKind::FolderLink,
        _ => TreeEntryKind::Loop,
    }
}

impl FileTree for DiskTree {
    fn list(&self, folder: &Path) -> Result<Vec<TreeEntry>> {
        let full = self.full(folder);
        let io = |error| Error::io(&full, &error);
        let mut entries = Vec::new();
        for entry in fs::read_dir(&full).map_err(io)? {
            let entry = entry.map_err(io)?;
            let name = entry.file_name();
            if is_junk(&name) {
                continue;
            }
            let kind = self.kind(&entry.path(), &entry);
            let is_hidden = name.as_encoded_bytes().starts_with(b".");
            if !is_hidden || kind == TreeEntryKind::Hidden {
                entries.push(TreeEntry { name, kind });
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn read(&self, file: &Path) -> Result<Vec<u8>> {
        let full = self.full(file);
        read_text(&full)
    }

    fn full(&self, path: &Path) -> PathBuf {
        if path.as_os_str().is_empty() { self.root.clone() } else { self.root.join(path) }
    }

    fn identity(&self, folder: &Path) -> PathBuf {
        let full = self.full(folder);
        fs::canonicalize(&full).unwrap_or(full)
    }

    fn find_above(&self, name: &str) -> Option<PathBuf> {
        let root = fs::canonicalize(&self.root).ok()?;
        let above = root.ancestors().skip(1).take(3);
        above.map(|folder| folder.join(name)).find(|path| path.is_file())
    }
}

/// The content of a text file on disk.
pub(crate) fn read_text(path: &Path) -> Result<Vec<u8>> {
    bounded::read(path, LONGEST_TEXT).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => {
            let problem = format!("longer than {} MiB", LONGEST_TEXT >> 20);
            Error::layout(path, problem, "give the list of labels or names")
        }
        ErrorKind::InvalidInput => Error::layout(path, error.to_string(), "give a text file"),
        _ => Error::io(path, &error),
    })
}
