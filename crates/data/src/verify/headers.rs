//! Reads the headers of image files without decoding pixels.

use super::{files, in_order};
use crate::collection::{LabelledFile, packed};
use crate::inspect::{Exif, ImageHeader, inspect};
use crate::{Error, Result, shards};
use std::fs;
use std::path::Path;
use std::sync::Mutex;

/// The contents of the headers of some files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// Heights and widths in the order of the files' paths; files without a valid header are left
    /// out.
    pub sizes: Vec<(usize, usize)>,
    /// The number of files with an EXIF orientation other than the stored one, and the first file.
    pub oriented: Option<(usize, String)>,
}

/// Reads the headers of the files that [`folder`](super::folder) verifies.
///
/// # Errors
/// If the folder cannot be read.
pub fn headers(
    root: &Path,
    threads: usize,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Headers> {
    let files = if packed::is_packed(root) {
        packed::images(root)?
    } else {
        fs::read_dir(root).map_err(|error| Error::io(root, &error))?;
        if shards::is_webdataset(root) { shards::collection(root)? } else { files::below(root).0 }
    };
    let list: Vec<&LabelledFile> = files.train.iter().chain(&files.test).collect();
    let found = Mutex::new(vec![None; list.len()]);
    let measure = |bytes: &mut Vec<u8>, index: usize| {
        if files.read(list[index], bytes).is_ok()
            && let Ok(facts) = inspect(bytes)
        {
            found.lock().expect("no panic")[index] = Some(facts);
        }
        Vec::new()
    };
    in_order(list.len(), threads, progress, Vec::new, measure);
    let found = found.into_inner().expect("no panic");
    let is_oriented = |facts: &Option<ImageHeader>| {
        facts.as_ref().is_some_and(|facts| matches!(facts.exif, Exif::Orientation(2..)))
    };
    let first = found.iter().position(is_oriented);
    let count = found.iter().filter(|facts| is_oriented(facts)).count();
    Ok(Headers {
        oriented: first.map(|first| (count, list[first].name.clone())),
        sizes: found.into_iter().flatten().map(|facts| (facts.height, facts.width)).collect(),
    })
}
