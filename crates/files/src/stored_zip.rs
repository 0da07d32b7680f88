//! A zip archive of uncompressed files of known lengths, whose parts may be written in any order.
//!
//! Archive libraries write one file after the other. Here several grow at once, so that the
//! features of several layers go straight to their places. All lengths and positions are stored as
//! zip64 (APPNOTE 6.3, section 4.5.3), as they may exceed 4 GiB.

use rawzip::Crc32;

/// The version of the format that has zip64.
const VERSION: u16 = 45;
/// Names are UTF-8.
const FLAGS: u16 = 1 << 11;
/// 1 January 1980, the first day that the format can express: files do not depend on the clock.
const TIME_AND_DATE: [u8; 4] = [0, 0, 0x21, 0];

/// The archive's plan.
#[derive(Debug)]
pub struct StoredZip {
    files: Vec<StoredFile>,
    /// Position of the directory, after all files.
    end: u64,
}

#[derive(Debug)]
struct StoredFile {
    name: String,
    /// Position of the file's header.
    header: u64,
    length: u64,
    crc: Crc32,
}

impl StoredZip {
    /// An archive of files with these names and lengths in bytes, in this order. Names have at most
    /// 65,535 bytes.
    pub fn new(files: impl IntoIterator<Item = (String, u64)>) -> StoredZip {
        let mut end = 0;
        let planned = files.into_iter().map(|(name, length)| {
            let file = StoredFile { name, header: end, length, crc: Crc32::new() };
            end = file.start() + length;
            file
        });
        let files = planned.collect();
        StoredZip { files, end }
    }

    /// Position of the first byte of file `idx`.
    pub fn start(&self, idx: usize) -> u64 {
        self.files[idx].start()
    }

    /// Position of the [directory](Self::directory).
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Adds the next bytes of file `idx` to its checksum. The caller writes them.
    pub fn update(&mut self, idx: usize, bytes: &[u8]) {
        self.files[idx].crc.update(bytes);
    }

    /// The headers of the files with their positions, once all bytes are known.
    pub fn headers(&self) -> impl Iterator<Item = (u64, Vec<u8>)> + '_ {
        self.files.iter().map(|file| (file.header, file.local_header()))
    }

    /// The directory, once all bytes are known.
    pub fn directory(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = Vec::new();
        self.files.iter().for_each(|file| file.add_to_directory(&mut bytes));
        let (count, length) = (self.files.len() as u64, bytes.len() as u64);
        // Zip64 end of the directory, and its locator.
        let end = self.end + length;
        bytes.extend(b"PK\x06\x06");
        bytes.extend(44u64.to_le_bytes()); // length of the rest of this record
        bytes.extend([VERSION, VERSION].map(u16::to_le_bytes).concat());
        bytes.extend([0u32; 2].map(u32::to_le_bytes).concat()); // disks
        bytes.extend([count, count, length, self.end].map(u64::to_le_bytes).concat());
        bytes.extend(b"PK\x06\x07");
        bytes.extend(0u32.to_le_bytes());
        bytes.extend(end.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        // The end of the directory, which refers to the record above.
        bytes.extend(b"PK\x05\x06");
        bytes.extend([0u16, 0, u16::MAX, u16::MAX].map(u16::to_le_bytes).concat());
        bytes.extend([u32::MAX, u32::MAX].map(u32::to_le_bytes).concat());
        bytes.extend(0u16.to_le_bytes());
        bytes
    }
}

impl StoredFile {
    /// Bytes of a header without the name: 30 and 20 of zip64 lengths.
    const HEADER: u64 = 30 + 20;

    fn start(&self) -> u64 {
        self.header + StoredFile::HEADER + self.name.len() as u64
    }

    fn local_header(&self) -> Vec<u8> {
        let mut bytes = b"PK\x03\x04".to_vec();
        self.add_common(&mut bytes, 20);
        bytes.extend(self.name.as_bytes());
        self.add_zip64(&mut bytes, &[self.length, self.length]);
        bytes
    }

    fn add_to_directory(&self, bytes: &mut Vec<u8>) {
        bytes.extend(b"PK\x01\x02");
        bytes.extend([VERSION as u8, 3]); // made on Unix: the attributes below are its modes
        self.add_common(bytes, 28);
        bytes.extend([0u16; 3].map(u16::to_le_bytes).concat()); // comment, disk, attributes
        bytes.extend((0o644u32 << 16).to_le_bytes());
        bytes.extend(u32::MAX.to_le_bytes());
        bytes.extend(self.name.as_bytes());
        self.add_zip64(bytes, &[self.length, self.length, self.header]);
    }

    /// The fields that both headers have, from the version to the length of the extra field.
    fn add_common(&self, bytes: &mut Vec<u8>, extra: u16) {
        let method = 0u16; // stored
        bytes.extend([VERSION, FLAGS, method].map(u16::to_le_bytes).concat());
        bytes.extend(TIME_AND_DATE);
        bytes.extend(self.crc.checksum().to_le_bytes());
        bytes.extend([u32::MAX, u32::MAX].map(u32::to_le_bytes).concat());
        bytes.extend([self.name.len() as u16, extra].map(u16::to_le_bytes).concat());
    }

    fn add_zip64(&self, bytes: &mut Vec<u8>, values: &[u64]) {
        bytes.extend([1, 8 * values.len() as u16].map(u16::to_le_bytes).concat());
        values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rawzip::ZipArchive;
    use std::fs::File;
    use std::io::Read;
    use std::os::unix::fs::FileExt;

    /// Reads an archive with another library; the first file is larger than 4 GiB, and sparse.
    #[test]
    fn another_library_reads_files_beyond_4_gib() {
        let files = [("long.npy", 5 << 30), ("wörter.npy", 5), ("empty.npy", 0)];
        let mut zip = StoredZip::new(files.map(|(name, length)| (name.to_string(), length)));
        let path = std::env::temp_dir().join(format!("alexnet-stored-{}", std::process::id()));
        let file = File::create_new(&path).unwrap();
        for (from, bytes) in [(0, &b"hel"[..]), (3, b"lo")] {
            file.write_all_at(bytes, zip.start(1) + from).unwrap();
            zip.update(1, bytes);
        }
        zip.headers().for_each(|(at, header)| file.write_all_at(&header, at).unwrap());
        file.write_all_at(&zip.directory(), zip.end()).unwrap();

        let mut buffer = vec![0; rawzip::RECOMMENDED_BUFFER_SIZE];
        let archive = ZipArchive::from_file(File::open(&path).unwrap(), &mut buffer).unwrap();
        let (mut entries, mut found) = (archive.entries(&mut buffer), Vec::new());
        while let Some(entry) = entries.next_entry().unwrap() {
            let name = String::from_utf8(entry.file_path().as_ref().to_vec()).unwrap();
            found.push((name, entry.uncompressed_size_hint(), entry.wayfinder()));
        }
        std::fs::remove_file(&path).unwrap();
        let listed: Vec<_> = found.iter().map(|(name, length, _)| (&name[..], *length)).collect();
        assert_eq!(listed, files);
        let hello = archive.get_entry(found[1].2).unwrap();
        let mut text = String::new();
        hello.verifying_reader(hello.reader()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello", "and it has this checksum");
    }
}
