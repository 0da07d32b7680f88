//! Disks that fail after a number of operations, fill up, or have an unreadable path; in [`power`],
//! a disk that loses power.

pub mod power;

use files::disk::{Disk, FileKind, RealDisk, Sink};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// The real disk, up to a number of operations or bytes.
///
/// Operations are those that change the disk: create, write, sync, rename and remove. Any further
/// operation fails and changes nothing, as if the process had been killed, except that a failing
/// write still writes the first half of its bytes. A full disk fails only writes. Reads never fail.
#[derive(Clone, Debug)]
pub struct FailingDisk {
    /// Operations until it fails.
    left: Arc<AtomicU64>,
    /// Successful operations.
    done: Arc<AtomicU64>,
    /// Bytes until it is full.
    room: Arc<AtomicU64>,
    /// What [`Disk::free`] returns.
    reported: Option<u64>,
}

impl FailingDisk {
    /// Fails after `operations`.
    pub fn after(operations: u64) -> FailingDisk {
        let counter = |value| Arc::new(AtomicU64::new(value));
        FailingDisk {
            left: counter(operations),
            done: counter(0),
            room: counter(u64::MAX),
            reported: None,
        }
    }

    /// Is full after `bytes` more bytes. If `reports`, [`Disk::free`] returns `bytes`, else `None`.
    pub fn full_after(bytes: u64, reports: bool) -> FailingDisk {
        let room = Arc::new(AtomicU64::new(bytes));
        FailingDisk { room, reported: reports.then_some(bytes), ..FailingDisk::after(u64::MAX) }
    }

    /// The number of successful operations.
    pub fn operations(&self) -> u64 {
        self.done.load(SeqCst)
    }

    /// Counts an operation, or fails if none is left.
    fn count(&self) -> io::Result<()> {
        let alive = self.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        alive.map_err(|_| io::Error::other("killed"))?;
        self.done.fetch_add(1, SeqCst);
        Ok(())
    }
}

struct File {
    disk: FailingDisk,
    file: Box<dyn Sink>,
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(killed) = self.disk.count() {
            self.file.write_all(&bytes[..bytes.len() / 2])?;
            return Err(killed);
        }
        let room = self.disk.room.load(SeqCst).min(bytes.len() as u64) as usize;
        if room == 0 && !bytes.is_empty() {
            return Err(ErrorKind::StorageFull.into());
        }
        self.file.write_all(&bytes[..room])?;
        self.disk.room.fetch_sub(room as u64, SeqCst);
        Ok(room)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for File {
    fn sync(&mut self) -> io::Result<()> {
        self.disk.count()
    }
}

impl Disk for FailingDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>> {
        self.count()?;
        Ok(Box::new(File { disk: self.clone(), file: RealDisk.create(path)? }))
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        self.count()?;
        RealDisk.make_folder(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.count()?;
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.count()?;
        RealDisk.remove(path)
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        self.count()
    }

    fn free(&self, _: &Path) -> Option<u64> {
        self.reported
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        RealDisk.list(folder)
    }

    fn kind(&self, path: &Path) -> io::Result<Option<FileKind>> {
        RealDisk.kind(path)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        RealDisk.read(path)
    }
}

/// The real disk, except that one kind of read of one path fails: as without permission, or on a
/// faulty disk or server.
#[derive(Debug)]
pub struct Unreadable {
    /// The kind of read that fails.
    pub what: ReadKind,
    /// The path.
    pub path: PathBuf,
    /// The error.
    pub error: ErrorKind,
}

/// A kind of read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadKind {
    /// Listing a folder.
    List,
    /// Asking what is at a path.
    Kind,
    /// Reading a file.
    Read,
}

impl Unreadable {
    fn check(&self, what: ReadKind, path: &Path) -> io::Result<()> {
        if what == self.what && path == self.path { Err(self.error.into()) } else { Ok(()) }
    }
}

impl Disk for Unreadable {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>> {
        RealDisk.create(path)
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        RealDisk.make_folder(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        RealDisk.sync_folder(folder)
    }

    fn free(&self, folder: &Path) -> Option<u64> {
        RealDisk.free(folder)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        self.check(ReadKind::List, folder)?;
        RealDisk.list(folder)
    }

    fn kind(&self, path: &Path) -> io::Result<Option<FileKind>> {
        self.check(ReadKind::Kind, path)?;
        RealDisk.kind(path)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.check(ReadKind::Read, path)?;
        RealDisk.read(path)
    }
}
