//! Where CIFAR's files lie: in a folder, or inside the archive that is downloaded.

use super::{Form, HUNDRED, TEN, Version};
use crate::bounded;
use crate::tar::{Forward, Members};
use crate::{Error, Result};
use flate2::read::MultiGzDecoder;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Unpacked, the largest archive (CIFAR-100's Python version) has 186 MB.
const LONGEST_ARCHIVE: u64 = 512 << 20;
/// How many members are looked at to tell what an archive is.
const MEMBERS_TRIED: usize = 4;

/// A version's files.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) form: &'static Form,
    pub(super) version: &'static Version,
    root: PathBuf,
    /// The files of an archive; of a folder they are read when they are asked for.
    unpacked: Option<BTreeMap<String, Vec<u8>>>,
    is_archive: bool,
}

fn versions() -> impl Iterator<Item = (&'static Form, &'static Version)> {
    [&TEN, &HUNDRED].into_iter().flat_map(|form| [(form, &form.binary), (form, &form.python)])
}

/// What lies at `path`, which may be a folder, the folder above, or an archive.
///
/// # Errors
/// If there are both CIFAR-10 and CIFAR-100 below a folder.
pub(super) fn find(path: &Path) -> Result<Option<Files>> {
    if path.is_file() {
        let found = in_archive(path);
        return Ok(found.map(|(form, version)| Files::of(path, form, version, true)));
    }
    if let Some((form, version)) = versions().find(|(_, version)| version.is_in(path)) {
        return Ok(Some(Files::of(path, form, version, false)));
    }
    let below = versions().filter_map(|(form, version)| {
        let (folder, archive) = (path.join(version.folder), path.join(version.archive));
        if version.is_in(&folder) {
            return Some(Files::of(&folder, form, version, false));
        }
        let is_there = archive.is_file() && in_archive(&archive) == Some((form, version));
        is_there.then(|| Files::of(&archive, form, version, true))
    });
    let mut below: Vec<Files> = below.collect();
    // Of one set any version has the same images; what is unpacked is read sooner.
    below.sort_by_key(|files| files.is_archive);
    match below.iter().find(|files| files.form != below[0].form) {
        None => Ok(below.into_iter().next()),
        Some(other) => {
            let [one, other] = [&below[0], other].map(|files| files.root.display().to_string());
            let problem = "both CIFAR-10 and CIFAR-100 lie below it";
            Err(Error::layout(path, problem, format!("name {one} or {other}")))
        }
    }
}

/// Which version an archive holds, if any: one of its first files lies in the version's folder.
fn in_archive(path: &Path) -> Option<(&'static Form, &'static Version)> {
    let stream = unpack(path).ok()?;
    let mut members = Members::new(&stream, 0..u64::MAX);
    for _ in 0..MEMBERS_TRIED {
        let name = members.next_member().ok()??.name;
        let folder = name.trim_start_matches("./").split('/').next().unwrap_or_default();
        let found = versions().find(|(_, version)| version.folder == folder);
        if found.is_some() {
            return found;
        }
    }
    None
}

/// An archive's bytes, whether it is packed or not.
fn unpack(path: &Path) -> Result<Forward<Box<dyn Read>>> {
    let io = |error| Error::io(path, &error);
    let (file, _) = bounded::open(path).map_err(io)?;
    let mut file = BufReader::new(file);
    let is_packed = file.fill_buf().map_err(io)?.starts_with(&[0x1f, 0x8b]);
    let reader: Box<dyn Read> =
        if is_packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    Ok(Forward::new(reader, LONGEST_ARCHIVE))
}

impl Version {
    fn files(&self) -> impl Iterator<Item = &'static str> {
        self.train.iter().copied().chain([self.test])
    }

    /// Whether a folder has any of the files. Names such as `train` are not enough alone.
    fn is_in(&self, folder: &Path) -> bool {
        let has = |name: &str| folder.join(name).is_file();
        let is_telling = self.train.len() > 1 || self.name == "binary" || has(self.classes);
        is_telling && self.files().any(has)
    }

    fn longest_of(&self, name: &str) -> u64 {
        if name == self.classes { 1 << 20 } else { self.longest }
    }
}

impl PartialEq for Form {
    fn eq(&self, other: &Form) -> bool {
        self.name == other.name
    }
}

impl Files {
    fn of(root: &Path, form: &'static Form, version: &'static Version, is_archive: bool) -> Files {
        Files { form, version, root: root.to_owned(), unpacked: None, is_archive }
    }

    /// The files of a folder that has none of them: each is an error when it is read.
    pub(super) fn none(root: &Path) -> Files {
        Files::of(root, &TEN, &TEN.binary, false)
    }

    /// A file's path, as if an archive were a folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(super) fn remedy(&self) -> String {
        format!("download the {} version of {} again", self.version.name, self.form.name)
    }

    /// A file's bytes; `None` if there is no such file.
    ///
    /// # Errors
    /// If it cannot be read, or is longer than any of its kind.
    pub(super) fn read(&mut self, name: &str) -> Result<Option<Vec<u8>>> {
        if self.is_archive {
            if self.unpacked.is_none() {
                self.unpacked = Some(self.unpack()?);
            }
            return Ok(self.unpacked.as_mut().and_then(|files| files.remove(name)));
        }
        let path = self.path(name);
        if !path.exists() {
            return Ok(None);
        }
        let longest = self.version.longest_of(name);
        match bounded::read(&path, longest) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::FileTooLarge => Err(self.too_long(name)),
            Err(error) => Err(Error::io(&path, &error)),
        }
    }

    /// # Errors
    /// As [`read`](Self::read), and if there is no such file.
    pub(super) fn read_existing(&mut self, name: &str) -> Result<Vec<u8>> {
        self.read(name)?.ok_or_else(|| {
            let problem = format!("a file of {} is missing", self.form.name);
            Error::layout(&self.path(name), problem, self.remedy())
        })
    }

    fn too_long(&self, name: &str) -> Error {
        let longest = self.version.longest_of(name);
        let problem = format!("longer than the {longest} bytes that it may have");
        Error::layout(&self.path(name), problem, self.remedy())
    }

    /// All files of an archive that are asked for later.
    fn unpack(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let stream = unpack(&self.root)?;
        let broken = |broken| Error::archive(&self.root, broken);
        let mut members = Members::new(&stream, 0..u64::MAX);
        let mut files = BTreeMap::new();
        while let Some(member) = members.next_member().map_err(broken)? {
            let name = member.name.trim_start_matches("./");
            let name = name.strip_prefix(self.version.folder).and_then(|n| n.strip_prefix('/'));
            let wanted = |&name: &&str| {
                name == self.version.classes || self.version.files().any(|file| file == name)
            };
            let Some(name) = name.filter(wanted) else { continue };
            if member.len > self.version.longest_of(name) {
                return Err(self.too_long(name));
            }
            let mut bytes = vec![0; member.len as usize];
            crate::tar::ReadAt::read_whole_at(&stream, &mut bytes, member.offset)
                .map_err(|error| Error::io(&self.root, &error))?;
            if files.insert(name.to_owned(), bytes).is_some() {
                let problem = format!("it has {name} twice");
                return Err(Error::layout(&self.root, problem, self.remedy()));
            }
        }
        stream.finish().map_err(|error| Error::io(&self.root, &error))?;
        Ok(files)
    }
}
