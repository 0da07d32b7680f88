//! Zip files: the central directory is read once, entries on demand.

use super::names::{MAX_ENTRIES, usable_name};
use super::skipped::SkippedEntries;
use crate::bounded;
use crate::{Error, Result};
use flate2::read::DeflateDecoder;
use rawzip::{CompressionMethod, FileReader, RECOMMENDED_BUFFER_SIZE, ReaderAt};
use rawzip::{ZipArchive, ZipArchiveEntryWayfinder, ZipFileHeaderRecord, ZipLocator};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

/// The largest compression factor of Deflate is 1032.
const DEFLATE_FACTOR: u64 = 1032;
/// The minimum length of a local header.
const LOCAL_HEADER: u64 = 30;

const REMEDY: &str = "download it again, or unpack it and open the folder";

/// An open zip file.
#[derive(Debug)]
pub(crate) struct ZipFile<R = FileReader>(ZipArchive<R>);

/// A zip file, and the names of its plain files.
type OpenedZip<R> = (ZipFile<R>, Vec<(String, ZipEntry)>);

/// An entry of a zip file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZipEntry {
    way: ZipArchiveEntryWayfinder,
    deflated: bool,
}

impl ZipEntry {
    /// The uncompressed length in bytes according to the archive.
    pub(crate) fn len(&self) -> u64 {
        self.way.uncompressed_size_hint()
    }
}

impl ZipFile {
    /// Opens the archive at `path`, and lists its plain files.
    ///
    /// # Errors
    /// If it cannot be read, or is damaged, encrypted, ambiguous, or compressed with an unsupported
    /// method.
    pub(super) fn open(path: &Path, skipped: &mut SkippedEntries) -> Result<OpenedZip<FileReader>> {
        let (file, _) = bounded::open(path).map_err(|error| Error::io(path, &error))?;
        let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
        let archive = ZipArchive::from_file(file, &mut buffer);
        ZipFile::list(path, archive.map_err(|error| damaged(path, error.to_string()))?, skipped)
    }
}

fn damaged(path: &Path, reason: String) -> Error {
    Error::layout(path, format!("a damaged zip file: {reason}"), REMEDY)
}

impl<'a> ZipFile<&'a [u8]> {
    /// For fuzzing: as [`open`](Self::open), for an archive in memory.
    pub(super) fn of_bytes(
        path: &Path,
        bytes: &'a [u8],
        skipped: &mut SkippedEntries,
    ) -> Result<OpenedZip<&'a [u8]>> {
        let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
        let located = ZipLocator::new().locate_in_reader(bytes, &mut buffer, bytes.len() as u64);
        let archive = located.map_err(|(_, error)| damaged(path, error.to_string()))?;
        ZipFile::list(path, archive, skipped)
    }
}

impl<R: ReaderAt> ZipFile<R> {
    pub(super) fn list(
        path: &Path,
        archive: ZipArchive<R>,
        skipped: &mut SkippedEntries,
    ) -> Result<OpenedZip<R>> {
        let wrong = |problem: String| Error::layout(path, problem, REMEDY);
        // A name or a comment takes at most 65,535 bytes.
        let mut buffer = vec![0; 4 * RECOMMENDED_BUFFER_SIZE];
        let mut entries = archive.entries(&mut buffer);
        let (mut files, mut ranges) = (Vec::new(), Vec::new());
        let mut count = 0u64;
        while let Some(entry) =
            entries.next_entry().map_err(|error| damaged(path, error.to_string()))?
        {
            count += 1;
            if count > MAX_ENTRIES as u64 {
                return Err(wrong(format!("it has more than {MAX_ENTRIES} entries")));
            }
            let Some((name, location)) = plain_file(path, &entry, skipped)? else { continue };
            let begin = entry.local_header_offset();
            let end = begin.checked_add(LOCAL_HEADER + location.way.compressed_size_hint());
            ranges.push((
                begin,
                end.ok_or_else(|| wrong("an entry extends beyond the end of the file".to_owned()))?,
            ));
            files.push((name, location));
        }
        if count != archive.entries_hint() {
            let stated = archive.entries_hint();
            return Err(damaged(path, format!("it has {count} entries; expected {stated}")));
        }
        ranges.sort_unstable();
        if ranges.windows(2).any(|pair| pair[1].0 < pair[0].1) {
            return Err(wrong("overlapping entries, as in a zip bomb".to_owned()));
        }
        if ranges.last().is_some_and(|last| last.1 > archive.directory_offset()) {
            return Err(damaged(path, "an entry extends beyond the end of the file".to_owned()));
        }
        let mut names = BTreeSet::new();
        if let Some((name, _)) = files.iter().find(|(name, _)| !names.insert(name)) {
            let problem = format!("it has {name} twice, which programs read in different ways");
            return Err(wrong(problem));
        }
        drop(names);
        Ok((ZipFile(archive), files))
    }

