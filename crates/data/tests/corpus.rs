//! Thousands of image files that are broken in some way, or whole in an unusual one, made
//! from a seed, each with what is to come of it.
//!
//! None may panic, take a second, or be reported otherwise by `verify` than by `decode`.

#[path = "corpus/oddities.rs"]
mod oddities;
#[cfg(unix)]
#[path = "corpus/places.rs"]
mod places;

use alexnet_data::{decode::decode, verify};
use augment::Image;
use flate2::{Compression, Crc, write::ZlibEncoder};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use random::{Purpose, Stream};
use std::io::Write;
use std::panic::catch_unwind;
use std::time::{Duration, Instant};

/// What is to come of a file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    /// An image of this height and width.
    Decodes(usize, usize),
    /// An error with these words.
    Fails(&'static str),
    /// One or the other: some damage looks like another picture.
    Either,
}
use Outcome::{Decodes, Either, Fails};

struct Case {
    name: String,
    bytes: Vec<u8>,
    outcome: Outcome,
}

const CUTS: usize = 64;
const FLIPS: usize = 32;

fn stream(index: usize) -> Stream {
    Stream::new(41, Purpose::Test, 0, index as u32)
}

/// Soft colours with some noise, `channels` bytes a pixel.
fn pixels(height: usize, width: usize, channels: usize) -> Vec<u8> {
    let mut draws = stream(height * width * channels);
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
    let bytes =
        places.flat_map(|(y, x)| (0..channels).map(move |c| (y * 5 + x * 3 * (c + 1)) as u8));
    bytes.map(|byte| byte.wrapping_add(draws.below(9) as u8)).collect()
}

type Change = fn(&mut Encoder<&mut Vec<u8>>);

fn jpeg(height: u16, width: u16, color: ColorType, change: Change) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 80);
    change(&mut encoder);
    let channels = match color {
        ColorType::Luma => 1,
        ColorType::Rgb => 3,
        _ => 4,
    };
    let pixels = pixels(height.into(), width.into(), channels);
    encoder.encode(&pixels, width, height, color).unwrap();
    bytes
}

fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(name);
    crc.update(content);
    let len = (content.len() as u32).to_be_bytes();
    [&len, &name[..], content, &crc.sum().to_be_bytes()].concat()
}

/// A PNG whose unpacked rows, filters and all, are `rows`.
fn png_of(height: u32, width: u32, head: [u8; 5], palette: bool, rows: &[u8]) -> Vec<u8> {
    let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
    let mut packer = ZlibEncoder::new(Vec::new(), Compression::default());
    packer.write_all(rows).unwrap();
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    bytes.extend(chunk(b"IHDR", &[&size[..], &head].concat()));
    if palette {
        let entries = 1usize << head[0];
        bytes.extend(chunk(b"PLTE", &pixels(1, entries, 3)));
    }
    bytes.extend(chunk(b"IDAT", &packer.finish().unwrap()));
    bytes.extend(chunk(b"IEND", &[]));
    bytes
}

/// A PNG of noise: bits a channel, colour type (0, 2, 3, 4, 6), interlaced or not.
fn png(height: usize, width: usize, bits: u8, color: u8, interlaced: bool) -> Vec<u8> {
    let channels = [1, 0, 3, 1, 2, 0, 4][usize::from(color)];
    let whole = [(0, 0, 1, 1)];
    let adam7 = [
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ];
    let mut rows = Vec::new();
    for &(left, top, right, down) in if interlaced { &adam7[..] } else { &whole } {
        let columns = width.saturating_sub(left).div_ceil(right);
        let len = (columns * channels * usize::from(bits)).div_ceil(8);
        for _ in 0..if columns == 0 { 0 } else { height.saturating_sub(top).div_ceil(down) } {
            rows.push(0);
            rows.extend(pixels(1, len, 1));
        }
    }
    let head = [bits, color, 0, 0, u8::from(interlaced)];
    png_of(height as u32, width as u32, head, color == 3, &rows)
}

