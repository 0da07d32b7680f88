use super::*;
use crate::decode::{ExifMode, decode as decode_any};
use crate::scratch_dir::ScratchDir;
use crate::{ReadBuffer, decode as root};
use serde::Deserialize;

/// A file and the pixels that Pillow makes of it (fixtures/formats.py).
#[derive(Deserialize)]
struct Case {
    name: String,
    file: String,
    height: usize,
    width: usize,
    pixels: String,
    tolerance: u8,
    upright: Option<Upright>,
}

#[derive(Deserialize)]
struct Upright {
    height: usize,
    width: usize,
    pixels: String,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("../../../fixtures/formats.json")).unwrap()
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
    hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn assert_close(name: &str, image: &Image, size: (usize, usize), pixels: &[u8], tolerance: u8) {
    assert_eq!((image.height, image.width), size, "{name}");
    let worst = image.pixels.iter().zip(pixels).map(|(got, want)| got.abs_diff(*want)).max();
    assert!(worst <= Some(tolerance), "{name}: {worst:?} levels off");
    assert_eq!(image.pixels.len(), pixels.len(), "{name}");
}

#[test]
fn every_kind_of_file_has_pillows_pixels() {
    let mut counts = std::collections::BTreeMap::new();
    let mut image = Image { height: 1, width: 1, pixels: vec![77; 3] };
    for case in cases() {
        let bytes = bytes_of(&case.file);
        let format = Format::of(&bytes).unwrap_or_else(|| panic!("{}", case.name));
        let ending = case.name.rsplit('.').next().unwrap();
        assert!(format.endings().contains(&ending), "{}", case.name);
        decode_any(&bytes, &mut image).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let size = (case.height, case.width);
        assert_close(&case.name, &image, size, &bytes_of(&case.pixels), case.tolerance);
        let facts = inspect(&bytes).unwrap();
        let is_small_frame = case.name.contains("frame.gif");
        assert!(is_small_frame || (facts.height, facts.width) == size, "{}: {facts:?}", case.name);
        *counts.entry(format.to_string()).or_insert(0) += 1;
    }
    let least = [("BMP", 12), ("GIF", 8), ("PNG", 8), ("TIFF", 40), ("WebP", 15)];
    for (format, least) in least {
        assert!(counts[format] >= least, "{format}: {counts:?}");
    }
}

#[test]
fn headers_give_colours_and_bits() {
    use crate::inspect::Color;
    let facts = |name: &str| {
        let case = cases().into_iter().find(|case| case.name == name).unwrap();
        let facts = inspect(&bytes_of(&case.file)).unwrap();
        (facts.color, facts.bits)
    };
    for (name, color, bits) in [
        ("P.bmp", Color::Palette, 8),
        ("4.bmp", Color::Palette, 4),
        ("24-os2.bmp", Color::Rgb, 8),
        ("565.bmp", Color::Rgb, 5),
        ("P.gif", Color::Palette, 4),
        ("1-raw.tif", Color::Grey, 1),
        ("LA-raw.tif", Color::GreyAlpha, 8),
        ("RGBA-raw.tif", Color::Rgba, 8),
        ("CMYK-raw.tif", Color::Cmyk, 8),
        ("P-4.tif", Color::Palette, 4),
        ("RGB-16-big.tif", Color::Rgb, 16),
        ("big.tif", Color::Rgb, 8),
        ("lossy.webp", Color::Rgb, 8),
        ("lossless.webp", Color::Rgb, 8),
        ("lossless-alpha.webp", Color::Rgba, 8),
        ("lossy-alpha.webp", Color::Rgba, 8),
    ] {
        assert_eq!(facts(name), (color, bits), "{name}");
    }
}

