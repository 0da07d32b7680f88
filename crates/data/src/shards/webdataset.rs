//! Tar files in webdataset's layout that come without an index.
//!
//! Members with the same path up to the first dot of the file name are one sample:
//! `a/000123.jpg` and `a/000123.cls` (or `.json` with a field `label`, `cls` or `class`). Members
//! of other kinds are stepped over.

use crate::tar::{Broken, Member, Members, ReadAt};
use crate::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

const IMAGES: [&str; 3] = ["jpg", "jpeg", "png"];
/// A label's file is not longer than this.
const LONGEST_LABEL: u64 = 1 << 20;
pub(crate) const LARGEST_LABEL: u32 = 1 << 20;

/// An image of a tar file and its label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) image: Member,
    pub(crate) label: u32,
}

/// The tar files of a folder and of the folders in it: to train on, and to test on (those with
/// `val` or `test` in their name or their folder's). The contest's own archives, which are named
/// `ILSVRC...`, are tar files of another kind.
pub(super) fn find(dir: &Path) -> Result<[Vec<PathBuf>; 2]> {
    let mut found = [Vec::new(), Vec::new()];
    for path in sorted(dir)? {
        let inside = if path.is_dir() { sorted(&path)? } else { vec![path] };
        for path in inside.into_iter().filter(|path| is_shard(path)) {
            let name = path.strip_prefix(dir).unwrap_or(&path).to_string_lossy().to_lowercase();
            found[usize::from(name.contains("val") || name.contains("test"))].push(path);
        }
    }
    Ok(found)
}

/// Whether there is any such tar file; folders that cannot be read have none.
pub(super) fn is_at(dir: &Path) -> bool {
    find(dir).is_ok_and(|[train, _]| !train.is_empty())
}

fn is_shard(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".tar") && !name.starts_with("ILSVRC") && path.is_file()
}

fn sorted(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let entries = entries.map_err(|error| Error::io(dir, &error))?;
    let mut paths: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
    paths.sort();
    Ok(paths)
}

/// The samples of a tar file, in order.
pub(crate) fn scan<R: ReadAt + ?Sized>(file: &R, path: &Path) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    let mut open = Open::default();
    let broken = |error: Broken| Error::layout(path, error.to_string(), "fetch it again");
    let mut members = Members::new(file, 0..u64::MAX);
    while let Some(member) = members.next_member().map_err(broken)? {
        let (key, kind) = split(&member.name);
        if key != open.key {
            let next = Open { key: key.to_owned(), ..Open::default() };
            samples.extend(std::mem::replace(&mut open, next).close(path)?);
        }
        if IMAGES.contains(&&*kind) {
            open.image = Some(member);
        } else if kind == "cls" || kind == "json" {
            open.label = label(file, path, &member, &kind)?.or(open.label);
        }
    }
    samples.extend(open.close(path)?);
    Ok(samples)
}

/// The sample whose members are being met.
#[derive(Default)]
struct Open {
    key: String,
    image: Option<Member>,
    label: Option<u32>,
}

impl Open {
    fn close(self, path: &Path) -> Result<Option<Sample>> {
        match (self.image, self.label) {
            (None, _) => Ok(None),
            (Some(image), Some(label)) => Ok(Some(Sample { image, label })),
            (Some(image), None) => {
                let problem = format!("{} has no label", image.name);
                let remedy = "expected a `.cls` or `.json` member of the same name right beside it";
                Err(Error::layout(path, problem, remedy))
            }
        }
    }
}

/// What comes before and after the first dot of the file name, the latter in lower case.
fn split(name: &str) -> (&str, String) {
    let start = name.rfind('/').map_or(0, |slash| slash + 1);
    match name[start..].find('.') {
        Some(dot) => (&name[..start + dot], name[start + dot + 1..].to_ascii_lowercase()),
        None => (name, String::new()),
    }
}

/// The label that a member states; a `.json` may be about other things.
fn label<R: ReadAt + ?Sized>(
    file: &R,
    path: &Path,
    member: &Member,
    kind: &str,
) -> Result<Option<u32>> {
    let wrong = |problem: String| {
        Error::layout(path, format!("{}: {problem}", member.name), "labels count from 0")
    };
    if member.len > LONGEST_LABEL {
        return Err(wrong("too long for a label".to_owned()));
    }
    let mut bytes = vec![0; member.len as usize];
    let read = file.read_whole_at(&mut bytes, member.offset);
    read.map_err(|error| Error::io(path, &error))?;
    let text = String::from_utf8_lossy(&bytes);
    let stated = if kind == "cls" {
        Some(text.trim().parse().map_err(|_| wrong(format!("`{}` is no label", text.trim())))?)
    } else {
        let value: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let mut fields = ["label", "cls", "class"].iter().filter_map(|field| value.get(field));
        fields.find_map(serde_json::Value::as_u64)
    };
    let limit = u64::from(LARGEST_LABEL);
    match stated {
        Some(label) if label >= limit => Err(wrong(format!("{label} is beyond all classes"))),
        stated => Ok(stated.map(|label| label as u32)),
    }
}
