//! Dropout one unit at a time: the specification.

use super::{Geometry, Scaling};
use ndarray::Array1;
use random::{Purpose, philox};

/// Training: dropped units are 0, the others x, or x / (1 - drop) if inverted.
pub fn forward(g: &Geometry, seed: u64, step: u32, x: &Array1<f32>) -> Array1<f32> {
    Array1::from_shape_fn(x.len(), |unit| {
        let i = g.number(unit);
        let counter = [(i / 4) as u32, g.layer, step, Purpose::Dropout.code()];
        let word = philox::block(philox::key(seed), counter)[i % 4];
        let kept = philox::unit(word) >= g.drop;
        match (kept, g.scaling) {
            (false, _) => 0.0,
            (true, Scaling::Paper) => x[unit],
            (true, Scaling::Inverted) => (f64::from(x[unit]) / (1.0 - f64::from(g.drop))) as f32,
        }
    })
}

/// Test time: (1 - drop) x, or x if inverted.
pub fn at_test(g: &Geometry, x: &Array1<f32>) -> Array1<f32> {
    match g.scaling {
        Scaling::Paper => x.mapv(|x| (f64::from(x) * (1.0 - f64::from(g.drop))) as f32),
        Scaling::Inverted => x.clone(),
    }
}
