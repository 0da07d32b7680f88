//! Tiles of products in bf16 on a GPU: results are bit-identical whatever the tile is.

use alexnet_kernels::conv;
use alexnet_kernels::operands::{BackwardInput, BackwardWeights, Forward};
use ndarray::{Array1, Array4};
use tensor::tune::{Choices, GpuAlgorithm};
use tensor::{Cuda, Device, Precision, Shape, Slot, Target};
use testkit::{Slots, bits_equal, own_gpu, random_array, stand_in_in_use};

/// Each pass of a convolution, and the tiles of its kernels in bf16.
const TILES: [(&str, &[[usize; 2]]); 3] = [
    ("conv_forward", &[[128, 128], [64, 64], [128, 96], [128, 64]]),
    ("conv_backward_input", &[[128, 128], [64, 64], [128, 96], [256, 64]]),
    ("conv_backward_filter", &[[128, 128], [64, 64], [96, 128]]),
];

/// More than 128 pixels, so that every tile has use for at least half of its rows; the last tiles
/// are incomplete. Sums of 1, 2 and more slices occur.
fn geometry(channels: usize, filters: usize) -> conv::Geometry {
    conv::Geometry {
        images: 1,
        height: 12,
        width: 11,
        channels,
        filters,
        window: (3, 3),
        stride: 1,
        pad: conv::Pad { top: 1, left: 1, bottom: 1, right: 1 },
        groups: 1,
        relu: true,
        algorithm: conv::Algorithm::Direct,
    }
}

fn cuda(device: &mut Device) -> &mut Cuda {
    let Device::Cuda(cuda) = device else { unreachable!("a GPU") };
    cuda
}

/// y, dx, dw and db, and the algorithm of each pass, with those of `choices`.
fn run(g: &conv::Geometry, choices: Choices) -> Option<([Vec<f32>; 4], Choices)> {
    let mut device = own_gpu()?;
    let x: Array4<f32> = random_array(1, (g.images, g.height, g.width, g.channels));
    let w: Array4<f32> = random_array(2, (g.filters, 3, 3, g.channels));
    let b: Array1<f32> = random_array(3, g.filters);
    let dy: Array4<f32> = random_array(4, (g.images, g.height, g.width, g.filters));
    let mut slots = Slots::new();
    let [x, w, b, dy] = [slots.array(&x), slots.array(&w), slots.array(&b), slots.array(&dy)];
    let written @ [y, dx, dw, db]: [Slot; 4] = [dy, x, w, b].map(|like| slots.room(like.shape()));
    let scratch = slots.room(Shape::from([g.scratch(Target::Cuda)]));
    slots.load(&mut device);
    cuda(&mut device).set_precision(Precision::Bf16);
    cuda(&mut device).tune(choices, false);
    let passes = |device: &mut Device| {
        conv::forward(device, g, Forward { x, w, b, y, scratch })?;
        conv::backward_input(device, g, BackwardInput { dy, w, dx, scratch })?;
        conv::backward_filter(device, g, BackwardWeights { x, dy, dw, db, scratch })
    };
    device.rehearse(passes).unwrap();
    let tuned = cuda(&mut device).tuned().into_iter();
    let algorithms = tuned.map(|tuned| (tuned.name, tuned.algorithm)).collect();
    passes(&mut device).unwrap();
    Some((written.map(|slot| device.download(slot).unwrap()), algorithms))
}

/// Copies of 16 bytes, in blocks of sixteen channels too, and of 4.
#[test]
fn results_do_not_depend_on_the_tile() {
    if stand_in_in_use().is_none() {
        eprintln!("SKIPPED: there is no stand-in for a GPU");
        return;
    }
    for g in [geometry(68, 72), geometry(80, 96), geometry(67, 71)] {
        let Some((expected, defaults)) = run(&g, Choices::new()) else { return };
        assert_eq!(defaults.len(), TILES.len(), "{defaults:?}");
        for turn in 0..4 {
            let choices: Choices = defaults
                .iter()
                .map(|(name, default)| {
                    let GpuAlgorithm::Own { slices, .. } = *default else { panic!("{default}") };
                    let pass = TILES.iter().find(|(pass, _)| name.split(' ').next() == Some(pass));
                    let tiles = pass.expect("a pass of the table").1;
                    let tile = tiles[turn % tiles.len()];
                    (name.clone(), GpuAlgorithm::Own { tile, slices })
                })
                .collect();
            let (results, algorithms) = run(&g, choices.clone()).unwrap();
            assert_eq!(algorithms, choices);
            for (result, expected) in results.iter().zip(&expected) {
                bits_equal(result, expected, &format!("{choices:?}"));
            }
        }
    }
}
