use super::*;
use crate::scratch_dir::ScratchDir;
use rawzip::ZipArchiveWriter;
use rawzip::path::EntryPath;
use std::io::Write;

/// A zip file of some files, each compressed or not.
fn zipped(files: &[(&str, &[u8], bool)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut archive = ZipArchiveWriter::new(&mut bytes);
    for (name, contents, deflate) in files {
        add(&mut archive, EntryPath::verbatim(name.as_bytes()), contents, *deflate, 0o100_644);
    }
    archive.finish().unwrap();
    bytes
}

fn add(
    archive: &mut ZipArchiveWriter<&mut Vec<u8>>,
    name: EntryPath,
    contents: &[u8],
    deflate: bool,
    mode: u32,
) {
    let method = if deflate { CompressionMethod::DEFLATE } else { CompressionMethod::STORE };
    let builder = archive.new_file(name).compression_method(method).unix_permissions(mode);
    let (mut entry, config) = builder.start().unwrap();
    let descriptor = if deflate {
        let encoder =
            flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::default());
        let mut writer = config.wrap(encoder);
        writer.write_all(contents).unwrap();
        let (encoder, descriptor) = writer.finish().unwrap();
        encoder.finish().unwrap();
        descriptor
    } else {
        let mut writer = config.wrap(&mut entry);
        writer.write_all(contents).unwrap();
        writer.finish().unwrap().1
    };
    entry.finish(descriptor).unwrap();
}

fn open(bytes: &[u8]) -> (Result<OpenedZip<FileReader>>, SkippedEntries) {
    let dir = ScratchDir::new();
    let path = dir.write("a.zip", bytes);
    let mut skipped = SkippedEntries::default();
    let opened = ZipFile::open(&path, &mut skipped);
    (opened, skipped) // the file stays open after its folder is gone
}

fn said(bytes: &[u8]) -> String {
    let (opened, _) = open(bytes);
    let error = match opened {
        Err(error) => error.to_string(),
        Ok((zip, entries)) => {
            let read =
                |(_, location): &(String, ZipEntry)| zip.read(location, 1 << 20, &mut Vec::new());
            entries.iter().find_map(|entry| read(entry).err()).expect("an error")
        }
    };
    assert!(!error.contains('\n'), "{error}");
    error
}

#[test]
fn stored_and_deflated_entries_are_read_in_any_order() {
    let long = b"0123456789".repeat(10_000);
    let files: [(&str, &[u8], bool); 4] = [
        ("b/x.jpg", b"one", false),
        ("a/y.jpg", &long, true),
        ("empty.jpg", b"", true),
        ("b/z.jpg", &long, false),
    ];
    let (opened, skipped) = open(&zipped(&files));
    let (zip, entries) = opened.unwrap();
    assert_eq!(entries.len(), 4);
    assert_eq!(skipped, SkippedEntries::default());
    for at in [3, 0, 2, 1] {
        let mut bytes = vec![7; 9];
        zip.read(&entries[at].1, 1 << 20, &mut bytes).unwrap();
        assert_eq!((entries[at].0.as_str(), &bytes[..]), (files[at].0, files[at].1));
    }
    let error = zip.read(&entries[1].1, 99_999, &mut Vec::new()).unwrap_err();
    assert!(error.contains("longer than"), "{error}");
}

#[test]
fn entries_that_are_not_plain_files_or_have_unusable_names_are_skipped_and_named() {
    let mut bytes = Vec::new();
    let mut archive = ZipArchiveWriter::new(&mut bytes);
    let mut file = |name: &[u8], mode| {
        add(&mut archive, EntryPath::verbatim(name.to_vec()), b"x", false, mode);
    };
    for (name, mode) in [
        (&b"good.jpg"[..], 0o100_644),
        (b"./dir//also.jpg", 0o100_644),
        (b"win\\dir\\1.jpg", 0o100_644),
        (b"caf\x82.jpg", 0o100_644), // code page 437
        ("café2.jpg".as_bytes(), 0o100_644),
        (b"../out.jpg", 0o100_644),
        (b"a/../../out.jpg", 0o100_644),
        (b"/etc/out.jpg", 0o100_644),
        (b"C:/out.jpg", 0o100_644),
        (b"link.jpg", 0o120_777),
        (b"bell\x07.jpg", 0o100_644),
    ] {
        file(name, mode);
    }
    file(&[&b"d/".repeat(64)[..], b"deep.jpg"].concat(), 0o100_644);
    archive.new_dir("folder/").create().unwrap();
    archive.finish().unwrap();
    let (opened, skipped) = open(&bytes);
    let names: Vec<String> = opened.unwrap().1.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["good.jpg", "dir/also.jpg", "win/dir/1.jpg", "café.jpg", "café2.jpg"]);
    let note = skipped.note(Path::new("a.zip")).unwrap();
    assert_eq!(
        note,
        "a.zip: skipped 4 absolute names or names with `..` (such as ../out.jpg), 1 files in too \
         many nested folders (such as DEEP), 1 links (such as link.jpg), 1 unprintable names \
         (such as bell\\u{7}.jpg)"
            .replace("DEEP", &("d/".repeat(64) + "deep.jpg"))
    );
}

