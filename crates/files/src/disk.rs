//! What a run's files are read and written through: the real disk, or in tests one that fails, dies
//! or loses power on purpose.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write};
use std::path::{Path, PathBuf};

/// Every operation by which a save changes the disk, and those by which a run that goes on reads
/// it.
pub trait Disk: Send + Sync {
    /// A new, empty file.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>>;

    /// A new folder; the one that holds it is there.
    fn make_folder(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name, in place of whatever had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Bytes that may still be written, where the system tells.
    fn free(&self, folder: &Path) -> Option<u64>;

    /// What a folder holds, in no order.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;

    /// What lies at a path; `None` if there is nothing.
    fn kind(&self, path: &Path) -> io::Result<Option<Kind>>;

    /// All of a regular file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
}

/// What can lie at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file of so many bytes.
    File(u64),
    /// A folder.
    Folder,
    /// A pipe, a device: opening one may wait for ever, and reading one may never end.
    Other,
}

/// An open file.
pub trait Sink: Write + Send {
    /// Makes its contents durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// The disk.
#[derive(Clone, Copy, Debug)]
pub struct Real;

impl Disk for Real {
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

    fn kind(&self, path: &Path) -> io::Result<Option<Kind>> {
        match fs::metadata(path) {
            Ok(found) if found.is_file() => Ok(Some(Kind::File(found.len()))),
            Ok(found) if found.is_dir() => Ok(Some(Kind::Folder)),
            Ok(_) => Ok(Some(Kind::Other)),
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

/// Whether an error means that there is nothing at a path, rather than that the system cannot tell.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

impl Sink for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// Opens a regular file and nothing else, without waiting for a writer of a pipe.
pub fn open_regular(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32);
    }
    let refused = || io::Error::new(ErrorKind::InvalidInput, "this is no regular file");
    let file = match options.open(path) {
        // Linux refuses by itself to open a socket, or to write into a pipe without a reader.
        Err(_) if matches!(Real.kind(path), Ok(Some(Kind::Other))) => return Err(refused()),
        opened => opened?,
    };
    if file.metadata()?.is_file() { Ok(file) } else { Err(refused()) }
}

/// Reads a regular file whole: a pipe or a device is refused before a byte of it is read.
///
/// # Errors
/// What the system says.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    Real.read(path)
}

/// [`read`], of text.
///
/// # Errors
/// As there; `InvalidData` if it is no UTF-8.
pub fn read_to_string(path: &Path) -> io::Result<String> {
    let text = String::from_utf8(read(path)?);
    text.map_err(|error| io::Error::new(ErrorKind::InvalidData, error.utf8_error()))
}

/// The text of a regular file; `None` if there is nothing at the path.
///
/// # Errors
/// If there is a file and it cannot be read, or is no regular one.
pub fn read_optional(path: &Path) -> io::Result<Option<String>> {
    if exists(path)? { read_to_string(path).map(Some) } else { Ok(None) }
}

/// Whether there is anything at a path. Unlike [`Path::exists`] it does not take a disk that does
/// not answer, or a folder that may not be read, for absence.
///
/// # Errors
/// What the system says.
pub fn exists(path: &Path) -> io::Result<bool> {
    Ok(Real.kind(path)?.is_some())
}

/// Makes a folder and those that hold it, as far as they are missing, and makes their names
/// durable.
pub fn make_folders(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() {
        return Ok(()); // the working directory
    }
    match disk.kind(path)? {
        Some(Kind::Folder) => return Ok(()),
        Some(_) => return Err(ErrorKind::NotADirectory.into()),
        None => {}
    }
    let parent = path.parent().unwrap_or(Path::new(""));
    make_folders(disk, parent)?;
    match disk.make_folder(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {} // another process may have made it just now
    }
    disk.sync_folder(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
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
