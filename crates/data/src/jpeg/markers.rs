//! Splits a file into segments.
//!
//! It is as tolerant as libjpeg: bytes between segments are skipped and counted, markers may be
//! padded with 0xFF, and markers without content may occur anywhere.

/// A marker and the content of its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment<'a> {
    pub(crate) marker: u8,
    /// Empty for markers without content.
    pub(crate) content: &'a [u8],
    /// Stray bytes before the marker.
    pub(crate) stray: usize,
}

/// Why there is no further segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentError {
    /// The file ends before the image.
    Ends,
    /// The length of the segment is invalid.
    Length(u8),
}

pub(crate) const END_OF_IMAGE: u8 = 0xD9;
pub(crate) const START_OF_SCAN: u8 = 0xDA;
pub(crate) const START_OF_IMAGE: u8 = 0xD8;

/// An iterator over segments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segments<'a> {
    rest: &'a [u8],
}

impl<'a> Segments<'a> {
    /// Starts after the start-of-image marker; `None` if there is none.
    pub(crate) fn of(bytes: &'a [u8]) -> Option<Segments<'a>> {
        Some(Segments { rest: bytes.strip_prefix(&[0xFF, START_OF_IMAGE])? })
    }

    /// Starts anywhere in a file.
    pub(crate) fn at(rest: &'a [u8]) -> Segments<'a> {
        Segments { rest }
    }

    /// The data after the last segment.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next segment.
    pub(crate) fn next(&mut self) -> Result<Segment<'a>, SegmentError> {
        let (marker, stray) = self.marker().ok_or(SegmentError::Ends)?;
        // Restart markers, TEM, and the start and end of the image have no content.
        if matches!(marker, 0x01 | 0xD0..=0xD9) {
            return Ok(Segment { marker, content: &[], stray });
        }
        let (&length, rest) = self.rest.split_first_chunk::<2>().ok_or(SegmentError::Ends)?;
        let length = usize::from(u16::from_be_bytes(length));
        let is_application = matches!(marker, 0xE0..=0xEF | 0xFE);
        if length < 2 && !is_application {
            return Err(SegmentError::Length(marker));
        }
        let (content, rest) =
            rest.split_at_checked(length.saturating_sub(2)).ok_or(SegmentError::Ends)?;
        self.rest = rest;
        Ok(Segment { marker, content, stray })
    }

    /// Reads the next marker. Returns it, and the number of bytes before it that are neither
    /// padding nor part of it.
    fn marker(&mut self) -> Option<(u8, usize)> {
        let mut stray = 0;
        loop {
            let at = memchr::memchr(0xFF, self.rest)?;
            stray += at;
            let after = &self.rest[at..];
            let padding = after.iter().position(|&byte| byte != 0xFF)?;
            self.rest = &after[padding + 1..];
            match after[padding] {
                0 => stray += 2,
                marker => return Some((marker, stray)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_padding_and_strays() {
        let bytes = [
            &[0xFF, 0xD8, 0xFF, 0xFF, 0xE0, 0, 3, 7][..],
            &[1, 2, 0xFF, 0, 3, 0xFF, 0xDB, 0, 2],
            &[0xFF, 0xE1, 0, 0, 9, 0xFF, 0xD9, 5],
        ]
        .concat();
        let mut segments = Segments::of(&bytes).unwrap();
        let mut next = || segments.next().map(|s| (s.marker, s.content.to_vec(), s.stray));
        assert_eq!(next(), Ok((0xE0, vec![7], 0)));
        assert_eq!(next(), Ok((0xDB, vec![], 5)));
        assert_eq!(next(), Ok((0xE1, vec![], 0)));
        assert_eq!(next(), Ok((0xD9, vec![], 1)));
        assert_eq!(next(), Err(SegmentError::Ends));
        assert_eq!(Segments::at(&[0xFF, 0xC4, 0, 1]).next(), Err(SegmentError::Length(0xC4)));
        assert_eq!(Segments::at(&[0xFF, 0xC4, 0, 3]).next(), Err(SegmentError::Ends));
        assert!(Segments::of(&[0xFF, 0xD9]).is_none());
    }
}
