//! Files that are there whole or not at all.

use crate::fault::{Fault, Result};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file that is written under a temporary name and gets its own when it is done.
pub struct Output {
    path: PathBuf,
    temporary: PathBuf,
    file: BufWriter<File>,
    done: bool,
}

impl Output {
    /// Begins a file; one of this name is only replaced by [`finish`](Self::finish).
    ///
    /// # Errors
    /// Exit code 7.
    pub fn create(path: &Path) -> Result<Output> {
        let name = path.file_name().ok_or_else(|| {
            Fault::usage(format!("{}: this names no file to write", path.display()))
        })?;
        let mut name = name.to_os_string();
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(name);
        let file = File::create(&temporary).map_err(|error| fault(path, &error))?;
        Ok(Output { path: path.into(), temporary, file: BufWriter::new(file), done: false })
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// Exit code 7.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|error| fault(&self.path, &error))
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// Exit code 7.
    pub fn finish(mut self) -> Result<()> {
        let written = self.file.flush().and_then(|()| {
            self.file.get_ref().sync_all()?; // else a power failure could leave the name alone
            fs::rename(&self.temporary, &self.path)
        });
        self.done = written.is_ok();
        written.map_err(|error| fault(&self.path, &error))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.done {
            let _ = fs::remove_file(&self.temporary); // the first error is the one to tell
        }
    }
}

/// Writes a whole file.
///
/// # Errors
/// Exit code 7.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut output = Output::create(path)?;
    output.write(bytes)?;
    output.finish()
}

fn fault(path: &Path, error: &io::Error) -> Fault {
    Fault { code: 7, message: format!("{}: cannot write: {error}", path.display()) }
}

/// What a file's name ends in, if it is one of `known`.
///
/// # Errors
/// Exit code 2 with those that are.
pub fn ending<'a>(path: &Path, known: &[&'a str]) -> Result<&'a str> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let found = known.iter().find(|known| known.eq_ignore_ascii_case(ending));
    found.copied().ok_or_else(|| {
        let all: Vec<String> = known.iter().map(|known| format!(".{known}")).collect();
        Fault::usage(format!("{}: end the name in {}", path.display(), all.join(" or ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_finished_leaves_the_old_one() {
        let path = std::env::temp_dir().join(format!("alexnet-output-{}.txt", std::process::id()));
        write(&path, b"old").unwrap();
        let mut output = Output::create(&path).unwrap();
        output.write(b"half").unwrap();
        let temporary = output.temporary.clone();
        drop(output);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert!(!temporary.exists());
        fs::remove_file(&path).unwrap();
        assert_eq!(write(Path::new("/no/such/folder/x.csv"), b"").unwrap_err().code, 7);
    }

    #[test]
    fn endings_are_told() {
        assert_eq!(ending(Path::new("a.b.CSV"), &["json", "csv"]), Ok("csv"));
        let fault = ending(Path::new("a"), &["json", "csv"]).unwrap_err();
        assert!(fault.message.contains("a: end the name in .json or .csv"), "{}", fault.message);
    }
}
