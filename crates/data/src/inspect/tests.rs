use super::*;
use crate::scratch_dir::encoded;
use image::{DynamicImage, ImageFormat};
use proptest::prelude::*;

/// TIFF data with one directory: tags, types, counts, values.
pub(crate) fn tiff(is_little: bool, entries: &[(u16, u16, u32, u16)]) -> Vec<u8> {
    let short = |n: u16| if is_little { n.to_le_bytes() } else { n.to_be_bytes() };
    let word = |n: u32| if is_little { n.to_le_bytes() } else { n.to_be_bytes() };
    let mut bytes = if is_little { b"II".to_vec() } else { b"MM".to_vec() };
    bytes.extend(short(42));
    bytes.extend(word(8));
    bytes.extend(short(entries.len() as u16));
    for &(tag, kind, count, value) in entries {
        bytes.extend(short(tag).into_iter().chain(short(kind)));
        bytes.extend(word(count));
        bytes.extend(short(value).into_iter().chain([0, 0]));
    }
    bytes
}

/// A JPEG with an EXIF segment behind its first marker.
pub(crate) fn with_exif(jpeg: &[u8], tiff: &[u8]) -> Vec<u8> {
    let len = (2 + 6 + tiff.len()) as u16;
    let head = [&[0xFF, 0xD8, 0xFF, 0xE1][..], &len.to_be_bytes(), b"Exif\0\0", tiff];
    [&head.concat(), &jpeg[2..]].concat()
}

#[test]
fn headers_of_every_kind() {
    let rgb = DynamicImage::new_rgb8(24, 16);
    let facts = |image: &DynamicImage, format| inspect(&encoded(image, format)).unwrap();
    for (image, color, bits) in [
        (rgb.clone(), Color::Rgb, 8),
        (rgb.to_luma8().into(), Color::Grey, 8),
        (rgb.to_luma_alpha8().into(), Color::GreyAlpha, 8),
        (rgb.to_rgba8().into(), Color::Rgba, 8),
        (rgb.to_rgb16().into(), Color::Rgb, 16),
    ] {
        let (format, exif) = (Format::Png, Exif::Absent);
        let expected = ImageHeader { format, height: 16, width: 24, color, bits, exif };
        assert_eq!(facts(&image, ImageFormat::Png), expected);
    }
    let jpeg = facts(&rgb, ImageFormat::Jpeg);
    assert_eq!((jpeg.format, jpeg.height, jpeg.width, jpeg.bits), (Format::Jpeg, 16, 24, 8));
    assert_eq!(facts(&rgb.to_luma8().into(), ImageFormat::Jpeg).color, Color::Grey);
    for fixture in
        [&include_bytes!("../../fixtures/cmyk.jpg")[..], include_bytes!("../../fixtures/ycck.jpg")]
    {
        assert_eq!(inspect(fixture).unwrap().color, Color::Cmyk);
    }
    let progressive = inspect(include_bytes!("../../fixtures/progressive.jpg")).unwrap();
    assert_eq!((progressive.color, progressive.width), (Color::Rgb, 24));
}

#[test]
fn orientation_in_both_byte_orders_and_both_formats() {
    let image = DynamicImage::new_rgb8(8, 8);
    let jpeg = encoded(&image, ImageFormat::Jpeg);
    for is_little in [false, true] {
        for value in 1..=8 {
            let tiff = tiff(is_little, &[(0x010F, 2, 4, 0), (0x0112, 3, 1, value)]);
            let facts = inspect(&with_exif(&jpeg, &tiff)).unwrap();
            assert_eq!(facts.exif, Exif::Orientation(value as u8));
        }
    }
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 1, 1);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().unwrap();
    writer.write_chunk(png::chunk::eXIf, &tiff(true, &[(0x0112, 3, 1, 6)])).unwrap();
    writer.write_image_data(&[1, 2, 3]).unwrap();
    writer.finish().unwrap();
    assert_eq!(inspect(&bytes).unwrap().exif, Exif::Orientation(6));
}

#[test]
fn corrupt_exif_is_reported() {
    let short = tiff(true, &[(0x0112, 3, 1, 6)]);
    for (bytes, reason) in [
        (&b""[..], "not TIFF data"),
        (b"Exif", "not TIFF data"),
        (b"II*\0\x08", "its header is truncated"),
        (b"MM\0*\xFF\xFF\xFF\xFF", "out of range"),
        (&short[..9], "out of range"),
        (&short[..10], "its directory is truncated"),
        (&short[..19], "its directory is truncated"),
        (&tiff(true, &[(0x0112, 3, 1, 9)]), "1 to 8"),
        (&tiff(true, &[(0x0112, 4, 1, 6)]), "1 to 8"),
        (&tiff(false, &[(0x0112, 3, 2, 6)]), "1 to 8"),
    ] {
        let Exif::Corrupt(said) = Exif::of(bytes) else { panic!("{bytes:?}") };
        assert!(said.contains(reason), "{said}");
    }
    assert_eq!(Exif::of(&tiff(false, &[(0x010F, 2, 4, 0)])), Exif::Absent);
}

proptest! {
    #[test]
    fn any_bytes_give_a_header_or_an_error(start in 0usize..4, tail: Vec<u8>) {
        let starts = [&b""[..], &[0xFF, 0xD8, 0xFF, 0xE1, 0, 40], b"\x89PNG\r\n\x1a\n", b"II*\0"];
        let bytes = [starts[start], &tail].concat();
        let _ = inspect(&bytes);
        let _ = Exif::of(&bytes);
    }
}
