//! Tar files, plain and compressed.

use super::names::{MAX_ENTRIES, usable_name};
use super::{ListedFile, MAX_IN_MEMORY, SkippedEntries};
use crate::bounded;
use crate::collection::{Collection, FileLocation, LONGEST_FILE};
use crate::tar::{
    ForwardReader, ReadAt, SkippedMembers, TarError, TarMember, TarMembers, UnusableKind,
};
use crate::{Error, Result};
use flate2::read::MultiGzDecoder;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// The limit of an unpacked archive, including the skipped content.
const LONGEST_UNPACKED: u64 = 1 << 40;

/// The files of an uncompressed tar file.
pub(super) fn list(
    path: &Path,
    into: &mut Collection,
    skipped: &mut SkippedEntries,
    progress: &dyn Fn(u64, u64),
) -> Result<Vec<ListedFile>> {
    let (file, len) = bounded::open(path).map_err(|error| Error::io(path, &error))?;
    let archive = into.add_archive(path)?;
    let mut walk = TarMembers::new(&file, 0..len);
    let mut files = TarballFiles::new(path);
    while let Some(member) = next(&mut walk, path)? {
        let location =
            FileLocation::ArchiveRange { archive, offset: member.offset, len: member.len };
        files.add(&member.name, location, skipped)?;
        if files.by_name.len().is_multiple_of(256) {
            progress(walk.position(), len);
        }
    }
    add_skipped(walk.skipped(), skipped);
    Ok(files.by_name.into_iter().collect())
}

/// The files of a compressed tar file, read into memory.
pub(super) fn load(
    path: &Path,
    into: &mut Collection,
    skipped: &mut SkippedEntries,
    progress: &dyn Fn(u64, u64),
) -> Result<Vec<ListedFile>> {
    let io = |error| Error::io(path, &error);
    let (file, len) = bounded::open(path).map_err(io)?;
    if len > MAX_IN_MEMORY {
        return Err(too_much(path));
    }
    let read = AtomicU64::new(0);
    let counted = Counted { file: BufReader::with_capacity(1 << 16, file), read: &read };
    let stream = ForwardReader::new(MultiGzDecoder::new(counted), LONGEST_UNPACKED);
    let mut walk = TarMembers::new(&stream, 0..u64::MAX);
    let (mut files, mut contents) = (TarballFiles::new(path), Vec::<Box<[u8]>>::new());
    let archive = into.next_archive();
    let mut total = 0;
    while let Some(member) = next(&mut walk, path)? {
        let Ok(name) = usable_name(&member.name) else {
            files.add(
                &member.name,
                FileLocation::InMemory { archive, index: 0, len: 0 },
                skipped,
            )?;
            continue;
        };
        // Longer files are listed with an empty buffer; reading them fails because of their length.
        let mut bytes = vec![0; if member.len > LONGEST_FILE { 0 } else { member.len as usize }];
        total += bytes.len() as u64;
        if total > MAX_IN_MEMORY {
            return Err(too_much(path));
        }
        stream.read_whole_at(&mut bytes, member.offset).map_err(io)?;
        let location =
            FileLocation::InMemory { archive, index: contents.len() as u32, len: member.len };
        contents.push(bytes.into());
        files.add(&name, location, skipped)?;
        progress(read.load(Ordering::Relaxed), len);
    }
    add_skipped(walk.skipped(), skipped);
    stream.finish().map_err(io)?;
    into.add_in_memory(contents);
    Ok(files.by_name.into_iter().collect())
}

fn too_much(path: &Path) -> Error {
    let problem = format!("more than {} GiB of files in a compressed tar", MAX_IN_MEMORY >> 30);
    let shown = path.display();
    let remedy = format!("unpack it to a plain tar, which is read in place: gunzip {shown}");
    Error::layout(path, problem, remedy)
}

fn next<R: ReadAt + ?Sized>(walk: &mut TarMembers<R>, path: &Path) -> Result<Option<TarMember>> {
    walk.next_member().map_err(|broken: TarError| Error::archive(path, broken))
}

/// A reader that counts its bytes.
struct Counted<'a> {
    file: BufReader<File>,
    read: &'a AtomicU64,
}

impl Read for Counted<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(bytes)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Files by name. The last file of a name wins, as in programs that unpack.
struct TarballFiles<'a> {
    path: &'a Path,
    by_name: BTreeMap<String, FileLocation>,
}

impl TarballFiles<'_> {
    fn new(path: &Path) -> TarballFiles<'_> {
        TarballFiles { path, by_name: BTreeMap::new() }
    }

    fn add(
        &mut self,
        name: &str,
        location: FileLocation,
        skipped: &mut SkippedEntries,
    ) -> Result<()> {
        match usable_name(name) {
            Err(reason) => skipped.add(reason, name),
            Ok(usable) => {
                if self.by_name.insert(usable, location).is_some() {
                    skipped.add("files replaced by later ones of the same name", name);
                }
            }
        }
        if self.by_name.len() > MAX_ENTRIES {
            let problem = format!("it has more than {MAX_ENTRIES} files");
            return Err(Error::layout(self.path, problem, "unpack it, and open the folder"));
        }
        Ok(())
    }
}

/// Adds the counts of the tar reader, which has no names.
fn add_skipped(members: &SkippedMembers, skipped: &mut SkippedEntries) {
    for reason in UnusableKind::ALL {
        let count = members.count(reason);
        if count > 0 {
            skipped.add_many(reason.description(), count as usize, "");
        }
    }
}
