//! ImageNet's archives on Hugging Face before its parquet files: `data/train_images_0.tar.gz` to
//! `_4`, `data/val_images.tar.gz` and `data/test_images.tar.gz`.
//!
//! The class is at the end of a file's name: `n01440764_10026_n01440764.JPEG`,
//! `ILSVRC2012_val_00000293_n01440764.JPEG`. The test images have none and are not read.

use crate::archive::{self, MAX_IN_MEMORY};
use crate::collection::{Class, Collection, LabelledFile};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The number of archives of training images.
const TRAIN: usize = 5;
/// The largest number of archives that is searched for.
const MAX_ARCHIVES: usize = 64;

/// The archive `name`, compressed or not, in a folder or its subfolder `data`.
fn archive(root: &Path, name: &str) -> Option<PathBuf> {
    let names = [format!("{name}.tar.gz"), format!("{name}.tar"), format!("{name}.tgz")];
    let folders = [root.to_owned(), root.join("data")];
    let paths = folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(name)));
    paths.into_iter().find(|path| path.is_file())
}

/// Whether a folder has any of the archives with labels.
pub(crate) fn is_at(root: &Path) -> bool {
    (0..MAX_ARCHIVES).any(|number| archive(root, &format!("train_images_{number}")).is_some())
}

/// Opens the archives in a folder. `progress` receives the number of bytes scanned and the total.
///
/// # Errors
/// If an archive is missing or unsafe, or does not fit in memory and is compressed; or if the
/// splits have different classes.
pub(crate) fn open(root: &Path, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<Collection> {
    let train = (0..MAX_ARCHIVES).map(|number| archive(root, &format!("train_images_{number}")));
    let train: Vec<Option<PathBuf>> = train.collect();
    let count = train.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    let val = archive(root, "val_images");
    let missing = train[..count].iter().position(Option::is_none);
    if missing.is_some() || val.is_none() {
        let name = missing.map_or("val_images".to_owned(), |n| format!("train_images_{n}"));
        let problem = format!("{name}.tar.gz is missing");
        return Err(Error::layout(root, problem, "download it into the same folder"));
    }
    let train: Vec<PathBuf> = train.into_iter().flatten().collect();
    let val = val.expect("checked above");
    check_sizes(root, train.iter().chain([&val]))?;

    let mut collection = Collection::with_classes(root, Vec::new());
    let mut notes = Vec::new();
    let mut set = |paths: &[PathBuf]| -> Result<Vec<(String, LabelledFile)>> {
        let mut files = Vec::new();
        for path in paths {
            add(path, &mut collection, &mut files, &mut notes, progress)?;
        }
        files.sort_by(|a, b| (&a.0, &a.1.name).cmp(&(&b.0, &b.1.name)));
        Ok(files)
    };
    let (train, test) = (set(&train)?, set(&[val])?);
    let mut ids: Vec<String> = train.iter().map(|(id, _)| id.clone()).collect();
    ids.dedup();
    let labels: BTreeMap<&str, u32> = ids.iter().map(String::as_str).zip(0..).collect();
    if let Some((id, file)) = test.iter().find(|(id, _)| !labels.contains_key(id.as_str())) {
        let problem = format!("{}: class {id} has no training image", file.name);
        return Err(Error::layout(root, problem, "download all archives of training images"));
    }
    let label =
        |(id, file): (String, LabelledFile)| LabelledFile { label: labels[id.as_str()], ..file };
    collection.train = train.into_iter().map(label).collect();
    collection.test = test.into_iter().map(label).collect();
    drop(labels);
    collection.classes = ids.into_iter().map(|id| Class { id, ..Class::default() }).collect();
    if count != TRAIN {
        let shown = root.display();
        notes.push(format!("{shown}: {count} of the {TRAIN} archives of training images"));
    }
    if archive(root, "test_images").is_some() {
        notes.push(format!("{}: test_images has no labels: ignored", root.display()));
    }
    collection.describe("ImageNet's archives of Hugging Face", notes);
    Ok(collection)
}

/// Rejects compressed archives that do not fit in memory; images hardly shrink by compression.
fn check_sizes<'a>(root: &Path, paths: impl Iterator<Item = &'a PathBuf>) -> Result<()> {
    let packed: Vec<&PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end != "tar")).collect();
    let len = |path: &&PathBuf| path.metadata().map_or(0, |about| about.len());
    let bytes: u64 = packed.iter().map(len).sum();
    if bytes <= MAX_IN_MEMORY {
        return Ok(());
    }
    let names: Vec<String> = packed.iter().map(|path| path.display().to_string()).collect();
    let (gib, most) = (bytes >> 30, MAX_IN_MEMORY >> 30);
    let problem = format!("{gib} GiB of compressed archives; the limit is {most} GiB");
    let remedy = format!("unpack them to plain tar files first: gunzip {}", names.join(" "));
    Err(Error::layout(root, problem, remedy))
}

/// Adds the images of an archive with the ids of their classes.
fn add(
    path: &Path,
    collection: &mut Collection,
    files: &mut Vec<(String, LabelledFile)>,
    notes: &mut Vec<String>,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<()> {
    let (listed, skipped) = archive::list(path, collection, progress)?;
    notes.extend(skipped.note(path));
    let (mut unlabelled, mut example) = (0, String::new());
    for (name, location) in listed {
        let file_name = name.rsplit('/').next().unwrap_or_default();
        match wnid(file_name) {
            Some(id) => {
                let name = format!("{}/{name}", path.display());
                files.push((id.to_owned(), LabelledFile { name, label: 0, location }));
            }
            None => {
                unlabelled += 1;
                example = name;
            }
        }
    }
    if unlabelled > 0 {
        let (shown, example) = (path.display(), example.escape_debug());
        notes.push(format!(
            "{shown}: {unlabelled} files without a class in their names are not used (such as \
             {example})"
        ));
    }
    Ok(())
}

/// The class in `n01440764_10026_n01440764.JPEG`: `n01440764`.
fn wnid(file_name: &str) -> Option<&str> {
    let (stem, ending) = file_name.rsplit_once('.')?;
    let is_image = ["jpeg", "jpg", "png"].iter().any(|known| ending.eq_ignore_ascii_case(known));
    let id = stem.rsplit('_').next().filter(|id| crate::ilsvrc::is_wnid(id))?;
    is_image.then_some(id)
}
