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

/// [`write`] on any disk, for contents that come piece by piece, `bytes` in all.
pub(crate) fn write_on(
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
pub(crate) fn failed(disk: &dyn Disk, path: &Path, needed: u64, source: io::Error) -> Error {
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
pub(crate) fn leftovers(disk: &dyn Disk, folder: &Path) -> io::Result<Vec<PathBuf>> {
    let is_temporary = |path: &Path| path.as_os_str().to_string_lossy().ends_with(TEMPORARY);
    let mut found = disk.list(folder)?;
    found.retain(|path| is_temporary(path));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::tests::Mortal;
    use std::fs;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("alexnet-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn replaces_and_leaves_nothing_behind() {
        let folder = folder("atomic");
        let path = folder.join("run.json");
        write(&path, b"old").unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn killed_at_any_operation_it_is_the_old_file_or_the_new() {
        let folder = folder("killed");
        let path = folder.join("run.json");
        for operations in 0..=5 {
            write(&path, b"old").unwrap();
            let disk = Mortal::after(operations);
            let done = write_on(&disk, &path, 3, |file| file.write_all(b"new"));
            // create, write, sync, rename; sync of the folder
            let expected: &[u8] = if operations < 4 { b"old" } else { b"new" };
            assert_eq!(fs::read(&path).unwrap(), expected, "after {operations}");
            assert_eq!(done.is_ok(), operations >= 5);
            let left = leftovers(&Real, &folder).unwrap();
            assert_eq!(left.len(), usize::from((1..4).contains(&operations)));
            left.iter().for_each(|path| fs::remove_file(path).unwrap());
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_full_disk_says_how_full() {
        let folder = folder("full");
        for tells in [false, true] {
            let disk = Mortal::full_after(3, tells);
            let path = folder.join("run.json");
            let error = write_on(&disk, &path, 5, |file| file.write_all(b"hello")).unwrap_err();
            let free = tells.then_some(3);
            assert!(matches!(error, Error::NoRoom { needed: 5, free: f, .. } if f == free));
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = write(Path::new("/no/such/folder/run.json"), b"").unwrap_err().to_string();
        assert!(error.contains("/no/such/folder/run.json"), "{error}");
    }
}
