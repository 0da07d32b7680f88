//! The index of a shard.

use crate::{Error, Result};
use std::path::Path;

const MAGIC: [u8; 8] = *b"alexidx\n";
const VERSION: u32 = 1;
const HEADER: usize = 64;
const ENTRY: usize = 40;

/// The index of one shard.
///
/// The file format, in little-endian integers:
///
/// | bytes | content |
/// |---|---|
/// | 8 | `alexidx\n` |
/// | 4 | version, 1 |
/// | 4 | number of images, n |
/// | 8 | bytes of the tar file |
/// | 32 | SHA-256 of the tar file |
/// | 8 | zero |
/// | 40 n | the images, see below |
/// | 4 | CRC-32C of everything before |
///
/// An image: number (8 bytes), offset in the tar file (8), length (4), label (4), height (4),
/// width (4), CRC-32C (4), zero (4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardIndex {
    /// The length of the tar file in bytes.
    pub tar_len: u64,
    /// SHA-256 of the tar file.
    pub tar_sha256: [u8; 32],
    /// The images in their order.
    pub entries: Vec<IndexEntry>,
}

/// An image in a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// The number in its members' names.
    pub number: u64,
    /// The offset of the member's content in the tar file.
    pub offset: u64,
    /// The length of the member in bytes.
    pub len: u32,
    /// The label.
    pub label: u32,
    /// Height in pixels.
    pub height: u32,
    /// Width in pixels.
    pub width: u32,
    /// CRC-32C (Castagnoli) of the member.
    pub crc: u32,
}

impl ShardIndex {
    /// The file's content.
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
            let IndexEntry { len, label, height, width, crc, .. } = *entry;
            for word in [len, label, height, width, crc, 0] {
                bytes.extend(word.to_le_bytes());
            }
        }
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// Parses the file's content; `path` is for messages.
    ///
    /// # Errors
    /// If it is not an index, has another version, is damaged, or exceeds the tar file.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<ShardIndex> {
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
            return Err(wrong(format!("an index of version {version}; expected {VERSION}")));
        }
        let end = bytes.len() - 4;
        let body = &bytes[HEADER..end];
        if word(12) as usize != body.len() / ENTRY
            || !body.len().is_multiple_of(ENTRY)
            || crc32c::crc32c(&bytes[..end]) != word(end)
        {
            return Err(wrong("the index is damaged: wrong checksum".to_owned()));
        }
        let tar_len = long(16);
        let mut entries = Vec::with_capacity(body.len() / ENTRY);
        for at in (HEADER..end).step_by(ENTRY) {
            let [len, label, height, width, crc] = [16, 20, 24, 28, 32].map(|i| word(at + i));
            let (number, offset) = (long(at), long(at + 8));
            if offset.checked_add(u64::from(len)).is_none_or(|end| end > tar_len) {
                return Err(wrong(format!("image {number} is outside its tar file")));
            }
            entries.push(IndexEntry { number, offset, len, label, height, width, crc });
        }
        let tar_sha256 = bytes[24..56].try_into().expect("32 bytes");
        Ok(ShardIndex { tar_len, tar_sha256, entries })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes), or if it cannot be read.
    pub fn read(path: impl AsRef<Path>) -> Result<ShardIndex> {
        let path = path.as_ref();
        let bytes = crate::bounded::read(path, crate::bounded::LONGEST_INDEX)
            .map_err(|error| Error::io(path, &error))?;
        ShardIndex::from_bytes(&bytes, path)
    }
}
