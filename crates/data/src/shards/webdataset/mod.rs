//! Tar files in webdataset's layout without an index.
//!
//! Members are grouped as the webdataset package does: a member's key is its path up to the
//! first dot of the file name, its field is the rest, in lower case; adjacent members with the same
//! key are a sample. `a/000123.jpg` and `a/000123.cls` (or `.json` with a field `label`, `cls` or
//! `class`) are an image and its label.
//!
//! Anything ambiguous is an error: two images in one sample, a key with a dot (`000.25.jpg`: the
//! package reads key `000`, field `25.jpg`), conflicting labels, keys that occur twice. TarMembers
//! that are not used are counted, with an example of each kind.
//!
//! * [`scan`]: the samples of one tar file
//! * [`shard_files`]: the shards of a folder, for training and for testing
//! * [`survey`]: all samples of a folder, checked for consistency

mod labels;
mod sample;
mod shard_files;
mod survey;
mod unused;

pub(crate) use labels::ClassNames;
pub(super) use shard_files::is_at;
pub(crate) use survey::survey;
pub(crate) use unused::UnusedMembers;

use crate::tar::{ReadAt, TarError, TarMember, TarMembers, TarProblem};
use crate::{Error, Result};
use sample::SampleMembers;
use std::collections::HashSet;
use std::path::Path;

/// Labels must be less than this.
pub(crate) const LARGEST_LABEL: u32 = 1 << 20;

/// An image in a tar file, and its label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) image: TarMember,
    pub(crate) label: u32,
}

/// The content of a tar file.
#[derive(Debug, Default)]
pub(crate) struct TarScan {
    /// In the order of the tar file.
    pub(crate) samples: Vec<Sample>,
    /// Class names from `.json` members.
    pub(crate) names: ClassNames,
    /// Members that are not used.
    pub(crate) unused: UnusedMembers,
}

/// Scans a tar file.
///
/// # Errors
/// If it is damaged or compressed, or a sample is ambiguous.
pub(crate) fn scan<R: ReadAt + ?Sized>(file: &R, path: &Path) -> Result<TarScan> {
    reject_compressed(file, path)?;
    let mut scan = TarScan::default();
    let mut keys = HashSet::new();
    let mut group = SampleMembers::default();
    let broken = |error: TarError| match error.problem {
        TarProblem::Truncated { .. } if error.at == 0 => {
            Error::layout(path, "an empty file", "download it again, or remove it")
        }
        _ => Error::layout(path, error.to_string(), "download it again"),
    };
    let mut members = TarMembers::new(file, 0..u64::MAX);
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
            let finished = std::mem::replace(&mut group, SampleMembers::of(key));
            finished.close(file, path, &mut scan)?;
            if !keys.insert(key.to_owned()) {
                let problem = format!("the key `{key}` occurs in two places");
                let remedy =
                    "the members of a sample must be adjacent, and each key must be unique";
                return Err(Error::layout(path, problem, remedy));
            }
        }
        group.add(field, member, path)?;
    }
    group.close(file, path, &mut scan)?;
    scan.unused.add_skipped(members.skipped(), members.first_skipped());
    Ok(scan)
}

/// The key and the field (in lower case) of a member's name as in the webdataset package; `None`
/// for names that it ignores.
fn split(name: &str) -> Option<(&str, String)> {
    let start = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = start + name[start..].find('.')?;
    (dot > start).then(|| (&name[..dot], name[dot + 1..].to_lowercase()))
}

/// Why a member is ignored; `None` if it is not.
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
    // Metadata as in the package: a first component such as `__index__`.
    let first = name.split('/').next().unwrap_or(name);
    let is_meta = first.len() >= 4 && first.starts_with("__") && first.ends_with("__");
    is_meta.then_some("of metadata (`__*__`)")
}

/// Rejects compressed files, which have no random access; the error names the tool to unpack them.
fn reject_compressed<R: ReadAt + ?Sized>(file: &R, path: &Path) -> Result<()> {
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
