//! Collections out of archives of image folders, and out of Hugging Face's files.

use super::{Class, Collection, Item};
use crate::archive::Packed;
use crate::formats::may_be_image;
use crate::huggingface;
use crate::layout::{Arranged, Labelling, arrange};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Whether images at `path` are packed: in an archive, in parquet files, or in ImageNet's older
/// archives of Hugging Face.
pub(crate) fn is_packed(path: &Path) -> bool {
    path.is_file() || huggingface::is_at(path) || huggingface::has_tars(path)
}

/// What is packed at `path`, labelled.
///
/// # Errors
/// If it cannot be read or is not to be trusted; as [`arrange`]; or if labels are given for what
/// has its own.
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
    let packed = Packed::open(path, progress)?;
    let arranged = arrange(&packed, labelling).map_err(|error| explained(path, &packed, error))?;
    let Arranged { kind, classes, train, test, mut notes } = arranged;
    let item = |(label, file): (u32, PathBuf)| Item {
        name: path.join(&file).display().to_string(),
        label,
        place: packed.place(&file).expect("it was found there").clone(),
    };
    let [train, test] = [train, test].map(|files| files.into_iter().map(item).collect());
    notes.extend(packed.passed.note(path));
    let name = path.display().to_string();
    let mut collection = Collection { name, classes, train, test, ..packed.contents };
    collection.describe(&format!("{kind}, in an archive"), notes);
    Ok(collection)
}

/// Why an archive is no data set, where that can be said better.
fn explained(path: &Path, packed: &Packed, error: Error) -> Error {
    let inner = packed.names_ending_in(&["zip", "tar", "gz", "tgz", "7z", "rar"]);
    if let Some(first) = inner.first() {
        let problem = format!("it holds {} archives, such as {first}", inner.len());
        return Error::layout(path, problem, "unpack it, and name one of those inside");
    }
    if !packed.names_ending_in(&["cls"]).is_empty() {
        let remedy = "name the folder that the shards lie in";
        return Error::layout(path, "a shard in webdataset's layout", remedy);
    }
    error
}

/// Every image that is packed at `path`, whatever the layout: labels mean nothing.
pub(crate) fn images(path: &Path) -> Result<Collection> {
    if !path.is_file() || huggingface::is_at(path) {
        return open(path, &Labelling::default(), &|_, _| ());
    }
    let packed = Packed::open(path, &|_, _| ())?;
    let is_image = |(file, _): &(&Path, _)| may_be_image(file) && !packed.is_junk(file);
    let item = |(file, place): (&Path, &super::Place)| Item {
        name: path.join(file).display().to_string(),
        label: 0,
        place: place.clone(),
    };
    let train = packed.files().filter(is_image).map(item).collect();
    let classes = vec![Class::default()];
    let name = path.display().to_string();
    Ok(Collection { name, classes, train, ..packed.contents })
}
