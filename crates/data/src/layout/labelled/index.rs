//! Finds the image file that a row of a table names.

use crate::layout::splits::{FolderSplit, split_of};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Indices of images by file name and by file stem, in lower case.
pub(super) struct ImageIndex<'a> {
    paths: &'a [PathBuf],
    by_name: HashMap<String, Vec<usize>>,
    by_stem: HashMap<String, Vec<usize>>,
    base: &'a Path,
}

impl<'a> ImageIndex<'a> {
    pub(super) fn new(paths: &'a [PathBuf], base: &'a Path) -> ImageIndex<'a> {
        let (mut by_name, mut by_stem) = (HashMap::new(), HashMap::new());
        let lower =
            |text: Option<&OsStr>| text.unwrap_or_default().to_string_lossy().to_lowercase();
        for (at, path) in paths.iter().enumerate() {
            by_name.entry(lower(path.file_name())).or_insert_with(Vec::new).push(at);
            by_stem.entry(lower(path.file_stem())).or_insert_with(Vec::new).push(at);
        }
        ImageIndex { paths, by_name, by_stem, base }
    }

    /// The file that a row names: one whose path ends with `image`, with or without extension.
    /// Files in the folder of the row's split are preferred.
    pub(super) fn find(
        &self,
        image: &str,
        split: Option<FolderSplit>,
    ) -> std::result::Result<Option<usize>, String> {
        let image = image.replace('\\', "/");
        let parts: Vec<&str> = image.split('/').filter(|part| !["", "."].contains(part)).collect();
        let Some((name, above)) = parts.split_last() else { return Ok(None) };
        let lower = name.to_lowercase();
        let Some(found) = self.by_name.get(&lower).or_else(|| self.by_stem.get(&lower)) else {
            return Ok(None);
        };
        let agreeing = |&at: &usize| {
            let path = &self.paths[at];
            let exact = [path.file_name(), path.file_stem()].contains(&Some(OsStr::new(name)));
            let mut folders = path.parent().into_iter().flat_map(Path::iter).rev();
            let alike =
                above.iter().rev().take_while(|part| folders.next() == Some(OsStr::new(part)));
            (exact, alike.count(), self.rank_folder(path, split))
        };
        let best = found.iter().map(agreeing).max();
        let found: Vec<usize> =
            found.iter().copied().filter(|at| Some(agreeing(at)) == best).collect();
        match found[..] {
            [one] => Ok(Some(one)),
            [] => Ok(None),
            [a, b, ..] => Err(format!(
                "ambiguous: {} or {}",
                self.paths[a].display(),
                self.paths[b].display()
            )),
        }
    }

    /// How well a file's folder matches a split: 2 if it is of this split, 0 if of another.
    fn rank_folder(&self, path: &Path, split: Option<FolderSplit>) -> u8 {
        let below = path.strip_prefix(self.base).unwrap_or(path);
        let mut of = below.parent().into_iter().flat_map(Path::iter).filter_map(split_of);
        match of.next() {
            None => 1,
            found if found == split.or(Some(FolderSplit::Train)) => 2,
            Some(_) => 0,
        }
    }
}
