//! A disk in memory that may lose power: it records operations, and enumerates every state in which
//! a power failure can leave it.
//!
//! After a failure a write has survived if its file was synced since, and a name if its folder was.
//! Each other change has survived or not, independently of earlier and later ones. That is weaker
//! than what most file systems guarantee.

use files::disk::{Disk, FileKind, Sink};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What a name refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    File(usize),
    Folder,
}

/// Names, and the bytes of files by file number.
#[derive(Clone, Debug, Default)]
pub struct Files {
    names: BTreeMap<PathBuf, Node>,
    bytes: BTreeMap<usize, Vec<u8>>,
}

#[derive(Clone, Debug)]
enum Change {
    /// Names of a folder that were set or removed.
    Names {
        folder: PathBuf,
        set: Vec<(PathBuf, Option<Node>)>,
        what: String,
    },
    Write {
        file: usize,
        at: usize,
        bytes: Vec<u8>,
    },
    Sync {
        file: usize,
    },
    SyncFolder {
        folder: PathBuf,
    },
    /// The program has reported something as saved.
    Promise(u64),
}

#[derive(Debug, Default)]
struct Recording {
    now: Files,
    changes: Vec<Change>,
}

/// The disk as the running program uses it.
#[derive(Clone, Debug, Default)]
pub struct PowerLossDisk(Arc<Mutex<Recording>>);

impl Files {
    fn apply(&mut self, change: &Change, torn: bool) {
        match change {
            Change::Names { set, .. } => {
                for (path, node) in set {
                    match node {
                        Some(node) => self.names.insert(path.clone(), *node),
                        None => self.names.remove(path),
                    };
                }
            }
            Change::Write { file, at, bytes } => {
                let bytes = if torn { &bytes[..bytes.len() / 2] } else { bytes };
                let file_bytes = self.bytes.entry(*file).or_default();
                file_bytes.resize(file_bytes.len().max(at + bytes.len()), 0);
                file_bytes[*at..at + bytes.len()].copy_from_slice(bytes);
            }
            Change::Sync { .. } | Change::SyncFolder { .. } | Change::Promise(_) => {}
        }
    }

    /// What a path refers to, if all its parent folders exist.
    fn node(&self, path: &Path) -> Option<Node> {
        if path == Path::new("/") {
            return Some(Node::Folder);
        }
        match self.node(path.parent()?)? {
            Node::Folder => self.names.get(path).copied(),
            Node::File(_) => None,
        }
    }

    fn kind(&self, path: &Path) -> Option<FileKind> {
        Some(match self.node(path)? {
            Node::Folder => FileKind::Folder,
            Node::File(file) => FileKind::File(self.bytes.get(&file).map_or(0, Vec::len) as u64),
        })
    }

    /// A file's bytes.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match self.node(path) {
            Some(Node::File(file)) => Ok(self.bytes.get(&file).cloned().unwrap_or_default()),
            Some(Node::Folder) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        match self.node(folder) {
            Some(Node::Folder) => {}
            Some(Node::File(_)) => return Err(ErrorKind::NotADirectory.into()),
            None => return Err(ErrorKind::NotFound.into()),
        }
        let inside = self.names.keys().filter(|path| path.parent() == Some(folder));
        Ok(inside.cloned().collect())
    }
}

impl PowerLossDisk {
    /// An empty disk.
    pub fn new() -> PowerLossDisk {
        PowerLossDisk::default()
    }

    /// A disk in the state after a failure.
    pub fn of(files: Files) -> PowerLossDisk {
        PowerLossDisk(Arc::new(Mutex::new(Recording { now: files, changes: Vec::new() })))
    }

    /// Records that step `step` was reported as saved.
    pub fn promise(&self, step: u64) {
        self.0.lock().unwrap().changes.push(Change::Promise(step));
    }

    /// A log of operations on names and folders.
    pub fn names(&self) -> Vec<String> {
        let recording = self.0.lock().unwrap();
        let log = recording.changes.iter().filter_map(|change| match change {
            Change::Names { what, .. } => Some(what.clone()),
            Change::SyncFolder { folder } => Some(format!("sync {}", folder.display())),
            _ => None,
        });
        log.collect()
    }

    /// Calls `each` with states in which a failure can leave the disk, and the last promise before
    /// it. After every change these are all subsets of the unsynced changes if there are at most
    /// `most` subsets of at most twelve changes, else `most` random subsets, drawn with `seed`.
    /// Some states contain half of a write. Returns the number of states. Without `syncs`, syncs
    /// have no effect.
    pub fn failures(
        &self,
        most: u64,
        seed: u64,
        syncs: bool,
        each: &mut dyn FnMut(Files, Option<u64>),
    ) -> u64 {
        let recording = self.0.lock().unwrap();
        let (mut states, mut random) = (0, seed | 1);
        let mut draw = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        for length in 0..=recording.changes.len() {
            let prefix = &recording.changes[..length];
            let open = not_safe(prefix, syncs);
            let promised = prefix.iter().rev().find_map(|change| match change {
                Change::Promise(step) => Some(*step),
                _ => None,
            });
            let all = 1u64.checked_shl(open.len() as u32).unwrap_or(u64::MAX);
            let exhaustive = open.len() <= 12 && all <= most;
            for number in 0..all.min(most) {
                let subset = if exhaustive { number } else { draw() };
                // Half of a write, in one state out of four.
                let torn = (draw() % 4 == 0).then(|| draw() as usize % length.max(1));
                let mut files = Files::default();
                for (at, change) in prefix.iter().enumerate() {
                    let position = open.iter().position(|&it| it == at);
                    if position.is_none_or(|bit| subset >> (bit % 64) & 1 == 1) {
                        files.apply(change, position.is_some() && torn == Some(at));
                    }
                }
                each(files, promised);
                states += 1;
            }
        }
        states
    }

