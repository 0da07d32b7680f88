//! The file operations of a run: on the real disk, or in tests on one that fails or loses power.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write};
use std::path::{Path, PathBuf};

/// The operations that save and resume a run.
pub trait Disk: Send + Sync {
    /// Creates an empty file.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>>;

    /// Creates a folder in an existing one.
    fn make_folder(&self, path: &Path) -> io::Result<()>;

    /// Renames a file, replacing an existing one.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the entries of a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// The number of free bytes, if the system reports it.
    fn free(&self, folder: &Path) -> Option<u64>;

    /// The paths in a folder, in no particular order.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;

    /// The kind of file at a path; `None` if there is none.
    fn kind(&self, path: &Path) -> io::Result<Option<FileKind>>;

    /// The content of a regular file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
}

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file with its length in bytes.
    File(u64),
    /// A folder.
    Folder,
    /// A pipe, a device or the like: opening or reading it may block forever.
    Other,
}

/// An open file.
pub trait Sink: Write + Send {
    /// Makes the content durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// The real disk.
#[derive(Clone, Copy, Debug)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>> {
        Ok(Box::new(File::create(path)?))
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
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

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
    }

    fn kind(&self, path: &Path) -> io::Result<Option<FileKind>> {
        match fs::metadata(path) {
            Ok(found) if found.is_file() => Ok(Some(FileKind::File(found.len()))),
            Ok(found) if found.is_dir() => Ok(Some(FileKind::Folder)),
            Ok(_) => Ok(Some(FileKind::Other)),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut file = open_regular(OpenOptions::new().read(true), path)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX))?;
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Whether an error means that nothing is at a path, rather than that the state is unknown.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

impl Sink for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// Opens a file if it is a regular one, without blocking on a pipe.
pub fn open_regular(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32);
    }
    let rejected = || io::Error::new(ErrorKind::InvalidInput, "this is not a regular file");
    let file = match options.open(path) {
        // Linux itself rejects opening a socket, or writing to a pipe without a reader.
        Err(_) if matches!(RealDisk.kind(path), Ok(Some(FileKind::Other))) => {
            return Err(rejected());
        }
        opened => opened?,
    };
    if file.metadata()?.is_file() { Ok(file) } else { Err(rejected()) }
}

/// Reads a regular file; a pipe or device is rejected without reading.
///
/// # Errors
/// The system's error.
pub fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let path = path.as_ref();
    RealDisk.read(path)
}

/// As [`read`], for text.
///
/// # Errors
/// As [`read`]; `InvalidData` if it is not UTF-8.
pub fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    let path = path.as_ref();
    let text = String::from_utf8(read(path)?);
    text.map_err(|error| io::Error::new(ErrorKind::InvalidData, error.utf8_error()))
}

/// The text of a regular file; `None` if nothing is at the path.
///
/// # Errors
/// If there is a file that cannot be read, or is not a regular one.
pub fn read_optional(path: impl AsRef<Path>) -> io::Result<Option<String>> {
    let path = path.as_ref();
    if exists(path)? { read_to_string(path).map(Some) } else { Ok(None) }
}

/// Whether anything is at a path. Unlike [`Path::exists`], it returns an error if a disk does not
/// respond or a folder may not be read.
///
/// # Errors
/// The system's error.
pub fn exists(path: impl AsRef<Path>) -> io::Result<bool> {
    let path = path.as_ref();
    Ok(RealDisk.kind(path)?.is_some())
}

/// Creates a folder and its missing parents, and makes them durable.
pub fn make_folders(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() {
        return Ok(()); // the working directory
    }
    match disk.kind(path)? {
        Some(FileKind::Folder) => return Ok(()),
        Some(_) => return Err(ErrorKind::NotADirectory.into()),
        None => {}
    }
    let parent = path.parent().unwrap_or(Path::new(""));
    make_folders(disk, parent)?;
    match disk.make_folder(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {} // another process may have created it
    }
    disk.sync_folder(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
}

/// The number of bytes that this user may still write in a folder; `None` if the system does not
/// report it.
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
