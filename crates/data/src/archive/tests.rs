//! An archive of an image folder is the folder: the same classes, images, splits and shards.

use super::*;
use crate::scratch_dir::{ScratchDir, encoded};
use crate::shards::{Encoding, Keep};
use crate::{Dataset, DatasetOptions, PrepareOptions, fingerprint, open, prepare, verify};
use rawzip::{CompressionMethod, ZipArchiveWriter};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

type Files = BTreeMap<String, Vec<u8>>;

fn picture(number: u8) -> Vec<u8> {
    let picture = image::RgbImage::from_fn(9, 8, |x, y| {
        image::Rgb([number * 20, (x * 20) as u8, (y * 25) as u8])
    });
    encoded(&picture.into(), image::ImageFormat::Png)
}

/// Two classes with six images to train on and two to test on each, and what lies about.
fn files() -> Files {
    let mut files = Files::new();
    for number in 0..6 {
        files.insert(format!("set/train/cat/{number}.png"), picture(number));
        files.insert(format!("set/train/dog/{number}.png"), picture(6 + number));
    }
    for (number, class) in [(0, "cat"), (1, "dog"), (2, "cat"), (3, "dog")] {
        files.insert(format!("set/val/{class}/v{number}.png"), picture(number * 3));
    }
    files.insert("set/README.txt".to_owned(), b"two classes".to_vec());
    files
}

/// What macOS adds to archives.
fn with_junk(mut files: Files) -> Files {
    files.insert("__MACOSX/set/train/._cat".to_owned(), b"fork".to_vec());
    files.insert("__MACOSX/set/train/cat/._0.png".to_owned(), b"fork".to_vec());
    files.insert("set/train/.DS_Store".to_owned(), b"store".to_vec());
    files.insert("set/train/cat/._1.png".to_owned(), b"fork".to_vec());
    files
}

