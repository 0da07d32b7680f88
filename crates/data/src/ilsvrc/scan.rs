//! Scans archives, and counts the members that are not used.

use crate::bounded;
use crate::collection::{Collection, FileLocation, LabelledFile};
use crate::tar::{SkippedMembers, TarMember, TarMembers};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The limit of members in an archive; the largest one has 50,000 validation images.
const MAX_MEMBERS: usize = 1 << 20;

/// A scan of the archives.
pub(super) struct ArchiveScan<'a> {
    progress: &'a (dyn Fn(u64, u64) + Sync),
    /// The length of the archives that are scanned completely.
    before: u64,
    total: u64,
    pub(super) notes: Notes,
}

/// Notes about members that are not used.
#[derive(Default)]
pub(super) struct Notes {
    skipped: BTreeMap<PathBuf, SkippedMembers>,
    /// Numbers of members that are neither images nor a class's archive.
    pub(super) unexpected: BTreeMap<PathBuf, u64>,
    /// Numbers of duplicate images; the last one is used, as when unpacking.
    repeated: BTreeMap<PathBuf, u64>,
    pub(super) other: Vec<String>,
}

impl Notes {
    pub(super) fn messages(self) -> Vec<String> {
        let counted = |counts: BTreeMap<PathBuf, u64>, what: &str| -> Vec<String> {
            let line =
                |(path, count): (PathBuf, u64)| format!("{}: {count} {what}", path.display());
            counts.into_iter().filter(|(_, count)| *count > 0).map(line).collect()
        };
        let skipped = self.skipped.into_iter().filter(|(_, skipped)| skipped.total() > 0);
        let skipped = skipped.map(|(path, what)| format!("{}: skipped {what}", path.display()));
        let mut notes: Vec<String> = skipped.collect();
        notes.extend(counted(self.unexpected, "unexpected members"));
        notes.extend(counted(self.repeated, "members replace earlier ones of the same name"));
        notes.extend(self.other);
        notes
    }
}

/// An image in an archive, before it has a label.
pub(super) struct FoundImage {
    /// Without folders.
    pub(super) file_name: String,
    location: FileLocation,
}

impl<'a> ArchiveScan<'a> {
    /// Starts a scan of archives of `total` bytes.
    pub(super) fn new(progress: &'a (dyn Fn(u64, u64) + Sync), total: u64) -> Self {
        ArchiveScan { progress, before: 0, total, notes: Notes::default() }
    }

    /// Reports that an archive of `len` bytes is scanned.
    pub(super) fn pass(&mut self, len: u64) {
        self.before += len;
        (self.progress)(self.before, self.total);
    }

    /// The members of the archive in `range` of `path`; `name` is for messages. `reports` is false
    /// for an archive of archives, whose progress is reported while the inner ones are scanned.
    pub(super) fn members(
        &mut self,
        path: &Path,
        name: &Path,
        range: Range<u64>,
        reports: bool,
    ) -> Result<Vec<TarMember>> {
        let (file, _) = bounded::open(path).map_err(|error| Error::io(path, &error))?;
        let mut walk = TarMembers::new(&file, range);
        let mut members = Vec::new();
        while let Some(member) =
            walk.next_member().map_err(|broken| Error::archive(name, broken))?
        {
            if members.len() == MAX_MEMBERS {
                let problem = format!("it has more than {MAX_MEMBERS} members");
                return Err(Error::layout(name, problem, "download it again"));
            }
            members.push(member);
            if reports && members.len().is_multiple_of(256) {
                (self.progress)(self.before + walk.position(), self.total);
            }
        }
        self.notes.skipped.entry(path.to_owned()).or_default().merge(walk.skipped());
        Ok(members)
    }

    /// The images of an archive whose file names are `wanted`, sorted by name and without
    /// duplicates.
    pub(super) fn images(
        &mut self,
        path: &Path,
        archive: u32,
        members: Vec<TarMember>,
        wanted: impl Fn(&str) -> bool,
    ) -> Vec<FoundImage> {
        let mut images = BTreeMap::new();
        for TarMember { name, offset, len } in members {
            let file_name = name.rsplit('/').next().unwrap_or_default().to_owned();
            if !wanted(&file_name) {
                *self.notes.unexpected.entry(path.to_owned()).or_default() += 1;
            } else if images
                .insert(file_name, FileLocation::ArchiveRange { archive, offset, len })
                .is_some()
            {
                *self.notes.repeated.entry(path.to_owned()).or_default() += 1;
            }
        }
        images.into_iter().map(|(file_name, location)| FoundImage { file_name, location }).collect()
    }
}

/// Images that replace others, by set (`train` or `val`) and file name.
#[derive(Default)]
pub(super) struct Patch {
    archive: String,
    images: BTreeMap<(String, String), FileLocation>,
}

impl Patch {
    pub(super) fn open(
        path: &Path,
        into: &mut Collection,
        scan: &mut ArchiveScan,
    ) -> Result<Patch> {
        let archive = into.add_archive(path)?;
        let mut images = BTreeMap::new();
        let whole = length(path)?;
        for TarMember { name, offset, len } in scan.members(path, path, 0..whole, true)? {
            let mut parts = name.rsplit('/');
            let (file_name, set) = (parts.next(), parts.next());
            if let (Some(file_name), Some(set)) = (file_name, set) {
                let key = (set.to_owned(), file_name.to_owned());
                images.insert(key, FileLocation::ArchiveRange { archive, offset, len });
            }
        }
        scan.pass(whole);
        let (count, path_shown) = (images.len(), path.display());
        let note = format!("{path_shown}: its {count} images replace those of the same name");
        scan.notes.other.push(note);
        Ok(Patch { archive: file_name(path), images })
    }

    /// The file for `found` in `folder`, or its replacement.
    pub(super) fn apply(
        &self,
        set: &str,
        folder: &str,
        label: u32,
        found: FoundImage,
    ) -> LabelledFile {
        let FoundImage { file_name, location } = found;
        if self.images.is_empty() {
            return LabelledFile { name: [folder, "/", &file_name].concat(), label, location };
        }
        let key = (set.to_owned(), file_name);
        match self.images.get(&key) {
            Some(replacement) => {
                let name = [&self.archive, "/", set, "/", &key.1].concat();
                LabelledFile { name, label, location: replacement.clone() }
            }
            None => LabelledFile { name: [folder, "/", &key.1].concat(), label, location },
        }
    }
}

/// The length of the file at `path`.
pub(super) fn length(path: &Path) -> Result<u64> {
    let metadata = path.metadata().map_err(|error| Error::io(path, &error))?;
    Ok(metadata.len())
}

/// The last component of a path, for names in a collection.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
