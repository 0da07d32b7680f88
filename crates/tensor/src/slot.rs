//! A range of a device's memory.

use crate::{DType, Planner, Shape};
use std::ops::Range;

/// Where a value lies in its device's memory, and what it looks like: no lifetime, no count, no
/// data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    offset: usize,
    shape: Shape,
    dtype: DType,
}

impl Slot {
    pub(crate) fn new(offset: usize, dtype: DType, shape: Shape) -> Slot {
        debug_assert_eq!(offset % dtype.size(), 0);
        Slot { offset, shape, dtype }
    }

    /// Its shape.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Its element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// How many elements.
    pub fn len(&self) -> usize {
        self.shape.len()
    }

    /// True if it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its bytes, counted from the start of the device's memory.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.len() * self.dtype.size()
    }

    /// True if the two share a byte.
    pub fn overlaps(&self, other: &Slot) -> bool {
        let (a, b) = (self.range(), other.range());
        !a.is_empty() && !b.is_empty() && a.start < b.end && b.start < a.end
    }

    /// The same elements under another shape.
    ///
    /// # Panics
    /// If the number of elements differs.
    pub fn reshape(&self, shape: Shape) -> Slot {
        assert_eq!(self.len(), shape.len(), "{:?} cannot be seen as {shape:?}", self.shape);
        Slot { shape, ..*self }
    }

    /// A run of `shape.len()` elements that starts at element `start` of this slot.
    ///
    /// # Panics
    /// If the run does not lie inside.
    pub fn part(&self, start: usize, shape: Shape) -> Slot {
        let end = start.checked_add(shape.len());
        let fits = end.is_some_and(|end| end <= self.len());
        assert!(fits, "{} elements from {start} on of a slot of {}", shape.len(), self.len());
        Slot { offset: self.offset + start * self.dtype.size(), shape, dtype: self.dtype }
    }

    /// The bytes a planner sets aside for it.
    pub(crate) fn padded_bytes(&self) -> usize {
        (self.len() * self.dtype.size()).next_multiple_of(Planner::ALIGN)
    }
}
