//! In which folder a data set lies.

use super::splits::{Splits, is_generic, split_of};
use super::tree::{Entry, Tree};
use crate::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Folders around a data set are looked through so deep.
const DEEPEST: usize = 4;

/// Of more folders than this none is taken for one around a data set.
const MOST: usize = 16;

/// The folder of a data set.
#[derive(Debug, Default)]
pub(super) struct Ground {
    pub(super) base: PathBuf,
    /// The folders in it by what they are for.
    pub(super) splits: Splits,
    pub(super) notes: Vec<String>,
}

/// What a folder holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Folders,
    /// So many images, and no folder.
    Images(usize),
    Nothing,
}

impl Holds {
    pub(super) fn of(tree: &dyn Tree, folder: &Path) -> Result<Holds> {
        let entries = tree.list(folder)?;
        let images = entries.iter().filter(|entry| entry.is_image()).count();
        Ok(if entries.iter().any(Entry::is_folder) {
            Holds::Folders
        } else if images > 0 {
            Holds::Images(images)
        } else {
            Holds::Nothing
        })
    }
}

/// Goes down from the root through folders that only wrap the data set.
///
/// # Errors
/// If several folders are for the same, or there are test images and nothing to train on.
pub(super) fn find(tree: &dyn Tree) -> Result<Ground> {
    let mut base = PathBuf::new();
    let mut notes = Vec::new();
    for _ in 0..DEEPEST {
        let entries = tree.list(&base)?;
        let splits = splits_of(tree, &base, &entries)?;
        if splits.train.is_some() {
            return Ok(Ground { base, splits, notes });
        }
        check_without_train(tree, &base, &splits)?;
        let Some(inner) = wrapped(tree, &base, &entries)? else { break };
        notes = vec![format!("{}: this folder is used", tree.full(&inner).display())];
        let beside: Vec<OsString> = entries
            .into_iter()
            .filter(|entry| entry.is_folder() && inner.file_name() != Some(&entry.name))
            .map(|entry| entry.name)
            .collect();
        notes.extend(unused(tree, &base, &beside));
        base = inner;
    }
    Ok(Ground { base, splits: Splits::default(), notes })
}

fn folders(entries: &[Entry]) -> Vec<OsString> {
    entries.iter().filter(|entry| entry.is_folder()).map(|entry| entry.name.clone()).collect()
}

fn splits_of(tree: &dyn Tree, base: &Path, entries: &[Entry]) -> Result<Splits> {
    Splits::of(&folders(entries)).map_err(|[first, second]| {
        let [first, second] = [first, second].map(|name| name.to_string_lossy().into_owned());
        let problem = format!("`{first}` and `{second}` are for the same");
        Error::layout(&tree.full(base), problem, "keep one of them, or merge them")
    })
}

/// Refuses test images beside nothing to train on, or beside classes.
fn check_without_train(tree: &dyn Tree, base: &Path, splits: &Splits) -> Result<()> {
    let Some(name) = splits.val.as_ref().or(splits.test.as_ref()) else { return Ok(()) };
    let (full, name) = (tree.full(base), name.to_string_lossy());
    let with_images = |other: &&OsString| holds_image(tree, &base.join(other), 0);
    let Some(other) = splits.others.iter().find(with_images) else {
        let problem = format!("there is `{name}` and no `train` folder");
        let remedy = format!(
            "name the images to train on `train`, or give {} itself",
            full.join(&*name).display()
        );
        return Err(Error::layout(&full, problem, remedy));
    };
    let other = other.to_string_lossy();
    let problem = format!("`{name}` may be a class, as `{other}`, or images to test on");
    let remedy = format!("move `{other}` and its like into a folder `train`, or rename `{name}`");
    Err(Error::layout(&full, problem, remedy))
}

/// The folder in `base` in which all lies, if there is one.
fn wrapped(tree: &dyn Tree, base: &Path, entries: &[Entry]) -> Result<Option<PathBuf>> {
    let folders = folders(entries);
    if folders.len() > MOST || entries.iter().any(has_ending_of_image) {
        return Ok(None);
    }
    let (mut with_train, mut of_folders) = (Vec::new(), Vec::new());
    for name in &folders {
        let path = base.join(name);
        let inner = tree.list(&path)?;
        if inner.iter().any(has_ending_of_image) {
            continue; // a class
        }
        let names = self::folders(&inner);
        let of_train = |name: &OsString| split_of(name) == Some(super::splits::Split::Train);
        let paired = || Splits::of(&names).is_ok_and(|splits| splits.train.is_some());
        if names.iter().any(of_train) || paired() {
            with_train.push(path);
        } else if !names.is_empty() {
            of_folders.push(path);
        }
    }
    match &with_train[..] {
        [one] => return Ok(Some(one.clone())),
        [] => {}
        [first, second, ..] => {
            let [first, second] = [first, second].map(|path| tree.full(path));
            let problem = "several data sets lie here";
            let remedy = format!("give one: {}, {} ...", first.display(), second.display());
            return Err(Error::layout(&tree.full(base), problem, remedy));
        }
    }
    let [one] = &of_folders[..] else { return Ok(None) };
    let beside = |name: &&OsString| one.file_name() != Some(name);
    let alone = !folders.iter().filter(beside).any(|name| holds_image(tree, &base.join(name), 0));
    Ok((alone && holds_image(tree, one, 0)).then(|| one.clone()))
}

fn has_ending_of_image(entry: &Entry) -> bool {
    entry.is_image() && Path::new(&entry.name).extension().is_some()
}

/// Whether any image lies below a folder; folders that cannot be read have none.
fn holds_image(tree: &dyn Tree, folder: &Path, depth: usize) -> bool {
    let Ok(entries) = tree.list(folder) else { return false };
    let is_folder = |entry: &&Entry| entry.kind == super::tree::EntryKind::Folder;
    entries.iter().any(has_ending_of_image)
        || depth < DEEPEST
            && entries
                .iter()
                .filter(is_folder)
                .any(|entry| holds_image(tree, &folder.join(&entry.name), depth + 1))
}

/// Goes down from a folder for a split through folders that only repeat it: `train/train`,
/// `test/images`.
pub(super) fn unwrap(tree: &dyn Tree, folder: &Path) -> Result<PathBuf> {
    let mut folder = folder.to_owned();
    for _ in 0..DEEPEST {
        let entries = tree.list(&folder)?;
        let [only] = &folders(&entries)[..] else { break };
        let own = folder.file_name().unwrap_or_default();
        if entries.iter().any(has_ending_of_image) || !repeats(own, only) {
            break;
        }
        folder.push(only);
    }
    Ok(folder)
}

fn repeats(outer: &OsStr, inner: &OsStr) -> bool {
    outer == inner
        || is_generic(inner)
        || split_of(inner).is_some_and(|of| split_of(outer) == Some(of))
}

/// What is to be said of folders of images that are not used.
pub(super) fn unused(tree: &dyn Tree, base: &Path, names: &[OsString]) -> Vec<String> {
    let with_images = names.iter().filter(|name| holds_image(tree, &base.join(name), 0));
    let names: Vec<String> =
        with_images.map(|name| format!("`{}`", name.to_string_lossy())).collect();
    let note = || {
        let (full, few) = (tree.full(base), names[..names.len().min(3)].join(", "));
        let more = if names.len() > 3 { " and others" } else { "" };
        format!("{}: {few}{more} not used", full.display())
    };
    if names.is_empty() { Vec::new() } else { vec![note()] }
}
