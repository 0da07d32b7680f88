use super::index::{IndexEntry, ShardIndex};
use super::rows::Crop;
use super::webdataset::{Sample, scan, survey};
use super::{ShardWriter, Shards};
use crate::scratch_dir::{ScratchDir, encoded};
use crate::tar::{TarMember, TarMembers};
use crate::{DatasetOptions, ReadBuffer, open};
use proptest::prelude::*;
use std::fs::{self, File};
use std::path::Path;

fn entry(number: u64) -> IndexEntry {
    let (offset, label) = (512 + 2048 * number, number as u32 % 7);
    IndexEntry { number, offset, len: 100, label, height: 4, width: 9, crc: 0xABCD + label }
}

fn index() -> ShardIndex {
    let entries = (0..3).map(entry).collect();
    ShardIndex { tar_len: 10_240, tar_sha256: [7; 32], entries }
}

#[test]
fn an_index_is_read_back_and_every_changed_bit_is_found() {
    let bytes = index().to_bytes();
    let read = |bytes: &[u8]| ShardIndex::from_bytes(bytes, Path::new("x.idx"));
    assert_eq!(read(&bytes).unwrap(), index());
    for len in 0..bytes.len() {
        assert!(read(&bytes[..len]).is_err(), "{len} bytes");
    }
    for bit in 0..bytes.len() * 8 {
        let mut wrong = bytes.clone();
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&wrong).is_err(), "bit {bit}");
    }
    let outside = ShardIndex { tar_len: 4000, ..index() };
    let said = read(&outside.to_bytes()).unwrap_err().to_string();
    assert!(said.contains("image 2 is outside"), "{said}");
}

fn members(path: &Path) -> Vec<TarMember> {
    TarMembers::new(&File::open(path).unwrap(), 0..u64::MAX).map(|member| member.unwrap()).collect()
}

#[test]
fn a_shard_is_a_tar_file_and_its_index_points_into_it() {
    let dir = ScratchDir::new();
    let mut writer = ShardWriter::create(dir.path(), "train", 3).unwrap();
    writer.add(12, "jpg", b"first", 7, (2, 3)).unwrap();
    writer.add(13, "jpg", &[9; 512], 123, (4, 5)).unwrap();
    assert!(!dir.path().join("train-000003.tar").exists());
    let index = writer.finish().unwrap();
    let path = dir.path().join("train-000003.tar");
    let bytes = fs::read(&path).unwrap();
    let found = members(&path);
    let content = |m: &TarMember| bytes[m.offset as usize..][..m.len as usize].to_vec();
    let found: Vec<_> = found.iter().map(|m| (m.name.as_str(), content(m))).collect();
    let wanted = [
        ("000000012.jpg", b"first".to_vec()),
        ("000000012.cls", b"7".to_vec()),
        ("000000013.jpg", vec![9; 512]),
        ("000000013.cls", b"123".to_vec()),
    ];
    assert_eq!(found, wanted);
    assert_eq!(bytes.len(), 10_240);
    let read = ShardIndex::read(dir.path().join("train-000003.idx")).unwrap();
    assert_eq!(read, index);
    let second = read.entries[1];
    assert_eq!((second.number, second.label, second.height, second.width), (13, 123, 4, 5));
    assert_eq!(&bytes[second.offset as usize..][..second.len as usize], [9; 512]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "no temporary file is left");
    // The first header, as Python's tarfile makes it.
    assert_eq!(&bytes[..16], b"000000012.jpg\0\0\0");
    let fields = b"0000644\x000000000\x000000000\x0000000000005\
        \x0012031705600\x00007435\x00 ";
    assert_eq!(&bytes[100..156], fields);
    assert_eq!(&bytes[156..158], b"0\0");
    assert_eq!(&bytes[257..265], b"ustar\x0000");
}

