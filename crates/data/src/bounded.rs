//! Files that a user names, read within a limit.
//!
//! A name may lead to anything: a pipe that never ends, a device, a file of terabytes. What is not
//! a regular file is refused at once, and none is read beyond its limit.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Bytes of an image file, at most.
pub const LONGEST_IMAGE: u64 = 256 << 20;

/// Bytes of a text at most: settings, models, lists, logs.
pub const LONGEST_TEXT: u64 = 256 << 20;

/// Bytes of a shard's index at most: 40 for each image.
pub(crate) const LONGEST_INDEX: u64 = 4 << 30;

/// Opens a regular file for reading, and tells its length. Never waits, as opening a pipe would.
///
/// # Errors
/// What the system says, or that this is no regular file.
pub fn open(path: &Path) -> io::Result<(File, u64)> {
    // A pipe without a writer is opened at once, and has no effect on regular files.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let about = file.metadata()?;
    let kind = about.file_type();
    let found = if kind.is_file() {
        return Ok((file, about.len()));
    } else if kind.is_dir() {
        "this is a folder, not a file"
    } else if kind.is_fifo() {
        "this is a pipe, not a file"
    } else if kind.is_char_device() || kind.is_block_device() {
        "this is a device, not a file"
    } else {
        "this is no file that can be read"
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, found))
}

/// Whether a file is there, or may be: one that cannot be looked at is no missing one, and reading
/// it says why.
pub(crate) fn is_there(path: &Path) -> bool {
    match std::fs::metadata(path) {
        Ok(about) => about.is_file(),
        Err(error) => !matches!(
            error.kind(),
            io::ErrorKind::NotFound
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::InvalidFilename
                | io::ErrorKind::InvalidInput
        ),
    }
}

/// Replaces `bytes` with a regular file's.
///
/// # Errors
/// As [`open`]; or if the file is longer than `limit`, of which nothing is then read.
pub fn read_into(path: &Path, limit: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
    bytes.clear();
    let (file, len) = open(path)?;
    if len > limit {
        return Err(too_long(limit));
    }
    bytes.reserve(len as usize + 1); // one more, so that the end is seen without growing
    file.take(limit + 1).read_to_end(bytes)?;
    if bytes.len() as u64 > limit { Err(too_long(limit)) } else { Ok(()) }
}

/// A regular file's bytes.
///
/// # Errors
/// As [`read_into`].
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    read_into(path, limit, &mut bytes)?;
    Ok(bytes)
}

/// A regular file's text, [`LONGEST_TEXT`] at most.
///
/// # Errors
/// As [`read_into`]; or if it is no UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    text_of(read(path, LONGEST_TEXT)?)
}

/// The text of a file or of a pipe, [`LONGEST_TEXT`] at most; waits for who writes into a pipe.
///
/// # Errors
/// What the system says, or if it is longer, or no UTF-8.
pub fn read_text_or_pipe(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST_TEXT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST_TEXT {
        return Err(too_long(LONGEST_TEXT));
    }
    text_of(bytes)
}

fn text_of(bytes: Vec<u8>) -> io::Result<String> {
    let wrong = |_| io::Error::new(io::ErrorKind::InvalidData, "this is no text in UTF-8");
    String::from_utf8(bytes).map_err(wrong)
}

/// The error of a file that is longer than `limit`.
pub(crate) fn too_long(limit: u64) -> io::Error {
    let limit = match limit >> 20 {
        0 => format!("{limit} bytes"),
        mebibytes => format!("{mebibytes} MiB"),
    };
    io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {limit}, the limit"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch_dir::ScratchDir;
    use std::time::{Duration, Instant};

    #[test]
    fn only_regular_files_within_the_limit_are_read() {
        let dir = ScratchDir::new();
        let path = dir.write("a", b"0123456789");
        let mut bytes = vec![7; 99];
        read_into(&path, 10, &mut bytes).unwrap();
        assert_eq!(bytes, b"0123456789");
        let error = read_into(&path, 9, &mut bytes).unwrap_err();
        assert!(error.to_string().contains("longer than 9 bytes"), "{error}");
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let began = Instant::now();
        for (path, reason) in [
            (dir.path(), "folder"),
            (Path::new("/dev/zero"), "device"),
            (&pipe, "pipe"),
            (&dir.path().join("none"), "No such file"),
        ] {
            let error = read(path, 1 << 20).unwrap_err().to_string();
            assert!(error.contains(reason), "{}: {error}", path.display());
        }
        assert!(is_there(&path) && !is_there(dir.path()) && !is_there(&path.join("below")));
        assert!(
            !is_there(&dir.path().join("none")) && !is_there(&dir.path().join("x".repeat(999)))
        );
        let around = dir.path().join("around");
        std::os::unix::fs::symlink(&around, &around).unwrap();
        assert!(is_there(&around), "an error is no absence");
        let sparse = dir.path().join("sparse.png");
        File::create(&sparse).unwrap().set_len(6 << 30).unwrap();
        let error = read(&sparse, LONGEST_IMAGE).unwrap_err();
        assert!(error.to_string().contains("longer than 256 MiB"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        dir.write("b", b"\xFF");
        assert!(read_text(&dir.path().join("b")).unwrap_err().to_string().contains("UTF-8"));
        let error = read_text_or_pipe(Path::new("/dev/zero")).unwrap_err();
        assert!(error.to_string().contains("longer than 256 MiB"), "{error}");
        // A file whose length the system does not tell.
        assert!(read_text(Path::new("/proc/self/status")).unwrap().contains("VmRSS"));
    }
}
