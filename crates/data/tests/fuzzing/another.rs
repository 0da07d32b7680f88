//! A second decoder of JPEGs, to compare ours with: the crate `jpeg-decoder`, which reads scans of
//! all kinds right, and rounds in other places.

use jpeg_decoder::{ColorTransform, Decoder, PixelFormat};

/// Height, width, and the channels as they are stored, if there are one or three.
pub fn decode(bytes: &[u8]) -> Option<(usize, usize, Vec<u8>)> {
    let mut decoder = Decoder::new(bytes);
    decoder.read_info().ok()?;
    let info = decoder.info()?;
    match info.pixel_format {
        PixelFormat::L8 => (),
        PixelFormat::RGB24 => decoder.set_color_transform(ColorTransform::RGB), // as they are
        _ => return None,
    }
    let pixels = decoder.decode().ok()?;
    Some((info.height.into(), info.width.into(), pixels))
}
