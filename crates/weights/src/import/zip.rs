//! The contents of a zip archive, from its directory.

use super::Source;
use super::names::shown;
use super::stored::Storage;
use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ZipLocator};
use std::collections::HashMap;

/// The entries of an archive, and the bytes of a name, at most.
const MOST_ENTRIES: usize = 1 << 16;
const LONGEST_NAME: usize = 1024;

/// The files of an archive and where their contents lie; `None` if they are packed.
pub(super) fn entries(source: &Source) -> Result<HashMap<String, Option<Storage>>, String> {
    let damaged = |error: rawzip::Error| format!("a damaged zip file: {error}; download it again");
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    let located = ZipLocator::new().locate_in_reader(source, &mut buffer, source.len());
    let archive = located.map_err(|(_, error)| damaged(error))?;
    // A name or a comment takes 65,535 bytes at most.
    let mut buffer = vec![0; 4 * RECOMMENDED_BUFFER_SIZE];
    let mut listed = archive.entries(&mut buffer);
    let mut entries = HashMap::new();
    while let Some(entry) = listed.next_entry().map_err(damaged)? {
        let name = String::from_utf8_lossy(entry.file_path().as_bytes()).into_owned();
        if entry.is_dir() || name.ends_with('/') {
            continue;
        }
        let shown = shown(&name);
        let place = archive.get_entry(entry.wayfinder()).map_err(damaged)?;
        let (at, end) = place.compressed_data_range();
        let is_plain = entry.compression_method() == CompressionMethod::STORE
            && !entry.flags().is_encrypted()
            && entry.uncompressed_size_hint() == entry.compressed_size_hint();
        let bytes = entry.compressed_size_hint();
        if end > source.len() || end.checked_sub(at) != Some(bytes) {
            return Err(format!(
                "a damaged zip file: {shown} lies beyond its end; download it again"
            ));
        }
        if entries.len() >= MOST_ENTRIES || name.len() > LONGEST_NAME {
            return Err(format!(
                "a zip file of more than {MOST_ENTRIES} entries, or of names of more than \
                 {LONGEST_NAME} bytes, as `torch.save` writes none"
            ));
        }
        // `torch.serialization.set_crc32_options(False)` writes zeros.
        let crc32 = Some(entry.crc32()).filter(|&sum| sum != 0);
        let storage = is_plain.then_some(Storage { at, bytes, crc32 });
        if entries.insert(name.clone(), storage).is_some() {
            return Err(format!(
                "a damaged zip file: it has {shown} twice; save the weights again"
            ));
        }
    }
    Ok(entries)
}
