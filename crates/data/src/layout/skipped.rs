//! Files that lie among images and are not used.

use crate::formats;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Why a file is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Why {
    /// Its name ends as no image's does, or as that of an image which cannot be decoded.
    Name,
    /// An image that lies beside the folders of classes.
    OutsideClasses,
    /// No list or pattern gives it a label.
    Unlabelled,
    /// A name that begins with a dot.
    Hidden,
    /// A link that leads nowhere.
    BrokenLink,
    /// A link to a folder, inside the folder of a class.
    FolderLink,
    /// A pipe, a socket or a device.
    Special,
}

impl Why {
    fn text(self) -> &'static str {
        match self {
            Why::Name => "not images by their names",
            Why::OutsideClasses => "images outside the folders of classes",
            Why::Unlabelled => "images without a label",
            Why::Hidden => "hidden images",
            Why::BrokenLink => "links that lead nowhere",
            Why::FolderLink => "links to folders, which are not followed inside a class",
            Why::Special => "neither files nor folders",
        }
    }
}

/// Counts, and the first of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Skipped {
    names: formats::Skipped,
    others: BTreeMap<Why, (usize, PathBuf)>,
    first: Option<PathBuf>,
}

impl Skipped {
    pub(crate) fn add(&mut self, why: Why, path: &Path) {
        match why {
            Why::Name => self.names.add(path),
            why => self.others.entry(why).or_insert_with(|| (0, path.to_owned())).0 += 1,
        }
        self.first.get_or_insert_with(|| path.to_owned());
    }

    pub(crate) fn merge(&mut self, other: Skipped) {
        self.names.merge(other.names);
        for (why, (count, first)) in other.others {
            self.others.entry(why).or_insert((0, first)).0 += count;
        }
        self.first = self.first.take().or(other.first);
    }

    /// The same without files that are no images by their names.
    pub(crate) fn without_names(self) -> Skipped {
        Skipped { names: formats::Skipped::default(), ..self }
    }

    /// The first that was counted.
    pub(crate) fn example(&self) -> Option<&Path> {
        self.first.as_deref()
    }

    /// Sentences for people; none if nothing was skipped. Most names are relative to `root`.
    pub(crate) fn notes(&self, root: &Path) -> Vec<String> {
        let mut notes = self.names.notes();
        let total: usize = self.others.values().map(|(count, _)| count).sum();
        let parts = self.others.iter().map(|(why, (count, first))| {
            let first = first.strip_prefix(root).unwrap_or(first).display();
            format!("{count} {} (such as {first})", why.text())
        });
        let parts: Vec<String> = parts.collect();
        let s = if total == 1 { "" } else { "s" };
        if total > 0 {
            let root = root.display();
            notes.push(format!("{root}: {total} file{s} skipped: {}", parts.join("; ")));
        }
        notes
    }
}
