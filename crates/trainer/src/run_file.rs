//! Files of a run's folder: that one is missing is an answer, that one cannot be read is an error.

use crate::fault::{Fault, Result};
use std::fmt::Display;
use std::path::Path;

/// The text of a file; `None` if there is none.
///
/// # Errors
/// Exit code 4 if there is one and it cannot be read, or is not a regular file.
pub fn read(path: &Path) -> Result<Option<String>> {
    files::read_optional(path).map_err(|error| unreadable(path, error))
}

/// Whether there is a file.
///
/// # Errors
/// Exit code 4 if the file system does not answer.
pub fn exists(path: &Path) -> Result<bool> {
    files::exists(path).map_err(|error| unreadable(path, error))
}

/// That a file cannot be read.
pub fn unreadable(path: &Path, why: impl Display) -> Fault {
    Fault::new(4, format!("{}: cannot read: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_none_and_a_folder_in_its_place_an_error() {
        let folder = std::env::temp_dir();
        assert_eq!(read(&folder.join("alexnet-no-such-file")), Ok(None));
        assert_eq!(exists(&folder), Ok(true));
        let fault = read(&folder).unwrap_err();
        assert!(fault.code == 4 && fault.message.contains("not a regular file"), "{fault:?}");
    }
}
