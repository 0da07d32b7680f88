//! Finds labelled images in folders, on disk or in an archive.
//!
//! * [`tree`]: the files and folders, and which of them are junk
//! * [`splits`]: folder names of splits, such as `Training_Set`, `valid`, `test1`
//! * [`dataset_root`]: the folder that contains the data set
//! * [`classes`]: folders named after their classes
//! * [`labelled`]: labels from a table, or from file names; [`table`]: parses the table
//! * [`kaggle`]: ImageNet as distributed by Kaggle
//! * [`names`]: the names of classes in words
//! * [`skipped`]: files that are not used
//!
//! `docs/data.md` shows every layout as a tree.

pub(crate) mod arranged;
pub(crate) mod classes;
mod dataset_root;
mod kaggle;
mod labelled;
mod labelling;
pub(crate) mod names;
pub(crate) mod skipped;
mod splits;
mod table;
pub(crate) mod tree;

pub(crate) use arranged::Arranged;
pub use labelling::Labelling;

use crate::ilsvrc::tiny_imagenet;
use crate::{Error, Result};
use classes::{Classes, check_count, fold};
use dataset_root::{DatasetRoot, FolderContent};
use skipped::SkippedFiles;
use splits::is_generic;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use table::ColumnNames;
use tree::FileTree;

/// Recognises the layout of a tree, and returns its images with their labels.
///
/// # Errors
/// If no known layout is recognised, a part is missing, or the tree is ambiguous.
pub(crate) fn arrange(tree: &dyn FileTree, labelling: &Labelling) -> Result<Arranged> {
    if labelling.gives_labels() {
        return labelled::explicit(tree, labelling);
    }
    if let Some(kaggle) = kaggle::arrange(tree)? {
        return Ok(kaggle);
    }
    let root = dataset_root::find(tree)?;
    if tiny_imagenet::is_at(tree, &root.base) {
        return tiny_imagenet::arrange(tree, &root.base, root.notes);
    }
    match root.splits.train {
        Some(_) => split(tree, root),
        None => whole(tree, root),
    }
}

/// A data set without a test set: folders of classes, or images with a table.
fn whole(tree: &dyn FileTree, root: DatasetRoot) -> Result<Arranged> {
    let DatasetRoot { base, mut notes, .. } = root;
    let entries = tree.list(&base)?;
    let folders: Vec<&OsStr> =
        entries.iter().filter(|entry| entry.is_folder()).map(|entry| &*entry.name).collect();
    if folders.iter().filter(|name| !is_generic(name)).count() < 2
        && let Some(arranged) = labelled::detected(tree, &base, &notes)?
    {
        return Ok(arranged);
    }
    let images = entries.iter().filter(|entry| entry.is_image()).count();
    if folders.is_empty() && images > 0 {
        return Err(flat(&tree.full(&base), images));
    }
    let mut skipped = SkippedFiles::default();
    let train = classes::scan(tree, &base, &mut skipped)?;
    check_count(&tree.full(&base), &train.names)?;
    let (train, test, note) = hold_out(&tree.full(&base), "no `train` folder", train);
    notes.push(note);
    notes.extend(skipped.notes(&tree.full(Path::new(""))));
    Ok(Arranged::of(tree, &base, "a folder of images", [train, test], notes))
}

/// The error for images without folders of classes or a table.
fn flat(path: &Path, images: usize) -> Error {
    let problem = format!("{images} images and no folders of classes");
    let remedy = "sort them into a folder for each class, or give a table of labels, or a pattern \
                  (label-from) for names such as `cat.0.jpg`";
    Error::layout(path, problem, remedy)
}

/// A data set with a training folder, and possibly others for testing.
fn split(tree: &dyn FileTree, root: DatasetRoot) -> Result<Arranged> {
    let base = root.base.clone();
    let path = |name: &OsStr| base.join(name);
    let name = root.splits.train.clone().expect("checked by the caller");
    let folder = dataset_root::unwrap(tree, &path(&name))?;
    match FolderContent::of(tree, &folder)? {
        FolderContent::Folders => {}
        FolderContent::Images(_) if is_class(tree, &root)? => {
            let problem = format!(
                "{}: `{}` contains images and no folders, as its siblings do: it is used as a \
                 class",
                tree.full(&base).display(),
                name.to_string_lossy()
            );
            let notes = [root.notes, vec![problem]].concat();
            return whole(tree, DatasetRoot { notes, base, ..DatasetRoot::default() });
        }
        FolderContent::Images(count) => {
            return match labelled::detected(tree, &base, &root.notes)? {
                Some(arranged) => Ok(arranged),
                None => Err(flat(&tree.full(&folder), count)),
            };
        }
        FolderContent::Empty => {
            let remedy = "put a folder for each class there, with its images inside";
            return Err(Error::layout(&tree.full(&folder), "no training image", remedy));
        }
    }
    let mut skipped = SkippedFiles::default();
    let train = classes::scan(tree, &folder, &mut skipped)?;
    check_count(&tree.full(&folder), &train.names)?;
    let (test, mut notes, unlabelled) = find_test(tree, &root, &mut skipped)?;
    let train_root = tree.full(&folder);
    let sets = match test {
        Some((test, test_root)) => {
            check_same_classes(&train_root, &train.names, &tree.full(&test_root), &test.names)?;
            let test = relabelled(&train, test);
            [train, test]
        }
        None => {
            let why = if unlabelled.is_empty() {
                "no `val` or `test` folder beside `train`".to_owned()
            } else {
                format!("no labelled images in {unlabelled}")
            };
            let (train, test, note) = hold_out(&train_root, &why, train);
            notes.push(note);
            [train, test]
        }
    };
    let notes = [root.notes, notes, dataset_root::unused(tree, &base, &root.splits.others)];
    let mut notes = notes.concat();
    notes.extend(skipped.notes(&tree.full(Path::new(""))));
    Ok(Arranged::of(tree, &base, "a folder of images", sets, notes))
}

