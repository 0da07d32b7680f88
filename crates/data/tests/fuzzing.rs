//! The fuzz targets of this crate without a fuzzer.

#[path = "fuzzing/another.rs"]
mod another;

use image::{DynamicImage, ImageFormat, RgbImage};
use std::fs;
use std::io::Cursor;
use std::path::Path;
use testkit::Miniature;
use testkit::fuzz::run;
use testkit::mat::MatFormat;

fn tar_with_checksums(bytes: &[u8]) {
    alexnet_data::fuzzing::tar(&with_checksums(bytes));
}

fn webdataset_with_checksums(bytes: &[u8]) {
    alexnet_data::fuzzing::webdataset(&with_checksums(bytes));
}

/// Writes right checksums into whatever may be a header: a change would not get past them.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for block in bytes.as_chunks_mut::<512>().0 {
        if &block[257..262] == b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    bytes
}

#[test]
fn tar() {
    let miniature = Miniature { train: 3, side: 8, ..Miniature::new(2012) };
    let mut builder = tar::Builder::new(Vec::new());
    for name in ["a.JPEG".to_owned(), "folder/".repeat(30) + "b.JPEG"] {
        let mut header = tar::Header::new_gnu();
        header.set_size(5);
        builder.append_pax_extensions([("path", name.as_bytes()), ("size", b"5")]).unwrap();
        builder.append_data(&mut header, name, &b"image"[..]).unwrap();
    }
    let seeds = [builder.into_inner().unwrap(), miniature.patch_archive()];
    run("tar", alexnet_data::fuzzing::tar, &seeds, 5_000);
    run("tar", tar_with_checksums, &seeds, 15_000);
}

#[test]
fn mat() {
    let meta = |format| Miniature { format, ..Miniature::new(2012) }.meta();
    let plain = MatFormat::default();
    let seeds = [
        plain,
        MatFormat { big_endian: true, utf8: true, ..plain },
        MatFormat { compressed: true, ..plain },
    ];
    run("mat", alexnet_data::fuzzing::mat, &seeds.map(meta), 20_000);
}

#[test]
fn cifar() {
    let mut record = vec![7; 3 * 3073];
    record[3073] = 9;
    run("cifar", alexnet_data::fuzzing::cifar, &[record], 20_000);
}

#[test]
fn pickle() {
    let mut seeds = vec![include_bytes!("../fixtures/cifar-batch.pkl").to_vec()];
    for protocol in 0..6 {
        for name in ["plain", "arrays"] {
            let path = format!("../unpickle/fixtures/{name}-{protocol}.pkl");
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
            seeds.push(fs::read(path).unwrap());
        }
    }
    run("pickle", alexnet_data::fuzzing::pickle, &seeds, 20_000);
}

