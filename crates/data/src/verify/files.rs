//! Finds the files of a folder to verify.

use super::{Finding, FindingKind};
use crate::Error;
use crate::collection::{Collection, LabelledFile};
use crate::formats::may_be_image;
use crate::layout::tree::{DiskTree, FileTree, TreeEntryKind};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The files below a folder that may be images, in order, and the paths that cannot be read.
pub(super) fn below(root: &Path) -> (Collection, Vec<Finding>) {
    let mut files = Collection::default();
    let mut findings = Vec::new();
    let mut folders = vec![root.to_owned()];
    let mut report = |path: &Path, detail: String| {
        let name = path.display().to_string();
        findings.push(Finding { name, kind: FindingKind::Unreadable, detail });
    };
    let disk = DiskTree::new(Path::new("")); // paths here begin with the root
    let mut followed = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        let entries = match disk.list(&folder) {
            Ok(entries) => entries,
            Err(Error::Io { reason, .. }) => {
                report(&folder, reason);
                continue;
            }
            Err(error) => {
                report(&folder, error.to_string());
                continue;
            }
        };
        for entry in entries {
            let path = folder.join(&entry.name);
            match entry.kind {
                TreeEntryKind::Folder => folders.push(path),
                // Links to folders may form a cycle.
                TreeEntryKind::FolderLink if followed.insert(disk.identity(&path)) => {
                    folders.push(path);
                }
                TreeEntryKind::FolderLink | TreeEntryKind::Loop | TreeEntryKind::Hidden => {}
                TreeEntryKind::File | TreeEntryKind::Broken | TreeEntryKind::Special => {
                    if may_be_image(&path) {
                        add_file(path, &mut files, &mut report);
                    }
                }
            }
        }
    }
    files.train.sort_by(|a, b| Path::new(&a.name).cmp(Path::new(&b.name)));
    (files, findings)
}

fn add_file(path: PathBuf, files: &mut Collection, report: &mut impl FnMut(&Path, String)) {
    match fs::metadata(&path) {
        Err(error) => report(&path, error.to_string()),
        // Opening a pipe would block.
        Ok(about) if !about.is_file() => report(&path, "neither a file nor a folder".to_owned()),
        Ok(_) => {
            files.train.push(LabelledFile::from_path(0, path));
        }
    }
}
