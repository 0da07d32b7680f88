//! Finds and reads CIFAR's files in a folder or in the downloaded archive.

use super::{HUNDRED, TEN, Variant, Version};
use crate::bounded;
use crate::tar::{ForwardReader, TarMembers};
use crate::{Error, Result};
use flate2::read::MultiGzDecoder;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The limit of an unpacked archive; the largest (CIFAR-100's Python version) has 186 MB.
const LONGEST_ARCHIVE: u64 = 512 << 20;
/// How many members of an archive are read to recognise it.
const MEMBERS_TRIED: usize = 4;

/// The files of a version.
#[derive(Debug)]
pub(super) struct CifarFiles {
    pub(super) variant: &'static Variant,
    pub(super) version: &'static Version,
    root: PathBuf,
    /// The unpacked files of an archive; files in a folder are read on demand.
    unpacked: Option<BTreeMap<String, Vec<u8>>>,
    is_archive: bool,
}

fn versions() -> impl Iterator<Item = (&'static Variant, &'static Version)> {
    [&TEN, &HUNDRED]
        .into_iter()
        .flat_map(|variant| [(variant, &variant.binary), (variant, &variant.python)])
}

/// The files at `path`, which may be a folder, its parent folder, or an archive.
///
/// # Errors
/// If both CIFAR-10 and CIFAR-100 are below a folder.
pub(super) fn find(path: &Path) -> Result<Option<CifarFiles>> {
    if path.is_file() {
        let found = in_archive(path);
        return Ok(found.map(|(variant, version)| CifarFiles::of(path, variant, version, true)));
    }
    if let Some((variant, version)) = versions().find(|(_, version)| version.is_in(path)) {
        return Ok(Some(CifarFiles::of(path, variant, version, false)));
    }
    let below = versions().filter_map(|(variant, version)| {
        let (folder, archive) = (path.join(version.folder), path.join(version.archive));
        if version.is_in(&folder) {
            return Some(CifarFiles::of(&folder, variant, version, false));
        }
        let is_there = archive.is_file() && in_archive(&archive) == Some((variant, version));
        is_there.then(|| CifarFiles::of(&archive, variant, version, true))
    });
    let mut below: Vec<CifarFiles> = below.collect();
    // All versions of a set have the same images; unpacked files are read faster.
    below.sort_by_key(|files| files.is_archive);
    match below.iter().find(|files| files.variant != below[0].variant) {
        None => Ok(below.into_iter().next()),
        Some(other) => {
            let [one, other] = [&below[0], other].map(|files| files.root.display().to_string());
            let problem = "both CIFAR-10 and CIFAR-100 are in it";
            Err(Error::layout(path, problem, format!("open {one} or {other}")))
        }
    }
}

/// The version in an archive, if any: one of its first files is in the version's folder.
fn in_archive(path: &Path) -> Option<(&'static Variant, &'static Version)> {
    let stream = unpack(path).ok()?;
    let mut members = TarMembers::new(&stream, 0..u64::MAX);
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

/// The content of an archive, compressed or not.
fn unpack(path: &Path) -> Result<ForwardReader<Box<dyn Read>>> {
    let io = |error| Error::io(path, &error);
    let (file, _) = bounded::open(path).map_err(io)?;
    let mut file = BufReader::new(file);
    let is_packed = file.fill_buf().map_err(io)?.starts_with(&[0x1f, 0x8b]);
    let reader: Box<dyn Read> =
        if is_packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    Ok(ForwardReader::new(reader, LONGEST_ARCHIVE))
}

impl Version {
    fn files(&self) -> impl Iterator<Item = &'static str> {
        self.train.iter().copied().chain([self.test])
    }

    /// Whether a folder has any of the files. Names such as `train` alone are not sufficient.
    fn is_in(&self, folder: &Path) -> bool {
        let has = |name: &str| folder.join(name).is_file();
        let is_specific = self.train.len() > 1 || self.name == "binary" || has(self.classes);
        is_specific && self.files().any(has)
    }

    fn longest_of(&self, name: &str) -> u64 {
        if name == self.classes { 1 << 20 } else { self.longest }
    }
}

impl PartialEq for Variant {
    fn eq(&self, other: &Variant) -> bool {
        self.name == other.name
    }
}

impl CifarFiles {
    fn of(
        root: &Path,
        variant: &'static Variant,
        version: &'static Version,
        is_archive: bool,
    ) -> CifarFiles {
        CifarFiles { variant, version, root: root.to_owned(), unpacked: None, is_archive }
    }

    /// Files that are all missing: reading any of them is an error.
    pub(super) fn none(root: &Path) -> CifarFiles {
        CifarFiles::of(root, &TEN, &TEN.binary, false)
    }

    /// A file's path, which may be inside an archive.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(super) fn remedy(&self) -> String {
        format!("download the {} version of {} again", self.version.name, self.variant.name)
    }

    /// The content of a file; `None` if it does not exist.
    ///
    /// # Errors
    /// If it cannot be read, or is longer than its limit.
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

    /// As [`read`](Self::read), for a file that must exist.
    ///
    /// # Errors
    /// As [`read`](Self::read), and if the file does not exist.
    pub(super) fn read_existing(&mut self, name: &str) -> Result<Vec<u8>> {
        self.read(name)?.ok_or_else(|| {
            let problem = format!("a file of {} is missing", self.variant.name);
            Error::layout(&self.path(name), problem, self.remedy())
        })
    }

    fn too_long(&self, name: &str) -> Error {
        let longest = self.version.longest_of(name);
        let problem = format!("longer than its limit of {longest} bytes");
        Error::layout(&self.path(name), problem, self.remedy())
    }

    /// The needed files of an archive.
    fn unpack(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let stream = unpack(&self.root)?;
        let broken = |broken| Error::archive(&self.root, broken);
        let mut members = TarMembers::new(&stream, 0..u64::MAX);
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
                let problem = format!("it contains {name} twice");
                return Err(Error::layout(&self.root, problem, self.remedy()));
            }
        }
        stream.finish().map_err(|error| Error::io(&self.root, &error))?;
        Ok(files)
    }
}
