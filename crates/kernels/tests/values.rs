//! Values in bf16: an op that writes them rounds the values that it writes in f32, and an op that
//! reads them computes as on the same values in f32.

use alexnet_kernels::conv::{self, Algorithm, Pad};
use alexnet_kernels::lrn::{self, Region};
use alexnet_kernels::operands::Forward;
use alexnet_kernels::pool::{self, Reduction, Ties};
use alexnet_kernels::preprocess::{self, Inputs, Mean};
use alexnet_kernels::stored::StoredWeights;
use alexnet_kernels::{bf16, lrn_pool, value};
use ndarray::{Array1, Array4};
use proptest::prelude::*;
use tensor::{Device, Shape, Slot};
use testkit::{
    Slots, bits_equal, cases, each_cpu, each_gpu, random_array, same_bits_for_threads, wide,
};

/// To bf16, by arithmetic.
fn rounded(values: &[f32]) -> Vec<f32> {
    values.iter().map(|&x| bf16::reference::round(x)).collect()
}

fn random(seed: u64, len: usize) -> Vec<f32> {
    let values: Array1<f32> = random_array(seed, len);
    values.to_vec()
}

/// A slot for results in f32 or bf16.
fn room(slots: &mut Slots, in_bf16: bool, shape: Shape) -> Slot {
    if in_bf16 { slots.room_in_bf16(shape) } else { slots.room(shape) }
}

fn pooling(images: usize, side: usize, channels: usize, stride: usize) -> pool::Geometry {
    let reduction = Reduction::Max { ties: Ties::First };
    let (height, width) = (side, side + 1);
    pool::Geometry {
        images,
        height,
        width,
        channels,
        reduction,
        window: 3,
        stride,
        pad: 1,
        ceil: true,
    }
}

fn pooled(device: &mut Device, g: &pool::Geometry, x: &[f32], types: [bool; 2]) -> Vec<f32> {
    let mut slots = Slots::new();
    let [x_slot, y] = [(types[0], g.in_shape()), (types[1], g.out_shape())]
        .map(|(in_bf16, shape)| room(&mut slots, in_bf16, shape));
    slots.load(device);
    value::upload(device, x_slot, x).unwrap();
    pool::forward(device, g, x_slot, y).unwrap();
    value::download(device, y).unwrap()
}

fn normalised(device: &mut Device, g: &lrn_pool::Geometry, x: &[f32], in_bf16: bool) -> Vec<f32> {
    let mut slots = Slots::new();
    let x = slots.floats(g.pool.in_shape(), x.to_vec());
    let y = room(&mut slots, in_bf16, g.pool.out_shape());
    slots.load(device);
    lrn_pool::forward(device, g, x, y).unwrap();
    value::download(device, y).unwrap()
}

/// Section 3.3's normalisation before the windows of `pool`.
fn before(pool: pool::Geometry) -> lrn_pool::Geometry {
    let pool::Geometry { images, height, width, channels, .. } = pool;
    let region = Region::AcrossChannels { towers: 1 };
    let (size, alpha, beta, k) = (5, 1e-1, 0.75, 2.0);
    let lrn = lrn::Geometry {
        images,
        height,
        width,
        channels,
        region,
        size,
        alpha,
        beta,
        k,
        divide_alpha: false,
    };
    let pool = pool::Geometry { reduction: Reduction::Max { ties: Ties::All }, ..pool };
    lrn_pool::Geometry { lrn, pool, relu: false }
}

/// A batch of crops in f32 or bf16.
fn crops(device: &mut Device, g: &preprocess::Geometry, pixels: &[u8], in_bf16: bool) -> Vec<f32> {
    let mut slots = Slots::new();
    let pixels = slots.bytes([pixels.len()], pixels.to_vec());
    let views = slots.words([3 * g.images], [0, 0, 1].repeat(g.images));
    let tints = [0.017, 0.0175, 0.0171, 0.1, -0.2, 0.3].repeat(g.images);
    let tints = slots.floats([tints.len()], tints);
    let mean = slots.floats([3], vec![123.7, 116.3, 103.5]);
    let x = room(&mut slots, in_bf16, Shape::from([g.images, g.height, g.width, 3]));
    slots.load(device);
    preprocess::forward(device, g, Inputs { pixels, views, tints, mean }, x).unwrap();
    value::download(device, x).unwrap()
}

/// A convolution with stored filters.
fn convolved(device: &mut Device, g: &conv::Geometry, x: &[f32], types: [bool; 2]) -> Vec<f32> {
    let Device::Cpu(cpu) = &mut *device else { unreachable!("a CPU") };
    cpu.emulate_bf16();
    let mut slots = Slots::new();
    let [x_slot, y] = [(types[0], g.in_shape()), (types[1], g.out_shape())]
        .map(|(in_bf16, shape)| room(&mut slots, in_bf16, shape));
    let b = slots.floats([g.filters], random(3, g.filters));
    let w = slots.room_in_bf16([g.stored_len(device.target())]);
    let scratch = slots.room([g.scratch(device.target())]);
    slots.load(device);
    value::upload(device, x_slot, x).unwrap();
    let filters = random(2, g.filter_shape().len());
    StoredWeights::Conv(*g).store(device, &filters, w).unwrap();
    conv::forward(device, g, Forward { x: x_slot, w, b, y, scratch }).unwrap();
    value::download(device, y).unwrap()
}

fn convolution(images: usize, channels: usize, stride: usize, filters: usize) -> conv::Geometry {
    conv::Geometry {
        images,
        height: 9,
        width: 10,
        channels,
        filters,
        window: (3, 3),
        stride,
        pad: Pad::same(1),
        groups: if channels.is_multiple_of(2) && filters.is_multiple_of(2) { 2 } else { 1 },
        relu: true,
        algorithm: Algorithm::Fastest,
    }
}