#[test]
fn an_unfinished_shard_leaves_no_file() {
    let dir = ScratchDir::new();
    let mut writer = ShardWriter::create(dir.path(), "val", 0).unwrap();
    writer.add(0, "jpg", b"first", 7, (2, 3)).unwrap();
    drop(writer);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// A member, as tar programs write it; `kind` is the type flag.
fn member(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut header = [0u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    seal(&mut header);
    let mut bytes = header.to_vec();
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn seal(header: &mut [u8; 512]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn pax(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len() + 1;
    while length != rest.len() + length.to_string().len() {
        length += 1;
    }
    format!("{length}{rest}").into_bytes()
}

fn archive(members: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = members.concat();
    bytes.extend([0; 1024]);
    bytes
}

#[test]
fn archives_of_other_programs_are_read() {
    let dir = ScratchDir::new();
    let long = "deep/".repeat(30) + "000.JPG";
    let time = pax("mtime", "1700000000.25");
    let path = dir.write(
        "t.tar",
        &archive(&[
            member("folder/", b'5', b""),
            member("x", b'x', &time), // webdataset's own writer puts one before each member
            member("folder/000.jpg", b'0', b"image"),
            member("folder/000.cls", 0, b"4\n"),
            member("link.jpg", b'2', b""),
            member("x", b'x', &[time.clone(), pax("path", &long)].concat()),
            member("short", b'0', b"other"),
            member("L", b'L', (long.replace("JPG", "json") + "\0").as_bytes()),
            member("short", b'0', br#"{"label": 5, "text": "a"}"#),
            member("notes.txt", b'0', b"no image"),
            member("7.seg.png", b'0', b"of another kind"),
            member("7.png", b'0', b"third"),
            member("7.cls", b'0', b"0"),
        ]),
    );
    let samples = scan(&File::open(&path).unwrap(), &path).unwrap().samples;
    let found: Vec<_> = samples.iter().map(|s| (s.image.name.as_str(), s.label)).collect();
    assert_eq!(found, [("folder/000.jpg", 4), (long.as_str(), 5), ("7.png", 0)]);
    let Sample { image, .. } = &samples[1];
    assert_eq!(&fs::read(&path).unwrap()[image.offset as usize..][..5], b"other");
}

#[test]
fn contradictory_archives_are_rejected() {
    let dir = ScratchDir::new();
    let good = archive(&[member("a.jpg", b'0', &[1; 600]), member("a.cls", b'0', b"1")]);
    let said = |bytes: &[u8]| {
        let path = dir.write("t.tar", bytes);
        let error = scan(&File::open(&path).unwrap(), &path).unwrap_err().to_string();
        assert!(error.starts_with(&path.display().to_string()), "{error}");
        error
    };
    assert!(said(&good[..1000]).contains("truncated"));
    assert!(said(&[0x1F; 2000]).contains("not a tar header"));
    assert!(said(&archive(&[member("a.jpg", b'0', b"x")])).contains("a.jpg has no label"));
    let apart =
        [member("a.jpg", b'0', b"x"), member("b.jpg", b'0', b"y"), good[1536..2560].to_vec()];
    assert!(said(&archive(&apart)).contains("a.jpg has no label"));
    let odd = |label: &[u8]| archive(&[member("a.jpg", b'0', b""), member("a.cls", b'0', label)]);
    assert!(said(&odd(b"cat")).contains("`cat` is not a label"));
    assert!(said(&odd(b"99999999")).contains("99999999 is too large"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn no_archive_causes_a_panic(
        edits in prop::collection::vec((0usize..3584, any::<u8>()), 1..8),
    ) {
        let dir = ScratchDir::new();
        let mut bytes = archive(&[
            member("x", b'x', &pax("path", "b.jpg")),
            member("a.jpg", b'0', b"x"),
            member("b.cls", b'0', b"1"),
        ]);
        for (at, value) in edits {
            bytes[at % 3072] = value;
            for start in (0..3072).step_by(1024) {
                seal((&mut bytes[start..start + 512]).try_into().unwrap()); // or all end there
            }
        }
        let path = dir.write("t.tar", &bytes);
        if let Ok(scan) = scan(&File::open(&path).unwrap(), &path) {
            let inside = |s: &Sample| s.image.offset + s.image.len <= bytes.len() as u64;
            prop_assert!(scan.samples.iter().all(inside));
        }
    }
}

fn png(color: [u8; 3], size: (u32, u32)) -> Vec<u8> {
    let image = image::RgbImage::from_pixel(size.1, size.0, image::Rgb(color));
    encoded(&image.into(), image::ImageFormat::Png)
}

#[test]
fn a_folder_of_webdatasets_tar_files_is_a_data_set() {
    let dir = ScratchDir::new();
    let shard = |first: u8| {
        let samples = (first..first + 10).flat_map(|number| {
            let image = png([number, 1, 2], (12, 20));
            let label = (number % 3).to_string();
            [
                member(&format!("{number:06}.png"), b'0', &image),
                member(&format!("{number:06}.cls"), b'0', label.as_bytes()),
            ]
        });
        archive(&samples.collect::<Vec<_>>())
    };
    dir.write("set-train-000000.tar", &shard(0));
    dir.write("set-train-000001.tar", &shard(10));
    dir.write("ILSVRC2012_img_val.tar", b"passed over");
    let opened = |side, memory_limit| {
        let options = DatasetOptions { memory_limit, ..DatasetOptions::with_side(side) };
        open(dir.path().to_str().unwrap(), &options, &|_, _| ()).unwrap()
    };
    let set = opened(16, 0);
    assert_eq!((set.train.len(), set.test.len(), set.train.classes().len()), (17, 3, 3));
    assert!(set.notes[0].contains("3 of 20 images are held out"), "{:?}", set.notes);
    assert!(set.statistics.is_none());

    dir.write("set-val-000000.tar", &shard(20));
    let (near, far) = (opened(8, 1 << 30), opened(8, 0));
    assert_eq!((far.train.len(), far.test.len(), far.notes.len()), (20, 10, 0));
    let (mut a, mut b) = (ReadBuffer::default(), ReadBuffer::default());
    for index in 0..20 {
        let pixels = far.train.read(index, &mut a).unwrap();
        assert_eq!(pixels, [index as u8, 1, 2].repeat(64));
        assert_eq!(near.train.read(index, &mut b).unwrap(), pixels);
        assert_eq!(far.train.label(index), index as u32 % 3);
    }
    assert_eq!(far.train.name(13), "set-train-000001.tar/000013.png");
    assert!(Shards::is_at(dir.path()));
    let [train, test] = survey(dir.path()).unwrap().parts().map(<[_]>::len);
    assert_eq!((train, test), (2, 1));
}

#[test]
fn a_crop_is_the_same_copied_or_read() {
    let dir = ScratchDir::new();
    let (height, width, offset) = (50, 300, 77);
    let bytes: Vec<u8> = (0..offset + height * width * 3).map(|at| (at * at / 7) as u8).collect();
    let path = dir.write("pixels", &bytes);
    let file = File::open(&path).unwrap();
    let map = mapped::Mapped::of(&file).unwrap();
    // Several fetches of rows; a row; a pixel; full width; all of it.
    for (top, left, size) in [
        (2, 3, (45, 290)),
        (49, 0, (1, 299)),
        (49, 299, (1, 1)),
        (7, 0, (40, 300)),
        (0, 0, (50, 300)),
    ] {
        let crop = Crop::new(offset as u64, (height, width), (top, left), size);
        let mut wanted = vec![0; size.0 * size.1 * 3];
        augment::crop(&bytes[offset..], width, top, left, size, &mut wanted);
        let [mut copied, mut read] = [vec![0; wanted.len()], vec![0; wanted.len()]];
        crop.copy(&map, &mut copied).unwrap();
        crop.read(&file, &mut read, &mut Vec::new()).unwrap();
        assert!(copied == wanted && read == wanted, "{size:?} at {top}, {left}");
    }
}