/// Whether a folder called `train` is one of several classes: it contains images, as two or more
/// of its siblings do.
fn is_class(tree: &dyn FileTree, root: &DatasetRoot) -> Result<bool> {
    let mut alike = 0;
    for name in root.splits.others.iter().filter(|name| !is_generic(name)) {
        let content = FolderContent::of(tree, &root.base.join(name))?;
        alike += usize::from(matches!(content, FolderContent::Images(_)));
    }
    Ok(alike >= 2 && root.splits.val.is_none() && root.splits.test.is_none())
}

/// A test set with its folder, notes, and the names of folders whose images have no labels.
type FoundTest = (Option<(Classes, PathBuf)>, Vec<String>, String);

/// The first of `val` and `test` that has folders of classes.
fn find_test(
    tree: &dyn FileTree,
    root: &DatasetRoot,
    skipped: &mut SkippedFiles,
) -> Result<FoundTest> {
    let (mut found, mut notes, mut unlabelled) = (None, Vec::new(), Vec::new());
    let named = [&root.splits.val, &root.splits.test].into_iter().flatten();
    for name in named {
        let path = root.base.join(name);
        let folder = dataset_root::unwrap(tree, &path)?;
        let full = tree.full(&path);
        match FolderContent::of(tree, &folder)? {
            FolderContent::Images(count) => {
                unlabelled.push(format!("`{}`", name.to_string_lossy()));
                notes.push(format!(
                    "{}: {count} images without folders of classes, and so without labels: not \
                     used",
                    full.display()
                ));
            }
            FolderContent::Empty => {
                let remedy = "put a folder for each class there, or remove the folder";
                return Err(Error::layout(&full, "no test image", remedy));
            }
            FolderContent::Folders => match &found {
                None => found = Some((classes::scan(tree, &folder, skipped)?, folder)),
                Some((_, used)) => notes.push(format!(
                    "{}: not used, because {} is the test set",
                    full.display(),
                    tree.full(used).display()
                )),
            },
        }
    }
    Ok((found, notes, unlabelled.join(" or ")))
}

/// The test images with the labels of the training set, which has the same class names.
fn relabelled(train: &Classes, mut test: Classes) -> Classes {
    let label = |name| train.names.iter().position(|other| other == name).expect("same names");
    let labels: Vec<u32> = test.names.iter().map(|name| label(name) as u32).collect();
    test.files.iter_mut().for_each(|file| file.0 = labels[file.0 as usize]);
    test.files.sort_by_key(|file| file.0); // stable: keeps the order of paths
    Classes { names: train.names.clone(), files: test.files }
}

/// Checks that both sets have the same classes; otherwise labels would not correspond.
fn check_same_classes(
    train_root: &Path,
    train: &[String],
    test_root: &Path,
    test: &[String],
) -> Result<()> {
    let missing = |root: &Path, names: &[String], other: &Path, wanted: &[String]| {
        let class = wanted.iter().find(|class| !names.contains(class))?;
        let near = names.iter().find(|name| fold(name) == fold(class));
        let near = near.map_or(String::new(), |name| format!(" (spelled `{name}` here)"));
        Some(Error::layout(
            root,
            format!("class `{class}` is missing{near}, which {} has", other.display()),
            "add the folder with some images, or remove the other",
        ))
    };
    missing(test_root, test, train_root, train)
        .or_else(|| missing(train_root, train, test_root, test))
        .map_or(Ok(()), Err)
}

/// Holds out one image in ten of each class (see [`hold_out`](crate::held_out::hold_out)).
fn hold_out(root: &Path, why: &str, classes: Classes) -> (Classes, Classes, String) {
    let (train, test, note) = crate::held_out::hold_out(root, why, &classes.files, |file| file.0);
    let of = |files| Classes { names: classes.names.clone(), files };
    (of(train), of(test), note)
}

/// For fuzzing: parses an untrusted list in every format.
pub(crate) fn parse_lists(bytes: &[u8]) {
    for is_tsv in [false, true] {
        let rows = table::read(bytes, is_tsv, ColumnNames::default()).unwrap_or_default();
        assert!(rows.len() <= bytes.len(), "more rows than bytes");
        let columns = ColumnNames { image: Some("1"), label: Some("2") };
        let _ = table::read(bytes, is_tsv, columns);
    }
    let _ = kaggle::read(bytes);
    names::parse(bytes, &["n01440764".to_owned(), "2".to_owned()]);
}

#[cfg(test)]
mod tests;
