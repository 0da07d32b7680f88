//! Reproducible inputs.

use ndarray::{Array, Dimension, ShapeBuilder};
use random::{Purpose, Stream};

/// Values drawn from N(0, 1), rounded to f32; a function of seed and number of elements.
pub fn random_array<D: Dimension, S: ShapeBuilder<Dim = D>>(seed: u64, shape: S) -> Array<f32, D> {
    let mut draws = Stream::new(seed, Purpose::Test, 0, 0);
    Array::from_shape_simple_fn(shape, || draws.normal())
}

/// The same values in f64, for references.
pub fn wide<D: Dimension>(array: &Array<f32, D>) -> Array<f64, D> {
    array.mapv(f64::from)
}

/// Values that differ from each other by a hundredth or more, so that there are no near ties. In
/// random order, evenly spaced around zero but not including it.
pub fn distinct_array<D: Dimension, S: ShapeBuilder<Dim = D>>(
    seed: u64,
    shape: S,
) -> Array<f32, D> {
    let mut array = Array::zeros(shape);
    let len = array.len();
    let order = random::Permutation::new(seed, 0, len as u64);
    for (idx, value) in array.iter_mut().enumerate() {
        *value = (order.at(idx as u64) as f32 - (len / 2) as f32 + 0.5) * 0.01;
    }
    array
}