    /// Replaces `bytes` with the content of an entry of at most `longest` bytes.
    pub(crate) fn read(
        &self,
        entry: &ZipEntry,
        longest: u64,
        bytes: &mut Vec<u8>,
    ) -> std::result::Result<(), String> {
        bytes.clear();
        let (len, packed) = (entry.len(), entry.way.compressed_size_hint());
        if len > longest {
            return Err(format!("longer than {} MiB", longest >> 20));
        }
        let most = if entry.deflated { packed.saturating_mul(DEFLATE_FACTOR) } else { packed };
        if len > most {
            return Err(format!("{packed} bytes in the zip file cannot hold {len}"));
        }
        let stored = self.0.get_entry(entry.way).map_err(|error| error.to_string())?;
        bytes.reserve(len as usize);
        // The verifier checks length and checksum at the end.
        let mut read = |reader: &mut dyn Read| {
            let read = reader.take(len + 1).read_to_end(bytes);
            read.map_err(|error| error.to_string())
        };
        let raw = stored.reader();
        let count = if entry.deflated {
            read(&mut stored.verifying_reader(DeflateDecoder::new(raw)))
        } else {
            read(&mut stored.verifying_reader(raw))
        }?;
        if count as u64 != len {
            bytes.clear();
            return Err(format!(
                "it unpacks to more than the {len} bytes that the zip file states"
            ));
        }
        Ok(())
    }
}

/// The name and the entry, if it is a plain file with a usable name.
fn plain_file(
    path: &Path,
    entry: &ZipFileHeaderRecord,
    skipped: &mut SkippedEntries,
) -> Result<Option<(String, ZipEntry)>> {
    let name = decoded(entry.file_path().as_bytes());
    if entry.is_dir() || name.ends_with('/') || entry.mode().value() & 0o170_000 == 0o040_000 {
        return Ok(None);
    }
    let name = match (entry.mode().is_symlink(), usable_name(&name)) {
        (true, _) => return Ok(none(skipped, "links", &name)),
        (_, Err(reason)) => return Ok(none(skipped, reason, &name)),
        (_, Ok(name)) => name,
    };
    let shown = name.escape_debug();
    if entry.flags().is_encrypted() {
        let problem = format!("an encrypted zip file ({shown})");
        let remedy = "unpack it with its password, and open the folder";
        return Err(Error::layout(path, problem, remedy));
    }
    let method = entry.compression_method();
    if method != CompressionMethod::STORE && method != CompressionMethod::DEFLATE {
        let method = method.name().map_or_else(|| method.as_u16().to_string(), str::to_owned);
        let problem = format!("{shown} is compressed with {method}; supported: STORE and DEFLATE");
        return Err(Error::layout(path, problem, "unpack it, and open the folder"));
    }
    let deflated = method == CompressionMethod::DEFLATE;
    Ok(Some((name, ZipEntry { way: entry.wayfinder(), deflated })))
}

fn none<T>(skipped: &mut SkippedEntries, reason: &'static str, name: &str) -> Option<T> {
    skipped.add(reason, name);
    None
}

/// Decodes a name: UTF-8, which most programs write even without marking it; otherwise code page
/// 437, according to the format. Some Windows programs separate folders by `\`.
fn decoded(name: &[u8]) -> String {
    const UPPER: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓\
                         │┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀\
                         αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";
    let text = match std::str::from_utf8(name) {
        Ok(text) => text.to_owned(),
        Err(_) => {
            let upper: Vec<char> = UPPER.chars().collect();
            let char = |&byte: &u8| match byte.checked_sub(128) {
                None => char::from(byte),
                Some(at) => upper[usize::from(at)],
            };
            name.iter().map(char).collect()
        }
    };
    if text.contains('/') { text } else { text.replace('\\', "/") }
}

#[cfg(test)]
mod tests;
