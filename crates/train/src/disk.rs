//! What files are written through: the real disk, or in tests one that fails or dies on purpose.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Every operation by which a save changes the disk.
pub(crate) trait Disk: Send + Sync {
    /// A new, empty file.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>>;

    /// Gives a file another name, in place of whatever had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Bytes that may still be written, where the system tells.
    fn free(&self, folder: &Path) -> Option<u64>;
}

/// An open file.
pub(crate) trait Sink: Write {
    /// Makes its contents durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// The disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Real;

impl Disk for Real {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>> {
        Ok(Box::new(File::create(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
    }

    fn free(&self, folder: &Path) -> Option<u64> {
        free_bytes(folder)
    }
}

impl Sink for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// Bytes that this user may still write where a folder lies; `None` where the system does not
/// tell.
pub fn free_bytes(folder: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let disk = rustix::fs::statvfs(folder).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = folder;
        None
    }
}

#[cfg(test)]
pub(crate) mod tests;
