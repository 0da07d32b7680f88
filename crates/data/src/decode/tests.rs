use super::*;
use crate::scratch_dir::{ScratchDir, encoded};
use image::{DynamicImage, ImageFormat};

const IGNORE: ExifMode = ExifMode::Ignore;
const CMYK: &[u8] = include_bytes!("../../fixtures/cmyk.jpg");
const YCCK: &[u8] = include_bytes!("../../fixtures/ycck.jpg");
const PROGRESSIVE: &[u8] = include_bytes!("../../fixtures/progressive.jpg");

fn decoded(bytes: &[u8]) -> std::result::Result<Image, Reason> {
    let mut image = Image::default();
    decode(bytes, &mut image).map(|()| image)
}

/// An image in which all directions and channels differ.
fn ramp(height: u32, width: u32) -> DynamicImage {
    let color = |x: u32, y: u32| image::Rgb([(x * 9) as u8, (y * 11) as u8, ((x + y) * 5) as u8]);
    image::RgbImage::from_fn(width, height, color).into()
}

fn close(image: &Image, y: usize, x: usize, want: [u8; 3], tolerance: u8) {
    let got = image.pixel(y, x);
    let near = got.iter().zip(want).all(|(got, want)| got.abs_diff(want) <= tolerance);
    assert!(near, "({y}, {x}): {got:?} is not {want:?}");
}

/// Pixels as Pillow 13.0.0 reads them (fixtures/make.py).
#[test]
fn jpegs_that_are_not_plain_are_read_as_pillow_reads_them() {
    let places = [(0, 0), (3, 5), (8, 12), (15, 23)];
    let cmyk = [[255, 255, 255], [205, 210, 208], [114, 114, 114], [17, 21, 19]];
    let ycck = [[0, 134, 0], [0, 135, 0], [93, 107, 91], [175, 85, 175]];
    let progressive = [[0, 1, 0], [53, 44, 49], [121, 119, 120], [230, 224, 226]];
    for (bytes, pixels) in [(CMYK, cmyk), (YCCK, ycck), (PROGRESSIVE, progressive)] {
        let image = decoded(bytes).unwrap();
        assert_eq!((image.height, image.width), (16, 24));
        for ((y, x), want) in places.into_iter().zip(pixels) {
            close(&image, y, x, want, 0);
        }
    }
}

#[test]
fn a_jpeg_cut_anywhere_is_refused() {
    let plain = encoded(&ramp(16, 24), ImageFormat::Jpeg);
    for whole in [&plain, PROGRESSIVE, CMYK] {
        assert!(decoded(whole).is_ok());
        for length in 0..whole.len() {
            assert!(decoded(&whole[..length]).is_err(), "{length} of {} bytes", whole.len());
        }
    }
}

#[test]
fn a_png_cut_anywhere_before_its_last_chunk_is_refused() {
    let whole = encoded(&ramp(16, 24), ImageFormat::Png);
    for length in 0..whole.len() - 12 {
        assert!(decoded(&whole[..length]).is_err(), "{length} of {} bytes", whole.len());
    }
}

#[test]
fn grey_is_spread_over_the_channels() {
    let grey = DynamicImage::ImageLuma8(ramp(16, 24).into_luma8());
    for (format, tolerance) in [(ImageFormat::Jpeg, 4), (ImageFormat::Png, 0)] {
        let image = decoded(&encoded(&grey, format)).unwrap();
        for (y, x) in [(0, 0), (9, 20)] {
            let level = grey.to_luma8().get_pixel(x as u32, y as u32).0[0];
            close(&image, y, x, [level; 3], tolerance);
        }
    }
}

