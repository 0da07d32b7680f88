//! Image files without classes, read when they are asked for: any number of them.

use crate::fault::{Fault, Result};
use data::decode::read_square;
use data::formats::{NameKind, kind_of_name};
use data::{Error, ExifMode, ReadBuffer, Source};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The files that arguments name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Image files, those of a folder or a pattern in natural order.
    pub files: Vec<PathBuf>,
    /// Files in folders whose names are no images'.
    pub others: Vec<PathBuf>,
}

impl Named {
    /// The files that `arguments` name: a file; a folder, of which all image files at any depth are
    /// meant; or a pattern with `*`, `?`, `[...]` or `**`, where nothing has just this name.
    ///
    /// Natural order compares numbers as numbers: `img2.jpg` comes before `img10.jpg`. Hidden files
    /// and links to folders are passed over.
    ///
    /// # Errors
    /// Exit code 3 if a folder cannot be read, or holds no image, or a pattern fits nothing.
    pub fn by(arguments: &[PathBuf]) -> Result<Named> {
        let mut named = Named::default();
        for argument in arguments {
            let text = argument.to_string_lossy();
            let before = named.files.len();
            if argument.is_dir() {
                named.add_folder(argument)?;
            } else if argument.symlink_metadata().is_err() && text.contains(['*', '?', '[']) {
                for path in matches(&text)? {
                    match path.is_dir() {
                        true => named.add_folder(&path)?,
                        false => named.add(path),
                    }
                }
            } else {
                named.files.push(argument.clone());
            }
            if named.files.len() == before {
                let message = format!("{text}: no image file there");
                return Err(Fault { code: 3, message });
            }
        }
        Ok(named)
    }

    fn add(&mut self, path: PathBuf) {
        match kind_of_name(&path) == NameKind::Image {
            true => self.files.push(path),
            false => self.others.push(path),
        }
    }

    fn add_folder(&mut self, root: &Path) -> Result<()> {
        let mut folders = vec![root.to_path_buf()];
        let mut found = Vec::new();
        while let Some(folder) = folders.pop() {
            let failed = |error: std::io::Error| Fault {
                code: 3,
                message: format!("{}: {error}", folder.display()),
            };
            for entry in std::fs::read_dir(&folder).map_err(failed)? {
                let path = entry.map_err(failed)?.path();
                let name = path.file_name().unwrap_or_default().as_encoded_bytes();
                if name.starts_with(b".") || name == b"__MACOSX" {
                    continue;
                }
                // A link to a folder might lead in circles.
                match path.is_dir() {
                    true if path.is_symlink() => {}
                    true => folders.push(path),
                    false => found.push(path),
                }
            }
        }
        found.sort_by(|a, b| natural(a, b));
        found.into_iter().for_each(|path| self.add(path));
        Ok(())
    }
}

/// What fits a pattern, in natural order.
fn matches(pattern: &str) -> Result<Vec<PathBuf>> {
    let options = glob::MatchOptions {
        require_literal_separator: true,
        require_literal_leading_dot: true,
        ..glob::MatchOptions::default()
    };
    let found = glob::glob_with(pattern, options)
        .map_err(|error| Fault::usage(format!("{pattern}: no pattern for files: {error}")))?;
    let found: std::result::Result<Vec<PathBuf>, _> = found.collect();
    let mut found = found.map_err(|error| Fault { code: 3, message: error.to_string() })?;
    found.sort_by(|a, b| natural(a, b));
    Ok(found)
}

/// Compares paths part by part, and in these letters as bytes and runs of digits as numbers.
fn natural(a: &Path, b: &Path) -> Ordering {
    let parts = a.components().zip(b.components());
    let parts = parts.map(|(a, b)| {
        let (a, b) = (a.as_os_str().as_encoded_bytes(), b.as_os_str().as_encoded_bytes());
        natural_bytes(a, b)
    });
    parts.fold(Ordering::Equal, Ordering::then).then_with(|| a.cmp(b))
}

