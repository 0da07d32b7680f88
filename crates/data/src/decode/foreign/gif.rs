//! The first frame of a GIF as Pillow shows it: on a canvas of the transparent colour, or of colour
//! 0 if there is none; transparent pixels keep their palette colour.

use super::{MAX_MEMORY, Reason, check_size, too_large};
use crate::formats::Format;
use augment::Image;
use gif::{ColorOutput, DecodeOptions, DecodingError, MemoryLimit};
use std::io::Cursor;
use std::num::NonZeroU64;

pub(super) fn decode(bytes: &[u8], into: &mut Image) -> Result<(), Reason> {
    let reason = |error: DecodingError| Reason::Damaged(format!("incomplete GIF ({error})"));
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    let most = NonZeroU64::new(MAX_MEMORY).expect("not zero");
    options.set_memory_limit(MemoryLimit::Bytes(most));
    let mut decoder = options.read_info(Cursor::new(bytes)).map_err(reason)?;
    let screen = (usize::from(decoder.height()), usize::from(decoder.width()));
    let frame = decoder.next_frame_info().map_err(reason)?;
    let frame = frame.ok_or_else(|| Reason::Damaged("a GIF without an image".to_owned()))?;
    let [top, left, rows, columns] =
        [frame.top, frame.left, frame.height, frame.width].map(usize::from);
    let background = frame.transparent.unwrap_or(0);
    // A frame that exceeds the screen enlarges it.
    let (height, width) = (screen.0.max(top + rows), screen.1.max(left + columns));
    check_size(height, width)?;
    check_size(rows, columns)?;
    if decoder.buffer_size() as u64 > MAX_MEMORY {
        return Err(too_large(Format::Gif));
    }
    let mut indices = vec![0; decoder.buffer_size()];
    decoder.read_into_buffer(&mut indices).map_err(reason)?;
    let palette = decoder.palette().map_err(reason)?;
    let mut colors = [[0; 3]; 256];
    colors.iter_mut().zip(palette.as_chunks().0).for_each(|(to, color)| *to = *color);

    into.reshape(height, width);
    let to = into.pixels.as_chunks_mut::<3>().0;
    if (rows, columns) != (height, width) {
        to.fill(colors[usize::from(background)]);
    }
    for (row, from) in indices.chunks_exact(columns).enumerate() {
        let to = &mut to[(top + row) * width + left..][..columns];
        to.iter_mut().zip(from).for_each(|(to, &index)| *to = colors[usize::from(index)]);
    }
    Ok(())
}