/// Places of the central directory's records in a zip file.
fn records(bytes: &[u8]) -> Vec<usize> {
    (0..bytes.len() - 4).filter(|&at| &bytes[at..at + 4] == b"PK\x01\x02").collect()
}

fn word(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

#[test]
fn decompression_bombs_and_false_sizes_are_rejected() {
    let zeros = vec![0; 100_000];
    let good = zipped(&[("a.jpg", &zeros, true), ("b.jpg", b"stored", false)]);
    let [a, b] = records(&good)[..] else { panic!("two entries") };
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        said(&bytes)
    };
    // The uncompressed length stands 24 bytes into a record, the compressed one before it.
    let more = changed(&|bytes| word(bytes, a + 24, 50_000));
    // Read no further than stated, the bytes do not have their checksum.
    assert!(more.contains("checksum"), "{more}");
    let less = changed(&|bytes| word(bytes, a + 24, 100_001));
    assert!(!less.is_empty(), "the verifier says it in its words: {less}");
    let cannot = changed(&|bytes| word(bytes, a + 24, 1_000_000));
    assert!(cannot.contains("cannot hold 1000000"), "{cannot}");
    let cannot = changed(&|bytes| word(bytes, b + 24, 7));
    assert!(cannot.contains("6 bytes in the zip file cannot hold 7"), "{cannot}");
    let huge = changed(&|bytes| word(bytes, a + 24, 3 << 30));
    assert!(huge.contains("longer than 1 MiB"), "{huge}");
    let crc = changed(&|bytes| word(bytes, b + 16, 12345));
    assert!(!crc.is_empty(), "{crc}");
    // Both records lead to one entry, as in a bomb without nesting.
    let overlap = changed(&|bytes| {
        let (first, second) = bytes.split_at_mut(b);
        second[42..46].copy_from_slice(&first[a + 42..a + 46]);
    });
    assert!(overlap.contains("overlap"), "{overlap}");
    let beyond = changed(&|bytes| word(bytes, b + 20, 1_000_000));
    assert!(beyond.contains("beyond the end of the file"), "{beyond}");

    let encrypted = changed(&|bytes| bytes[a + 8] |= 1);
    assert!(encrypted.contains("an encrypted zip file (a.jpg); unpack it with its password"));
    let method = changed(&|bytes| bytes[a + 10] = 9);
    assert!(method.contains("a.jpg is compressed with DEFLATE64"), "{method}");
    let twice = said(&zipped(&[("a.jpg", b"1", false), ("./a.jpg", b"2", false)]));
    assert!(twice.contains("it has a.jpg twice"), "{twice}");
    for len in 0..good.len() {
        assert!(!said(&good[..len]).is_empty(), "cut at {len}");
    }
    let missing = changed(&|bytes| {
        let end = bytes.len() - 22;
        (bytes[end + 8], bytes[end + 10]) = (3, 3);
    });
    assert!(missing.contains("it has 2 entries; expected 3"), "{missing}");
}

/// Written by Python: see fixtures/archives.py. Zip64 records throughout, and a comment.
#[test]
fn a_zip64_file() {
    let (opened, _) = open(include_bytes!("../../../fixtures/zip64.zip"));
    let (zip, entries) = opened.unwrap();
    let mut bytes = Vec::new();
    for (name, expected) in [("a/one.txt", &b"first"[..]), ("b/two.txt", &b"second".repeat(100))] {
        let (_, location) = entries.iter().find(|(known, _)| known == name).unwrap();
        zip.read(location, 1 << 20, &mut bytes).unwrap();
        assert_eq!(bytes, expected, "{name}");
    }
}
