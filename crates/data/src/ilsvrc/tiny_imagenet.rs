//! Tiny-ImageNet: `train/<wnid>/images/*.JPEG`, `val/images/*.JPEG` with `val/val_annotations.txt`,
//! and `words.txt`. The images in `test` have no labels and are not used.

use super::lists;
use crate::collection::Class;
use crate::layout::arranged::Arranged;
use crate::layout::classes::{check_count, scan};
use crate::layout::names;
use crate::layout::skipped::SkippedFiles;
use crate::layout::tree::{FileTree, TreeEntry};
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The name in messages.
pub(crate) const KIND: &str = "Tiny-ImageNet";

/// Whether a folder is Tiny-ImageNet. If its validation images were sorted into folders of classes,
/// it is treated as an ordinary folder of images.
pub(crate) fn is_at(tree: &dyn FileTree, base: &Path) -> bool {
    tree.has_folder(&base.join("train"))
        && tree.has_file(&base.join("val/val_annotations.txt"))
        && tree.has_folder(&base.join("val/images"))
}

/// # Errors
/// If files are missing, or refer to missing images or classes.
pub(crate) fn arrange(
    tree: &dyn FileTree,
    base: &Path,
    mut notes: Vec<String>,
) -> Result<Arranged> {
    let mut skipped = SkippedFiles::default();
    let train_dir = base.join("train");
    let train = scan(tree, &train_dir, &mut skipped)?;
    check_count(&tree.full(&train_dir), &train.names)?;
    let path = base.join("val/val_annotations.txt");
    let text = tree.read(&path)?;
    let remedy = "unpack Tiny-ImageNet again";
    let wrong = |problem: String| Error::layout(&tree.full(&path), problem, remedy);
    let annotations = lists::val_annotations(&text).map_err(wrong)?;
    let labels: BTreeMap<&str, u32> = train.names.iter().map(String::as_str).zip(0..).collect();
    let val_dir = base.join("val/images");
    let there: BTreeSet<String> = file_names(tree, &val_dir)?;
    let mut test = BTreeMap::new();
    for (name, wnid) in annotations {
        let Some(&label) = labels.get(wnid) else {
            return Err(wrong(format!("`{name}` is of class {wnid}, which is not in `train`")));
        };
        if !there.contains(name) {
            return Err(wrong(format!("`{name}` is not in val/images")));
        }
        if test.insert(name, label).is_some_and(|before| before != label) {
            return Err(wrong(format!("`{name}` has two classes")));
        }
    }
    if test.is_empty() {
        return Err(wrong("it names no image".to_owned()));
    }
    let without = there.len() - test.len();
    let file = |(name, label): (&str, u32)| (label, val_dir.join(name));
    let mut test: Vec<(u32, PathBuf)> = test.into_iter().map(file).collect();
    test.sort();
    if without > 0 {
        let folder = tree.full(&val_dir);
        notes.push(format!("{}: {without} files have no label and are not used", folder.display()));
    }
    // Each class has a list of boxes, which needs no note.
    notes.extend(skipped.without_names().notes(&tree.full(Path::new(""))));
    let words = names::detect(tree, base, &train.names);
    let classes = train.names.into_iter().zip(words);
    let classes = classes.map(|(id, words)| Class { id, words, devkit_id: None }).collect();
    Ok(Arranged { kind: KIND, classes, train: train.files, test, notes })
}

fn file_names(tree: &dyn FileTree, folder: &Path) -> Result<BTreeSet<String>> {
    let files = tree.list(folder)?.into_iter().filter(TreeEntry::is_image);
    Ok(files.map(|entry| entry.name.to_string_lossy().into_owned()).collect())
}
