//! Tar files, plain and packed.

use super::names::{MOST_ENTRIES, usable_name};
use super::{Listed, MOST_HELD, Passed};
use crate::bounded;
use crate::collection::{Collection, LONGEST_FILE, Place};
use crate::tar::{Broken, Forward, Member, Members, ReadAt, Skip, Skipped};
use crate::{Error, Result};
use flate2::read::MultiGzDecoder;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Unpacked, no archive is longer: what is skipped in it takes time, too.
const LONGEST_UNPACKED: u64 = 1 << 40;

/// The files of a plain tar file.
pub(super) fn list(
    path: &Path,
    into: &mut Collection,
    passed: &mut Passed,
    progress: &dyn Fn(u64, u64),
) -> Result<Vec<Listed>> {
    let (file, len) = bounded::open(path).map_err(|error| Error::io(path, &error))?;
    let archive = into.add_archive(path)?;
    let mut walk = Members::new(&file, 0..len);
    let mut files = Files::new(path);
    while let Some(member) = next(&mut walk, path)? {
        let place = Place::Within { archive, offset: member.offset, len: member.len };
        files.add(&member.name, place, passed)?;
        if files.by_name.len().is_multiple_of(256) {
            progress(walk.position(), len);
        }
    }
    add_skipped(walk.skipped(), passed);
    Ok(files.by_name.into_iter().collect())
}

/// The files of a packed tar file, read into memory.
pub(super) fn hold(
    path: &Path,
    into: &mut Collection,
    passed: &mut Passed,
    progress: &dyn Fn(u64, u64),
) -> Result<Vec<Listed>> {
    let io = |error| Error::io(path, &error);
    let (file, len) = bounded::open(path).map_err(io)?;
    if len > MOST_HELD {
        return Err(too_much(path));
    }
    let read = AtomicU64::new(0);
    let counted = Counted { file: BufReader::with_capacity(1 << 16, file), read: &read };
    let stream = Forward::new(MultiGzDecoder::new(counted), LONGEST_UNPACKED);
    let mut walk = Members::new(&stream, 0..u64::MAX);
    let (mut files, mut contents) = (Files::new(path), Vec::<Box<[u8]>>::new());
    let archive = into.next_archive();
    let mut held = 0;
    while let Some(member) = next(&mut walk, path)? {
        let Ok(name) = usable_name(&member.name) else {
            files.add(&member.name, Place::Held { archive, index: 0, len: 0 }, passed)?;
            continue;
        };
        // Longer files are no images: they are listed, and reading one says that it is too long.
        let mut bytes = vec![0; if member.len > LONGEST_FILE { 0 } else { member.len as usize }];
        held += bytes.len() as u64;
        if held > MOST_HELD {
            return Err(too_much(path));
        }
        stream.read_whole_at(&mut bytes, member.offset).map_err(io)?;
        let place = Place::Held { archive, index: contents.len() as u32, len: member.len };
        contents.push(bytes.into());
        files.add(&name, place, passed)?;
        progress(read.load(Ordering::Relaxed), len);
    }
    add_skipped(walk.skipped(), passed);
    stream.finish().map_err(io)?;
    into.add_held(contents);
    Ok(files.by_name.into_iter().collect())
}

fn too_much(path: &Path) -> Error {
    let problem = format!("more than {} GiB of files in a packed tar", MOST_HELD >> 30);
    let shown = path.display();
    let remedy = format!("unpack it to a plain tar, which is read in place: gunzip {shown}");
    Error::layout(path, problem, remedy)
}

fn next<R: ReadAt + ?Sized>(walk: &mut Members<R>, path: &Path) -> Result<Option<Member>> {
    walk.next_member().map_err(|broken: Broken| Error::archive(path, broken))
}

/// A file that counts the bytes that are read of it.
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

/// Files by name; of one name the last counts, as it does for programs that unpack.
struct Files<'a> {
    path: &'a Path,
    by_name: BTreeMap<String, Place>,
}

impl Files<'_> {
    fn new(path: &Path) -> Files<'_> {
        Files { path, by_name: BTreeMap::new() }
    }

    fn add(&mut self, name: &str, place: Place, passed: &mut Passed) -> Result<()> {
        match usable_name(name) {
            Err(reason) => passed.add(reason, name),
            Ok(usable) => {
                if self.by_name.insert(usable, place).is_some() {
                    passed.add("files that later ones of the same name replace", name);
                }
            }
        }
        if self.by_name.len() > MOST_ENTRIES {
            let problem = format!("it has more than {MOST_ENTRIES} files");
            return Err(Error::layout(self.path, problem, "unpack it, and name the folder"));
        }
        Ok(())
    }
}

/// What the walk itself passes over: it does not say the names.
fn add_skipped(skipped: &Skipped, passed: &mut Passed) {
    for reason in Skip::ALL {
        let count = skipped.count(reason);
        if count > 0 {
            passed.add_many(reason.in_words(), count as usize, "");
        }
    }
}
