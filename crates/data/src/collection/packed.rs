//! Collections in archives of image folders, and in Hugging Face's files.

use super::{Class, Collection, LabelledFile};
use crate::archive::ArchiveTree;
use crate::formats::may_be_image;
use crate::huggingface;
use crate::layout::{Arranged, Labelling, arrange};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Whether `path` is an archive, or has parquet files or the tar files of Hugging Face's older
/// ImageNet.
pub(crate) fn is_packed(path: &Path) -> bool {
    path.is_file() || huggingface::is_at(path) || huggingface::has_tars(path)
}

/// Opens the packed collection at `path`.
///
/// # Errors
/// If it cannot be read or is unsafe; as [`arrange`]; or if labels are given for a set that has its
/// own.
pub(crate) fn open(
    path: &Path,
    labelling: &Labelling,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Collection> {
    let is_hugging_face = huggingface::is_at(path) || huggingface::has_tars(path);
    if is_hugging_face && labelling.gives_labels() {
        return Err(Error::layout(path, "these files have labels", "give no others"));
    }
    if huggingface::is_at(path) {
        return huggingface::open(path, progress);
    }
    if is_hugging_face {
        return huggingface::open_tars(path, progress);
    }
    let packed = ArchiveTree::open(path, progress)?;
    let arranged = arrange(&packed, labelling).map_err(|error| explained(path, &packed, error))?;
    let Arranged { kind, classes, train, test, mut notes } = arranged;
    let file = |(label, file): (u32, PathBuf)| LabelledFile {
        name: path.join(&file).display().to_string(),
        label,
        location: packed.location(&file).expect("arranged from this archive").clone(),
    };
    let [train, test] = [train, test].map(|files| files.into_iter().map(file).collect());
    notes.extend(packed.skipped.note(path));
    let name = path.display().to_string();
    let mut collection = Collection { name, classes, train, test, ..packed.contents };
    collection.describe(&format!("{kind}, in an archive"), notes);
    Ok(collection)
}

/// A more specific error for archives that contain archives or shards.
fn explained(path: &Path, packed: &ArchiveTree, error: Error) -> Error {
    let inner = packed.names_ending_in(&["zip", "tar", "gz", "tgz", "7z", "rar"]);
    if let Some(first) = inner.first() {
        let problem = format!("it contains {} archives, such as {first}", inner.len());
        return Error::layout(path, problem, "unpack it, and open one of those inside");
    }
    if !packed.names_ending_in(&["cls"]).is_empty() {
        let remedy = "open the folder that contains the shards";
        return Error::layout(path, "a shard in webdataset's layout", remedy);
    }
    error
}

/// All images at `path` in any layout, without meaningful labels.
pub(crate) fn images(path: &Path) -> Result<Collection> {
    if !path.is_file() || huggingface::is_at(path) {
        return open(path, &Labelling::default(), &|_, _| ());
    }
    let packed = ArchiveTree::open(path, &|_, _| ())?;
    let is_image = |(file, _): &(&Path, _)| may_be_image(file) && !packed.is_junk(file);
    let file = |(file, location): (&Path, &super::FileLocation)| LabelledFile {
        name: path.join(file).display().to_string(),
        label: 0,
        location: location.clone(),
    };
    let train = packed.files().filter(is_image).map(file).collect();
    let classes = vec![Class::default()];
    let name = path.display().to_string();
    Ok(Collection { name, classes, train, ..packed.contents })
}
