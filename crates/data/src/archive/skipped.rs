//! Skipped entries of an archive.

use std::collections::BTreeMap;
use std::path::Path;

/// Counts of skipped entries by reason, with an example of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SkippedEntries(BTreeMap<&'static str, (usize, String)>);

impl SkippedEntries {
    pub(super) fn add(&mut self, reason: &'static str, name: &str) {
        self.add_many(reason, 1, name);
    }

    pub(super) fn add_many(&mut self, reason: &'static str, count: usize, name: &str) {
        let shown = || name.escape_debug().to_string().replace("\\'", "'");
        self.0.entry(reason).or_insert_with(|| (0, shown())).0 += count;
    }

    /// A message for the user, if anything was skipped.
    pub(crate) fn note(&self, path: &Path) -> Option<String> {
        let parts = self.0.iter().map(|(reason, (count, example))| {
            if example.is_empty() {
                format!("{count} {reason}")
            } else {
                format!("{count} {reason} (such as {example})")
            }
        });
        let parts: Vec<String> = parts.collect();
        (!parts.is_empty()).then(|| format!("{}: skipped {}", path.display(), parts.join(", ")))
    }
}
