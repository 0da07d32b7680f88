//! The form since PyTorch 1.6: a zip archive of a pickle and a file for each storage.

use super::state::tensors;
use super::{Global, LIMITS, LONGEST_PICKLE, refused};
use crate::import::names::shown;
use crate::import::stored::{Described, Storages};
use crate::import::zip::entries;
use crate::import::{Source, exported};
use rawzip::crc32;
use std::collections::HashMap;

/// What an archive holds.
pub(super) struct Contents {
    pub tensors: Vec<Described>,
    pub storages: Storages,
    /// Text by name, of this program's exports.
    pub metadata: HashMap<String, String>,
}

/// Reads the pickle of an archive, and where its storages lie.
///
/// # Errors
/// A sentence.
pub(super) fn read(source: &Source) -> Result<Contents, String> {
    let entries = entries(source)?;
    // All lie in one folder, whose name is that of the file when it was written.
    let folders = entries.keys().filter_map(|name| name.strip_suffix("/data.pkl"));
    let mut folders = folders.filter(|folder| !folder.contains('/')).map(str::to_owned);
    let folder = folders.next();
    if folders.next().is_some() {
        return Err("it holds the pickles of several files; save the weights again".into());
    }
    let Some(folder) = folder else {
        return Err("this zip file has no data.pkl in it, so `torch.save` did not write it; if \
                    it holds a weights file, unpack it"
            .into());
    };
    let contains = |name: &str| entries.contains_key(&format!("{folder}/{name}"));
    let plain = |name: &str| match entries.get(name) {
        Some(&Some(place)) => Ok(place),
        _ => Err(format!(
            "its entry {} is compressed or encrypted, which `torch.save` does not do; unpack the \
             archive and pack it with `zip -0 -r`",
            shown(name)
        )),
    };
    if contains("constants.pkl") {
        return Err("this is a TorchScript program, not weights; in Python, \
                    `torch.save(torch.jit.load(path).state_dict(), other)` writes its parameters"
            .into());
    }
    if contains("byteorder") {
        let order = plain(&format!("{folder}/byteorder"))?;
        if source.bytes(order.at, order.bytes.min(16))? != b"little" {
            return Err(
                "it was written by a big-endian computer, which is not read; save it again \
                        on a little-endian one"
                    .into(),
            );
        }
    }
    let place = plain(&format!("{folder}/data.pkl"))?;
    if place.bytes > LONGEST_PICKLE {
        return Err(format!("its data.pkl is longer than {} MiB", LONGEST_PICKLE >> 20));
    }
    let bytes = source.bytes(place.at, place.bytes)?;
    if place.crc32.is_some_and(|sum| sum != crc32(&bytes)) {
        return Err("the checksum of its data.pkl is wrong; download it again".into());
    }
    let pickle = unpickle::load::<Global>(&bytes, &LIMITS).map_err(refused)?;
    let tensors = tensors(&pickle)?;
    let prefix = format!("{folder}/data/");
    let mut storages = Storages::new();
    for name in entries.keys() {
        if let Some(key) = name.strip_prefix(&prefix) {
            storages.insert(key.to_owned(), plain(name)?);
        }
    }
    let metadata = exported::of_archive(|key| {
        let name = format!("{folder}/{key}");
        if !entries.contains_key(&name) {
            return Ok(None);
        }
        let place = plain(&name)?;
        if place.bytes > exported::LONGEST {
            return Err(format!("its {key} is longer than {} MiB", exported::LONGEST >> 20));
        }
        source.bytes(place.at, place.bytes).map(Some)
    })?;
    Ok(Contents { tensors, storages, metadata })
}
