//! Zip and tar archives of image folders, read without unpacking.
//!
//! An archive is scanned once for the names and locations of its files. Layouts then treat it like
//! a folder on disk (see [`ArchiveTree`]), and images are read on demand: from a zip or a tar file
//! with positioned reads, from any thread. A compressed tar (`.tar.gz`, `.tgz`) has no random
//! access: its files are kept in memory, still as JPEG or PNG, up to [`MAX_IN_MEMORY`] bytes.
//!
//! Archives are untrusted. Absolute names, names with `..` or control characters, links and special
//! files are skipped and counted, with an example. Ambiguous archives (duplicate names, overlapping
//! entries), which programs read in different ways, are rejected. Sizes are checked before memory
//! is allocated, and no file is ever written.

mod names;
mod skipped;
mod tarball;
mod tree;
pub(crate) mod zip;

pub(crate) use skipped::SkippedEntries;
pub(crate) use tree::ArchiveTree;

use crate::bounded;
use crate::collection::{Collection, FileLocation};
use crate::{Error, Result};
use std::io::Read;
use std::path::Path;
use zip::{ZipEntry, ZipFile};

/// The most bytes of files that are kept in memory for compressed tar archives.
pub(crate) const MAX_IN_MEMORY: u64 = 4 << 30;

/// The format of an archive, according to its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArchiveKind {
    Zip,
    Tar,
    /// A gzip-compressed tar file.
    TarGz,
    /// A known but unsupported format, and the remedy.
    Unsupported(&'static str),
}

impl ArchiveKind {
    /// The kind of the file at `path`; `None` if it is not an archive.
    pub(crate) fn of(path: &Path) -> Result<Option<ArchiveKind>> {
        let io = |error| Error::io(path, &error);
        let mut start = Vec::new();
        bounded::open(path)
            .and_then(|(file, _)| file.take(512).read_to_end(&mut start))
            .map_err(io)?;
        Ok(match &start[..] {
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Some(ArchiveKind::Zip),
            [0x1f, 0x8b, ..] => Some(ArchiveKind::TarGz),
            [b'7', b'z', 0xbc, 0xaf, ..] => {
                Some(ArchiveKind::Unsupported("a 7z archive: unpack it"))
            }
            [b'R', b'a', b'r', b'!', ..] => {
                Some(ArchiveKind::Unsupported("a RAR archive: unpack it"))
            }
            [b'B', b'Z', b'h', ..] => {
                Some(ArchiveKind::Unsupported("compressed with bzip2: run bunzip2 on it"))
            }
            [0xfd, b'7', b'z', b'X', b'Z', ..] => {
                Some(ArchiveKind::Unsupported("compressed with xz: run unxz on it"))
            }
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                Some(ArchiveKind::Unsupported("compressed with zstd: run unzstd on it"))
            }
            bytes if bytes.get(257..262) == Some(b"ustar") => Some(ArchiveKind::Tar),
            _ if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("tar")) => {
                Some(ArchiveKind::Tar)
            }
            _ => None,
        })
    }
}

/// The name and location of a file in an archive.
pub(crate) type ListedFile = (String, FileLocation);

/// Adds the archive at `path` to `into`. Returns its files and what was skipped. `progress`
/// receives the number of bytes scanned and the total.
///
/// # Errors
/// If the file cannot be read, is not a supported archive, or is unsafe.
pub(crate) fn list(
    path: &Path,
    into: &mut Collection,
    progress: &dyn Fn(u64, u64),
) -> Result<(Vec<ListedFile>, SkippedEntries)> {
    let mut skipped = SkippedEntries::default();
    let listed = match ArchiveKind::of(path)? {
        Some(ArchiveKind::Zip) => {
            let (file, entries) = ZipFile::open(path, &mut skipped)?;
            let archive = into.add_zip(file);
            let location = |entry| FileLocation::Zip { archive, entry };
            entries.into_iter().map(|(name, entry)| (name, location(entry))).collect()
        }
        Some(ArchiveKind::Tar) => tarball::list(path, into, &mut skipped, progress)?,
        Some(ArchiveKind::TarGz) => tarball::load(path, into, &mut skipped, progress)?,
        Some(ArchiveKind::Unsupported(what)) => {
            let remedy = "supported archives are .zip, .tar, .tar.gz and .tgz";
            return Err(Error::layout(path, what, remedy));
        }
        None => {
            let remedy = "open a folder, or a .zip, .tar, .tar.gz or .tgz file";
            return Err(Error::layout(path, "this is neither a folder nor an archive", remedy));
        }
    };
    Ok((listed, skipped))
}

/// The content of an entry, or why it cannot be read.
type EntryContent = std::result::Result<Vec<u8>, String>;

/// For fuzzing: the names and contents of a zip file's entries.
pub(crate) fn entries_of_zip(bytes: &[u8], max_len: u64) -> Result<Vec<(String, EntryContent)>> {
    let path = Path::new("a.zip");
    let (file, entries) = ZipFile::of_bytes(path, bytes, &mut SkippedEntries::default())?;
    let read = |(name, location): (String, ZipEntry)| {
        let mut contents = Vec::new();
        let read = file.read(&location, max_len, &mut contents);
        (name, read.map(|()| contents))
    };
    Ok(entries.into_iter().map(read).collect())
}

#[cfg(test)]
mod tests;
