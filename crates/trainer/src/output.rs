//! Files that a command writes.

use crate::fault::{Fault, Result};
use files::Output;
use std::path::Path;

/// Writes a whole file.
///
/// # Errors
/// Exit code 7.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut output = create(path)?;
    output.write(bytes)?;
    Ok(output.finish()?)
}

/// Begins a file that is written piece by piece.
///
/// # Errors
/// Exit code 2 if its name is none, else 7.
pub fn create(path: &Path) -> Result<Output> {
    if path.file_name().is_none() {
        return Err(Fault::usage(format!("{}: this names no file to write", path.display())));
    }
    Ok(Output::create(path)?)
}

/// Makes a folder and those above it.
///
/// # Errors
/// Exit code 7.
pub fn make_folder(folder: &Path) -> Result<()> {
    let failed =
        |error| Fault::new(7, format!("{}: cannot make the folder: {error}", folder.display()));
    std::fs::create_dir_all(folder).map_err(failed)
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
    fn unknown_endings_are_rejected() {
        assert_eq!(ending(Path::new("a.b.CSV"), &["json", "csv"]), Ok("csv"));
        let fault = ending(Path::new("a"), &["json", "csv"]).unwrap_err();
        assert!(fault.message.contains("a: end the name in .json or .csv"), "{}", fault.message);
    }
}
