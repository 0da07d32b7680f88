//! A convolution of arrays of ndarray: `cargo run --example conv_ndarray --features ndarray`
//!
//! The shapes of arrays are checked when they are copied to a device: channels come last, in images
//! `[images, height, width, channels]` and in filters `[filters, height, width, channels]`.

use alexnet::kernels::conv::{self, Algorithm, Geometry, Pad};
use alexnet::kernels::operands::Forward;
use alexnet::ndarray::{Array1, Array4};
use alexnet::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A vertical edge: dark on the left, bright on the right.
    let images = Array4::from_shape_fn((1, 6, 8, 1), |(_, _, x, _)| if x < 4 { 0.0 } else { 1.0 });
    // Sobel's two filters: horizontal and vertical differences.
    let sobel = [-1.0, 0.0, 1.0, -2.0, 0.0, 2.0, -1.0, 0.0, 1.0f32];
    let filters = Array4::from_shape_fn((2, 3, 3, 1), |(filter, y, x, _)| {
        if filter == 0 { sobel[3 * y + x] } else { sobel[3 * x + y] }
    });

    let geometry = Geometry {
        images: 1,
        height: 6,
        width: 8,
        channels: 1,
        filters: 2,
        window: (3, 3),
        stride: 1,
        pad: Pad::none(),
        groups: 1,
        relu: false,
        algorithm: Algorithm::Direct,
    };
    let mut device = Device::cpu(1);
    let mut planner = Planner::new();
    let mut claim = |shape: Shape| planner.claim(DType::F32, shape);
    let operands = Forward {
        x: claim(geometry.in_shape()),
        w: claim(geometry.filter_shape()),
        b: claim(Shape::from([2])),
        y: claim(geometry.out_shape()),
        scratch: claim(Shape::from([geometry.scratch(device.target())])),
    };
    device.reserve(planner.total())?;

    device.upload_array(operands.x, images.view())?;
    device.upload_array(operands.w, filters.view())?;
    device.upload_array(operands.b, Array1::<f32>::zeros(2).view())?;
    conv::forward(&mut device, &geometry, operands)?;
    let edges = device.download_array::<f32>(operands.y)?;
    println!("{:?}", edges.shape());
    for filter in 0..2 {
        let row: Vec<f32> = (0..6).map(|x| edges[[0, 2, x, filter]]).collect();
        println!("filter {filter}: {row:?}");
    }

    // Channels first, as in PyTorch: as many elements, but another shape.
    let channels_first = images.permuted_axes([0, 3, 1, 2]);
    let error = device.upload_array(operands.x, channels_first.view()).unwrap_err();
    println!("{error}");
    Ok(())
}
