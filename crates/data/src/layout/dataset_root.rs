//! Finds the folder that contains a data set.

use super::splits::{Splits, is_generic, split_of};
use super::tree::{FileTree, TreeEntry};
use crate::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The number of levels that are searched for the data set.
const DEEPEST: usize = 4;

/// A folder with more folders than this is not considered a wrapper of a data set.
const MAX_FOLDERS: usize = 16;

/// The folder that contains a data set.
#[derive(Debug, Default)]
pub(super) struct DatasetRoot {
    pub(super) base: PathBuf,
    /// Its folders by split.
    pub(super) splits: Splits,
    pub(super) notes: Vec<String>,
}

/// The content of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FolderContent {
    Folders,
    /// The number of images, without folders.
    Images(usize),
    Empty,
}

impl FolderContent {
    pub(super) fn of(tree: &dyn FileTree, folder: &Path) -> Result<FolderContent> {
        let entries = tree.list(folder)?;
        let images = entries.iter().filter(|entry| entry.is_image()).count();
        Ok(if entries.iter().any(TreeEntry::is_folder) {
            FolderContent::Folders
        } else if images > 0 {
            FolderContent::Images(images)
        } else {
            FolderContent::Empty
        })
    }
}

/// Descends from the root through folders that only wrap the data set.
///
/// # Errors
/// If several folders are for the same split, or there are test images without training images.
pub(super) fn find(tree: &dyn FileTree) -> Result<DatasetRoot> {
    let mut base = PathBuf::new();
    let mut notes = Vec::new();
    for _ in 0..DEEPEST {
        let entries = tree.list(&base)?;
        let splits = splits_of(tree, &base, &entries)?;
        if splits.train.is_some() {
            return Ok(DatasetRoot { base, splits, notes });
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
    Ok(DatasetRoot { base, splits: Splits::default(), notes })
}

fn folders(entries: &[TreeEntry]) -> Vec<OsString> {
    entries.iter().filter(|entry| entry.is_folder()).map(|entry| entry.name.clone()).collect()
}

fn splits_of(tree: &dyn FileTree, base: &Path, entries: &[TreeEntry]) -> Result<Splits> {
    Splits::of(&folders(entries)).map_err(|[first, second]| {
        let [first, second] = [first, second].map(|name| name.to_string_lossy().into_owned());
        let problem = format!("`{first}` and `{second}` are the same split");
        Error::layout(&tree.full(base), problem, "keep one of them, or merge them")
    })
}

/// Rejects test images without training images, or next to classes.
fn check_without_train(tree: &dyn FileTree, base: &Path, splits: &Splits) -> Result<()> {
    let Some(name) = splits.val.as_ref().or(splits.test.as_ref()) else { return Ok(()) };
    let (full, name) = (tree.full(base), name.to_string_lossy());
    let with_images = |other: &&OsString| holds_image(tree, &base.join(other), 0);
    let Some(other) = splits.others.iter().find(with_images) else {
        let problem = format!("there is `{name}` and no `train` folder");
        let remedy = format!(
            "rename the folder of training images to `train`, or open {} itself",
            full.join(&*name).display()
        );
        return Err(Error::layout(&full, problem, remedy));
    };
    let other = other.to_string_lossy();
    let problem = format!("`{name}` may be a class, like `{other}`, or the test images");
    let remedy =
        format!("move `{other}` and its siblings into a folder `train`, or rename `{name}`");
    Err(Error::layout(&full, problem, remedy))
}

/// The only folder in `base` with images, if there is one.
fn wrapped(tree: &dyn FileTree, base: &Path, entries: &[TreeEntry]) -> Result<Option<PathBuf>> {
    let folders = folders(entries);
    if folders.len() > MAX_FOLDERS || entries.iter().any(has_image_extension) {
        return Ok(None);
    }
    let (mut with_train, mut of_folders) = (Vec::new(), Vec::new());
    for name in &folders {
        let path = base.join(name);
        let inner = tree.list(&path)?;
        if inner.iter().any(has_image_extension) {
            continue; // a class
        }
        let names = self::folders(&inner);
        let of_train = |name: &OsString| split_of(name) == Some(super::splits::FolderSplit::Train);
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
            let problem = "it contains several data sets";
            let remedy = format!("open one: {}, {} ...", first.display(), second.display());
            return Err(Error::layout(&tree.full(base), problem, remedy));
        }
    }
    let [one] = &of_folders[..] else { return Ok(None) };
    let beside = |name: &&OsString| one.file_name() != Some(name);
    let alone = !folders.iter().filter(beside).any(|name| holds_image(tree, &base.join(name), 0));
    Ok((alone && holds_image(tree, one, 0)).then(|| one.clone()))
}

fn has_image_extension(entry: &TreeEntry) -> bool {
    entry.is_image() && Path::new(&entry.name).extension().is_some()
}

/// Whether there is an image below a folder; an unreadable folder counts as empty.
fn holds_image(tree: &dyn FileTree, folder: &Path, depth: usize) -> bool {
    let Ok(entries) = tree.list(folder) else { return false };
    let is_folder = |entry: &&TreeEntry| entry.kind == super::tree::TreeEntryKind::Folder;
    entries.iter().any(has_image_extension)
        || depth < DEEPEST
            && entries
                .iter()
                .filter(is_folder)
                .any(|entry| holds_image(tree, &folder.join(&entry.name), depth + 1))
}

/// Descends from a split's folder through folders that only repeat its name: `train/train`,
/// `test/images`.
pub(super) fn unwrap(tree: &dyn FileTree, folder: &Path) -> Result<PathBuf> {
    let mut folder = folder.to_owned();
    for _ in 0..DEEPEST {
        let entries = tree.list(&folder)?;
        let [only] = &folders(&entries)[..] else { break };
        let own = folder.file_name().unwrap_or_default();
        if entries.iter().any(has_image_extension) || !repeats(own, only) {
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

/// A note about folders of images that are not used.
pub(super) fn unused(tree: &dyn FileTree, base: &Path, names: &[OsString]) -> Vec<String> {
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
