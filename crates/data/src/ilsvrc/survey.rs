//! A walk through archives that notes what it passes over.

use crate::bounded;
use crate::collection::{Collection, Item, Place};
use crate::tar::{Member, Members, Skipped};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Members of one archive: the largest of ours, with the validation images, has 50,000.
const MOST_MEMBERS: usize = 1 << 20;

/// A walk through the archives, and what is met on it.
pub(super) struct Survey<'a> {
    progress: &'a (dyn Fn(u64, u64) + Sync),
    /// Bytes of the archives that lie behind.
    before: u64,
    total: u64,
    pub(super) notes: Notes,
}

/// What is passed over, to be told at the end.
#[derive(Default)]
pub(super) struct Notes {
    skipped: BTreeMap<PathBuf, Skipped>,
    /// Members that are no image, or no archive of a class.
    pub(super) strangers: BTreeMap<PathBuf, u64>,
    /// Images that come twice; the last counts, as it does for whoever unpacks.
    repeated: BTreeMap<PathBuf, u64>,
    pub(super) other: Vec<String>,
}

impl Notes {
    pub(super) fn told(self) -> Vec<String> {
        let counted = |counts: BTreeMap<PathBuf, u64>, what: &str| -> Vec<String> {
            let line =
                |(path, count): (PathBuf, u64)| format!("{}: {count} {what}", path.display());
            counts.into_iter().filter(|(_, count)| *count > 0).map(line).collect()
        };
        let skipped = self.skipped.into_iter().filter(|(_, skipped)| skipped.total() > 0);
        let skipped = skipped.map(|(path, what)| format!("{}: passed over {what}", path.display()));
        let mut notes: Vec<String> = skipped.collect();
        notes.extend(counted(self.strangers, "members are not what is looked for"));
        notes.extend(counted(self.repeated, "members replace earlier ones of the same name"));
        notes.extend(self.other);
        notes
    }
}

/// An image in an archive, before it has a label.
pub(super) struct Found {
    /// Without folders.
    pub(super) file_name: String,
    place: Place,
}

impl<'a> Survey<'a> {
    /// A walk through archives of `total` bytes altogether.
    pub(super) fn new(progress: &'a (dyn Fn(u64, u64) + Sync), total: u64) -> Self {
        Survey { progress, before: 0, total, notes: Notes::default() }
    }

    /// An archive of so many bytes lies behind.
    pub(super) fn pass(&mut self, len: u64) {
        self.before += len;
        (self.progress)(self.before, self.total);
    }

    /// All members of the archive in `range` of `path`; `name` is for messages. Of an archive of
    /// archives, `aloud` is false: the way to its end is told when those inside are walked through.
    pub(super) fn members(
        &mut self,
        path: &Path,
        name: &Path,
        range: Range<u64>,
        aloud: bool,
    ) -> Result<Vec<Member>> {
        let (file, _) = bounded::open(path).map_err(|error| Error::io(path, &error))?;
        let mut walk = Members::new(&file, range);
        let mut members = Vec::new();
        while let Some(member) =
            walk.next_member().map_err(|broken| Error::archive(name, broken))?
        {
            if members.len() == MOST_MEMBERS {
                let problem = format!("it has more than {MOST_MEMBERS} members");
                return Err(Error::layout(name, problem, "download it again"));
            }
            members.push(member);
            if aloud && members.len().is_multiple_of(256) {
                (self.progress)(self.before + walk.position(), self.total);
            }
        }
        self.notes.skipped.entry(path.to_owned()).or_default().merge(walk.skipped());
        Ok(members)
    }

    /// The images of an archive that `wanted` has a use for, by file name and without doubles.
    pub(super) fn images(
        &mut self,
        path: &Path,
        archive: u32,
        members: Vec<Member>,
        wanted: impl Fn(&str) -> bool,
    ) -> Vec<Found> {
        let mut images = BTreeMap::new();
        for Member { name, offset, len } in members {
            let file_name = name.rsplit('/').next().unwrap_or_default().to_owned();
            if !wanted(&file_name) {
                *self.notes.strangers.entry(path.to_owned()).or_default() += 1;
            } else if images.insert(file_name, Place::Within { archive, offset, len }).is_some() {
                *self.notes.repeated.entry(path.to_owned()).or_default() += 1;
            }
        }
        images.into_iter().map(|(file_name, place)| Found { file_name, place }).collect()
    }
}

/// Images that take the places of others: `train/` or `val/` and file name, and where they lie.
#[derive(Default)]
pub(super) struct Patch {
    archive: String,
    images: BTreeMap<(String, String), Place>,
}

impl Patch {
    pub(super) fn open(path: &Path, into: &mut Collection, survey: &mut Survey) -> Result<Patch> {
        let archive = into.add_archive(path)?;
        let mut images = BTreeMap::new();
        let whole = length(path)?;
        for Member { name, offset, len } in survey.members(path, path, 0..whole, true)? {
            let mut parts = name.rsplit('/');
            let (file_name, set) = (parts.next(), parts.next());
            if let (Some(file_name), Some(set)) = (file_name, set) {
                let key = (set.to_owned(), file_name.to_owned());
                images.insert(key, Place::Within { archive, offset, len });
            }
        }
        survey.pass(whole);
        let (count, path_shown) = (images.len(), path.display());
        let note = format!("{path_shown}: its {count} images replace those of the same name");
        survey.notes.other.push(note);
        Ok(Patch { archive: file_name(path), images })
    }

    /// The item of `found` in `folder`, or of what replaces it.
    pub(super) fn apply(&self, set: &str, folder: &str, label: u32, found: Found) -> Item {
        let Found { file_name, place } = found;
        if self.images.is_empty() {
            return Item { name: [folder, "/", &file_name].concat(), label, place };
        }
        let key = (set.to_owned(), file_name);
        match self.images.get(&key) {
            Some(better) => {
                let name = [&self.archive, "/", set, "/", &key.1].concat();
                Item { name, label, place: better.clone() }
            }
            None => Item { name: [folder, "/", &key.1].concat(), label, place },
        }
    }
}

/// The length of the file at `path`.
pub(super) fn length(path: &Path) -> Result<u64> {
    let metadata = path.metadata().map_err(|error| Error::io(path, &error))?;
    Ok(metadata.len())
}

/// The last part of a path, for a name inside a collection.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