/// Cut anywhere, a file is refused or, where only what follows the pixels is missing, whole; and no
/// decoder panics or takes long, whatever byte is changed.
#[test]
fn truncated_and_changed_files_are_images_or_errors() {
    let mut image = Image::default();
    for case in cases().iter().filter(|case| case.upright.is_none()) {
        let bytes = bytes_of(&case.file);
        let whole = bytes_of(&case.pixels);
        for len in 0..bytes.len() {
            if decode_any(&bytes[..len], &mut image).is_ok() {
                assert_close(&case.name, &image, (case.height, case.width), &whole, case.tolerance);
            }
        }
        for at in 0..bytes.len().min(400) {
            for flip in [0x01, 0x80, 0xFF] {
                let mut changed = bytes.clone();
                changed[at] ^= flip;
                let panicked = match decode_any(&changed, &mut image) {
                    Ok(()) => false,
                    Err(reason) => reason.to_string().contains("panicked"),
                };
                assert!(!panicked, "{}: byte {at} ^ {flip:#x}", case.name);
            }
        }
    }
}

#[test]
fn orientations_of_every_format_are_applied_or_ignored() {
    let dir = ScratchDir::new();
    let mut oriented = 0;
    for case in cases() {
        let Some(upright) = &case.upright else { continue };
        let path = dir.write(&case.name, &bytes_of(&case.file));
        let mut buffer = ReadBuffer::default();
        root::read_whole(&path, ExifMode::Ignore, &mut buffer).unwrap();
        let stored = bytes_of(&case.pixels);
        assert_close(&case.name, &buffer.decoded, (case.height, case.width), &stored, 0);
        root::read_whole(&path, ExifMode::Apply, &mut buffer).unwrap();
        let (size, pixels) = ((upright.height, upright.width), bytes_of(&upright.pixels));
        assert_close(&case.name, &buffer.decoded, size, &pixels, 0);
        assert_eq!(buffer.is_oriented(), !case.name.contains("exif-1."), "{}", case.name);
        oriented += 1;
    }
    assert_eq!(oriented, 24);
}

#[test]
fn huge_images_are_rejected_before_memory_is_allocated() {
    let mut image = Image::default();
    // Headers that promise 16,000 x 8,000 pixels, of four channels of 16 bits each.
    let gif = [b"GIF89a", &16_000u16.to_le_bytes()[..], &17_000u16.to_le_bytes(), &[0; 3]].concat();
    let mut bitmap = vec![0; 54];
    bitmap[..2].copy_from_slice(b"BM");
    bitmap[14] = 40;
    bitmap[18..22].copy_from_slice(&30_000i32.to_le_bytes());
    bitmap[26] = 1;
    bitmap[22..26].copy_from_slice(&30_000i32.to_le_bytes());
    bitmap[28] = 24;
    for bytes in [gif, bitmap] {
        let reason = decode_any(&bytes, &mut image).unwrap_err();
        assert!(matches!(reason, Reason::UnusableSize(_)), "{reason}");
    }
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, 11_000, 11_000);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Sixteen);
    let mut writer = encoder.write_header().unwrap();
    writer.write_chunk(png::chunk::IDAT, &[0x78, 0x9C]).unwrap();
    drop(writer);
    let reason = decode_any(&png, &mut image).unwrap_err();
    assert!(reason.to_string().contains("more than 512 MiB"), "{reason}");
    assert!(image.pixels.capacity() < 1 << 20);
}

#[test]
fn formats_that_cannot_be_decoded_are_named_with_a_remedy() {
    let mut image = Image::default();
    for (bytes, words) in [
        (&b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..], ["HEIC", "magick in.heic out.jpg"]),
        (b"\0\0\0\x18ftypmif1\0\0\0\0avifmiaf", ["AVIF", "magick in.avif out.jpg"]),
        (b"\xFF\x0A\x01\x02", ["JPEG XL", "djxl in.jxl out.jpg"]),
        (b"\0\0\0\x0CJXL \r\n\x87\n", ["JPEG XL", "djxl in.jxl out.jpg"]),
    ] {
        let reason = decode_any(bytes, &mut image).unwrap_err();
        assert!(matches!(reason, Reason::Unsupported(_)), "{reason}");
        let text = reason.to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }
}

#[test]
fn a_decoder_that_panics_is_an_error() {
    let mut image = Image { height: 1, width: 1, pixels: vec![1; 3] };
    let reason = guarded(Format::Gif, &mut image, |_| panic!("a defect")).unwrap_err();
    assert!(matches!(&reason, Reason::Damaged(text) if text.contains("GIF decoder panicked")));
    assert_eq!(image, Image::default());
}
