use super::*;
use ndarray::{Array1, Array4};
use proptest::prelude::*;
use random::{Purpose, Stream};
use testkit::{Slots, close, each_device, random_array};

fn run(
    device: &mut Device,
    g: &Geometry,
    pixels: &[u8],
    views: &[[u32; 3]],
    tints: &[[f32; TINTS]],
    mean: &[f32],
) -> Vec<f32> {
    let mut slots = Slots::new();
    let pixels = slots.bytes([pixels.len()], pixels.to_vec());
    let views = slots.words([3 * g.images], views.concat());
    let tints = slots.floats([TINTS * g.images], tints.concat());
    let mean = slots.floats([mean.len()], mean.to_vec());
    let x = slots.room([g.images, g.height, g.width, CHANNELS]);
    slots.load(device);
    forward(device, g, Inputs { pixels, views, tints, mean }, x).unwrap();
    device.download(x).unwrap()
}

/// Two pixels, mirrored: the right one comes first, minus the mean at its original position.
#[test]
fn known_answer() {
    let g = Geometry { images: 1, height: 1, width: 2, mean: Mean::Image { height: 2, width: 3 } };
    let pixels = [10, 20, 30, 40, 50, 60];
    let mean: Vec<f32> = (0..18).map(|i| i as f32).collect();
    each_device(|device| {
        let x = run(device, &g, &pixels, &[[1, 1, 1]], &[[2.0, 2.0, 4.0, 0.5, 0.0, -0.5]], &mean);
        // The mean of the crop is at row 1, columns 1 and 2: 12 13 14 and 15 16 17.
        assert_eq!(x, [50.5, 68.0, 171.5, -3.5, 14.0, 63.5]);
    });
}

proptest! {
    #[test]
    fn equals_the_reference(
        images in 1usize..4,
        height in 1usize..5,
        width in prop_oneof![1usize..5, 15usize..20, Just(33)],
        slack in 0usize..4,
        whole_image: bool,
        seed in 0u64..1000,
    ) {
        let mean = if whole_image {
            Mean::Image { height: height + slack, width: width + slack }
        } else {
            Mean::Color
        };
        let g = Geometry { images, height, width, mean };
        let mut draws = Stream::new(seed, Purpose::Test, 0, 0);
        let pixels = Array4::from_shape_fn((images, height, width, 3), |_| draws.next() as u8);
        let views: Vec<[u32; 3]> = (0..images)
            .map(|_| {
                let top = draws.below(slack as u32 + 1);
                [top, slack as u32 - top, draws.below(2)]
            })
            .collect();
        let tints: Vec<[f32; TINTS]> =
            (0..images).map(|_| [(); TINTS].map(|()| draws.normal())).collect();
        let row = width + slack;
        let elements = if whole_image { (height + slack) * row * 3 } else { 3 };
        let means = random_array(seed, elements).mapv(|m: f32| 120.0 + 30.0 * m);
        let means: Array1<f32> = means;
        let expected = reference::forward(&g, pixels.view(), &views, &tints, |i, j, c| {
            means[(i * row + j) * 3 + c]
        });
        each_device(|device| {
            let bytes = pixels.as_slice().unwrap();
            let x = run(device, &g, bytes, &views, &tints, means.as_slice().unwrap());
            // Three roundings of values up to a thousand.
            close(&x, &expected.iter().copied().collect::<Vec<_>>(), 3e-4);
        });
    }
}

#[test]
#[should_panic(expected = "of a mean image of 2 x 3")]
fn a_crop_is_inside_the_mean_image() {
    let g = Geometry { images: 1, height: 2, width: 2, mean: Mean::Image { height: 2, width: 3 } };
    run(&mut Device::cpu(1), &g, &[0; 12], &[[1, 0, 0]], &[[1.0; TINTS]], &[0.0; 18]);
}