/// Values of which many round: the output of a ReLU.
fn values(seed: u64, len: usize) -> Vec<f32> {
    random(seed, len).iter().map(|x| 3.0 * x.max(-0.1)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(16, 64)))]

    #[test]
    fn maxima_are_those_of_the_reference(
        (images, side, stride) in (1usize..4, 3usize..8, 1usize..4),
        channels in prop_oneof![1usize..10, 30usize..45],
        seed in 0u64..1000,
    ) {
        let g = pooling(images, side, channels, stride);
        let x = rounded(&values(seed, g.in_shape().len()));
        let shape = (g.images, g.height, g.width, g.channels);
        let array = wide(&Array4::from_shape_vec(shape, x.clone()).unwrap());
        let expected = pool::reference::forward(&g, &array);
        let expected: Vec<f32> = expected.iter().map(|&y| y as f32).collect();
        each_cpu(|device| {
            for types in [[true, true], [true, false], [false, true]] {
                bits_equal(&pooled(device, &g, &x, types), &expected, &format!("{types:?}"));
            }
        });
    }

    #[test]
    fn means_are_rounded(channels in 1usize..40, seed in 0u64..1000) {
        let g = pool::Geometry { reduction: Reduction::Average, ..pooling(2, 5, channels, 2) };
        let x = values(seed, g.in_shape().len());
        each_cpu(|device| {
            let expected = rounded(&pooled(device, &g, &x, [false, false]));
            bits_equal(&pooled(device, &g, &x, [false, true]), &expected, "rounded means");
        });
    }

    #[test]
    fn normalised_maxima_are_rounded(
        (images, side, stride) in (1usize..4, 3usize..8, 1usize..4),
        channels in prop_oneof![1usize..10, 30usize..45],
        seed in 0u64..1000,
    ) {
        let g = before(pooling(images, side, channels, stride));
        let x = values(seed, g.pool.in_shape().len());
        each_cpu(|device| {
            let expected = rounded(&normalised(device, &g, &x, false));
            bits_equal(&normalised(device, &g, &x, true), &expected, "rounded maxima");
        });
    }

    #[test]
    fn crops_are_rounded(
        (images, height, width) in (1usize..4, 1usize..5, 1usize..40),
        seed in 0u64..1000,
    ) {
        let g = preprocess::Geometry { images, height, width, mean: Mean::Color };
        let pixels = random(seed, 3 * images * height * width);
        let pixels: Vec<u8> = pixels.iter().map(|x| (127.0 + 40.0 * x) as u8).collect();
        each_cpu(|device| {
            let expected = rounded(&crops(device, &g, &pixels, false));
            bits_equal(&crops(device, &g, &pixels, true), &expected, "rounded crops");
        });
    }

    #[test]
    fn convolutions_round_what_they_write_and_what_they_read(
        (images, stride) in (1usize..4, 1usize..5),
        channels in prop_oneof![Just(3usize), 1usize..6, 30usize..36],
        filters in prop_oneof![1usize..6, 30usize..70],
        seed in 0u64..1000,
    ) {
        let g = convolution(images, channels, stride, filters);
        let x = values(seed, g.in_shape().len());
        each_cpu(|device| {
            let y = convolved(device, &g, &x, [false, false]);
            bits_equal(&convolved(device, &g, &x, [true, false]), &y, "reading");
            let expected = rounded(&y);
            bits_equal(&convolved(device, &g, &x, [false, true]), &expected, "writing");
            bits_equal(&convolved(device, &g, &x, [true, true]), &expected, "both");
        });
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    let (pool, conv) = (pooling(5, 20, 70, 2), convolution(5, 34, 1, 66));
    let crop = preprocess::Geometry { images: 3, height: 50, width: 70, mean: Mean::Color };
    let x = values(1, pool.in_shape().len());
    let pixels: Vec<u8> = (0..3 * 3 * 50 * 70).map(|i| (i % 251) as u8).collect();
    let in_conv = values(2, conv.in_shape().len());
    same_bits_for_threads(|threads| {
        let device = &mut Device::cpu(threads);
        let results = [
            pooled(device, &pool, &x, [true, true]),
            normalised(device, &before(pool), &x, true),
            crops(device, &crop, &pixels, true),
            convolved(device, &conv, &in_conv, [true, true]),
        ];
        results.concat()
    });
}

#[test]
fn nan_stays_nan_and_denormal_values_become_zero() {
    let g = pool::Geometry { pad: 0, ..pooling(1, 3, 1, 1) };
    let tiny = f32::from_bits(1);
    each_cpu(|device| {
        let y = pooled(device, &g, &[f32::NAN; 12], [true, true]);
        assert!(y.iter().all(|y| y.is_nan()), "{y:?}");
        let y = pooled(device, &g, &[tiny; 12], [true, true]);
        assert!(y.iter().all(|&y| y == 0.0), "{y:?}");
    });
}

/// A GPU has no kernels for values in bf16: a plan with them is refused.
#[test]
fn gpus_refuse_values_in_bf16() {
    let g = pooling(1, 3, 2, 1);
    each_gpu(|device| {
        let mut slots = Slots::new();
        let (x, y) = (slots.room(g.in_shape()), slots.room_in_bf16(g.out_shape()));
        slots.load(device);
        let errors = [pool::forward(device, &g, x, y), lrn_pool::forward(device, &before(g), x, y)];
        for error in errors {
            let error = error.unwrap_err().to_string();
            assert!(error.contains("bf16"), "{error}");
        }
    });
}
