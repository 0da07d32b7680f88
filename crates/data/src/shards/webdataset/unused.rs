//! Counts members of tar files that are not used, by kind, with an example.

use crate::tar::SkippedMembers;
use files::numbers::grouped;
use std::collections::BTreeMap;

/// The limit of distinct kinds, because names come from untrusted files.
const MAX_KINDS: usize = 12;
const OTHERS: &str = "of other kinds";

/// Counts by kind, such as `.txt`, with the name of the first of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UnusedMembers {
    kinds: BTreeMap<String, (usize, String)>,
    /// The number of samples without an image, and a member of the first.
    pub(super) without_image: (usize, String),
}

impl UnusedMembers {
    /// Counts a member.
    pub(super) fn add(&mut self, kind: &str, name: &str) {
        self.add_many(kind, 1, name);
    }

    fn add_many(&mut self, kind: &str, count: usize, name: &str) {
        let is_new = !self.kinds.contains_key(kind);
        let kind = if is_new && self.kinds.len() >= MAX_KINDS { OTHERS } else { kind };
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

    /// Counts the members that the tar reader skipped.
    pub(super) fn add_skipped(&mut self, skipped: &SkippedMembers, first: Option<&str>) {
        if skipped.total() > 0 {
            let kind = format!("that are not usable files ({skipped})");
            self.add_many(&kind, skipped.total() as usize, first.unwrap_or_default());
        }
    }

    /// Adds the counts of another tar file, whose members are named `file/member`.
    pub(super) fn merge(&mut self, other: UnusedMembers, file: &str) {
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

    /// The number of members of all kinds.
    pub(super) fn members(&self) -> usize {
        self.kinds.values().map(|(count, _)| count).sum()
    }

    /// Messages for the user.
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
