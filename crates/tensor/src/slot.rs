//! A range of a device's memory.

use crate::planner::PlannerId;
use crate::{DType, Planner, Shape};
use std::ops::Range;

/// The offset of a tensor in its device's memory, its shape and its element type. A slot is a plain
/// description: it neither owns the memory nor counts references to it. It remembers which planner
/// laid it out: a device refuses slots of several planners, whose ranges may overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    offset: usize,
    shape: Shape,
    dtype: DType,
    planner: PlannerId,
}

impl Slot {
    pub(crate) fn new(offset: usize, dtype: DType, shape: Shape, planner: PlannerId) -> Slot {
        debug_assert_eq!(offset % dtype.size(), 0);
        Slot { offset, shape, dtype, planner }
    }

    pub(crate) fn planner(&self) -> PlannerId {
        self.planner
    }

    /// Its shape.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Its element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Its number of elements.
    pub fn len(&self) -> usize {
        self.shape.len()
    }

    /// True if it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The range of its bytes, counted from the start of the device's memory.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.len() * self.dtype.size()
    }

    /// True if the two slots have a byte in common.
    pub fn overlaps(&self, other: &Slot) -> bool {
        let (a, b) = (self.range(), other.range());
        !a.is_empty() && !b.is_empty() && a.start < b.end && b.start < a.end
    }

    /// The same elements with another shape.
    ///
    /// # Panics
    /// If the number of elements differs.
    pub fn reshape(&self, shape: Shape) -> Slot {
        assert_eq!(self.len(), shape.len(), "{:?} cannot be reshaped to {shape:?}", self.shape);
        Slot { shape, ..*self }
    }

    /// The slot of the `shape.len()` consecutive elements from element `start` of this slot on.
    ///
    /// # Panics
    /// If they exceed this slot.
    pub fn part(&self, start: usize, shape: Shape) -> Slot {
        let end = start.checked_add(shape.len());
        let fits = end.is_some_and(|end| end <= self.len());
        assert!(fits, "{} elements from {start} on exceed a slot of {}", shape.len(), self.len());
        Slot { offset: self.offset + start * self.dtype.size(), shape, ..*self }
    }

    /// The number of bytes that a planner reserves for it: a multiple of [`Planner::ALIGN`].
    pub(crate) fn padded_bytes(&self) -> usize {
        (self.len() * self.dtype.size()).next_multiple_of(Planner::ALIGN)
    }
}