#[test]
fn zip() {
    let mut bytes = Vec::new();
    let mut archive = rawzip::ZipArchiveWriter::new(&mut bytes);
    for (name, deflate) in [("train/a/0.jpg", false), ("train/b/1.jpg", true)] {
        let method = if deflate {
            rawzip::CompressionMethod::DEFLATE
        } else {
            rawzip::CompressionMethod::STORE
        };
        let builder = archive.new_file(name).compression_method(method);
        let (mut entry, config) = builder.start().unwrap();
        let descriptor = if deflate {
            let level = flate2::Compression::default();
            let encoder = flate2::write::DeflateEncoder::new(&mut entry, level);
            let mut writer = config.wrap(encoder);
            std::io::Write::write_all(&mut writer, &b"image".repeat(30)).unwrap();
            let (encoder, descriptor) = writer.finish().unwrap();
            encoder.finish().unwrap();
            descriptor
        } else {
            let mut writer = config.wrap(&mut entry);
            std::io::Write::write_all(&mut writer, b"another image").unwrap();
            writer.finish().unwrap().1
        };
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap();
    let seeds = [bytes, include_bytes!("../fixtures/zip64.zip").to_vec()];
    run("zip", alexnet_data::fuzzing::zip, &seeds, 20_000);
}

#[test]
fn lists() {
    let seeds: [&[u8]; 6] = [
        b"490\n361\n171\n1000\n",
        b"val_0.JPEG\tn03444034\t0\t32\t44\t62\nval_1.JPEG\tn04067472\t52\t55\t57\t59\n",
        b"n00001740\tentity\nn01440764\ttench, Tinca tinca\n",
        b"{\"0\": [\"n01440764\", \"tench\"], \"1\": [\"2\", \"crane\"]}",
        b"id,label,split\na,cat,train\n\"b,c\",dog,test\n",
        b"ImageId,PredictionString\nILSVRC2012_val_00000001,n01440764 1 2 3 4\n",
    ];
    run("lists", alexnet_data::fuzzing::lists, &seeds.map(<[u8]>::to_vec), 20_000);
}

#[test]
fn jpeg_to_square() {
    let image: DynamicImage = RgbImage::from_fn(24, 16, |x, y| {
        image::Rgb([(x * 9) as u8, (y * 11) as u8, ((x + y) * 5) as u8])
    })
    .into();
    let encoded = |format| {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    };
    let seeds = [
        encoded(ImageFormat::Jpeg),
        encoded(ImageFormat::Png),
        include_bytes!("../fixtures/cmyk.jpg").to_vec(),
        include_bytes!("../fixtures/ycck.jpg").to_vec(),
        include_bytes!("../fixtures/progressive.jpg").to_vec(),
    ];
    run("jpeg_to_square", alexnet_data::fuzzing::jpeg_to_square, &seeds, 500);
}

#[test]
fn idx() {
    let array = |dims: &[u32], count: usize| {
        let mut bytes = vec![0, 0, 8, dims.len() as u8];
        bytes.extend(dims.iter().flat_map(|dim| dim.to_be_bytes()));
        bytes.extend((0..count).map(|at| at as u8 % 3));
        bytes
    };
    let mut seeds = vec![array(&[9], 9), array(&[2, 4, 5], 40), array(&[2, 4, 5, 3], 120)];
    for number in 0..3 {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        std::io::Write::write_all(&mut packer, &seeds[number]).unwrap();
        seeds.push(packer.finish().unwrap());
    }
    run("idx", alexnet_data::fuzzing::idx, &seeds, 20_000);
}

#[test]
fn shard_index() {
    let entry = |number: u64| {
        let (offset, label) = (512 + 2048 * number, number as u32 % 7);
        alexnet_data::shards::IndexEntry {
            number,
            offset,
            len: 100,
            label,
            height: 4,
            width: 9,
            crc: label,
        }
    };
    let index = |count| alexnet_data::shards::ShardIndex {
        tar_len: 1024 + 2048 * count,
        tar_sha256: [7; 32],
        entries: (0..count).map(entry).collect(),
    };
    let whole = index(3).to_bytes();
    let open = whole[..whole.len() - 4].to_vec(); // the target writes the checksum
    run(
        "shard_index",
        alexnet_data::fuzzing::shard_index,
        &[open, whole, index(0).to_bytes()],
        30_000,
    );
}

#[test]
fn dataset_json() {
    let seed = include_bytes!("../../../fuzz/corpus/dataset_json/raw.json");
    alexnet_data::shards::Manifest::from_bytes(seed, Path::new("raw.json")).unwrap();
    run("dataset_json", alexnet_data::fuzzing::dataset_json, &[seed.to_vec()], 20_000);
}

#[test]
fn webdataset() {
    let shard = |members: &[(&str, &[u8])]| {
        let mut builder = tar::Builder::new(Vec::new());
        for &(name, content) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            builder.append_pax_extensions([("mtime", &b"1700000000.25"[..])]).unwrap();
            builder.append_data(&mut header, name, content).unwrap();
        }
        builder.into_inner().unwrap()
    };
    let seeds = [
        shard(&[
            ("a/000.jpg", b"image"),
            ("a/000.cls", b"4\n"),
            ("b.png", b"another"),
            ("b.json", br#"{"label": 5, "text": "a"}"#),
            ("notes.txt", b"no image"),
        ]),
        shard(&[
            ("0.jpg", b"image"),
            ("0.seg.png", b"mask"),
            ("0.cls", b"1"),
            ("0.json", br#"{"label": "1", "class": "tench", "class_name": "tench", "name": "0"}"#),
            ("d/._1.webp", b"attributes"),
            ("d/1.webp", b"image"),
            ("d/1.json", br#"{"cls": 0, "class_name": "crane", "score": [1.5, null]}"#),
        ]),
    ];
    run("webdataset", alexnet_data::fuzzing::webdataset, &seeds, 5_000);
    run("webdataset", webdataset_with_checksums, &seeds, 15_000);
}

#[test]
fn jpeg() {
    let seeds = [
        include_bytes!("../fixtures/plain-444.jpg").to_vec(),
        include_bytes!("../fixtures/plain-422.jpg").to_vec(),
        include_bytes!("../fixtures/plain-420.jpg").to_vec(),
        include_bytes!("../fixtures/plain-grey.jpg").to_vec(),
        include_bytes!("../fixtures/coarse-420.jpg").to_vec(),
        include_bytes!("../fixtures/cmyk.jpg").to_vec(),
        include_bytes!("../fixtures/progressive.jpg").to_vec(),
        include_bytes!("../fixtures/jpeg-cases/noninterleaved-420.jpg").to_vec(),
        include_bytes!("../fixtures/jpeg-cases/luma-smaller-than-chroma.jpg").to_vec(),
        include_bytes!("../fixtures/jpeg-cases/bytes-between-segments.jpg").to_vec(),
    ];
    let target = |bytes: &[u8]| alexnet_data::fuzzing::jpeg(bytes, another::decode);
    run("jpeg", target, &seeds, 6_000);
}
