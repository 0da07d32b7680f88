//! The matrix products of a layer on a GPU.

use crate::step_part::{Pass, Product, Taps};
use kernels::conv::folds_on_gpu;
use kernels::gemm::gpu_tiles;
use layers::{Conv, PlannedRow, Row, Spec};
use tensor::Slot;

/// The products of a convolution's or linear layer's pass; `first`: without an input gradient.
/// `window` is a filter's height and width, 0 for a linear layer.
pub fn products(layer: &Layer, pass: Pass, first: bool) -> Vec<Product> {
    let folded = layer.folded();
    let floats = folded.map_or(0, |folded| images_len(&folded));
    let Layer { images, inputs, outputs, window, stride, groups } = folded.unwrap_or(*layer);
    let is_wide = |extents: &[usize]| extents.iter().all(|extent| extent.is_multiple_of(4));
    let names = match window {
        0 => ["linear_forward", "linear_backward_input", "linear_backward_weights"],
        _ => ["conv_forward", "conv_backward_input", "conv_backward_filter"],
    };
    let [height, width, channels] = inputs;
    let [down, across, filters] = outputs;
    let (channels, filters) = (channels / groups, filters / groups);
    let taps = (window * window).max(1);
    let (depth, pixels) = (taps * channels, images * down * across);
    let part = |extent: usize| extent.div_ceil(stride);
    let block = gpu_tiles("conv_forward", [1; 3], 1).map_or(1, |tiles| tiles.panel);
    let taps = |channels: usize, map: [usize; 2]| {
        let in_blocks = window > 1 && stride == 1 && channels.is_multiple_of(block);
        in_blocks.then_some(Taps { side: window, map })
    };
    let forward = Product {
        kernel: names[0],
        sizes: [pixels, filters, depth],
        count: groups,
        wide: is_wide(&[channels, depth]),
        taps: taps(channels, [down, across]),
        folded: floats,
    };
    let gradient = Product {
        kernel: names[1],
        sizes: [
            images * part(height) * part(width),
            channels,
            part(window.max(1)) * part(window.max(1)) * filters,
        ],
        count: groups * stride * stride,
        wide: is_wide(&[channels, filters]),
        taps: taps(filters, [height, width]),
        folded: 0,
    };
    let weights = Product {
        kernel: names[2],
        sizes: [filters, depth, pixels],
        count: groups,
        wide: is_wide(&[channels, filters]),
        taps: taps(channels, [down, across]),
        folded: floats,
    };
    match (pass, first) {
        (Pass::Forward, _) => vec![forward],
        (Pass::Backward, true) => vec![weights],
        (Pass::Backward, false) => vec![gradient, weights],
    }
}

/// A convolution, or a linear layer as one of a single pixel.
#[derive(Clone, Copy, Debug)]
pub struct Layer {
    /// Images of a batch.
    pub images: usize,
    /// Height, width and channels of an input.
    pub inputs: [usize; 3],
    /// Of an output.
    pub outputs: [usize; 3],
    /// Side of the window; 0 for a linear layer.
    pub window: usize,
    /// Distance of windows.
    pub stride: usize,
    /// Groups of channels.
    pub groups: usize,
}

fn images_len(layer: &Layer) -> usize {
    layer.images * layer.inputs.iter().product::<usize>()
}

impl Layer {
    /// The convolution of folded images that our kernels compute instead.
    fn folded(&self) -> Option<Layer> {
        let Layer { images, inputs: [_, _, channels], outputs, stride, groups, .. } = *self;
        let folds = folds_on_gpu(channels, groups, stride);
        let window = self.window.div_ceil(stride);
        let [height, width] = [outputs[0], outputs[1]].map(|extent| extent + window - 1);
        let inputs = [height, width, stride * stride * channels];
        folds.then_some(Layer { images, inputs, outputs, window, stride: 1, groups })
    }

    /// The layer of a row, if it is a convolution or linear layer.
    pub fn of(spec: &Spec, row: &PlannedRow, images: usize) -> Option<Layer> {
        let map = |slot: Slot| match *slot.shape().dims() {
            [_, height, width, channels] => [height, width, channels],
            _ => [1, 1, slot.len() / images],
        };
        let (inputs, outputs) = (map(row.input()), map(row.output()));
        let flat = |[height, width, channels]: [usize; 3]| [1, 1, height * width * channels];
        spec.rows.iter().find_map(|other| match other {
            Row::Conv(conv) if conv.name == row.name() => {
                let Conv { window, stride, groups, .. } = *conv;
                Some(Layer { images, inputs, outputs, window, stride, groups })
            }
            Row::Linear(linear) if linear.name == row.name() => {
                let (inputs, outputs) = (flat(inputs), flat(outputs));
                Some(Layer { images, inputs, outputs, window: 0, stride: 1, groups: 1 })
            }
            _ => None,
        })
    }
}