fn natural_bytes(mut a: &[u8], mut b: &[u8]) -> Ordering {
    loop {
        let [x, y] = [a, b].map(|text| text.iter().take_while(|c| c.is_ascii_digit()).count());
        if x > 0 && y > 0 {
            let (m, n) = (number(&a[..x]), number(&b[..y]));
            let order = m.len().cmp(&n.len()).then_with(|| m.cmp(n));
            if order.is_ne() {
                return order;
            }
            (a, b) = (&a[x..], &b[y..]);
            continue;
        }
        match (a.split_first(), b.split_first()) {
            (Some((x, rest_a)), Some((y, rest_b))) if x == y => (a, b) = (rest_a, rest_b),
            (x, y) => return x.map(|x| x.0).cmp(&y.map(|y| y.0)),
        }
    }
}

/// Digits without the zeros before them.
fn number(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    &digits[zeros..]
}

/// Image files as a source. One that cannot be read is a grey image, and is told of: no number of
/// them ends the others' predictions.
pub struct Unlabelled {
    classes: Vec<String>,
    side: usize,
    exif: ExifMode,
    files: Vec<PathBuf>,
    grey: Vec<u8>,
    bad: Mutex<BTreeMap<usize, Error>>,
    /// Images with an EXIF orientation other than the stored one.
    oriented: Mutex<BTreeSet<usize>>,
}

impl Unlabelled {
    /// Files, each to be read as a square of `side`, upright or as it is stored, for a network that
    /// knows these classes.
    pub fn new(
        files: Vec<PathBuf>,
        (side, exif): (usize, ExifMode),
        classes: &[String],
    ) -> Unlabelled {
        let grey = vec![128; side * side * 3];
        let (classes, bad, oriented) = (classes.to_vec(), Mutex::default(), Mutex::default());
        Unlabelled { classes, side, exif, files, grey, bad, oriented }
    }

    /// The file of an image.
    pub fn path(&self, index: usize) -> &Path {
        &self.files[index]
    }

    /// The images that could not be read so far, and why.
    pub fn bad(&self) -> MutexGuard<'_, BTreeMap<usize, Error>> {
        self.bad.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Unlabelled {
    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn size(&self) -> (usize, usize) {
        (self.side, self.side)
    }

    fn len(&self) -> usize {
        self.files.len()
    }

    fn label(&self, index: usize) -> u32 {
        assert!(index < self.len(), "image {index} of {}", self.len());
        0
    }

    fn name(&self, index: usize) -> String {
        self.files[index].display().to_string()
    }

    fn read<'a>(&'a self, index: usize, buffer: &'a mut ReadBuffer) -> data::Result<&'a [u8]> {
        match read_square(&self.files[index], self.side, self.exif, buffer).map(drop) {
            Ok(()) => {
                if buffer.is_oriented() {
                    self.oriented.lock().unwrap_or_else(PoisonError::into_inner).insert(index);
                }
                Ok(&buffer.image.pixels)
            }
            Err(error) => {
                self.bad().insert(index, error);
                Ok(&self.grey)
            }
        }
    }

    fn remarks(&self) -> Vec<String> {
        let oriented = self.oriented.lock().unwrap_or_else(PoisonError::into_inner);
        let first =
            oriented.first().map(|&first| self.exif.note(oriented.len(), &self.name(first)));
        first.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_are_compared_as_numbers() {
        let order = [
            "a/1.png",
            "a/02.png",
            "a/2.png",
            "a/10.png",
            "a/b.png",
            "a-1/0.png",
            "a2/x",
            "a10/x",
            "b",
        ];
        let mut paths: Vec<PathBuf> = order.iter().rev().map(PathBuf::from).collect();
        paths.sort_by(|a, b| natural(a, b));
        let found: Vec<&str> = paths.iter().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(found, order);
        assert_eq!(
            natural_bytes(b"img99999999999999999999", b"img100000000000000000000"),
            Ordering::Less
        );
    }
}
