//! cuDNN's convolutions, as algorithms beside our own.

use super::Geometry;
use tensor::cudnn::{Convolution, Pass};
use tensor::tune::GpuAlgorithm;
use tensor::{Cuda, Result, Slot};

/// The convolution for cuDNN, whose padding is equal on opposite sides: `None` if that would change
/// the output's size. If it does not, the additional zeros below and to the right have no effect.
fn convolution(g: &Geometry) -> Option<Convolution> {
    let convolution = Convolution {
        images: g.images,
        image: [g.height, g.width],
        channels: g.channels,
        filters: g.filters,
        window: [g.window.0, g.window.1],
        stride: g.stride,
        pad: [g.pad.top, g.pad.left],
        groups: g.groups,
    };
    let same = convolution.outputs() == Some([g.out_height(), g.out_width()]);
    same.then_some(convolution)
}

/// A pass through cuDNN on x, w and y or their gradients, with this algorithm or the best one;
/// false if cuDNN is not in use or does not support it.
pub(super) fn convolve(
    cuda: &mut Cuda,
    pass: Pass,
    g: &Geometry,
    algorithm: Option<usize>,
    slots: [Slot; 3],
) -> Result<bool> {
    match convolution(g) {
        Some(convolution) => cuda.convolve(pass, &convolution, algorithm, slots),
        None => Ok(false),
    }
}

/// Adds cuDNN's algorithms for a pass on x, w and y to our own.
pub(super) fn with_algorithms(
    cuda: &mut Cuda,
    mut algorithms: Vec<GpuAlgorithm>,
    pass: Pass,
    g: &Geometry,
    slots: [Slot; 3],
) -> Result<Vec<GpuAlgorithm>> {
    if let Some(convolution) = convolution(g) {
        let numbers = cuda.convolve_algorithms(pass, &convolution, slots)?;
        algorithms.extend(numbers.into_iter().map(|number| GpuAlgorithm::Cudnn(Some(number))));
    }
    Ok(algorithms)
}
