//! Image files without classes, named one by one, by folders or by patterns.
//!
//! * [`ImagePaths`]: the files that arguments name
//! * [`UnlabelledFiles`]: images that are read on demand
//! * [`UnlabelledImages`]: images that are read at once and kept in memory

mod eager;
mod lazy;

pub use eager::UnlabelledImages;
pub use lazy::UnlabelledFiles;

use crate::formats::{NameKind, kind_of_name};
use crate::{Error, Result};
use std::cmp::Ordering;
use std::path::{Path, PathBuf};

/// The files that command-line arguments or the like name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ImagePaths {
    /// Image files; those of a folder or a pattern in natural order.
    pub files: Vec<PathBuf>,
    /// Files in folders whose extensions are not those of images.
    pub others: Vec<PathBuf>,
}

impl ImagePaths {
    /// Resolves `arguments`: a file; a folder, with all image files below it; or, if no file has
    /// this name, a pattern with `*`, `?`, `[...]` or `**`.
    ///
    /// Natural order compares digits as numbers: `img2.jpg` comes before `img10.jpg`. Hidden files
    /// and links to folders are skipped.
    ///
    /// # Errors
    /// [`Error::Io`] if a folder cannot be read or has no image, or a pattern matches nothing;
    /// [`Error::Pattern`] for an invalid pattern.
    pub fn resolve(arguments: &[PathBuf]) -> Result<ImagePaths> {
        let mut named = ImagePaths::default();
        for argument in arguments {
            let text = argument.to_string_lossy();
            let before = named.files.len();
            if argument.is_dir() {
                named.add_folder(argument)?;
            } else if argument.symlink_metadata().is_err() && text.contains(['*', '?', '[']) {
                for path in matches(&text)? {
                    if path.is_dir() { named.add_folder(&path)? } else { named.add(path) }
                }
            } else {
                named.files.push(argument.clone());
            }
            if named.files.len() == before {
                let reason = "no image file there".to_string();
                return Err(Error::Io { path: argument.clone(), reason });
            }
        }
        Ok(named)
    }

    fn add(&mut self, path: PathBuf) {
        if kind_of_name(&path) == NameKind::Image {
            self.files.push(path)
        } else {
            self.others.push(path)
        }
    }

    fn add_folder(&mut self, root: &Path) -> Result<()> {
        let mut folders = vec![root.to_path_buf()];
        let mut found = Vec::new();
        while let Some(folder) = folders.pop() {
            let failed = |error: std::io::Error| Error::io(&folder, &error);
            for entry in std::fs::read_dir(&folder).map_err(failed)? {
                let path = entry.map_err(failed)?.path();
                let name = path.file_name().unwrap_or_default().as_encoded_bytes();
                if name.starts_with(b".") || name == b"__MACOSX" {
                    continue;
                }
                if !path.is_dir() {
                    found.push(path);
                } else if !path.is_symlink() {
                    folders.push(path); // links to folders are skipped, as they may form a cycle
                }
            }
        }
        found.sort_by(|a, b| natural(a, b));
        found.into_iter().for_each(|path| self.add(path));
        Ok(())
    }
}

/// The paths that match a pattern, in natural order.
fn matches(pattern: &str) -> Result<Vec<PathBuf>> {
    let options = glob::MatchOptions {
        require_literal_separator: true,
        require_literal_leading_dot: true,
        ..glob::MatchOptions::default()
    };
    let found = glob::glob_with(pattern, options)
        .map_err(|error| Error::Pattern { pattern: pattern.into(), reason: error.to_string() })?;
    let mut found = found
        .map(|found| found.map_err(|error| Error::io(error.path(), error.error())))
        .collect::<Result<Vec<PathBuf>>>()?;
    found.sort_by(|a, b| natural(a, b));
    Ok(found)
}

/// Compares paths by component; letters are compared as bytes, runs of digits as numbers.
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

/// Digits without leading zeros.
fn number(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    &digits[zeros..]
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
