//! Inputs that are the same on every run.

use ndarray::{Array, Dimension, ShapeBuilder};
use random::{Purpose, Stream};

/// Draws from N(0, 1), rounded to f32; the same for the same seed and number of elements.
pub fn random_array<D: Dimension, S: ShapeBuilder<Dim = D>>(seed: u64, shape: S) -> Array<f32, D> {
    let mut draws = Stream::new(seed, Purpose::Test, 0, 0);
    Array::from_shape_simple_fn(shape, || draws.normal())
}

/// In f64, as references compute.
pub fn wide<D: Dimension>(array: &Array<f32, D>) -> Array<f64, D> {
    array.mapv(f64::from)
}

/// All elements differ from each other, by a hundredth or more: nothing lies near a tie. In random
/// order, evenly spaced around zero but never on it.
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
