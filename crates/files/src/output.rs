//! A file that is written in pieces and renamed when it is complete.

use crate::{Error, Result};
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A file that is written under a temporary name and renamed when it is complete.
#[derive(Debug)]
pub struct Output {
    path: PathBuf,
    temporary: PathBuf,
    file: BufWriter<File>,
    done: bool,
}

impl Output {
    /// Starts a file; an existing one is replaced by [`finish`](Self::finish).
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn create(path: impl AsRef<Path>) -> Result<Output> {
        let path = path.as_ref();
        let name = path.file_name().ok_or_else(|| {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "this is not a file name");
            failed(path, source)
        })?;
        let mut name = name.to_os_string();
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(name);
        let file = File::create(&temporary).map_err(|error| failed(path, error))?;
        Ok(Output { path: path.into(), temporary, file: BufWriter::new(file), done: false })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|error| failed(&self.path, error))
    }

    /// Continues at byte `position`, which may be beyond the end of what is written so far: bytes
    /// that are never written are zero.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn seek(&mut self, position: u64) -> Result<()> {
        self.file.seek(SeekFrom::Start(position)).map_err(|error| failed(&self.path, error))?;
        Ok(())
    }

    /// Writes what is still in memory. Returns the temporary path, so that the contents can be
    /// checked before [`finish`](Self::finish).
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn written(&mut self) -> Result<&Path> {
        self.file.flush().map_err(|error| failed(&self.path, error))?;
        Ok(&self.temporary)
    }

    /// Synchronises the file to disk and renames it.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn finish(mut self) -> Result<()> {
        let written = self.file.flush().and_then(|()| {
            self.file.get_ref().sync_all()?; // or a power failure could leave an empty file
            fs::rename(&self.temporary, &self.path)
        });
        self.done = written.is_ok();
        written.map_err(|error| failed(&self.path, error))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.done {
            let _ = fs::remove_file(&self.temporary); // the first error is the one to report
        }
    }
}

fn failed(path: &Path, source: io::Error) -> Error {
    Error::Write { path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_may_be_written_in_any_order() {
        let path = std::env::temp_dir().join(format!("alexnet-pieces-{}", std::process::id()));
        let mut output = Output::create(&path).unwrap();
        output.write(b"0123").unwrap();
        output.seek(6).unwrap();
        output.write(b"67").unwrap();
        output.seek(1).unwrap();
        output.write(b"ab").unwrap();
        output.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"0ab3\0\x0067");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn an_unfinished_file_leaves_the_old_one() {
        let path = std::env::temp_dir().join(format!("alexnet-output-{}.txt", std::process::id()));
        fs::write(&path, b"old").unwrap();
        let mut output = Output::create(&path).unwrap();
        output.write(b"half").unwrap();
        let temporary = output.temporary.clone();
        drop(output);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert!(!temporary.exists());
        let mut output = Output::create(&path).unwrap();
        output.write(b"new").unwrap();
        output.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        fs::remove_file(&path).unwrap();
        assert!(Output::create(Path::new("/no/such/folder/x.csv")).is_err());
    }
}
