//! Reads user-supplied files, up to a size limit.
//!
//! A path may refer to a pipe that never ends, a device, or a file of terabytes. Anything that is
//! not a regular file is rejected, and no file is read beyond its limit.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// The size limit of an image file, in bytes.
pub const LONGEST_IMAGE: u64 = 256 << 20;

/// The size limit of a text file (settings, models, lists, logs), in bytes.
pub const LONGEST_TEXT: u64 = 256 << 20;

/// The size limit of a shard's index in bytes; it has 40 per image.
pub(crate) const LONGEST_INDEX: u64 = 4 << 30;

/// Opens a regular file for reading and returns its length. Never blocks, as opening a pipe would.
///
/// # Errors
/// The system's error, or that this is not a regular file.
pub fn open(path: &Path) -> io::Result<(File, u64)> {
    // Prevents blocking on a pipe without a writer; has no effect on regular files.
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
        "this is not a file that can be read"
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, found))
}

/// Whether a file exists, or may exist: if its metadata cannot be read for another reason, reading
/// the file reports why.
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

/// Replaces `bytes` with the content of a regular file.
///
/// # Errors
/// As [`open`]; or if the file is longer than `limit` (then nothing is read).
pub fn read_into(path: &Path, limit: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
    bytes.clear();
    let (file, len) = open(path)?;
    if len > limit {
        return Err(too_long(limit));
    }
    bytes.reserve(len as usize + 1); // one more, so that the end is detected without growing
    file.take(limit + 1).read_to_end(bytes)?;
    if bytes.len() as u64 > limit { Err(too_long(limit)) } else { Ok(()) }
}

/// The bytes of a regular file.
///
/// # Errors
/// As [`read_into`].
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    read_into(path, limit, &mut bytes)?;
    Ok(bytes)
}

/// The text of a regular file of at most [`LONGEST_TEXT`] bytes.
///
/// # Errors
/// As [`read_into`]; or if it is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    text_of(read(path, LONGEST_TEXT)?)
}

/// The text of a file or pipe of at most [`LONGEST_TEXT`] bytes; blocks until a pipe is closed.
///
/// # Errors
/// The system's error, or if it is longer or not UTF-8.
pub fn read_text_or_pipe(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST_TEXT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST_TEXT {
        return Err(too_long(LONGEST_TEXT));
    }
    text_of(bytes)
}

fn text_of(bytes: Vec<u8>) -> io::Result<String> {
    let wrong = |_| io::Error::new(io::ErrorKind::InvalidData, "this is not UTF-8 text");
    String::from_utf8(bytes).map_err(wrong)
}

/// The error for a file longer than `limit`.
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
        // A file whose reported length is zero.
        assert!(read_text(Path::new("/proc/self/status")).unwrap().contains("VmRSS"));
    }
}
