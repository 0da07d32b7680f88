//! Writes a shard: a tar file and its index.

use super::{IndexEntry, ShardIndex, file_names};
use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// The modification time of every member: 30 September 2012, the contest's last day. A fixed time
/// makes archives reproducible; some tar programs warn about times close to 1970.
const MTIME: u64 = 1_348_963_200;
const BLOCK: usize = 512;
/// Tar files end on a multiple of this.
const RECORD: u64 = 20 * BLOCK as u64;

/// A shard that is being written, with a temporary name until it is finished.
pub(crate) struct ShardWriter {
    paths: [PathBuf; 2],
    temporary: PathBuf,
    out: BufWriter<File>,
    len: u64,
    hash: Sha256,
    entries: Vec<IndexEntry>,
}

impl ShardWriter {
    /// Starts shard `shard` of `part` in a folder.
    pub(crate) fn create(dir: &Path, part: &str, shard: usize) -> Result<ShardWriter> {
        let paths = file_names(part, shard).map(|name| dir.join(name));
        let temporary = temporary(&paths[0]);
        let file = File::create(&temporary).map_err(|error| write_error(&temporary, &error))?;
        let (out, hash) = (BufWriter::with_capacity(1 << 20, file), Sha256::new());
        Ok(ShardWriter { paths, temporary, out, len: 0, hash, entries: Vec::new() })
    }

    /// Appends an image (of `size` = height, width) and its label.
    pub(crate) fn add(
        &mut self,
        number: u64,
        ending: &str,
        image: &[u8],
        label: u32,
        size: (usize, usize),
    ) -> Result<()> {
        let key = format!("{number:09}");
        let offset = self.member(&format!("{key}.{ending}"), image)?;
        self.member(&format!("{key}.cls"), label.to_string().as_bytes())?;
        let crc = crc32c::crc32c(image);
        let (height, width) = (size.0 as u32, size.1 as u32);
        let len = image.len() as u32;
        self.entries.push(IndexEntry { number, offset, len, label, height, width, crc });
        Ok(())
    }

    /// Writes a member; returns the offset of its content.
    fn member(&mut self, name: &str, content: &[u8]) -> Result<u64> {
        self.write(&header(name, content.len()))?;
        let offset = self.len;
        self.write(content)?;
        self.pad(BLOCK as u64)?;
        Ok(offset)
    }

    fn pad(&mut self, unit: u64) -> Result<()> {
        let missing = self.len.next_multiple_of(unit) - self.len;
        self.write(&[0; RECORD as usize][..missing as usize])
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hash.update(bytes);
        self.len += bytes.len() as u64;
        self.out.write_all(bytes).map_err(|error| write_error(&self.temporary, &error))
    }

    /// Ends the tar file, renames it, and writes the index; both are synchronised to disk on
    /// return.
    pub(crate) fn finish(mut self) -> Result<ShardIndex> {
        self.write(&[0; 2 * BLOCK])?;
        self.pad(RECORD)?;
        let failed = |error: &std::io::Error| write_error(&self.temporary, error);
        self.out.flush().map_err(|error| failed(&error))?;
        self.out.get_ref().sync_all().map_err(|error| failed(&error))?;
        fs::rename(&self.temporary, &self.paths[0]).map_err(|error| failed(&error))?;
        let entries = std::mem::take(&mut self.entries);
        let tar_sha256 = std::mem::take(&mut self.hash).finalize().into();
        let index = ShardIndex { tar_len: self.len, tar_sha256, entries };
        write_durably(&self.paths[1], &index.to_bytes())?;
        Ok(index)
    }
}

impl Drop for ShardWriter {
    /// Removes an unfinished shard.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Writes a file atomically: after a crash it is complete or does not exist.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = temporary(path);
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&temporary);
        write_error(path, &error)
    })
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

/// A write error with a remedy; finished shards are kept.
pub(crate) fn write_error(path: &Path, error: &std::io::Error) -> Error {
    use std::io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let remedy = match error.kind() {
        StorageFull | QuotaExceeded => {
            "; free some space and run the same command again: finished shards are kept"
        }
        PermissionDenied | ReadOnlyFilesystem => "; choose a writable folder",
        _ => "",
    };
    Error::Write { path: path.to_owned(), reason: format!("{error}{remedy}") }
}

/// A USTAR header of a file with mode 0644.
fn header(name: &str, len: usize) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644");
    put(108, "0000000"); // owner and group
    put(116, "0000000");
    put(124, &format!("{len:011o}"));
    put(136, &format!("{MTIME:011o}"));
    put(148, "        "); // the checksum counts as spaces in its own sum
    put(156, "0");
    put(257, "ustar\0");
    put(263, "00");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}
