//! Segments as an argument of kernels that process all of them in one launch; `segments.cuh` reads
//! it.

use crate::sgd::Segment;
use tensor::Grid;

/// The segments of a launch at most: their table is a kernel argument, which all together take at
/// most 4096 bytes.
pub(crate) const MOST_SEGMENTS: usize = 64;

/// The words of a segment: its first element, its length, the number of the first thread block
/// that works on it, and its index among all segments.
const WORDS: usize = 4;

/// For each launch its table and its grid: one launch for every [`MOST_SEGMENTS`] segments that
/// are not empty. A thread processes four elements.
pub(crate) fn launches(
    segments: &[Segment],
) -> impl Iterator<Item = ([u64; WORDS * MOST_SEGMENTS], Grid)> {
    let mut left = segments.iter().enumerate().filter(|(_, segment)| segment.len > 0).peekable();
    std::iter::from_fn(move || {
        left.peek()?;
        let (mut table, mut blocks) = ([u64::MAX; WORDS * MOST_SEGMENTS], 0);
        for (words, (idx, segment)) in table.chunks_exact_mut(WORDS).zip(&mut left) {
            words.copy_from_slice(&[segment.start, segment.len, blocks, idx].map(|n| n as u64));
            blocks += segment.len.div_ceil(4 * Grid::THREADS as usize);
        }
        Some((table, Grid::of(blocks, Grid::THREADS)))
    })
}

/// Segments of odd lengths with gaps, for more than one launch, and the floats of their block:
/// shorter than, as long as and longer than what a thread and a thread block process.
#[cfg(test)]
pub(crate) fn odd_segments() -> (Vec<Segment>, usize) {
    let long = [1, 1023, 1024, 1025, 0, 4097, 3, 2049];
    let lens = long.into_iter().chain((0..MOST_SEGMENTS).map(|idx| 1 + idx % 7));
    let mut end = 0;
    let segments = lens.enumerate().map(|(idx, len)| {
        let start = end + idx % 3;
        end = start + len;
        Segment { start, len }
    });
    (segments.collect(), end + 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_holds_segments_that_are_not_empty() {
        let segment = |start: usize, len: usize| Segment { start, len };
        let segments = [segment(3, 1025), segment(1028, 0), segment(1030, 4), segment(1034, 1)];
        let launches: Vec<_> = launches(&segments).collect();
        let [(table, grid)] = &launches[..] else { panic!("{} launches", launches.len()) };
        assert_eq!(table[..12], [3, 1025, 0, 0, 1030, 4, 2, 2, 1034, 1, 3, 3]);
        assert!(table[12..].iter().all(|&word| word == u64::MAX));
        assert_eq!(*grid, Grid::of(4, Grid::THREADS));
    }

    #[test]
    fn more_segments_take_more_launches() {
        let count = |segments: usize| {
            let all: Vec<Segment> = (0..segments).map(|start| Segment { start, len: 1 }).collect();
            launches(&all).map(|(_, grid)| grid.blocks[0]).collect::<Vec<u32>>()
        };
        assert_eq!(count(0), []);
        assert_eq!(count(64), [64]);
        assert_eq!(count(65), [64, 1]);
        assert_eq!(count(130), [64, 64, 2]);
    }
}
