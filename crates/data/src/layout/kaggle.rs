//! ImageNet as distributed by Kaggle (imagenet-object-localization-challenge):
//! `ILSVRC/Data/CLS-LOC/{train,val,test}`, with `LOC_synset_mapping.txt` and `LOC_val_solution.csv`
//! beside `ILSVRC`.

use super::classes::{Classes, check_count, scan};
use super::dataset_root::DatasetRoot;
use super::skipped::{SkipReason, SkippedFiles};
use super::splits::Splits;
use super::tree::{FileTree, TreeEntry};
use super::{Arranged, split};
use crate::ilsvrc::is_wnid;
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const SOLUTION: &str = "LOC_val_solution.csv";
/// The prefix of the contest's validation images.
const VAL_IMAGE: &str = "ILSVRC2012_val_";

/// The images, if the tree is Kaggle's or a folder below it.
pub(super) fn arrange(tree: &dyn FileTree) -> Result<Option<Arranged>> {
    let Some(base) = find(tree)? else { return Ok(None) };
    let val = base.join("val");
    let entries = if tree.has_folder(&val) { tree.list(&val)? } else { Vec::new() };
    let is_sorted = entries.iter().any(TreeEntry::is_folder);
    let is_val = |entry: &TreeEntry| entry.name.to_string_lossy().starts_with(VAL_IMAGE);
    if is_sorted || !entries.iter().any(is_val) {
        if base.as_os_str().is_empty() || !base.ends_with("CLS-LOC") {
            return Ok(None); // an ordinary folder of images
        }
        let names =
            tree.list(&base)?.into_iter().filter(TreeEntry::is_folder).map(|entry| entry.name);
        let splits = Splits::of(&names.collect::<Vec<_>>());
        let splits = splits.ok().filter(|splits| splits.train.is_some());
        return splits
            .map(|splits| split(tree, DatasetRoot { base, splits, notes: vec![] }))
            .transpose();
    }
    unsorted(tree, &base, &entries).map(Some)
}

/// The folder with `train` and `val`.
fn find(tree: &dyn FileTree) -> Result<Option<PathBuf>> {
    const BELOW: [&str; 4] = ["", "CLS-LOC", "Data/CLS-LOC", "ILSVRC/Data/CLS-LOC"];
    let at = |folder: &Path| {
        let bases = BELOW.iter().map(|below| folder.join(below));
        bases.into_iter().find(|base| {
            let is_named = base.ends_with("CLS-LOC") || base.as_os_str().is_empty();
            is_named && tree.has_folder(&base.join("train"))
        })
    };
    if let Some(base) = at(Path::new("")) {
        return Ok(Some(base));
    }
    let folders: Vec<PathBuf> = tree
        .list(Path::new(""))?
        .into_iter()
        .filter(TreeEntry::is_folder)
        .map(|entry| PathBuf::from(entry.name))
        .collect();
    let few = if folders.len() > 16 { &[] } else { &folders[..] };
    let mut inside = few.iter().filter_map(|folder| at(folder));
    Ok(inside.find(|base| base.ends_with("CLS-LOC")))
}

/// Validation images in one folder, whose classes are in the solution file.
fn unsorted(tree: &dyn FileTree, base: &Path, entries: &[TreeEntry]) -> Result<Arranged> {
    let (train_dir, val_dir) = (base.join("train"), base.join("val"));
    let inside = base.ancestors().map(|folder| folder.join(SOLUTION));
    let solution = inside.into_iter().find(|path| tree.has_file(path));
    let Some(solution) = solution.or_else(|| tree.find_above(SOLUTION)) else {
        let problem = format!("images without folders of classes, and no {SOLUTION} with theirs");
        let remedy = format!("put {SOLUTION} of the same download next to the folder ILSVRC");
        return Err(Error::layout(&tree.full(&val_dir), problem, remedy));
    };
    let mut skipped = SkippedFiles::default();
    let train = scan(tree, &train_dir, &mut skipped)?;
    check_count(&tree.full(&train_dir), &train.names)?;
    let full = tree.full(&solution);
    let wrong = |problem: String| Error::layout(&full, problem, "download it again");
    let stated = read(&tree.read(&solution)?).map_err(wrong)?;

    let labels: BTreeMap<&str, u32> = train.names.iter().map(String::as_str).zip(0..).collect();
    let (mut files, mut used) = (Vec::new(), BTreeSet::new());
    for entry in entries.iter().filter(|entry| entry.is_image()) {
        let path = val_dir.join(&entry.name);
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let Some((image, wnid)) = stated.get_key_value(&*stem) else {
            skipped.add(SkipReason::Unlabelled, &tree.full(&path));
            continue;
        };
        let label = labels.get(wnid.as_str()).ok_or_else(|| {
            wrong(format!(
                "{image} is of class {wnid}, which {} does not contain",
                tree.full(&train_dir).display()
            ))
        })?;
        used.insert(image);
        files.push((*label, path));
    }
    if files.is_empty() {
        return Err(wrong(format!("it names no image in {}", tree.full(&val_dir).display())));
    }
    files.sort();
    let mut notes = Vec::new();
    if used.len() < stated.len() {
        let missing = stated.keys().find(|image| !used.contains(image)).expect("not all used");
        let count = stated.len() - used.len();
        notes.push(format!("{}: {count} images are missing, such as {missing}", full.display()));
    }
    if tree.has_folder(&base.join("test")) {
        let test = tree.full(&base.join("test"));
        notes.push(format!("{}: images without labels: not used", test.display()));
    }
    notes.extend(skipped.notes(&tree.full(Path::new(""))));
    let val = Classes { names: train.names.clone(), files };
    Ok(Arranged::of(tree, base, "ImageNet as distributed by Kaggle", [train, val], notes))
}

/// Parses `ImageId,PredictionString`: a class and the four coordinates of a box, once per box.
pub(super) fn read(text: &[u8]) -> std::result::Result<BTreeMap<String, String>, String> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text);
    let mut stated = BTreeMap::new();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        let line = record.position().map_or(0, csv::Position::line);
        let (image, boxes) = (record.get(0).unwrap_or_default(), record.get(1).unwrap_or_default());
        if line == 1 && image == "ImageId" {
            continue;
        }
        let wnid = boxes.split_whitespace().next().filter(|wnid| is_wnid(wnid));
        let wnid = wnid.ok_or_else(|| format!("line {line} has no class"))?;
        if stated.insert(image.to_owned(), wnid.to_owned()).is_some_and(|first| first != wnid) {
            return Err(format!("line {line}: {image} has another class on an earlier line"));
        }
    }
    Ok(stated)
}
