//! Replaces files atomically.

use crate::disk::{Disk, RealDisk};
use crate::{Error, Result};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The suffix of unfinished files.
const TEMPORARY: &str = ".tmp";

/// Writes a file under a temporary name, makes it durable, and renames it.
///
/// # Errors
/// [`Error::Write`] or [`Error::NoRoom`]; an existing file is then unchanged.
pub fn write(path: impl AsRef<Path>, contents: &[u8]) -> Result<()> {
    let path = path.as_ref();
    write_on(&RealDisk, path, contents.len() as u64, |file| file.write_all(contents))
}

/// As [`write()`], on any disk, for content of `bytes` bytes that `fill` writes in pieces.
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
        let _ = disk.remove(&temporary); // the first error is the one to report
        return Err(failed(disk, path, bytes, error));
    }
    // A rename survives a power failure once its folder is synchronised.
    disk.sync_folder(folder).map_err(|error| failed(disk, path, bytes, error))
}

/// The error of writing a file of `needed` bytes.
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

/// The unfinished files in a folder, left by a killed program.
pub fn leftovers(disk: &dyn Disk, folder: &Path) -> io::Result<Vec<PathBuf>> {
    let is_temporary = |path: &Path| path.as_os_str().to_string_lossy().ends_with(TEMPORARY);
    let mut found = disk.list(folder)?;
    found.retain(|path| is_temporary(path));
    Ok(found)
}
