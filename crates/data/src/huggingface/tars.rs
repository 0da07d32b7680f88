//! ImageNet's archives as Hugging Face handed them out before it had parquet files:
//! `data/train_images_0.tar.gz` to `_4`, `data/val_images.tar.gz` and `data/test_images.tar.gz`.
//!
//! The class stands at the end of a file's name: `n01440764_10026_n01440764.JPEG`,
//! `ILSVRC2012_val_00000293_n01440764.JPEG`. The test images have none, and are not read.

use crate::archive::{self, MOST_HELD};
use crate::collection::{Class, Collection, Item};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// As many archives of training images there are.
const TRAIN: usize = 5;
/// A folder is looked through for so many.
const MOST: usize = 64;

/// The archive called `name`, packed or not, in a folder or its `data`.
fn archive(root: &Path, name: &str) -> Option<PathBuf> {
    let names = [format!("{name}.tar.gz"), format!("{name}.tar"), format!("{name}.tgz")];
    let folders = [root.to_owned(), root.join("data")];
    let paths = folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(name)));
    paths.into_iter().find(|path| path.is_file())
}

/// Whether a folder has any of the archives with labels.
pub(crate) fn is_at(root: &Path) -> bool {
    (0..MOST).any(|number| archive(root, &format!("train_images_{number}")).is_some())
}

/// Opens the archives in a folder. `progress` receives how many bytes of how many have been walked
/// through.
///
/// # Errors
/// If an archive is missing, is not to be trusted, or does not fit in memory packed as it is; or
/// the sets have different classes.
pub(crate) fn open(root: &Path, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<Collection> {
    let train = (0..MOST).map(|number| archive(root, &format!("train_images_{number}")));
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
    let val = val.expect("as was just seen");
    check_sizes(root, train.iter().chain([&val]))?;

    let mut collection = Collection::with_classes(root, Vec::new());
    let mut notes = Vec::new();
    let mut set = |paths: &[PathBuf]| -> Result<Vec<(String, Item)>> {
        let mut items = Vec::new();
        for path in paths {
            add(path, &mut collection, &mut items, &mut notes, progress)?;
        }
        items.sort_by(|a, b| (&a.0, &a.1.name).cmp(&(&b.0, &b.1.name)));
        Ok(items)
    };
    let (train, test) = (set(&train)?, set(&[val])?);
    let mut ids: Vec<String> = train.iter().map(|(id, _)| id.clone()).collect();
    ids.dedup();
    let labels: BTreeMap<&str, u32> = ids.iter().map(String::as_str).zip(0..).collect();
    if let Some((id, item)) = test.iter().find(|(id, _)| !labels.contains_key(id.as_str())) {
        let problem = format!("{}: class {id} is tested and never trained", item.name);
        return Err(Error::layout(root, problem, "download all archives of training images"));
    }
    let label = |(id, item): (String, Item)| Item { label: labels[id.as_str()], ..item };
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

/// Packed archives are held in memory, and images hardly shrink when they are packed.
fn check_sizes<'a>(root: &Path, paths: impl Iterator<Item = &'a PathBuf>) -> Result<()> {
    let packed: Vec<&PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end != "tar")).collect();
    let len = |path: &&PathBuf| path.metadata().map_or(0, |about| about.len());
    let bytes: u64 = packed.iter().map(len).sum();
    if bytes <= MOST_HELD {
        return Ok(());
    }
    let names: Vec<String> = packed.iter().map(|path| path.display().to_string()).collect();
    let (gib, most) = (bytes >> 30, MOST_HELD >> 30);
    let problem = format!("{gib} GiB of packed archives, and {most} GiB are read as they are");
    let remedy = format!("unpack them to plain tar files first: gunzip {}", names.join(" "));
    Err(Error::layout(root, problem, remedy))
}

/// The images of an archive, each with its class's id.
fn add(
    path: &Path,
    collection: &mut Collection,
    items: &mut Vec<(String, Item)>,
    notes: &mut Vec<String>,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<()> {
    let (listed, passed) = archive::list(path, collection, progress)?;
    notes.extend(passed.note(path));
    let (mut strangers, mut example) = (0, String::new());
    for (name, place) in listed {
        let file_name = name.rsplit('/').next().unwrap_or_default();
        match wnid(file_name) {
            Some(id) => {
                let name = format!("{}/{name}", path.display());
                items.push((id.to_owned(), Item { name, label: 0, place }));
            }
            None => {
                strangers += 1;
                example = name;
            }
        }
    }
    if strangers > 0 {
        let (shown, example) = (path.display(), example.escape_debug());
        notes.push(format!(
            "{shown}: {strangers} files whose names end in no class are ignored (such as {example})"
        ));
    }
    Ok(())
}

/// `n01440764` of `n01440764_10026_n01440764.JPEG`.
fn wnid(file_name: &str) -> Option<&str> {
    let (stem, ending) = file_name.rsplit_once('.')?;
    let is_image = ["jpeg", "jpg", "png"].iter().any(|known| ending.eq_ignore_ascii_case(known));
    let id = stem.rsplit('_').next().filter(|id| crate::ilsvrc::is_wnid(id))?;
    is_image.then_some(id)
}
