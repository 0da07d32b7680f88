//! Members of tar files that are not used: how many of each kind, with an example.

use crate::tar::Skipped;
use files::numbers::grouped;
use std::collections::BTreeMap;

/// So many kinds are told apart: names come from strangers' files.
const MOST_KINDS: usize = 12;
const OTHERS: &str = "of other kinds";

/// Counts by kind, such as `.txt`, and the name of the first of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unused {
    kinds: BTreeMap<String, (usize, String)>,
    /// Samples without an image, and a member of the first.
    pub(super) without_image: (usize, String),
}

impl Unused {
    /// Counts a member.
    pub(super) fn add(&mut self, kind: &str, name: &str) {
        self.add_many(kind, 1, name);
    }

    fn add_many(&mut self, kind: &str, count: usize, name: &str) {
        let is_new = !self.kinds.contains_key(kind);
        let kind = if is_new && self.kinds.len() >= MOST_KINDS { OTHERS } else { kind };
        let entry = self.kinds.entry(kind.to_owned()).or_insert((0, name.to_owned()));
        entry.0 += count;
    }

    /// Counts a sample that has no image.
    pub(super) fn add_without_image(&mut self, name: &str) {
        if self.without_image.0 == 0 {
            self.without_image.1 = name.to_owned();
        }
        self.without_image.0 += 1;
    }

    /// Counts what the walk through the archive passed over.
    pub(super) fn add_skipped(&mut self, skipped: &Skipped, first: Option<&str>) {
        if skipped.total() > 0 {
            let kind = format!("that are no usable files ({skipped})");
            self.add_many(&kind, skipped.total() as usize, first.unwrap_or_default());
        }
    }

    /// Adds another tar file's, whose members are called `file/member`.
    pub(super) fn merge(&mut self, other: Unused, file: &str) {
        for (kind, (count, name)) in other.kinds {
            self.add_many(&kind, count, &format!("{file}/{name}"));
        }
        let (count, name) = other.without_image;
        if count > 0 {
            if self.without_image.0 == 0 {
                self.without_image.1 = format!("{file}/{name}");
            }
            self.without_image.0 += count;
        }
    }

    /// How many members, of all kinds.
    pub(super) fn members(&self) -> usize {
        self.kinds.values().map(|(count, _)| count).sum()
    }

    /// A sentence for each thing worth knowing.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.kinds.is_empty() {
            let kind = |(kind, (count, name)): (&String, &(usize, String))| {
                format!("{} {kind}, e.g. {name}", grouped(*count))
            };
            let kinds: Vec<String> = self.kinds.iter().map(kind).collect();
            let count = grouped(self.members());
            notes.push(format!("{count} members of tar files are not used: {}", kinds.join("; ")));
        }
        if self.without_image.0 > 0 {
            let (count, name) = &self.without_image;
            let count = grouped(*count);
            notes.push(format!(
                "samples without an image that can be decoded: {count}, e.g. {name}"
            ));
        }
        notes
    }
}