/// One whole file of every kind, with its height and width.
fn whole() -> Vec<(&'static str, Vec<u8>, usize, usize)> {
    let (rgb, plain): (_, Change) = (ColorType::Rgb, |_| ());
    let halved: Change = |encoder| encoder.set_sampling_factor(SamplingFactor::F_2_2);
    let full: Change = |encoder| encoder.set_sampling_factor(SamplingFactor::F_1_1);
    let progressive: Change = |encoder| {
        encoder.set_sampling_factor(SamplingFactor::F_1_1);
        encoder.set_progressive(true);
    };
    let both: Change = |encoder| {
        encoder.set_sampling_factor(SamplingFactor::F_2_2);
        encoder.set_progressive(true);
    };
    let restarts: Change = |encoder| encoder.set_restart_interval(2);
    vec![
        ("444.jpg", jpeg(33, 41, rgb, full), 33, 41),
        ("420.jpg", jpeg(33, 41, rgb, halved), 33, 41),
        ("422.jpg", jpeg(33, 41, rgb, |e| e.set_sampling_factor(SamplingFactor::F_2_1)), 33, 41),
        ("progressive-444.jpg", jpeg(33, 41, rgb, progressive), 33, 41),
        ("progressive-420.jpg", jpeg(33, 41, rgb, both), 33, 41),
        ("restarts.jpg", jpeg(33, 41, rgb, restarts), 33, 41),
        ("grey.jpg", jpeg(33, 41, ColorType::Luma, plain), 33, 41),
        ("cmyk.jpg", jpeg(33, 41, ColorType::Cmyk, plain), 33, 41),
        ("ycck.jpg", jpeg(33, 41, ColorType::CmykAsYcck, plain), 33, 41),
        ("cmyk-of-pillow.jpg", include_bytes!("../fixtures/cmyk.jpg").to_vec(), 16, 24),
        ("dot.jpg", jpeg(1, 1, rgb, full), 1, 1),
        ("row.jpg", jpeg(1, 700, rgb, halved), 1, 700),
        ("column.jpg", jpeg(700, 1, rgb, both), 700, 1),
        ("rgb.png", png(19, 23, 8, 2, false), 19, 23),
        ("rgb-16.png", png(19, 23, 16, 2, false), 19, 23),
        ("grey.png", png(19, 23, 8, 0, false), 19, 23),
        ("grey-1.png", png(19, 23, 1, 0, false), 19, 23),
        ("grey-16.png", png(19, 23, 16, 0, false), 19, 23),
        ("palette.png", png(19, 23, 8, 3, false), 19, 23),
        ("palette-2.png", png(19, 23, 2, 3, false), 19, 23),
        ("grey-alpha.png", png(19, 23, 8, 4, false), 19, 23),
        ("alpha.png", png(19, 23, 8, 6, false), 19, 23),
        ("alpha-16.png", png(19, 23, 16, 6, false), 19, 23),
        ("interlaced.png", png(19, 23, 8, 2, true), 19, 23),
        ("interlaced-palette.png", png(19, 23, 4, 3, true), 19, 23),
        ("dot.png", png(1, 1, 8, 2, true), 1, 1),
        ("row.png", png(1, 700, 8, 2, false), 1, 700),
    ]
}

