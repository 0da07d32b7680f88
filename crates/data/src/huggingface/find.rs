//! Finds the parquet files of a folder and their splits.

use crate::formats::may_be_image;
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

/// The depth of the search: `data/`, `default/train/`.
const DEEPEST: usize = 3;
/// The limit of files in a data set.
const MAX_FILES: usize = 1 << 16;
/// The limit of folders searched, in breadth-first order.
const MAX_FOLDERS: usize = 4096;

/// The split of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TableSplit {
    Train,
    Validation,
    Test,
}

impl TableSplit {
    pub(super) fn name(self) -> &'static str {
        match self {
            TableSplit::Train => "train",
            TableSplit::Validation => "validation",
            TableSplit::Test => "test",
        }
    }

    /// The split according to the first word of a name, such as `train-00000-of-00002`.
    fn of(name: &str) -> Option<TableSplit> {
        let lower = name.to_ascii_lowercase();
        let word = lower.split(|c: char| !c.is_ascii_alphabetic()).next();
        match word? {
            "train" | "training" => Some(TableSplit::Train),
            "val" | "valid" | "validation" | "dev" => Some(TableSplit::Validation),
            "test" | "testing" => Some(TableSplit::Test),
            _ => None,
        }
    }
}

/// The files of a data set, sorted by split and name.
#[derive(Debug)]
pub(super) struct ParquetFiles {
    pub(super) files: Vec<(TableSplit, PathBuf)>,
    pub(super) notes: Vec<String>,
}

/// The parquet files at `path` or below it, sorted.
pub(super) fn files(path: &Path) -> Vec<PathBuf> {
    let is_table = |path: &Path| {
        path.extension().is_some_and(|end| end.eq_ignore_ascii_case("parquet")) && path.is_file()
    };
    if is_table(path) {
        return vec![path.to_owned()];
    }
    let mut files = Vec::new();
    let mut folders = VecDeque::from([(path.to_owned(), 0)]);
    for _ in 0..MAX_FOLDERS {
        let Some((folder, depth)) = folders.pop_front() else { break };
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            let path = entry.path();
            if is_hidden || files.len() > MAX_FILES {
                continue;
            }
            if path.extension().is_some() && may_be_image(&path) {
                break; // a class's folder, which may be large
            }
            if is_table(&path) {
                files.push(path);
            } else if depth + 1 < DEEPEST && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push_back((path, depth + 1));
            }
        }
    }
    files.sort();
    files
}

impl ParquetFiles {
    /// # Errors
    /// If there are several data sets, or files are missing.
    pub(super) fn find(path: &Path) -> Result<ParquetFiles> {
        let all = files(path);
        if all.len() > MAX_FILES {
            let problem = format!("more than {MAX_FILES} parquet files");
            return Err(Error::layout(path, problem, "open a folder with one data set"));
        }
        if let [one] = &all[..]
            && (path.is_file() || split_of(one).is_none())
        {
            return Ok(ParquetFiles {
                files: vec![(TableSplit::Train, one.clone())],
                notes: Vec::new(),
            });
        }
        // Each configuration of a data set has its own folder.
        let mut homes: BTreeMap<PathBuf, Vec<(TableSplit, PathBuf)>> = BTreeMap::new();
        let mut unnamed: Vec<PathBuf> = Vec::new();
        for file in all {
            match split_of(&file) {
                Some((split, home)) => homes.entry(home).or_default().push((split, file)),
                None => unnamed.push(file),
            }
        }
        let mut named = homes.keys();
        if let (Some(first), Some(second)) = (named.next(), named.next()) {
            let remedy = format!("open one: {} or {}", first.display(), second.display());
            return Err(Error::layout(path, "several data sets of parquet files", remedy));
        }
        let Some(mut files) = homes.into_values().next() else {
            let remedy = "start their names with `train`, `validation` or `test`";
            return Err(Error::layout(path, "the split of its files is unknown", remedy));
        };
        files.sort();
        check_whole(path, &files)?;
        let note = |first: &PathBuf| {
            let (shown, first) = (path.display(), first.display());
            let count = unnamed.len();
            format!(
                "{shown}: {count} parquet files without a split in their names are not used (such \
                 as {first})"
            )
        };
        let notes = unnamed.first().map(note).into_iter().collect();
        Ok(ParquetFiles { files, notes })
    }
}

/// The split according to a file's or its folder's name, and the data set's folder.
pub(super) fn split_of(file: &Path) -> Option<(TableSplit, PathBuf)> {
    let stem = file.file_stem()?.to_string_lossy();
    let folder = file.parent().unwrap_or(Path::new(""));
    if let Some(split) = TableSplit::of(&stem) {
        return Some((split, folder.to_owned()));
    }
    let split = TableSplit::of(&folder.file_name()?.to_string_lossy())?;
    Some((split, folder.parent().unwrap_or(Path::new("")).to_owned()))
}

/// Checks that files named like `train-00000-of-00294` are complete.
fn check_whole(path: &Path, files: &[(TableSplit, PathBuf)]) -> Result<()> {
    let mut found: BTreeMap<(TableSplit, usize), BTreeSet<usize>> = BTreeMap::new();
    for (split, file) in files {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut parts = stem.rsplit('-');
        let [of, word, number] = [parts.next(), parts.next(), parts.next()];
        let (Some(Ok(of)), Some("of"), Some(number)) = (of.map(str::parse), word, number) else {
            continue;
        };
        if let Ok(number) = number.parse() {
            found.entry((*split, of)).or_default().insert(number);
        }
    }
    for ((split, of), numbers) in found {
        let Some(missing) = (0..of.min(MAX_FILES)).find(|number| !numbers.contains(number)) else {
            continue;
        };
        let (name, count) = (split.name(), numbers.len());
        let problem =
            format!("{count} of {of} files of {name}: {missing:05}-of-{of:05} is missing");
        let remedy = "download the missing files, or rename the existing ones";
        return Err(Error::layout(path, problem, remedy));
    }
    Ok(())
}
