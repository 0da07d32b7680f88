//! The extent of a value along each dimension.

use std::fmt;

/// Up to four extents, outermost first. Activations are `[images, height, width, channels]` or
/// `[images, features]`; filters are `[filters, height, width, channels]`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    dims: [usize; Shape::MAX_RANK],
    rank: usize,
}

impl Shape {
    /// The most dimensions a shape has.
    pub const MAX_RANK: usize = 4;

    /// The extents, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank]
    }

    /// How many elements.
    ///
    /// # Panics
    /// If there are more than 2^64: bounds on what is planned keep them far below.
    pub fn len(&self) -> usize {
        let product = |all: usize, &extent: &usize| all.checked_mul(extent);
        match self.dims().iter().try_fold(1, product) {
            Some(elements) => elements,
            None if self.dims().contains(&0) => 0,
            None => panic!("a shape of {self} has more elements than can be counted"),
        }
    }

    /// True if some extent is zero.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same value with `n` of the outermost dimension, say `n` images.
    ///
    /// # Panics
    /// If the shape has no dimension.
    pub fn with_outer(mut self, n: usize) -> Shape {
        assert!(self.rank > 0, "a scalar has no outermost dimension");
        self.dims[0] = n;
        self
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    /// # Panics
    /// If there are more than four extents.
    fn from(extents: [usize; N]) -> Shape {
        assert!(N <= Shape::MAX_RANK, "a shape of {N} dimensions");
        let mut dims = [1; Shape::MAX_RANK];
        dims[..N].copy_from_slice(&extents);
        Shape { dims, rank: N }
    }
}

/// `55 x 55 x 96`
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: Vec<String> = self.dims().iter().map(usize::to_string).collect();
        f.pad(&text.join(" x "))
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_like_the_paper() {
        let conv1 = Shape::from([55, 55, 96]);
        assert_eq!(conv1.to_string(), "55 x 55 x 96");
        assert_eq!(conv1.len(), 290_400);
        assert_eq!(Shape::from([]).len(), 1);
    }

    #[test]
    #[should_panic(expected = "more elements than can be counted")]
    fn elements_are_counted_or_refused() {
        assert_eq!(Shape::from([1 << 60, 1 << 60, 0]).len(), 0);
        let _ = Shape::from([1 << 48, 55, 55, 96]).len();
    }
}