/// Whole files, under their own and other endings; cut; with a bit turned.
fn damaged(cases: &mut Vec<Case>) {
    for (kind, (name, bytes, height, width)) in whole().into_iter().enumerate() {
        let is_png = name.ends_with(".png");
        let mut add = |name: String, bytes, outcome| cases.push(Case { name, bytes, outcome });
        for ending in ["", ".jpeg", ".PNG", ".gif"] {
            add(format!("whole-{name}{ending}"), bytes.clone(), Decodes(height, width));
        }
        let mut draws = stream(1000 + kind);
        // A PNG whose last chunk is cut has all its pixels.
        let whole = bytes.len() - if is_png { 12 } else { 0 };
        for cut in 0..CUTS {
            let len = if cut < 8 { cut } else { draws.below(whole as u32) as usize };
            let words = if len == 0 { "empty" } else { "" };
            add(format!("cut-{cut}-{name}"), bytes[..len].to_vec(), Fails(words));
        }
        for flip in 0..FLIPS {
            let mut bytes = bytes.clone();
            // A PNG's chunks have checksums, so every flipped bit in a critical chunk is an error; in
            // the size, one about the size.
            let at =
                if is_png { 8 + draws.below(whole as u32 - 8) } else { draws.below(whole as u32) };
            bytes[at as usize] ^= 1 << draws.below(8);
            let outcome = if is_png { Fails("") } else { Either };
            add(format!("flip-{flip}-{name}"), bytes, outcome);
        }
    }
}

