//! Files among the images that are not used.

use crate::formats;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Why a file is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SkipReason {
    /// The extension is not an image's, or that of a format that cannot be decoded.
    Name,
    /// An image outside the folders of classes.
    OutsideClasses,
    /// An image without a label in the table or from the pattern.
    Unlabelled,
    /// A name that starts with a dot.
    Hidden,
    /// A dangling link.
    BrokenLink,
    /// A link to a folder inside a class's folder.
    FolderLink,
    /// A pipe, a socket or a device.
    Special,
}

impl SkipReason {
    fn text(self) -> &'static str {
        match self {
            SkipReason::Name => "files without an image extension",
            SkipReason::OutsideClasses => "images outside the folders of classes",
            SkipReason::Unlabelled => "images without a label",
            SkipReason::Hidden => "hidden images",
            SkipReason::BrokenLink => "dangling links",
            SkipReason::FolderLink => "links to folders, which are not followed inside a class",
            SkipReason::Special => "neither files nor folders",
        }
    }
}

/// Counts of skipped files by reason, each with the first file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SkippedFiles {
    names: formats::SkippedFormats,
    others: BTreeMap<SkipReason, (usize, PathBuf)>,
    first: Option<PathBuf>,
}

impl SkippedFiles {
    pub(crate) fn add(&mut self, why: SkipReason, path: &Path) {
        match why {
            SkipReason::Name => self.names.add(path),
            why => self.others.entry(why).or_insert_with(|| (0, path.to_owned())).0 += 1,
        }
        self.first.get_or_insert_with(|| path.to_owned());
    }

    pub(crate) fn merge(&mut self, other: SkippedFiles) {
        self.names.merge(other.names);
        for (why, (count, first)) in other.others {
            self.others.entry(why).or_insert((0, first)).0 += count;
        }
        self.first = self.first.take().or(other.first);
    }

    /// Removes the files that were skipped because of their extensions.
    pub(crate) fn without_names(self) -> SkippedFiles {
        SkippedFiles { names: formats::SkippedFormats::default(), ..self }
    }

    /// The first skipped file.
    pub(crate) fn example(&self) -> Option<&Path> {
        self.first.as_deref()
    }

    /// Messages for the user. Most paths are relative to `root`.
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