fn zipped(files: &Files) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut archive = ZipArchiveWriter::new(&mut bytes);
    for (number, (name, contents)) in files.iter().enumerate() {
        let deflate = number % 2 == 0;
        let method = if deflate { CompressionMethod::DEFLATE } else { CompressionMethod::STORE };
        let builder = archive.new_file(name.as_str()).compression_method(method);
        let (mut entry, config) = builder.start().unwrap();
        let descriptor = if deflate {
            let level = flate2::Compression::default();
            let mut writer = config.wrap(flate2::write::DeflateEncoder::new(&mut entry, level));
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
    archive.finish().unwrap();
    bytes
}

fn tarred(files: &Files) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, contents) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(contents.len() as u64);
        builder.append_data(&mut header, name, &contents[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// The folder, and its archives of each kind; the last under a name that says nothing.
fn places(dir: &ScratchDir) -> [PathBuf; 5] {
    for (name, contents) in files() {
        dir.write(&format!("folder/{name}"), &contents);
    }
    let all = with_junk(files());
    [
        dir.path().join("folder"),
        dir.write("set.zip", &zipped(&all)),
        dir.write("set.tar", &tarred(&all)),
        dir.write("set.tgz", &packed(&tarred(&all))),
        dir.write("download", &packed(&tarred(&all))),
    ]
}

fn opened(path: &Path, memory_limit: usize) -> Dataset {
    let options = DatasetOptions { memory_limit, ..DatasetOptions::with_side(8) };
    open(path.to_str().unwrap(), &options, &|_, _| ()).unwrap()
}

fn said(path: &Path) -> String {
    let result = open(path.to_str().unwrap(), &DatasetOptions::with_side(8), &|_, _| ());
    let error = result.expect_err("an error").to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

#[test]
fn archives_are_the_folders_in_them() {
    let dir = ScratchDir::new();
    let [folder, archives @ ..] = places(&dir);
    let expected = opened(&folder, 0);
    assert_eq!((expected.train.len(), expected.test.len()), (12, 4));
    for path in archives {
        for memory in [0, 1 << 20] {
            let set = opened(&path, memory);
            let shown = path.display();
            assert_eq!(fingerprint(&*set.train), fingerprint(&*expected.train), "{shown}");
            assert_eq!(fingerprint(&*set.test), fingerprint(&*expected.test), "{shown}");
            assert_eq!(set.train.classes(), ["cat", "dog"]);
            assert!(set.train.name(0).ends_with("/set/train/cat/0.png"), "{}", set.train.name(0));
        }
        let report = verify::folder(&path, verify::VerifyOptions::default(), &|_, _| ()).unwrap();
        assert_eq!((report.files, report.unusable()), (16, 0), "{}", path.display());
        let sizes = verify::headers(&path, 2, &|_, _| ()).unwrap().sizes;
        assert_eq!(sizes, [(8, 9); 16]);
    }
}

/// All files that were written, but for the digest of what they were made of.
fn contents(dir: &Path) -> Files {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let tars = entries.filter(|entry| entry.file_name() != "dataset.json");
    let read = |entry: std::fs::DirEntry| {
        (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
    };
    tars.map(read).collect()
}

#[test]
fn shards_of_archives_equal_those_of_the_folder_with_any_interruption() {
    let dir = ScratchDir::new();
    let (keep, encoding) = (Keep::Centre, Encoding::Raw);
    let exif = crate::ExifMode::Ignore;
    let options = PrepareOptions { side: 8, keep, encoding, images_per_shard: 3, threads: 2, exif };
    let mut expected = None;
    for (number, path) in places(&dir).into_iter().enumerate() {
        let out = dir.path().join(format!("out{number}"));
        for allowed in [1usize, 5, 9, 99] {
            // A new process each time: the archive is opened anew.
            let set = Collection::open(&path, &|_, _| ()).unwrap();
            let asked = std::sync::atomic::AtomicUsize::new(0);
            let stop = || asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) >= allowed;
            let summary = prepare(&set, &out, &options, &mut |_| (), &stop).unwrap();
            assert_eq!(summary.manifest.is_some(), allowed == 99, "{}", path.display());
        }
        let made = contents(&out);
        let same = expected.get_or_insert_with(|| made.clone());
        assert!(*same == made, "{}", path.display());
    }
}

#[test]
fn archives_without_a_data_set_are_errors_with_a_remedy() {
    let dir = ScratchDir::new();
    let of = |names: &[&str]| -> Files {
        names.iter().map(|name| ((*name).to_owned(), picture(1))).collect()
    };
    let write = |name: &str, bytes: &[u8]| said(&dir.write(name, bytes));
    let nested = write("nested.zip", &zipped(&of(&["train.zip", "test1.zip", "sample.csv"])));
    assert!(nested.contains("it contains 2 archives, such as test1.zip"), "{nested}");
    let shard = write("shard.tar", &tarred(&of(&["0.jpg", "0.cls", "1.jpg", "1.cls"])));
    assert!(shard.contains("open the folder that contains the shards"), "{shard}");
    let one = write("one.zip", &zipped(&of(&["cat/1.png", "cat/2.png"])));
    assert!(one.contains("only one class, `cat`"), "{one}");
    let text = write("text", b"just a text");
    assert!(text.contains("this is neither a folder nor an archive"), "{text}");
    let rar = write("a.rar", b"Rar!\x1a\x07\x01\x00");
    assert!(rar.contains("a RAR archive"), "{rar}");
    let both = write("both.tar", &tarred(&of(&["a/x.png", "b/y.png", "a"])));
    assert!(both.contains("a is both a file and a folder"), "{both}");
    let empty = write("empty.zip", &zipped(&Files::new()));
    assert!(empty.contains("no folder with images"), "{empty}");
    let whole = packed(&tarred(&files()));
    let cut = write("cut.tgz", &whole[..whole.len() / 2]);
    assert!(cut.contains("cut.tgz: "), "{cut}");
    let sum = write("sum.tgz", &[&whole[..whole.len() - 8], &[1; 8]].concat());
    assert!(sum.contains("sum.tgz: "), "{sum}");
    let plain = tarred(&files());
    let cut = write("cut.tar", &plain[..plain.len() / 2]);
    assert!(cut.contains("the archive is truncated"), "{cut}");
}

#[test]
fn the_last_of_equal_names_in_a_tar_file_is_used() {
    let dir = ScratchDir::new();
    let mut builder = tar::Builder::new(Vec::new());
    for (name, number) in [("a/1.png", 1), ("b/1.png", 2), ("a/1.png", 3), ("/c/1.png", 4)] {
        let bytes = picture(number);
        let mut header = tar::Header::new_old();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        builder.append(&header, &bytes[..]).unwrap();
    }
    let bytes = builder.into_inner().unwrap();
    for path in [dir.write("a.tar", &bytes), dir.write("a.tgz", &packed(&bytes))] {
        let set = opened(&path, 0);
        let mut buffer = crate::ReadBuffer::default();
        assert_eq!(set.train.read(0, &mut buffer).unwrap()[0], 60);
        assert_eq!(set.train.classes(), ["a", "b"]);
        let notes = set.notes.join("\n");
        assert!(notes.contains("1 files replaced by later ones of the same name"), "{notes}");
        assert!(notes.contains("1 absolute names"), "{notes}");
    }
}