/// What is no image, whatever its name says.
fn strangers(cases: &mut Vec<Case>) {
    let mut add = |name: &str, bytes: &[u8], words| {
        let name = format!("stranger-{name}");
        cases.push(Case { name, bytes: bytes.to_vec(), outcome: Fails(words) });
    };
    add("empty.jpg", b"", "the file is empty");
    add("text.jpg", b"Not found\r\n", "a text");
    add("page.jpg", b"\n<!DOCTYPE html><html><body>404</body></html>", "a web page");
    add("drawing.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG cannot be decoded");
    add("moving.jpg", b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xFF\xFF\xFF,\0\0\0\0", "incomplete GIF");
    add("bitmap.jpg", b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0", "unknown format");
    add("web.jpg", b"RIFF\x24\0\0\0WEBPVP8 \x18\0\0\0", "incomplete WebP");
    add("scan.jpg", b"II*\0\x08\0\0\0", "incomplete TIFF");
    add("zeros.jpg", &[0; 4096], "of unknown format");
    for number in 0..32 {
        let mut draws = stream(2000 + number);
        let bytes: Vec<u8> = (0..64 * number + 1).map(|_| draws.below(256) as u8 | 0x80).collect();
        add(&format!("noise-{number}.jpg"), &bytes, "not an image that can be decoded");
        let starts: [&[u8]; 2] = [&[0xFF, 0xD8, 0xFF], b"\x89PNG\r\n\x1a\n"];
        let bytes = [starts[number % 2], &bytes].concat();
        add(&format!("noise-with-a-start-{number}.jpg"), &bytes, "incomplete");
    }
}

/// Small files that promise, or unpack to, very much.
fn bombs(cases: &mut Vec<Case>) {
    let mut add = |name: String, bytes: Vec<u8>, words| {
        cases.push(Case { name: format!("bomb-{name}"), bytes, outcome: Fails(words) });
    };
    for (name, bytes, ..) in whole().into_iter().filter(|(name, ..)| name.ends_with(".jpg")) {
        let is_frame = |pair: &[u8]| pair[0] == 0xFF && [0xC0, 0xC1, 0xC2].contains(&pair[1]);
        let frame = bytes.windows(2).position(is_frame).unwrap();
        for (height, width) in
            [(65_500, 65_500), (16_384, 16_384), (8192, 16_384), (0, 41), (33, 0)]
        {
            let mut bytes = bytes.clone();
            let (h, w) = ((height as u16).to_be_bytes(), (width as u16).to_be_bytes());
            bytes[frame + 5..frame + 9].copy_from_slice(&[h[0], h[1], w[0], w[1]]);
            add(format!("{height}-{width}-{name}"), bytes, "");
        }
    }
    for side in [0, 65_500, 16_384, i32::MAX as u32, u32::MAX] {
        let bytes = png_of(side, side, [8, 2, 0, 0, 0], false, &[0; 64]);
        add(format!("{side}.png"), bytes, "");
    }
    // Two bits of every kilobyte, and 16,384 x 16,384 of them.
    let rows = vec![0; 16_384 * (1 + 16_384 / 8)];
    let bytes = png_of(16_384, 16_384, [1, 0, 0, 0, 0], false, &rows);
    assert!(bytes.len() < 100_000);
    add("bits.png".into(), bytes, "not a usable size");
    // A small picture with a hundred megabytes behind its last row.
    let bytes = png_of(4, 4, [8, 2, 0, 0, 0], false, &vec![0; 100 << 20]);
    cases.push(Case { name: "bomb-behind.png".into(), bytes, outcome: Either });

    let progressive: Change = |encoder| encoder.set_progressive(true);
    let mut bytes = jpeg(512, 512, ColorType::Luma, progressive);
    let scan = bytes.windows(2).rposition(|pair| pair == [0xFF, 0xDA]).unwrap();
    let last = bytes[scan..bytes.len() - 2].to_vec();
    bytes.truncate(scan);
    (0..10_000_000 / last.len()).for_each(|_| bytes.extend(&last));
    bytes.extend([0xFF, 0xD9]);
    cases.push(Case { name: "bomb-scans.jpg".into(), bytes, outcome: Fails("incomplete JPEG") });
}

fn corpus() -> Vec<Case> {
    let mut cases = Vec::new();
    damaged(&mut cases);
    strangers(&mut cases);
    bombs(&mut cases);
    cases.extend(oddities::cases());
    cases
}

/// Decodes a case, and complains of what is not as declared.
fn complaint(case: &Case) -> Option<String> {
    let began = Instant::now();
    let decoded = catch_unwind(|| {
        let mut image = Image::default();
        decode(&case.bytes, &mut image).map(|()| (image.height, image.width, image.pixels.len()))
    });
    let took = began.elapsed();
    let is_as_declared = match (&decoded, case.outcome) {
        (Err(_), _) => false,
        (Ok(Ok((h, w, bytes))), Decodes(height, width)) => {
            (*h, *w, *bytes) == (height, width, height * width * 3)
        }
        (Ok(Err(reason)), Fails(words)) => reason.to_string().contains(words),
        (Ok(_), Either) => true,
        _ => false,
    };
    let limit = Duration::from_secs(1);
    (took >= limit || !is_as_declared)
        .then(|| format!("{}: {:?} wanted, {decoded:?} in {took:?}", case.name, case.outcome))
}

#[test]
fn every_file_decodes_as_declared_within_a_second() {
    let cases = corpus();
    assert!(cases.len() >= 2500, "{} cases", cases.len());
    let complaints: Vec<String> = cases.iter().filter_map(complaint).collect();
    assert!(complaints.is_empty(), "{}\n{}", complaints.len(), complaints.join("\n"));
}

/// An unusable file has exactly one finding for that; no other file has one.
#[test]
fn a_check_of_the_folder_agrees_with_the_decoder() {
    let folder = std::env::temp_dir().join(format!("alexnet-corpus-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let cases = corpus();
    for case in &cases {
        std::fs::write(folder.join(&case.name), &case.bytes).unwrap();
    }
    let report = verify::folder(&folder, verify::VerifyOptions::default(), &|_, _| ());
    std::fs::remove_dir_all(&folder).unwrap();
    let report = report.unwrap();
    assert_eq!(report.files, cases.len());
    for case in &cases {
        let path = folder.join(&case.name).display().to_string();
        let findings = report.findings.iter().filter(|finding| finding.name == path);
        let bad = findings.filter(|finding| finding.kind.is_unusable()).count();
        match case.outcome {
            Decodes(..) => assert_eq!(bad, 0, "{path}"),
            Fails(_) => assert_eq!(bad, 1, "{path}"),
            Either => assert!(bad <= 1, "{path}"),
        }
    }
}
