//! From what a table calls an image to its file.

use crate::layout::splits::{Split, split_of};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Where images are, by their names and by their names without ending; in lower case.
pub(super) struct Index<'a> {
    paths: &'a [PathBuf],
    by_name: HashMap<String, Vec<usize>>,
    by_stem: HashMap<String, Vec<usize>>,
    base: &'a Path,
}

impl<'a> Index<'a> {
    pub(super) fn new(paths: &'a [PathBuf], base: &'a Path) -> Index<'a> {
        let (mut by_name, mut by_stem) = (HashMap::new(), HashMap::new());
        let lower =
            |text: Option<&OsStr>| text.unwrap_or_default().to_string_lossy().to_lowercase();
        for (at, path) in paths.iter().enumerate() {
            by_name.entry(lower(path.file_name())).or_insert_with(Vec::new).push(at);
            by_stem.entry(lower(path.file_stem())).or_insert_with(Vec::new).push(at);
        }
        Index { paths, by_name, by_stem, base }
    }

    /// The file that a row means: one whose path ends as the row says, with or without an ending,
    /// in the folder for the row's split if it can be elsewhere, too.
    pub(super) fn find(
        &self,
        image: &str,
        split: Option<Split>,
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
            (exact, alike.count(), self.suits(path, split))
        };
        let best = found.iter().map(agreeing).max();
        let found: Vec<usize> =
            found.iter().copied().filter(|at| Some(agreeing(at)) == best).collect();
        match found[..] {
            [one] => Ok(Some(one)),
            [] => Ok(None),
            [a, b, ..] => {
                Err(format!("it may be {} or {}", self.paths[a].display(), self.paths[b].display()))
            }
        }
    }

    /// How well the folder that a file lies in suits a split: 2 if it is its own, 0 if another's.
    fn suits(&self, path: &Path, split: Option<Split>) -> u8 {
        let below = path.strip_prefix(self.base).unwrap_or(path);
        let mut of = below.parent().into_iter().flat_map(Path::iter).filter_map(split_of);
        match of.next() {
            None => 1,
            found if found == split.or(Some(Split::Train)) => 2,
            Some(_) => 0,
        }
    }
}
