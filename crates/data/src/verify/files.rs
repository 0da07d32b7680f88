//! The files of a folder that are verified.

use super::{Finding, Kind};
use crate::Error;
use crate::collection::{Collection, Item, Place};
use crate::formats::may_be_image;
use crate::layout::tree::{Disk, EntryKind, Tree};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The files below a folder that may be images, in order, and what is in their way.
pub(super) fn below(root: &Path) -> (Collection, Vec<Finding>) {
    let mut files = Collection::default();
    let mut findings = Vec::new();
    let mut folders = vec![root.to_owned()];
    let mut say = |path: &Path, detail: String| {
        let name = path.display().to_string();
        findings.push(Finding { name, kind: Kind::Unreadable, detail });
    };
    let disk = Disk::new(Path::new("")); // paths here begin with the root
    let mut followed = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        let entries = match disk.list(&folder) {
            Ok(entries) => entries,
            Err(Error::Io { reason, .. }) => {
                say(&folder, reason);
                continue;
            }
            Err(error) => {
                say(&folder, error.to_string());
                continue;
            }
        };
        for entry in entries {
            let path = folder.join(&entry.name);
            match entry.kind {
                EntryKind::Folder => folders.push(path),
                // Two links may lead to each other's folders.
                EntryKind::FolderLink if followed.insert(disk.identity(&path)) => {
                    folders.push(path);
                }
                EntryKind::FolderLink | EntryKind::Loop | EntryKind::Hidden => {}
                EntryKind::File | EntryKind::Broken | EntryKind::Special => {
                    if may_be_image(&path) {
                        add_file(path, &mut files, &mut say);
                    }
                }
            }
        }
    }
    files.train.sort_by(|a, b| Path::new(&a.name).cmp(Path::new(&b.name)));
    (files, findings)
}

fn add_file(path: PathBuf, files: &mut Collection, say: &mut impl FnMut(&Path, String)) {
    match fs::metadata(&path) {
        Err(error) => say(&path, error.to_string()),
        // Opening a pipe would wait for someone to write to it.
        Ok(about) if !about.is_file() => say(&path, "neither a file nor a folder".to_owned()),
        Ok(_) => {
            let name = path.display().to_string();
            files.train.push(Item { name, label: 0, place: Place::File(path) });
        }
    }
}
