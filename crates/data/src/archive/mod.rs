//! Zip and tar archives of image folders, read where they lie.
//!
//! An archive is listed once: names and places, no contents. Layouts then look at it as they look
//! at a folder on disk (see [`Packed`]), and each image is read when it is asked for: of a zip or a
//! tar file by positioned reads, so any thread reads any image. A packed tar (`.tar.gz`, `.tgz`)
//! has no such places. Its files are held in memory as they are in the archive, still as JPEG or
//! PNG, up to [`MOST_HELD`] bytes.
//!
//! Archives come from strangers. Names that are absolute, have `..` or control characters, links
//! and special files are passed over, counted and shown by an example. What programs read in
//! different ways (a name twice, overlapping entries) is refused. Sizes are bounded before anything
//! is allocated, and no file is ever written.

mod names;
mod packed;
mod passed;
mod tarball;
pub(crate) mod zip;

pub(crate) use packed::Packed;
pub(crate) use passed::Passed;

use crate::bounded;
use crate::collection::{Collection, Place};
use crate::{Error, Result};
use std::io::Read;
use std::path::Path;
use zip::{ZipFile, ZipPlace};

/// Files of packed tar archives are held in memory up to so many bytes.
pub(crate) const MOST_HELD: u64 = 4 << 30;

/// What an archive is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Zip,
    Tar,
    /// A tar file packed by gzip.
    PackedTar,
    /// Something known that is not read, with what to do.
    Unknown(&'static str),
}

impl Kind {
    /// What the file at `path` is; `None` if it is nothing that archives files.
    pub(crate) fn of(path: &Path) -> Result<Option<Kind>> {
        let io = |error| Error::io(path, &error);
        let mut start = Vec::new();
        bounded::open(path)
            .and_then(|(file, _)| file.take(512).read_to_end(&mut start))
            .map_err(io)?;
        Ok(match &start[..] {
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Some(Kind::Zip),
            [0x1f, 0x8b, ..] => Some(Kind::PackedTar),
            [b'7', b'z', 0xbc, 0xaf, ..] => Some(Kind::Unknown("a 7z archive: unpack it")),
            [b'R', b'a', b'r', b'!', ..] => Some(Kind::Unknown("a RAR archive: unpack it")),
            [b'B', b'Z', b'h', ..] => Some(Kind::Unknown("packed by bzip2: run bunzip2 on it")),
            [0xfd, b'7', b'z', b'X', b'Z', ..] => {
                Some(Kind::Unknown("packed by xz: run unxz on it"))
            }
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Kind::Unknown("packed by zstd: run unzstd on it")),
            bytes if bytes.get(257..262) == Some(b"ustar") => Some(Kind::Tar),
            _ if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("tar")) => {
                Some(Kind::Tar)
            }
            _ => None,
        })
    }
}

/// A file of an archive and where it lies.
pub(crate) type Listed = (String, Place);

/// Lists the files of the archive at `path`, which becomes one of `into`'s. `progress` receives how
/// many bytes of how many have been walked through.
///
/// # Errors
/// If it cannot be read, is none, or is not to be trusted.
pub(crate) fn list(
    path: &Path,
    into: &mut Collection,
    progress: &dyn Fn(u64, u64),
) -> Result<(Vec<Listed>, Passed)> {
    let mut passed = Passed::default();
    let listed = match Kind::of(path)? {
        Some(Kind::Zip) => {
            let (file, entries) = ZipFile::open(path, &mut passed)?;
            let archive = into.add_zip(file);
            let place = |entry| Place::Zip { archive, entry };
            entries.into_iter().map(|(name, entry)| (name, place(entry))).collect()
        }
        Some(Kind::Tar) => tarball::list(path, into, &mut passed, progress)?,
        Some(Kind::PackedTar) => tarball::hold(path, into, &mut passed, progress)?,
        Some(Kind::Unknown(what)) => {
            let remedy = "archives that are read are .zip, .tar, .tar.gz and .tgz";
            return Err(Error::layout(path, what, remedy));
        }
        None => {
            let remedy = "name a folder, a .zip, .tar, .tar.gz or .tgz file";
            return Err(Error::layout(path, "this is not a folder, nor an archive", remedy));
        }
    };
    Ok((listed, passed))
}

/// What reading an entry answers.
type Contents = std::result::Result<Vec<u8>, String>;

/// Names and contents of the entries of a zip file. For fuzzing.
pub(crate) fn entries_of_zip(bytes: &[u8], longest: u64) -> Result<Vec<(String, Contents)>> {
    let path = Path::new("a.zip");
    let (file, entries) = ZipFile::of_bytes(path, bytes, &mut Passed::default())?;
    let read = |(name, place): (String, ZipPlace)| {
        let mut contents = Vec::new();
        let read = file.read(&place, longest, &mut contents);
        (name, read.map(|()| contents))
    };
    Ok(entries.into_iter().map(read).collect())
}

#[cfg(test)]
mod tests;
