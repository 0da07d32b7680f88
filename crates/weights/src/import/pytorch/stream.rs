//! The form before PyTorch 1.6: five pickles, and then the storages.
//!
//! The pickles are a magic number, the version of the form, facts about the computer, the saved
//! object, and the keys of the storages in the order in which they follow. Each storage has the
//! number of its elements (8 bytes) before them.

use super::state::{StorageId, tensors};
use super::{Global, LIMITS, LONGEST_PICKLE, refused};
use crate::import::Source;
use crate::import::names::shown;
use crate::import::stored::{Described, Storage, Storages};
use std::collections::HashMap;
use unpickle::{Error, Pickle, load_prefix};

/// The first pickle: an integer of ten bytes.
const MAGIC_BYTES: usize = 15;

/// The version of the form; there is one.
const VERSION: i64 = 1001;

/// So much is read first; most files' pickles are shorter.
const FIRST_WINDOW: u64 = 1 << 20;

/// The bytes of a storage's length.
const LENGTH: u64 = 8;

/// Reads the pickles of a file, and where its storages lie.
///
/// # Errors
/// A sentence.
pub(super) fn read(source: &Source) -> Result<(Vec<Described>, Storages), String> {
    let mut window = FIRST_WINDOW.min(source.len());
    loop {
        let bytes = source.bytes(0, window)?;
        match parse(&bytes) {
            Ok(parsed) => {
                let storages = storages(source, &parsed)?;
                return Ok((parsed.tensors, storages));
            }
            Err(Fault::Cut) if window < source.len().min(LONGEST_PICKLE) => {
                window = (4 * window).min(source.len()).min(LONGEST_PICKLE);
            }
            Err(Fault::Cut) if window < source.len() => {
                return Err(format!("its pickles are longer than {} MiB", LONGEST_PICKLE >> 20));
            }
            Err(Fault::Cut) => {
                return Err("it is cut off: it ends before its contents; download it again".into());
            }
            Err(Fault::Wrong(reason)) => return Err(reason),
        }
    }
}

/// Why the pickles at the start of a file are not read.
enum Fault {
    /// They may go on after the bytes that were read.
    Cut,
    Wrong(String),
}

/// What the pickles say.
struct Parsed {
    tensors: Vec<Described>,
    /// The storages in the order of the file.
    storages: Vec<StorageId>,
    /// The bytes of the pickles.
    end: u64,
}

fn parse(bytes: &[u8]) -> Result<Parsed, Fault> {
    let wrong = |reason: &str| Fault::Wrong(reason.to_owned());
    let mut at = MAGIC_BYTES;
    let (version, len) = pickle(bytes, at)?;
    if version.root().as_int() != Some(VERSION) {
        return Err(wrong(
            "a PyTorch file of an unknown version; save it with PyTorch 1.6 or later",
        ));
    }
    at += len;
    let (system, len) = pickle(bytes, at)?;
    if system.root().get("little_endian").and_then(|value| value.as_bool()) != Some(true) {
        return Err(wrong(
            "it was written by a big-endian computer, which is not read; save it again on a \
             little-endian one",
        ));
    }
    at += len;
    let (object, len) = pickle(bytes, at)?;
    at += len;
    let (keys, len) = pickle(bytes, at)?;
    at += len;
    let mut known = HashMap::new();
    for id in object.persistent() {
        let id = StorageId::of(id).map_err(Fault::Wrong)?;
        known.insert(id.key.clone(), id);
    }
    let tensors = tensors(&object).map_err(Fault::Wrong)?;
    let keys = keys.root().items().ok_or_else(|| wrong("its list of storages is none"))?;
    let storages = keys.map(|key| known.remove(key.as_str()?)).collect::<Option<_>>();
    let storages = storages.ok_or_else(|| wrong("it lists a storage that no tensor has"))?;
    Ok(Parsed { tensors, storages, end: at as u64 })
}

fn pickle(bytes: &[u8], at: usize) -> Result<(Pickle<'_, Global>, usize), Fault> {
    let rest = bytes.get(at..).ok_or(Fault::Cut)?;
    load_prefix(rest, &LIMITS).map_err(|error| match error {
        Error::Truncated { .. } => Fault::Cut,
        error => Fault::Wrong(refused(error)),
    })
}

/// Where the storages lie, which follow the pickles.
fn storages(source: &Source, parsed: &Parsed) -> Result<Storages, String> {
    let mut at = parsed.end;
    let mut storages = HashMap::new();
    for id in &parsed.storages {
        let mut word = [0; LENGTH as usize];
        source.fill(at, &mut word)?;
        let len = i64::from_le_bytes(word);
        let bytes = u64::try_from(len).ok().filter(|&len| len == id.len as u64);
        let bytes = bytes.and_then(|len| len.checked_mul(id.element_bytes() as u64));
        let Some(bytes) = bytes else {
            let (key, expected) = (shown(&id.key), id.len);
            return Err(format!(
                "a storage ({key}) of {len} elements where {expected} are expected: it is \
                 damaged; download it again"
            ));
        };
        at += LENGTH;
        if bytes > source.len() - at {
            return Err("it is cut off: it ends before its contents; download it again".into());
        }
        storages.insert(id.key.clone(), Storage { at, bytes, crc32: None });
        at += bytes;
    }
    Ok(storages)
}
