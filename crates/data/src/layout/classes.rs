//! Folders named after their classes.

use super::skipped::{SkipReason, SkippedFiles};
use super::splits::is_generic;
use super::tree::{FileTree, TreeEntry, TreeEntryKind};
use crate::formats::may_be_image;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use unicode_normalization::UnicodeNormalization;

/// Classes in the order of their names, and the labels and paths of all images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Classes {
    pub(crate) names: Vec<String>,
    /// Sorted by label, then by path.
    pub(crate) files: Vec<(u32, PathBuf)>,
}

/// Deeper folders are considered a loop, or an attack by an archive.
const DEEPEST: usize = 64;

/// The classes of `folder`: each of its folders, with all images below it.
///
/// # Errors
/// If a folder cannot be read, has no image, or has several folders and no image of its own; if a
/// folder is linked twice; or if two names differ only in case or encoding.
pub(crate) fn scan(
    tree: &dyn FileTree,
    folder: &Path,
    skipped: &mut SkippedFiles,
) -> Result<Classes> {
    let mut classes = Classes::default();
    let mut nested = Vec::new();
    let mut folders = Vec::new();
    for entry in tree.list(folder)? {
        let path = folder.join(&entry.name);
        if entry.kind == TreeEntryKind::Loop {
            let problem = "this link leads to a folder that contains it";
            return Err(Error::layout(&tree.full(&path), problem, "remove the link"));
        }
        if !entry.is_folder() {
            skip_outside(tree, &entry, &path, skipped);
            continue;
        }
        let label = classes.names.len() as u32;
        let before = classes.files.len();
        let mut own = SkippedFiles::default();
        let walk = ClassFolder { tree, label };
        let inner = walk.collect(&path, &mut classes.files, &mut own, 0)?;
        if classes.files.len() == before {
            return Err(no_image(tree, &path, &own));
        }
        skipped.merge(own);
        nested.extend(inner.map(|inner| (path.clone(), inner)));
        classes.names.push(entry.name.to_string_lossy().into_owned());
        folders.push((path, entry.kind));
    }
    check_nested(tree, folder, &nested, &folders)?;
    check_links(tree, &folders)?;
    check_names(&tree.full(folder), &classes.names)?;
    Ok(classes)
}

fn no_image(tree: &dyn FileTree, path: &Path, own: &SkippedFiles) -> Error {
    let found = own.example().and_then(Path::file_name).map_or(String::new(), |name| {
        format!(" (it contains {}, which is not a readable image)", name.to_string_lossy())
    });
    let problem = format!("no image in this class's folder{found}");
    Error::layout(&tree.full(path), problem, "put images there, or remove the folder")
}

/// Counts a file or dangling link outside the folders of classes.
fn skip_outside(tree: &dyn FileTree, entry: &TreeEntry, path: &Path, skipped: &mut SkippedFiles) {
    if entry.is_image() && Path::new(&entry.name).extension().is_some() {
        // README has no extension.
        skipped.add(SkipReason::OutsideClasses, &tree.full(path));
    } else if entry.kind == TreeEntryKind::Broken {
        skipped.add(SkipReason::BrokenLink, &tree.full(path));
    }
}

/// The folders in a class's folder that has no image of its own.
type Inner = Vec<OsString>;

struct ClassFolder<'a> {
    tree: &'a dyn FileTree,
    label: u32,
}

impl ClassFolder<'_> {
    /// Collects the images below `folder`, sorted by name. Returns its folders, if it contains
    /// images only in folders.
    fn collect(
        &self,
        folder: &Path,
        files: &mut Vec<(u32, PathBuf)>,
        skipped: &mut SkippedFiles,
        depth: usize,
    ) -> Result<Option<Inner>> {
        if depth > DEEPEST {
            let problem = format!("folders nested more than {DEEPEST} deep");
            return Err(Error::layout(&self.tree.full(folder), problem, "unpack it again"));
        }
        let (mut own, mut inner) = (0, Vec::new());
        for entry in self.tree.list(folder)? {
            let path = folder.join(&entry.name);
            if entry.kind == TreeEntryKind::Folder {
                let before = files.len();
                self.collect(&path, files, skipped, depth + 1)?;
                if files.len() > before {
                    inner.push(entry.name);
                }
            } else if entry.is_image() {
                files.push((self.label, path));
                own += 1;
            } else {
                skipped.add(why(&entry), &self.tree.full(&path));
            }
        }
        Ok((own == 0 && !inner.is_empty()).then_some(inner))
    }
}

