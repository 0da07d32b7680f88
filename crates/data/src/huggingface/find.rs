//! The parquet files of a folder, and the sets they belong to.

use crate::formats::may_be_image;
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

/// Folders below the one that is named: `data/`, `default/train/`.
const DEEPEST: usize = 3;
/// More files than any data set of images has.
const MOST_FILES: usize = 1 << 16;
/// Folders that are looked into, those nearest first.
const MOST_FOLDERS: usize = 4096;

/// What a file's rows are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Split {
    Train,
    Validation,
    Test,
}

impl Split {
    pub(super) fn word(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Validation => "validation",
            Split::Test => "test",
        }
    }

    /// The set that a name says: its first word, such as that of `train-00000-of-00002`.
    fn of(name: &str) -> Option<Split> {
        let lower = name.to_ascii_lowercase();
        let word = lower.split(|c: char| !c.is_ascii_alphabetic()).next();
        match word? {
            "train" | "training" => Some(Split::Train),
            "val" | "valid" | "validation" | "dev" => Some(Split::Validation),
            "test" | "testing" => Some(Split::Test),
            _ => None,
        }
    }
}

/// The files of a data set, in the order of their sets and names.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) files: Vec<(Split, PathBuf)>,
    pub(super) notes: Vec<String>,
}

/// The parquet files at `path` or below it, in order.
pub(super) fn files(path: &Path) -> Vec<PathBuf> {
    let is_table = |path: &Path| {
        path.extension().is_some_and(|end| end.eq_ignore_ascii_case("parquet")) && path.is_file()
    };
    if is_table(path) {
        return vec![path.to_owned()];
    }
    let mut files = Vec::new();
    let mut folders = VecDeque::from([(path.to_owned(), 0)]);
    for _ in 0..MOST_FOLDERS {
        let Some((folder, depth)) = folders.pop_front() else { break };
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            let path = entry.path();
            if is_hidden || files.len() > MOST_FILES {
                continue;
            }
            if path.extension().is_some() && may_be_image(&path) {
                break; // a class's folder, which may be long
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

impl Tables {
    /// # Errors
    /// If the files are of several data sets, or some of one are missing.
    pub(super) fn find(path: &Path) -> Result<Tables> {
        let all = files(path);
        if all.len() > MOST_FILES {
            let problem = format!("more than {MOST_FILES} parquet files");
            return Err(Error::layout(path, problem, "give a folder with one data set"));
        }
        if let [one] = &all[..]
            && (path.is_file() || split_of(one).is_none())
        {
            return Ok(Tables { files: vec![(Split::Train, one.clone())], notes: Vec::new() });
        }
        // Several configurations of a data set lie in folders of their own.
        let mut homes: BTreeMap<PathBuf, Vec<(Split, PathBuf)>> = BTreeMap::new();
        let mut strange: Vec<PathBuf> = Vec::new();
        for file in all {
            match split_of(&file) {
                Some((split, home)) => homes.entry(home).or_default().push((split, file)),
                None => strange.push(file),
            }
        }
        let mut named = homes.keys();
        if let (Some(first), Some(second)) = (named.next(), named.next()) {
            let remedy = format!("give one: {} or {}", first.display(), second.display());
            return Err(Error::layout(path, "several data sets of parquet files", remedy));
        }
        let Some(mut files) = homes.into_values().next() else {
            let remedy = "begin their names with `train`, `validation` or `test`";
            return Err(Error::layout(path, "it is not clear which files are to train on", remedy));
        };
        files.sort();
        check_whole(path, &files)?;
        let note = |first: &PathBuf| {
            let (shown, first) = (path.display(), first.display());
            let count = strange.len();
            format!("{shown}: {count} parquet files that name no set are ignored (such as {first})")
        };
        let notes = strange.first().map(note).into_iter().collect();
        Ok(Tables { files, notes })
    }
}

/// What a file is for by its name or its folder's, and in which folder the data set lies.
pub(super) fn split_of(file: &Path) -> Option<(Split, PathBuf)> {
    let stem = file.file_stem()?.to_string_lossy();
    let folder = file.parent().unwrap_or(Path::new(""));
    if let Some(split) = Split::of(&stem) {
        return Some((split, folder.to_owned()));
    }
    let split = Split::of(&folder.file_name()?.to_string_lossy())?;
    Some((split, folder.parent().unwrap_or(Path::new("")).to_owned()))
}

/// Files named `train-00000-of-00294` must all be there.
fn check_whole(path: &Path, files: &[(Split, PathBuf)]) -> Result<()> {
    let mut found: BTreeMap<(Split, usize), BTreeSet<usize>> = BTreeMap::new();
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
        let Some(missing) = (0..of.min(MOST_FILES)).find(|number| !numbers.contains(number)) else {
            continue;
        };
        let (word, count) = (split.word(), numbers.len());
        let problem =
            format!("{count} of {of} files of {word}: {missing:05}-of-{of:05} is missing");
        let remedy = "download the missing files, or rename those that are there";
        return Err(Error::layout(path, problem, remedy));
    }
    Ok(())
}
