//! Crops of raw pixels, straight from a file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Rows are fetched so many bytes at a time: few enough to be copied out of the cache next to the
/// core, many enough that the calls cost little.
const FETCH: usize = 32 << 10;

/// Reads the crop of `size` (height, width) at `place` (row, column) of an image of `whole`
/// (height, width) pixels, whose pixels start at byte `offset`. No row outside the crop is read.
pub(super) fn read_crop(
    file: &File,
    offset: u64,
    whole: (usize, usize),
    place: (usize, usize),
    size: (usize, usize),
    into: &mut [u8],
    buffer: &mut Vec<u8>,
) -> io::Result<()> {
    let inside = place.0 + size.0 <= whole.0 && place.1 + size.1 <= whole.1;
    assert!(inside, "a crop of {size:?} pixels at {place:?} leaves an image of {whole:?}");
    let (row, wanted) = (whole.1 * 3, size.1 * 3);
    assert_eq!(into.len(), size.0 * wanted, "a crop of {size:?} pixels");
    if wanted == row {
        return file.read_exact_at(into, offset + (place.0 * row) as u64);
    }
    let rows_at_once = (FETCH / row).max(1);
    // From the first wanted byte to the last, without the margins before and after.
    let mut at = offset + (place.0 * row + place.1 * 3) as u64;
    for part in into.chunks_mut(rows_at_once * wanted) {
        let rows = part.len() / wanted;
        buffer.resize((rows - 1) * row + wanted, 0);
        file.read_exact_at(buffer, at)?;
        for (to, from) in part.chunks_exact_mut(wanted).zip(buffer.chunks(row)) {
            to.copy_from_slice(&from[..wanted]);
        }
        at += (rows * row) as u64;
    }
    Ok(())
}
