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
    pub fn len(&self) -> usize {
        self.dims().iter().product()
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
}
