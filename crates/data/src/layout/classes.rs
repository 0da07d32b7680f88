//! Folders named for classes.

use super::skipped::{Skipped, Why};
use super::splits::is_generic;
use super::tree::{Entry, EntryKind, Tree};
use crate::formats::may_be_image;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use unicode_normalization::UnicodeNormalization;

/// Classes in the order of their names, and the label and path of every image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Classes {
    pub(crate) names: Vec<String>,
    /// In the order of labels; of one label, in the order of paths.
    pub(crate) files: Vec<(u32, PathBuf)>,
}

/// Folders deeper than this are taken for a loop, or for an attack by an archive.
const DEEPEST: usize = 64;

/// Each folder in `folder` as a class, with all images below it.
///
/// # Errors
/// If a folder cannot be read or has no image, holds several folders and no image of its own, is
/// reached twice, or has a name that equals another's but for case or the way it is encoded.
pub(crate) fn scan(tree: &dyn Tree, folder: &Path, skipped: &mut Skipped) -> Result<Classes> {
    let mut classes = Classes::default();
    let mut nested = Vec::new();
    let mut folders = Vec::new();
    for entry in tree.list(folder)? {
        let path = folder.join(&entry.name);
        if entry.kind == EntryKind::Loop {
            let problem = "this link leads to a folder that it lies in";
            return Err(Error::layout(&tree.full(&path), problem, "remove the link"));
        }
        if !entry.is_folder() {
            skip_outside(tree, &entry, &path, skipped);
            continue;
        }
        let label = classes.names.len() as u32;
        let before = classes.files.len();
        let mut own = Skipped::default();
        let walk = Walk { tree, label };
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

fn no_image(tree: &dyn Tree, path: &Path, own: &Skipped) -> Error {
    let found = own.example().and_then(Path::file_name).map_or(String::new(), |name| {
        format!(" (it holds {}, which is none that can be read)", name.to_string_lossy())
    });
    let problem = format!("no image in this class's folder{found}");
    Error::layout(&tree.full(path), problem, "put images there, or remove the folder")
}

/// A file or a broken link beside the folders of classes.
fn skip_outside(tree: &dyn Tree, entry: &Entry, path: &Path, skipped: &mut Skipped) {
    if entry.is_image() && Path::new(&entry.name).extension().is_some() {
        skipped.add(Why::OutsideClasses, &tree.full(path)); // README has no ending
    } else if entry.kind == EntryKind::Broken {
        skipped.add(Why::BrokenLink, &tree.full(path));
    }
}

/// Names of the folders in a class's folder that has no image of its own.
type Inner = Vec<OsString>;

struct Walk<'a> {
    tree: &'a dyn Tree,
    label: u32,
}

impl Walk<'_> {
    /// The images below `folder`, in the order of their names. Gives the folders in it if it holds
    /// no image but several folders.
    fn collect(
        &self,
        folder: &Path,
        files: &mut Vec<(u32, PathBuf)>,
        skipped: &mut Skipped,
        depth: usize,
    ) -> Result<Option<Inner>> {
        if depth > DEEPEST {
            let problem = format!("folders in folders, more than {DEEPEST} deep");
            return Err(Error::layout(&self.tree.full(folder), problem, "unpack it again"));
        }
        let (mut own, mut inner) = (0, Vec::new());
        for entry in self.tree.list(folder)? {
            let path = folder.join(&entry.name);
            if entry.kind == EntryKind::Folder {
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
pub(super) fn why(entry: &Entry) -> Why {
    let name = Path::new(&entry.name);
    match entry.kind {
        EntryKind::FolderLink | EntryKind::Loop | EntryKind::Folder => Why::FolderLink,
        EntryKind::Broken => Why::BrokenLink,
        EntryKind::Special => Why::Special,
        EntryKind::Hidden if name.extension().is_some() && may_be_image(name) => Why::Hidden,
        EntryKind::Hidden | EntryKind::File => Why::Name,
    }
}

/// Refuses folders of folders: which of them are the classes, only people know.
fn check_nested(
    tree: &dyn Tree,
    folder: &Path,
    nested: &[(PathBuf, Inner)],
    folders: &[(PathBuf, EntryKind)],
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
            "if those are the classes, give {} itself; if {} are, say --label-from '^([^/]+)/' \
             with {}",
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

/// Refuses two classes that are one folder.
fn check_links(tree: &dyn Tree, folders: &[(PathBuf, EntryKind)]) -> Result<()> {
    if folders.iter().all(|(_, kind)| *kind != EntryKind::FolderLink) {
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

/// What names have in common that people, or other systems, take for the same.
pub(crate) fn fold(name: &str) -> String {
    name.nfc().collect::<String>().trim().to_lowercase()
}

/// Refuses names that are taken for the same.
pub(crate) fn check_names(root: &Path, names: &[String]) -> Result<()> {
    let mut seen: BTreeMap<String, &String> = BTreeMap::new();
    for name in names {
        let Some(first) = seen.insert(fold(name), name) else { continue };
        let problem = if first == name {
            format!("two classes whose names are both shown as `{name}`")
        } else {
            format!("classes `{first}` and `{name}` are equal but for case or encoding")
        };
        return Err(Error::layout(root, problem, "rename one of them, or merge them"));
    }
    Ok(())
}

/// Refuses a number of classes that nothing can be learned from.
pub(crate) fn check_count(root: &Path, names: &[String]) -> Result<()> {
    let remedy = "expected one folder for each class, with its images inside";
    match names {
        [] => Err(Error::layout(root, "no folder with images", remedy)),
        [one] => Err(Error::layout(
            root,
            format!("only one class, `{one}`, and a network must choose between two at least"),
            remedy,
        )),
        _ => Ok(()),
    }
}
