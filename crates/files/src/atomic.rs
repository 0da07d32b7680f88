//! Files that are either the old one or the new one, whatever happens in between.

use crate::disk::{Disk, Real};
use crate::{Error, Result};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// What a file is called until it is whole ends with this.
const TEMPORARY: &str = ".tmp";

/// Writes a file under a temporary name beside it, makes it durable, and only then gives it its
/// name.
///
/// # Errors
/// [`Error::Write`] or [`Error::NoRoom`]; the old file, if there was one, is then still there.
pub fn write(path: &Path, contents: &[u8]) -> Result<()> {
    write_on(&Real, path, contents.len() as u64, |file| file.write_all(contents))
}

/// [`write()`] on any disk, for contents that come piece by piece, `bytes` in all.
pub fn write_on(
    disk: &dyn Disk,
    path: &Path,
    bytes: u64,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let folder = folder_of(path);
    if let Some(free) = disk.free(folder).filter(|&free| free < bytes) {
        return Err(no_room(path, bytes, Some(free), ErrorKind::StorageFull.into()));
    }
    let mut name = path.file_name().expect("a file has a name").to_os_string();
    name.push(format!(".{}{TEMPORARY}", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = disk.create(&temporary).and_then(|mut file| {
        fill(&mut *file)?;
        file.sync()?;
        drop(file);
        disk.rename(&temporary, path)
    });
    if let Err(error) = written {
        let _ = disk.remove(&temporary); // the first error is the one to tell
        return Err(failed(disk, path, bytes, error));
    }
    // A rename lasts through a power cut once the folder that holds the name has been synced.
    disk.sync_folder(folder).map_err(|error| failed(disk, path, bytes, error))
}

/// The error for a file of which `needed` bytes were to be written.
pub fn failed(disk: &dyn Disk, path: &Path, needed: u64, source: io::Error) -> Error {
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            no_room(path, needed, disk.free(folder_of(path)), source)
        }
        _ => Error::Write { path: path.into(), source },
    }
}

fn no_room(path: &Path, needed: u64, free: Option<u64>, source: io::Error) -> Error {
    Error::NoRoom { path: path.into(), needed, free, source }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The files in a folder that a program which was killed had not finished.
pub fn leftovers(disk: &dyn Disk, folder: &Path) -> io::Result<Vec<PathBuf>> {
    let is_temporary = |path: &Path| path.as_os_str().to_string_lossy().ends_with(TEMPORARY);
    let mut found = disk.list(folder)?;
    found.retain(|path| is_temporary(path));
    Ok(found)
}