/// Why an entry of a class's folder is not used.
pub(super) fn why(entry: &TreeEntry) -> SkipReason {
    let name = Path::new(&entry.name);
    match entry.kind {
        TreeEntryKind::FolderLink | TreeEntryKind::Loop | TreeEntryKind::Folder => {
            SkipReason::FolderLink
        }
        TreeEntryKind::Broken => SkipReason::BrokenLink,
        TreeEntryKind::Special => SkipReason::Special,
        TreeEntryKind::Hidden if name.extension().is_some() && may_be_image(name) => {
            SkipReason::Hidden
        }
        TreeEntryKind::Hidden | TreeEntryKind::File => SkipReason::Name,
    }
}

/// Rejects ambiguous nested folders: either level could be the classes.
fn check_nested(
    tree: &dyn FileTree,
    folder: &Path,
    nested: &[(PathBuf, Inner)],
    folders: &[(PathBuf, TreeEntryKind)],
) -> Result<()> {
    let siblings: Vec<&OsStr> = folders.iter().filter_map(|(path, _)| path.file_name()).collect();
    for (path, inner) in nested {
        let own = path.file_name().unwrap_or_default();
        let is_wrapper = |name: &OsString| {
            let equal = fold(&name.to_string_lossy()) == fold(&own.to_string_lossy());
            equal || is_generic(name) || !siblings.contains(&&**name)
        };
        if inner.len() == 1 && inner.iter().all(is_wrapper) {
            continue;
        }
        let names: Vec<String> =
            inner.iter().take(3).map(|name| format!("`{}`", name.to_string_lossy())).collect();
        let more = if inner.len() > 3 { " and others" } else { "" };
        let full = tree.full(path);
        let problem =
            format!("a class's folder that contains only folders ({}{more})", names.join(", "));
        let remedy = format!(
            "if those are the classes, open {} itself; if {} are, use the pattern '^([^/]+)/' \
             (label-from) with {}",
            full.display(),
            or_others(&siblings),
            tree.full(folder).display()
        );
        return Err(Error::layout(&full, problem, remedy));
    }
    Ok(())
}

fn or_others(names: &[&OsStr]) -> String {
    let first: Vec<String> =
        names.iter().take(2).map(|name| format!("`{}`", name.to_string_lossy())).collect();
    match names.len() {
        0..=2 => first.join(" and "),
        count => format!("{} and {} others", first.join(", "), count - 2),
    }
}

/// Rejects two classes that are the same folder.
fn check_links(tree: &dyn FileTree, folders: &[(PathBuf, TreeEntryKind)]) -> Result<()> {
    if folders.iter().all(|(_, kind)| *kind != TreeEntryKind::FolderLink) {
        return Ok(());
    }
    let mut seen: BTreeMap<PathBuf, &Path> = BTreeMap::new();
    for (path, _) in folders {
        if let Some(first) = seen.insert(tree.identity(path), path) {
            let name = first.file_name().unwrap_or_default().to_string_lossy();
            let problem = format!("the same folder as class `{name}`");
            return Err(Error::layout(&tree.full(path), problem, "remove one of the links"));
        }
    }
    Ok(())
}

/// Normalises names that people or other systems consider equal.
pub(crate) fn fold(name: &str) -> String {
    name.nfc().collect::<String>().trim().to_lowercase()
}

/// Rejects names that are equal after normalisation.
pub(crate) fn check_names(root: &Path, names: &[String]) -> Result<()> {
    let mut seen: BTreeMap<String, &String> = BTreeMap::new();
    for name in names {
        let Some(first) = seen.insert(fold(name), name) else { continue };
        let problem = if first == name {
            format!("two classes with the same displayed name `{name}`")
        } else {
            format!("classes `{first}` and `{name}` differ only in case or encoding")
        };
        return Err(Error::layout(root, problem, "rename one of them, or merge them"));
    }
    Ok(())
}

/// Rejects fewer than two classes.
pub(crate) fn check_count(root: &Path, names: &[String]) -> Result<()> {
    let remedy = "expected one folder for each class, with its images inside";
    match names {
        [] => Err(Error::layout(root, "no folder with images", remedy)),
        [one] => Err(Error::layout(
            root,
            format!("only one class, `{one}`; a network needs two or more"),
            remedy,
        )),
        _ => Ok(()),
    }
}