#[test]
fn every_kind_of_png_becomes_rgb() {
    let color = ramp(16, 24);
    let bits_16 = DynamicImage::ImageRgb16(color.to_rgb16());
    let clear = DynamicImage::ImageRgba8(image::RgbaImage::from_fn(24, 16, |x, y| {
        let image::Rgb([r, g, b]) = *color.as_rgb8().unwrap().get_pixel(x, y);
        image::Rgba([r, g, b, (x * 10) as u8])
    }));
    for kind in [&color, &bits_16, &clear] {
        let image = decoded(&encoded(kind, ImageFormat::Png)).unwrap();
        assert_eq!(image.pixels, color.to_rgb8().into_raw(), "{:?}", kind.color());
    }
    let grey_16 = DynamicImage::ImageLuma16(color.to_luma16());
    let image = decoded(&encoded(&grey_16, ImageFormat::Png)).unwrap();
    assert!(image.pixels.as_chunks::<3>().0.iter().all(|[r, g, b]| r == g && g == b));
}

#[test]
fn a_palette_is_looked_up() {
    // Two pixels of two colours; checksums by hand would say nothing more, so the encoder
    // underneath writes them.
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 2, 1);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(vec![1, 2, 3, 200, 100, 50]);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[1, 0]).unwrap();
    drop(writer);
    assert_eq!(decoded(&bytes).unwrap().pixels, [200, 100, 50, 1, 2, 3]);
}

#[test]
fn the_format_is_recognised_by_content_not_by_name() {
    let folder = ScratchDir::new();
    let path = folder.png("photo.jpg", (20, 30), [10, 20, 30]);
    let mut buffer = ReadBuffer::default();
    let (pixels, enlarged) = read_square(&path, 16, IGNORE, &mut buffer).unwrap();
    assert_eq!((pixels, enlarged), (&[10, 20, 30].repeat(256)[..], false));
    let (pixels, enlarged) = read_square(&path, 24, IGNORE, &mut buffer).unwrap();
    assert_eq!((pixels.len(), enlarged), (24 * 24 * 3, true));
}

#[test]
fn errors_describe_files_that_are_not_images() {
    for (bytes, name) in [
        (&b""[..], "empty"),
        (b"hello", "a text"),
        (b" <html></html>", "a web page"),
        (b"GIF89a0\x000\0\0\0\0", "incomplete GIF"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "incomplete WebP"),
        (b"BM\x01\x02", "unknown format"),
        (b"II*\0", "incomplete TIFF"),
        (&[0, 1, 2, 3], "unknown format"),
        (&[0xFF, 0xD8, 0xFF, 0xE0, 9], "incomplete JPEG"),
        (b"\x89PNG\r\n\x1a\nnonsense", "incomplete PNG"),
    ] {
        let reason = decoded(bytes).unwrap_err().to_string();
        assert!(reason.contains(name), "{reason}");
    }
}

#[test]
fn an_error_holds_path_reason_and_remedy() {
    let folder = ScratchDir::new();
    let path = folder.write("a.jpg", b"no image");
    let mut buffer = ReadBuffer::default();
    let message = read_square(&path, 8, IGNORE, &mut buffer).unwrap_err().to_string();
    assert!(message.starts_with(&path.display().to_string()), "{message}");
    assert!(message.contains("a text") && message.ends_with("or remove it"), "{message}");
    let gone = read_square(&folder.path().join("b.jpg"), 8, IGNORE, &mut buffer).unwrap_err();
    assert!(gone.to_string().contains("No such file"), "{gone}");
}

/// A header that promises 65,500 x 65,500 pixels, and a strip that would grow to more than memory
/// holds.
#[test]
fn decompression_bombs_are_rejected_before_memory_is_allocated() {
    let mut huge = encoded(&ramp(16, 24), ImageFormat::Jpeg);
    let frame = huge.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    huge[frame + 5..frame + 9].copy_from_slice(&[0xFF, 0xDC, 0xFF, 0xDC]);
    assert!(decoded(&huge).is_err());
    huge[frame + 5..frame + 9].copy_from_slice(&[0x2B, 0x2B, 0x2B, 0x2B]);
    let reason = decoded(&huge).unwrap_err().to_string();
    assert!(reason.contains("bytes cannot hold 11051 x 11051 pixels"), "{reason}");
    let folder = ScratchDir::new();
    let path = folder.png("strip.png", (1, 9000), [1, 2, 3]);
    let error = read_square(&path, 256, IGNORE, &mut ReadBuffer::default()).unwrap_err();
    assert!(error.to_string().contains("9000 x 1"), "{error}");
}