    fn change(&self, change: Change) {
        let mut recording = self.0.lock().unwrap();
        recording.now.apply(&change, false);
        recording.changes.push(change);
    }

    fn set_names(&self, what: String, path: &Path, set: Vec<(PathBuf, Option<Node>)>) {
        let folder = path.parent().expect("not the root").to_path_buf();
        self.change(Change::Names { folder, set, what });
    }

    fn node(&self, path: &Path) -> io::Result<Node> {
        self.0.lock().unwrap().now.node(path).ok_or(ErrorKind::NotFound.into())
    }
}

/// The changes that a failure after the last of them may lose.
fn not_safe(changes: &[Change], syncs: bool) -> Vec<usize> {
    let (mut files, mut folders) = (BTreeSet::new(), BTreeSet::new());
    let mut open = Vec::new();
    for (at, change) in changes.iter().enumerate().rev() {
        let is_safe = match change {
            Change::Write { file, .. } => files.contains(file),
            Change::Names { folder, .. } => folders.contains(folder),
            Change::Sync { .. } | Change::SyncFolder { .. } | Change::Promise(_) => true,
        };
        match change {
            Change::Sync { file } if syncs => _ = files.insert(file),
            Change::SyncFolder { folder } if syncs => _ = folders.insert(folder),
            _ => {}
        }
        if !is_safe {
            open.push(at);
        }
    }
    open.reverse();
    open
}

/// A file that is written sequentially.
struct Open {
    disk: PowerLossDisk,
    file: usize,
    at: usize,
}

impl Write for Open {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.change(Change::Write { file: self.file, at: self.at, bytes: bytes.into() });
        self.at += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Open {
    fn sync(&mut self) -> io::Result<()> {
        self.disk.change(Change::Sync { file: self.file });
        Ok(())
    }
}

impl PowerLossDisk {
    /// An existing file, opened again: for syncs by other code.
    pub fn again(&self, path: &Path) -> Box<dyn Sink> {
        let Ok(Node::File(file)) = self.node(path) else { panic!("no file: {}", path.display()) };
        Box::new(Open { disk: self.clone(), file, at: 0 })
    }
}

impl Disk for PowerLossDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>> {
        let file = self.0.lock().unwrap().changes.len(); // an unused file number
        let set = vec![(path.to_path_buf(), Some(Node::File(file)))];
        self.set_names(format!("create {}", path.display()), path, set);
        Ok(Box::new(Open { disk: self.clone(), file, at: 0 }))
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        let set = vec![(path.to_path_buf(), Some(Node::Folder))];
        self.set_names(format!("make {}", path.display()), path, set);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.node(from)?;
        assert_eq!(from.parent(), to.parent(), "a rename within a folder");
        let set = vec![(from.to_path_buf(), None), (to.to_path_buf(), Some(node))];
        self.set_names(format!("rename {}", to.display()), to, set);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.node(path)?;
        let set = vec![(path.to_path_buf(), None)];
        self.set_names(format!("remove {}", path.display()), path, set);
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.node(folder)?;
        self.change(Change::SyncFolder { folder: folder.to_path_buf() });
        Ok(())
    }

    fn free(&self, _: &Path) -> Option<u64> {
        None
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        self.0.lock().unwrap().now.list(folder)
    }

    fn kind(&self, path: &Path) -> io::Result<Option<FileKind>> {
        Ok(self.0.lock().unwrap().now.kind(path))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.lock().unwrap().now.read(path)
    }
}

#[test]
fn synced_changes_survive_and_others_may_not() {
    let disk = PowerLossDisk::new();
    let path = Path::new("/file");
    let mut file = disk.create(path).unwrap();
    file.write_all(b"1234").unwrap();
    let count = |syncs: bool| {
        let mut states = BTreeMap::new();
        disk.failures(64, 1, syncs, &mut |files, _| {
            let bytes = files.read(path).ok().map(|bytes| bytes.len());
            *states.entry(bytes).or_insert(0) += 1;
        });
        states
    };
    assert!(count(true).keys().any(|len| *len == Some(0)), "a name without bytes");
    file.sync().unwrap();
    disk.sync_folder(Path::new("/")).unwrap();
    disk.promise(1);
    let mut last = Vec::new();
    disk.failures(64, 1, true, &mut |files, promised| {
        if promised == Some(1) {
            last.push(files.read(path).unwrap());
        }
    });
    assert!(last.len() == 1 && last[0] == b"1234");
    let mut lost = 0;
    disk.failures(64, 1, false, &mut |files, promised| {
        lost += u32::from(promised == Some(1) && files.read(path).ok().as_deref() != Some(b"1234"));
    });
    assert!(lost > 0, "without syncs a saved step is lost");
}
