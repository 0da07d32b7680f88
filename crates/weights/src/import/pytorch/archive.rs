//! The form since PyTorch 1.6: a zip archive of a pickle and a file for each storage.

use super::state::{Described, tensors};
use super::{Global, LIMITS, LONGEST_PICKLE, Storage, Storages, refused};
use crate::import::Source;
use crate::import::names::shown;
use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ZipLocator, crc32};
use std::collections::HashMap;

/// The entries of an archive, and the bytes of a name, at most.
const MOST_ENTRIES: usize = 1 << 16;
const LONGEST_NAME: usize = 1024;

/// Reads the pickle of an archive, and where its storages lie.
///
/// # Errors
/// A sentence.
pub(super) fn read(source: &Source) -> Result<(Vec<Described>, Storages), String> {
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
    Ok((tensors, storages))
}

/// The files of an archive and where their contents lie; `None` if they are packed.
fn entries(source: &Source) -> Result<HashMap<String, Option<Storage>>, String> {
    let damaged = |error: rawzip::Error| format!("a damaged zip file: {error}; download it again");
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    let located = ZipLocator::new().locate_in_reader(source, &mut buffer, source.len());
    let archive = located.map_err(|(_, error)| damaged(error))?;
    // A name or a comment takes 65,535 bytes at most.
    let mut buffer = vec![0; 4 * RECOMMENDED_BUFFER_SIZE];
    let mut listed = archive.entries(&mut buffer);
    let mut entries = HashMap::new();
    while let Some(entry) = listed.next_entry().map_err(damaged)? {
        let name = String::from_utf8_lossy(entry.file_path().as_bytes()).into_owned();
        if entry.is_dir() || name.ends_with('/') {
            continue;
        }
        let shown = shown(&name);
        let place = archive.get_entry(entry.wayfinder()).map_err(damaged)?;
        let (at, end) = place.compressed_data_range();
        let is_plain = entry.compression_method() == CompressionMethod::STORE
            && !entry.flags().is_encrypted()
            && entry.uncompressed_size_hint() == entry.compressed_size_hint();
        let bytes = entry.compressed_size_hint();
        if end > source.len() || end.checked_sub(at) != Some(bytes) {
            return Err(format!(
                "a damaged zip file: {shown} lies beyond its end; download it again"
            ));
        }
        if entries.len() >= MOST_ENTRIES || name.len() > LONGEST_NAME {
            return Err(format!(
                "a zip file of more than {MOST_ENTRIES} entries, or of names of more than \
                 {LONGEST_NAME} bytes, as `torch.save` writes none"
            ));
        }
        // `torch.serialization.set_crc32_options(False)` writes zeros.
        let crc32 = Some(entry.crc32()).filter(|&sum| sum != 0);
        let storage = is_plain.then_some(Storage { at, bytes, crc32 });
        if entries.insert(name.clone(), storage).is_some() {
            return Err(format!(
                "a damaged zip file: it has {shown} twice; save the weights again"
            ));
        }
    }
    Ok(entries)
}
