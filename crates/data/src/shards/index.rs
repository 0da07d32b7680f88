//! Where the images of a shard lie.

use crate::{Error, Result};
use std::path::Path;

const MAGIC: [u8; 8] = *b"alexidx\n";
const VERSION: u32 = 1;
const HEADER: usize = 64;
const ENTRY: usize = 40;

/// The index of one shard.
///
/// The file, in little-endian words:
///
/// | bytes | what |
/// |---|---|
/// | 8 | `alexidx\n` |
/// | 4 | version, 1 |
/// | 4 | number of images, n |
/// | 8 | bytes of the tar file |
/// | 32 | its SHA-256 |
/// | 8 | zero |
/// | 40 n | the images, see below |
/// | 4 | CRC-32C of all before |
///
/// An image: number (8 bytes), first byte in the tar file (8), bytes (4), label (4), height (4),
/// width (4), CRC-32C (4), zero (4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Bytes of the tar file.
    pub tar_len: u64,
    /// SHA-256 of the tar file.
    pub tar_sha256: [u8; 32],
    /// Its images, in their order.
    pub entries: Vec<Entry>,
}

/// An image in a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The number that its members are named for.
    pub number: u64,
    /// The first byte of its member's content in the tar file.
    pub offset: u64,
    /// Bytes of its member.
    pub len: u32,
    /// Its class.
    pub label: u32,
    /// Height in pixels.
    pub height: u32,
    /// Width in pixels.
    pub width: u32,
    /// CRC-32C (Castagnoli) of its member.
    pub crc: u32,
}

impl Index {
    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + ENTRY * self.entries.len() + 4);
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend((self.entries.len() as u32).to_le_bytes());
        bytes.extend(self.tar_len.to_le_bytes());
        bytes.extend(self.tar_sha256);
        bytes.extend([0; 8]);
        for entry in &self.entries {
            bytes.extend(entry.number.to_le_bytes());
            bytes.extend(entry.offset.to_le_bytes());
            let Entry { len, label, height, width, crc, .. } = *entry;
            for word in [len, label, height, width, crc, 0] {
                bytes.extend(word.to_le_bytes());
            }
        }
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// Reads the file's bytes; `path` is for messages.
    ///
    /// # Errors
    /// If they are no index, of another version, damaged, or point outside the tar file.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Index> {
        let wrong = |problem: String| {
            Error::layout(path, problem, "remove dataset.json and prepare the folder again")
        };
        if bytes.len() < HEADER + 4 || bytes[..8] != MAGIC {
            return Err(wrong("not the index of a shard".to_owned()));
        }
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four"));
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight"));
        if word(8) != VERSION {
            let version = word(8);
            return Err(wrong(format!("an index of version {version}, and {VERSION} is known")));
        }
        let end = bytes.len() - 4;
        let body = &bytes[HEADER..end];
        if word(12) as usize != body.len() / ENTRY
            || !body.len().is_multiple_of(ENTRY)
            || crc32c::crc32c(&bytes[..end]) != word(end)
        {
            return Err(wrong("the index is damaged: its checksum is another".to_owned()));
        }
        let tar_len = long(16);
        let mut entries = Vec::with_capacity(body.len() / ENTRY);
        for at in (HEADER..end).step_by(ENTRY) {
            let [len, label, height, width, crc] = [16, 20, 24, 28, 32].map(|i| word(at + i));
            let (number, offset) = (long(at), long(at + 8));
            if offset.checked_add(u64::from(len)).is_none_or(|end| end > tar_len) {
                return Err(wrong(format!("image {number} lies outside its tar file")));
            }
            entries.push(Entry { number, offset, len, label, height, width, crc });
        }
        let tar_sha256 = bytes[24..56].try_into().expect("32 bytes");
        Ok(Index { tar_len, tar_sha256, entries })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes), or if it cannot be read.
    pub fn read(path: &Path) -> Result<Index> {
        let bytes = crate::bounded::read(path, crate::bounded::LONGEST_INDEX)
            .map_err(|error| Error::io(path, &error))?;
        Index::from_bytes(&bytes, path)
    }
}
