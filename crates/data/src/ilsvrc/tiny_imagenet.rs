//! Tiny-ImageNet: `train/<wnid>/images/*.JPEG`, `val/images/*.JPEG` with `val/val_annotations.txt`,
//! and `words.txt`. The images in `test` have no labels and are left out.

use super::lists;
use crate::collection::{Class, Collection, Item};
use crate::folder::Folder;
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Whether a folder looks like Tiny-ImageNet. One whose validation images have been sorted into
/// folders for their classes is an ordinary folder of images.
pub(crate) fn is_at(root: &Path) -> bool {
    root.join("train").is_dir()
        && root.join("val/val_annotations.txt").is_file()
        && root.join("val/images").is_dir()
}

/// # Errors
/// If files are missing, or name images or classes that are not there.
pub(crate) fn open(root: &Path) -> Result<Collection> {
    let (ids, train) = Folder::open(&root.join("train"), 1)?.into_files();
    let path = root.join("val/val_annotations.txt");
    let text = read(&path)?;
    let remedy = "unpack Tiny-ImageNet again";
    let wrong = |problem: String| Error::layout(&path, problem, remedy);
    let annotations = lists::val_annotations(&text).map_err(wrong)?;
    let labels: BTreeMap<&str, u32> = ids.iter().map(String::as_str).zip(0..).collect();
    let there = file_names(&root.join("val/images"))?;
    let mut test = BTreeMap::new();
    for (name, wnid) in annotations {
        let Some(&label) = labels.get(wnid) else {
            return Err(wrong(format!("`{name}` is of class {wnid}, which `train` does not have")));
        };
        if !there.contains(name) {
            return Err(wrong(format!("`{name}` is not in val/images")));
        }
        if test.insert(name, label).is_some_and(|before| before != label) {
            return Err(wrong(format!("`{name}` is given two classes")));
        }
    }
    if test.is_empty() {
        return Err(wrong("it names no image".to_owned()));
    }
    let without = there.len() - test.len();
    let file = |(name, label): (&str, u32)| (label, root.join("val/images").join(name));
    let mut test: Vec<(u32, PathBuf)> = test.into_iter().map(file).collect();
    test.sort();

    let words = root.join("words.txt");
    let words = if words.is_file() { read(&words)? } else { Vec::new() };
    let words = lists::words(&words);
    let in_words = |id: &str| words.get(id).copied().unwrap_or_default().to_owned();
    let classes =
        ids.iter().map(|id| Class { words: in_words(id), id: id.clone(), devkit_id: None });
    let mut collection = Collection::with_classes(root, classes.collect());
    collection.train = train.into_iter().map(Item::of_file).collect();
    collection.test = test.into_iter().map(Item::of_file).collect();
    let mut notes = Vec::new();
    if without > 0 {
        let folder = root.join("val/images");
        notes.push(format!("{}: {without} files have no label and are left out", folder.display()));
    }
    collection.describe("Tiny-ImageNet", notes);
    Ok(collection)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|f| f.take(lists::LONGEST + 1).read_to_end(&mut text));
    read.map_err(|error| Error::io(path, &error))?;
    if text.len() as u64 > lists::LONGEST {
        let problem = format!("longer than {} MiB", lists::LONGEST >> 20);
        return Err(Error::layout(path, problem, "unpack Tiny-ImageNet again"));
    }
    Ok(text)
}

fn file_names(folder: &Path) -> Result<BTreeSet<String>> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let entries = entries.map_err(|error| Error::io(folder, &error))?;
    Ok(entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}
