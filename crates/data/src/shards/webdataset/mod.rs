//! Tar files in webdataset's layout that come without an index.
//!
//! Members are grouped as the webdataset package does: a member's key is its path up to the first
//! dot of the file name, its field is what follows, in lower case; members of one key that lie side
//! by side are one sample. `a/000123.jpg` and `a/000123.cls` (or `.json` with a field `label`,
//! `cls` or `class`) are an image and its label.
//!
//! What is read in a different way by different people is an error: two images in one sample, a key
//! with a dot (`000.25.jpg`: the package reads key `000`, field `25.jpg`), labels that differ, keys
//! that occur twice. Members that are not used are counted, with an example of each kind.
//!
//! * [`scan`]: the samples of one tar file
//! * [`shard_files`]: which files of a folder are shards, to train on or to test on
//! * [`survey`]: all samples of a folder, checked against each other

mod labels;
mod sample;
mod shard_files;
mod survey;
mod unused;

pub(crate) use labels::ClassNames;
pub(super) use shard_files::is_at;
pub(crate) use survey::survey;
pub(crate) use unused::Unused;

use crate::tar::{Broken, Fault, Member, Members, ReadAt};
use crate::{Error, Result};
use sample::Group;
use std::collections::HashSet;
use std::path::Path;

/// Labels are less than this.
pub(crate) const LARGEST_LABEL: u32 = 1 << 20;

/// An image of a tar file and its label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) image: Member,
    pub(crate) label: u32,
}

/// What a tar file holds.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// In the tar file's order.
    pub(crate) samples: Vec<Sample>,
    /// Names of classes, as `.json` members state them.
    pub(crate) names: ClassNames,
    /// Members that are not used.
    pub(crate) unused: Unused,
}

/// Walks through a tar file.
///
/// # Errors
/// If it is broken or compressed, or a sample can be read in more ways than one.
pub(crate) fn scan<R: ReadAt + ?Sized>(file: &R, path: &Path) -> Result<Scan> {
    refuse_compressed(file, path)?;
    let mut scan = Scan::default();
    let mut keys = HashSet::new();
    let mut group = Group::default();
    let broken = |error: Broken| match error.fault {
        Fault::Truncated { .. } if error.at == 0 => {
            Error::layout(path, "an empty file", "fetch it again, or remove it")
        }
        _ => Error::layout(path, error.to_string(), "fetch it again"),
    };
    let mut members = Members::new(file, 0..u64::MAX);
    while let Some(mut member) = members.next_member().map_err(broken)? {
        if member.name.starts_with("./") {
            member.name.drain(..2);
        }
        if let Some(why) = ignored(&member.name) {
            scan.unused.add(why, &member.name);
            continue;
        }
        let Some((key, field)) = split(&member.name) else {
            scan.unused.add("without a dot in their names", &member.name);
            continue;
        };
        if key != group.key() {
            let finished = std::mem::replace(&mut group, Group::of(key));
            finished.close(file, path, &mut scan)?;
            if !keys.insert(key.to_owned()) {
                let problem = format!("the key `{key}` occurs in two places");
                let remedy = "a sample's members must lie side by side, and each key occur once";
                return Err(Error::layout(path, problem, remedy));
            }
        }
        group.add(field, member, path)?;
    }
    group.close(file, path, &mut scan)?;
    scan.unused.add_skipped(members.skipped(), members.first_skipped());
    Ok(scan)
}

/// The key and the field (in lower case) that the webdataset package reads in a member's name;
/// `None` for names that it passes over.
fn split(name: &str) -> Option<(&str, String)> {
    let start = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = start + name[start..].find('.')?;
    (dot > start).then(|| (&name[..dot], name[dot + 1..].to_lowercase()))
}

/// Why a member is no part of any sample, if it is none.
fn ignored(name: &str) -> Option<&'static str> {
    let (mut parts, file) = match name.rsplit_once('/') {
        Some((folders, file)) => (folders.split('/'), file),
        None => ("".split('/'), name),
    };
    if file.starts_with("._") || parts.clone().any(|part| part == "__MACOSX") {
        return Some("of macOS (`._*`, `__MACOSX`)");
    }
    if parts.any(|part| part.starts_with("PaxHeader")) {
        return Some("that are PAX headers stored as files");
    }
    if file.starts_with('.') {
        return Some("hidden (`.*`)");
    }
    // Metadata, as the package has it: a first component such as `__index__`.
    let first = name.split('/').next().unwrap_or(name);
    let is_meta = first.len() >= 4 && first.starts_with("__") && first.ends_with("__");
    is_meta.then_some("of metadata (`__*__`)")
}

/// Compressed files cannot be read at any place, so that the error names the tool.
fn refuse_compressed<R: ReadAt + ?Sized>(file: &R, path: &Path) -> Result<()> {
    let mut magic = [0; 6];
    let mut filled = 0;
    while filled < magic.len() {
        match file.read_at(&mut magic[filled..], filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io(path, &error)),
        }
    }
    let known = shard_files::COMPRESSIONS.iter().find(|known| magic.starts_with(known.magic));
    known.map_or(Ok(()), |known| Err(shard_files::compressed(path, known)))
}

#[cfg(test)]
mod tests;
