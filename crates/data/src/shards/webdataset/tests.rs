//! Each row: what the webdataset package (1.0.2, `group_by_keys`) makes of the members, or why
//! they are refused. Tar files are written by the `tar` crate.

use super::*;
use crate::scratch_dir::{ScratchDir, encoded};
use crate::{Dataset, DatasetOptions, ReadBuffer, open, verify};

type File<'a> = (&'a str, &'a [u8]);

/// A tar file with just these members, whatever their names.
fn archive(members: &[File]) -> Vec<u8> {
    let mut builder = ::tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = ::tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn image(color: [u8; 3], format: image::ImageFormat) -> Vec<u8> {
    encoded(&image::RgbImage::from_pixel(20, 12, image::Rgb(color)).into(), format)
}

fn png(number: usize) -> Vec<u8> {
    image([number as u8, 100, 200], image::ImageFormat::Png)
}

fn scanned(members: &[File]) -> Result<TarScan> {
    scan(&archive(members)[..], Path::new("train-0.tar"))
}

fn refused(members: &[File]) -> String {
    scanned(members).map(|scan| scan.samples).unwrap_err().to_string()
}

fn names(scan: &TarScan) -> Vec<(&str, u32)> {
    scan.samples.iter().map(|s| (&*s.image.name, s.label)).collect()
}

fn opened(dir: &ScratchDir) -> Result<Dataset> {
    let options = DatasetOptions { memory_limit: 0, ..DatasetOptions::with_side(8) };
    open(dir.path().to_str().unwrap(), &options, &|_, _| ())
}

fn labels(source: &dyn crate::Source) -> Vec<u32> {
    (0..source.len()).map(|at| source.label(at)).collect()
}

/// A shard of `count` samples whose images begin with their number as red; every key by `key`.
fn shard(first: usize, count: usize, key: impl Fn(usize) -> String) -> Vec<u8> {
    let members: Vec<(String, Vec<u8>)> = (first..first + count)
        .flat_map(|at| {
            let label = (at % 3).to_string().into_bytes();
            [(key(at) + ".png", png(at)), (key(at) + ".cls", label)]
        })
        .collect();
    archive(&members.iter().map(|(name, bytes)| (&**name, &**bytes)).collect::<Vec<_>>())
}

#[test]
fn keys_end_at_the_first_dot_of_the_file_name() {
    for (name, key) in [
        ("000.jpg", Some(("000", "jpg"))),
        ("000.25.JPG", Some(("000", "25.jpg"))),
        ("a.b/c.jpg", Some(("a.b/c", "jpg"))),
        ("a/b.c/d.e.f", Some(("a/b.c/d", "e.f"))),
        ("x.", Some(("x", ""))),
        ("README", None),
        ("a.b/c", None),
        (".hidden.jpg", None),
        ("a/.hidden.jpg", None),
    ] {
        assert_eq!(split(name), key.map(|(key, field)| (key, field.to_owned())), "{name}");
    }
}

#[test]
fn keys_with_a_dot_are_refused() {
    // As the package reads them: key `000`, fields `25.jpg` and `25.cls`, no image.
    for members in [
        &[
            ("000.25.jpg", &b"x"[..]), // the label beside it has the same key
            ("000.25.cls", b"0"),
            ("001.jpg", b"y"),
            ("001.cls", b"1"),
        ][..],
        &[("000.25.jpg", b"x"), ("000.25.json", b"{}")],
        &[("img.001.jpg", b"x"), ("img.001.cls", b"0"), ("img.002.jpg", b"x")],
        // These would be one sample, whose second image would be lost.
        &[("000.jpg", b"x"), ("000.cls", b"0"), ("000.25.jpg", b"y"), ("000.25.cls", b"1")],
        &[("000.left.png", b"x"), ("000.right.png", b"y"), ("000.cls", b"0")],
    ] {
        let said = refused(members);
        assert!(said.contains("a key with a dot") && said.contains("rename"), "{said}");
        assert!(said.starts_with("train-0.tar: "), "{said}");
    }
}

#[test]
fn other_fields_are_counted_with_an_example() {
    let scan = scanned(&[
        ("a/0.jpg", b"x"),
        ("a/0.seg.png", b"mask"),
        ("a/0.txt", b"a caption"),
        ("a/0.cls", b"1"),
        ("README", b"x"),
        ("__index__", b"x"),
        ("__meta__/x.jpg", b"x"),
        ("1.txt", b"another"),
        ("1.PNG", b"y"),
        ("1.json", br#"{"label": 2, "__key__": "1"}"#),
        ("2.cls", b"1"),
        ("3.heic", b"z"),
        ("3.cls", b"1"),
    ])
    .unwrap();
    assert_eq!(names(&scan), [("a/0.jpg", 1), ("1.PNG", 2)]);
    let notes = scan.unused.notes();
    assert_eq!(notes.len(), 2);
    for part in [
        "9 members",
        "1 `.seg.png`, e.g. a/0.seg.png",
        "2 `.txt`, e.g. a/0.txt",
        "2 of metadata (`__*__`), e.g. __index__",
        "1 without a dot in their names, e.g. README",
        "2 `.cls`, e.g. 2.cls",
        "1 `.heic`, e.g. 3.heic",
    ] {
        assert!(notes[0].contains(part), "{part}: {notes:?}");
    }
    assert!(notes[1].ends_with("2, e.g. 2.cls"), "{notes:?}");
}

#[test]
fn kinds_of_members_are_bounded() {
    let members: Vec<String> = (0..40).map(|at| format!("0.f{at}")).collect();
    let mut files: Vec<File> = members.iter().map(|name| (&**name, &b""[..])).collect();
    files.extend([("1.jpg", &b"x"[..]), ("1.cls", b"0")]);
    let scan = scanned(&files).unwrap();
    let note = &scan.unused.notes()[0];
    assert!(note.contains("40 members") && note.contains("28 of other kinds"), "{note}");
    let members: Vec<String> = (0..1025).map(|at| format!("0.f{at}")).collect();
    let files: Vec<File> = members.iter().map(|name| (&**name, &b""[..])).collect();
    assert!(refused(&files).contains("more than 1024 members"));
}

#[test]
fn two_images_in_one_sample_are_refused() {
    for (one, other) in [("0.jpg", "0.png"), ("0.jpg", "0.jpeg"), ("0.webp", "0.JPG")] {
        let said = refused(&[(one, b"x"), (other, b"y"), ("0.cls", b"0")]);
        assert!(said.contains(&format!("{one} and {other} are images of one sample")), "{said}");
    }
    let said = refused(&[("0.jpg", b"x"), ("0.JPG", b"y"), ("0.cls", b"0")]);
    assert!(said.contains("0.JPG occurs twice"), "{said}");
}

#[test]
fn missing_and_contradictory_labels_are_rejected() {
    let json = |cls: Option<&[u8]>, json: &[u8]| {
        let mut members = vec![("0.jpg", &b"x"[..])];
        members.extend(cls.map(|cls| ("0.cls", cls)));
        members.push(("0.json", json));
        scanned(&members).map(|scan| scan.samples[0].label).map_err(|error| error.to_string())
    };
    assert_eq!(json(Some(b"3\n"), br#"{"label": 3}"#), Ok(3));
    assert_eq!(json(None, br#"{"cls": 4, "class": "tench"}"#), Ok(4));
    assert_eq!(json(None, br#"{"label": " 5 "}"#), Ok(5));
    assert_eq!(json(Some(b"6"), br#"{"label": "tench"}"#), Ok(6));
    assert_eq!(json(Some(b"7"), br#"{"similarity": NaN}"#), Ok(7)); // as Python writes it
    for (cls, text, wanted) in [
        (Some(&b"3"[..]), &br#"{"label": 4}"#[..], "label 4, but its `.cls` has 3"),
        (Some(b"3"), br#"{"label": "4"}"#, "label 4, but its `.cls` has 3"),
        (None, br#"{"label": 1, "cls": 2}"#, "two labels, 1 and 2"),
        (None, br#"{"label": "tench"}"#, "`label`: `tench` is not a label"),
        (None, br#"{"label": -1}"#, "`-1` is not a label"),
        (None, br#"{"label": 1.5}"#, "`1.5` is not a label"),
        (None, br#"{"label": [1, 0]}"#, "`label` is neither a number nor text"),
        (None, br#"{"label": 1048576}"#, "1048576 is too large"),
        (None, b"{", "not valid JSON"),
        (None, b"{}", "0.jpg has no label"),
        (None, br#"{"label": null}"#, "0.jpg has no label"),
        (Some(b"cat"), b"{}", "`cat` is not a label"),
        (Some(b""), b"{}", "`` is not a label"),
    ] {
        let said = json(cls, text).unwrap_err();
        assert!(said.contains(wanted), "{said}");
    }
}

#[test]
fn a_repeated_key_is_rejected() {
    let said = refused(&[
        ("a.jpg", b"x"),
        ("a.cls", b"0"),
        ("b.jpg", b"x"),
        ("b.cls", b"0"),
        ("./a.jpg", b"y"),
        ("./a.cls", b"1"),
    ]);
    assert!(said.contains("the key `a` occurs in two places"), "{said}");
}

#[test]
fn files_of_macos_are_not_samples() {
    let scan = scanned(&[
        ("./._0.jpg", b"attributes"),
        ("./0.jpg", b"x"),
        ("./._0.cls", b"attributes"),
        ("./0.cls", b"1"),
        ("d/._1.jpg", b"attributes"),
        ("d/1.jpg", b"x"),
        ("__MACOSX/d/._1.jpg", b"attributes"),
        ("PaxHeaders.12/1.jpg", b"attributes"),
        ("d/.DS_Store", b"attributes"),
        ("d/1.cls", b"2"),
    ])
    .unwrap();
    assert_eq!(names(&scan), [("0.jpg", 1), ("d/1.jpg", 2)]);
    let notes = scan.unused.notes();
    assert_eq!(notes.len(), 1);
    assert!(notes[0].contains("4 of macOS (`._*`, `__MACOSX`), e.g. ._0.jpg"), "{notes:?}");
    assert!(notes[0].contains("1 that are PAX headers") && notes[0].contains("1 hidden"));
}

#[test]
fn names_outside_the_archive_are_counted() {
    let scan = scanned(&[
        ("/data/0.jpg", b"x"),
        ("/data/0.cls", b"1"),
        ("../1.jpg", b"x"),
        ("../1.cls", b"1"),
        ("2.jpg", b"x"),
        ("2.cls", b"1"),
    ])
    .unwrap();
    assert_eq!(names(&scan), [("2.jpg", 1)]);
    let notes = scan.unused.notes();
    let wanted = "4 that are not usable files (4 absolute names or names with `..`), e.g. \
                  /data/0.jpg";
    assert!(notes[0].contains(wanted), "{notes:?}");
}

#[test]
fn compressed_and_empty_files_are_refused_clearly() {
    for (bytes, tool) in
        [(&b"\x1F\x8B\x08\0\0\0\0\0"[..], "gunzip"), (b"\x28\xB5\x2F\xFD\0", "unzstd")]
    {
        let said = scan(bytes, Path::new("train-0.tar")).unwrap_err().to_string();
        assert!(said.contains("compressed") && said.contains(tool), "{said}");
    }
    let said = scan(&b""[..], Path::new("train-0.tar")).unwrap_err().to_string();
    assert_eq!(said, "train-0.tar: an empty file; download it again, or remove it");
}

/// A folder with just a compressed shard is one of shards; the same of an image folder is not.
#[test]
fn compressed_shards_are_known_by_their_labels() {
    use std::io::Write;
    let gzip = |bytes: &[u8]| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap()
    };
    let dir = ScratchDir::new();
    dir.write(
        "photos.tgz",
        &gzip(&archive(&[("train/cat/0.jpg", b"x"), ("train/cat/1.jpg", b"")])),
    );
    assert!(!is_at(dir.path()));
    let json = [("0.jpg", &b"x"[..]), ("0.json", b"{\"label\": 1}")];
    dir.write("part.tar.gz", &gzip(&archive(&json)));
    assert!(is_at(dir.path()));
    std::fs::remove_file(dir.path().join("part.tar.gz")).unwrap();
    dir.write("train-0.tar.gz", &gzip(&shard(0, 3, |at| at.to_string())));
    dir.write("photos.tgz", b"");
    assert!(is_at(dir.path()));
    std::fs::remove_file(dir.path().join("photos.tgz")).unwrap();
    let said = opened(&dir).err().unwrap().to_string();
    assert!(said.contains("train-0.tar.gz") && said.contains("unpack it with `gunzip`"), "{said}");
}

#[test]
fn the_classes_and_images_of_a_folder() {
    let dir = ScratchDir::new();
    dir.write("train-1-latest.tar", &shard(0, 12, |at| format!("./{at:06}")));
    dir.write("train-2.tar", &archive(&[]));
    dir.write("VAL-interval-0.tar", &shard(20, 6, |at| format!("{:06}", at - 20)));
    let set = opened(&dir).unwrap();
    assert_eq!(set.train.classes(), ["0", "1", "2"]);
    assert_eq!(labels(&*set.train), [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]);
    assert_eq!(labels(&*set.test), [2, 0, 1, 2, 0, 1]);
    let mut buffer = ReadBuffer::default();
    for at in 0..12 {
        assert_eq!(set.train.read(at, &mut buffer).unwrap()[..3], [at as u8, 100, 200]);
    }
    assert_eq!(set.notes.len(), 1, "{:?}", set.notes);
    assert!(set.notes[0].contains("1 tar files contain no sample, e.g. train-2.tar"));
    assert_eq!(set.test.name(5), "VAL-interval-0.tar/000005.png");
}

#[test]
fn labels_must_be_dense() {
    let of = |labels: [(&str, &[u32]); 2]| {
        let dir = ScratchDir::new();
        for (file, labels) in labels {
            let members: Vec<(String, Vec<u8>)> = (labels.iter().enumerate())
                .flat_map(|(at, label)| {
                    let label = label.to_string().into_bytes();
                    [(format!("{at}.png"), png(at)), (format!("{at}.cls"), label)]
                })
                .collect();
            let members: Vec<File> = members.iter().map(|(n, b)| (&**n, &**b)).collect();
            dir.write(file, &archive(&members));
        }
        opened(&dir).map(|set| (set.train.classes().len(), set.notes)).map_err(|e| e.to_string())
    };
    let said = of([("train-0.tar", &[0, 1, 1_000_000]), ("val-0.tar", &[0])]).unwrap_err();
    let wanted = "train-0.tar/2.png has label 1000000, but 999,998 of the 1,000,001 classes up to \
                  it have no image, for example class 2";
    assert!(said.contains(wanted), "{said}");

    let (classes, notes) = of([("train-0.tar", &[0, 1, 3, 3]), ("val-0.tar", &[0])]).unwrap();
    assert_eq!((classes, notes.len()), (4, 1));
    assert!(notes[0].ends_with("1 of 4 classes have no image, for example class 2"), "{notes:?}");
    let (_, notes) = of([("train-0.tar", &[1, 2, 3]), ("val-0.tar", &[1])]).unwrap();
    assert!(notes[0].ends_with("counted from 1?"), "{notes:?}");
    let (_, notes) = of([("train-0.tar", &[0, 1]), ("val-0.tar", &[0, 2, 2])]).unwrap();
    assert!(notes[0].contains("but no training images, for example class 2 with 2"), "{notes:?}");
    let said = of([("train-0.tar", &[4, 4]), ("val-0.tar", &[4])]).unwrap_err();
    assert!(said.contains("2 training images of 1 classes"), "{said}");
}

#[test]
fn an_image_in_two_shards_is_rejected() {
    let dir = ScratchDir::new();
    dir.write("train-0.tar", &shard(0, 6, |at| at.to_string()));
    dir.write("train-1.tar", &shard(3, 6, |at| (at - 3).to_string())); // keys begin anew
    dir.write("val-0.tar", &shard(0, 6, |at| at.to_string()));
    let set = opened(&dir).unwrap();
    assert_eq!((set.train.len(), set.test.len(), set.notes.len()), (12, 6, 1));
    assert!(set.notes[0].contains("6 names occur in more than one tar file"), "{:?}", set.notes);
    dir.write("train-2.tar", &shard(0, 6, |at| at.to_string()));
    let said = opened(&dir).err().unwrap().to_string();
    let wanted = "train-2.tar: 0.png is the same image in train-0.tar, too";
    assert!(said.contains(wanted), "{said}");
}

#[test]
fn classes_are_named_by_the_field_that_is_the_same_for_all_their_samples() {
    let sample = |at: usize, json: &str| (format!("{at}.json"), json.as_bytes().to_vec());
    let of = |rows: &[&str]| {
        let members: Vec<(String, Vec<u8>)> = rows
            .iter()
            .enumerate()
            .flat_map(|(at, json)| [(format!("{at}.png"), png(at)), sample(at, json)])
            .collect();
        let members: Vec<File> = members.iter().map(|(n, b)| (&**n, &**b)).collect();
        scanned(&members).unwrap().names.of(2)
    };
    let by_name = of(&[
        r#"{"label": 0, "name": "0.png", "class_name": "crane"}"#,
        r#"{"label": 1, "name": "1.png", "class_name": "crane"}"#,
        r#"{"label": 1, "name": "2.png", "class_name": "crane"}"#,
    ]);
    assert_eq!(by_name, ["crane", "crane"]); // ImageNet has two classes of that name
    assert_eq!(
        of(&[
            r#"{"cls": 1, "label": "tench"}"#,
            r#"{"cls": 0}"#,
            r#"{"cls": 1, "name": "a"}"#,
            r#"{"cls": 1, "name": "b"}"#
        ]),
        ["", "tench"]
    );
    assert_eq!(of(&[r#"{"label": 1, "name": "a"}"#, r#"{"label": 1, "name": "b"}"#]), ["", ""]);
}

#[test]
fn a_data_set_has_the_names_beside_its_numbers() {
    let dir = ScratchDir::new();
    let images: Vec<Vec<u8>> = (0..4).map(png).collect();
    let json =
        [br#"{"label": 0, "class_name": "crane"}"#, br#"{"label": 1, "class_name": "crane"}"#];
    let names: Vec<[String; 2]> =
        (0..4).map(|at| [format!("{at}.png"), format!("{at}.json")]).collect();
    let members: Vec<File> = (0..4)
        .flat_map(|at| [(&*names[at][0], &*images[at]), (&*names[at][1], &json[at % 2][..])])
        .collect();
    dir.write("train-0.tar", &archive(&members));
    let set = opened(&dir).unwrap();
    assert_eq!(set.train.classes(), ["0", "1"]);
    assert_eq!(set.class_names, ["crane", "crane"]);
    dir.write("train-0.tar", &shard(0, 6, |at| at.to_string()));
    assert!(opened(&dir).unwrap().class_names.iter().all(String::is_empty));
}

#[test]
fn every_image_of_a_folder_of_tar_files_is_verified_and_measured() {
    let dir = ScratchDir::new();
    dir.write("train-0.tar", &shard(0, 11, |at| format!("{at:03}")));
    let jpeg = image([1, 2, 3], image::ImageFormat::Jpeg);
    let bad = [
        ("0.jpg", &jpeg[..]),
        ("0.cls", b"0"),
        ("1.jpg", &jpeg[..jpeg.len() / 2]),
        ("1.cls", b"1"),
        ("2.png", b"<html>"),
        ("2.cls", b"2"),
    ];
    dir.write("val-0.tar", &archive(&bad));
    let report = verify::folder(dir.path(), verify::VerifyOptions::default(), &|_, _| ()).unwrap();
    assert_eq!((report.files, report.unusable()), (14, 2), "{report:?}");
    let found: Vec<_> = report.findings.iter().map(|f| (&*f.name, f.kind)).collect();
    let wanted = [
        ("val-0.tar/1.jpg", verify::FindingKind::Truncated),
        ("val-0.tar/2.png", verify::FindingKind::NotAnImage),
    ];
    assert_eq!(found, wanted);
    // Not the two without a whole header.
    let sizes = verify::headers(dir.path(), 1, &|_, _| ()).unwrap().sizes;
    assert!(sizes.len() >= 12 && sizes.iter().all(|&size| size == (12, 20)), "{sizes:?}");

    // A folder that cannot be trained on cannot be verified.
    dir.write("val-1.tar", &archive(&[("0.jpg", &jpeg[..]), ("0.png", b"x"), ("0.cls", b"0")]));
    let error =
        verify::folder(dir.path(), verify::VerifyOptions::default(), &|_, _| ()).unwrap_err();
    assert!(error.to_string().contains("images of one sample"), "{error}");
}

#[test]
fn tar_files_are_a_collection_to_prepare() {
    let dir = ScratchDir::new();
    dir.write("train-0.tar", &shard(0, 12, |at| at.to_string()));
    let files = crate::collection::Collection::open(dir.path(), &|_, _| ()).unwrap();
    assert_eq!((files.train.len(), files.test.len(), files.classes.len()), (9, 3, 3));
    assert!(files.notes[0].contains("taken for tar files in webdataset's layout"));
    let set = opened(&dir).unwrap(); // the same images are held out
    let held: Vec<&str> = files.test.iter().map(|item| &*item.name).collect();
    assert_eq!(held, (0..3).map(|at| set.test.name(at)).collect::<Vec<_>>());
    let mut bytes = Vec::new();
    files.read(&files.train[0], &mut bytes).unwrap();
    assert_eq!(&bytes[1..4], b"PNG");
}
