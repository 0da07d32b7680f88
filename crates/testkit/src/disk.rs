//! A disk that dies after so many operations, or is full after so many bytes; one that cannot be
//! read for a while; and, in [`power`], one whose power fails.

pub mod power;

use files::disk::{Disk, Kind, Real, Sink};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// The real disk until its time is up: then every operation fails and changes nothing, as if the
/// process had been killed. The one that hits the limit is done by half where it can be: half of a
/// write.
#[derive(Clone)]
pub struct Mortal {
    left: Arc<AtomicU64>,
    done: Arc<AtomicU64>,
    room: Arc<AtomicU64>,
    told: Option<u64>,
}

impl Mortal {
    /// Dies after `operations`.
    pub fn after(operations: u64) -> Mortal {
        let word = |value| Arc::new(AtomicU64::new(value));
        Mortal { left: word(operations), done: word(0), room: word(u64::MAX), told: None }
    }

    /// Has room for `bytes` more, and says so if it `tells`.
    pub fn full_after(bytes: u64, tells: bool) -> Mortal {
        let room = Arc::new(AtomicU64::new(bytes));
        Mortal { room, told: tells.then_some(bytes), ..Mortal::after(u64::MAX) }
    }

    /// Operations that were done.
    pub fn operations(&self) -> u64 {
        self.done.load(SeqCst)
    }

    fn live(&self) -> io::Result<()> {
        let alive = self.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        alive.map_err(|_| io::Error::other("killed"))?;
        self.done.fetch_add(1, SeqCst);
        Ok(())
    }
}

struct File {
    disk: Mortal,
    file: Box<dyn Sink>,
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(killed) = self.disk.live() {
            if !bytes.is_empty() && self.disk.left.swap(0, SeqCst) == 0 {
                self.file.write_all(&bytes[..bytes.len() / 2])?;
            }
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
        self.disk.live() // that data reach the platter is not what is tested
    }
}

impl Disk for Mortal {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>> {
        self.live()?;
        Ok(Box::new(File { disk: self.clone(), file: Real.create(path)? }))
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        self.live()?;
        Real.make_folder(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.live()?;
        Real.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.live()?;
        Real.remove(path)
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        self.live()
    }

    fn free(&self, _: &Path) -> Option<u64> {
        self.told
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        Real.list(folder)
    }

    fn kind(&self, path: &Path) -> io::Result<Option<Kind>> {
        Real.kind(path)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        Real.read(path)
    }
}

/// The real disk, of which one way of reading one path fails: as when a disk or a server answers
/// with an error once, or a permission is missing.
pub struct Unreadable {
    /// The way.
    pub what: Ask,
    /// The path.
    pub path: PathBuf,
    /// The error.
    pub error: ErrorKind,
}

/// A way of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Of a folder's names.
    List,
    /// Of what is at a path.
    Kind,
    /// Of a file's bytes.
    Read,
}

impl Unreadable {
    fn check(&self, what: Ask, path: &Path) -> io::Result<()> {
        if what == self.what && path == self.path { Err(self.error.into()) } else { Ok(()) }
    }
}

impl Disk for Unreadable {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>> {
        Real.create(path)
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        Real.make_folder(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Real.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Real.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        Real.sync_folder(folder)
    }

    fn free(&self, folder: &Path) -> Option<u64> {
        Real.free(folder)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        self.check(Ask::List, folder)?;
        Real.list(folder)
    }

    fn kind(&self, path: &Path) -> io::Result<Option<Kind>> {
        self.check(Ask::Kind, path)?;
        Real.kind(path)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.check(Ask::Read, path)?;
        Real.read(path)
    }
}
