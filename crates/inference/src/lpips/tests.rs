//! The distance against plain loops in f64.

use super::*;
use augment::Image;
use tensor::Choice;

/// Numbers without a pattern, from -1 to 1.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    let number = |at: usize| {
        let mixed = (at as u32 ^ (seed as u32) << 16).wrapping_mul(2_654_435_761);
        let mixed = (mixed ^ mixed >> 15).wrapping_mul(2_246_822_519);
        ((mixed ^ mixed >> 13) >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..count).map(number).collect()
}

fn random() -> Lpips {
    let shapes = convolutions(64, 64).parameter_shapes().unwrap();
    let (mut parameters, mut weights) = (Vec::new(), Vec::new());
    for (at, (name, shape)) in shapes.into_iter().enumerate() {
        if layer_of(&name) == CLASSIFIER {
            continue;
        }
        let filters = shape.dims()[0];
        let bound = (6.0 / (shape.len() / filters) as f32).sqrt();
        let bound = if name.ends_with("bias") { 0.1 } else { bound };
        let values = numbers(shape.len(), at).iter().map(|value| value * bound).collect();
        parameters.push((name.clone(), Values { shape: shape.dims().to_vec(), values }));
        if name.ends_with("bias") {
            weights.push(numbers(filters, 100 + at).iter().map(|value| value.abs()).collect());
        }
    }
    Lpips { parameters, weights, path: "random".into() }
}

/// Feature maps: height, width, channels, values.
type Maps = (usize, usize, usize, Vec<f64>);

fn conv(
    x: &Maps,
    parameters: &[(String, Values)],
    at: usize,
    (stride, pad): (usize, usize),
) -> Maps {
    let (weight, bias) = (&parameters[2 * at].1, &parameters[2 * at + 1].1);
    let [filters, window, _, channels] = weight.shape[..] else { panic!() };
    let &(height, width, _, ref values) = x;
    let out = |extent: usize| (extent + 2 * pad - window) / stride + 1;
    let mut y = Vec::new();
    for (row, column) in (0..out(height)).flat_map(|r| (0..out(width)).map(move |c| (r, c))) {
        for filter in 0..filters {
            let mut sum = f64::from(bias.values[filter]);
            for (i, j) in (0..window).flat_map(|i| (0..window).map(move |j| (i, j))) {
                let (up, left) = (row * stride + i, column * stride + j);
                if up < pad || left < pad || up - pad >= height || left - pad >= width {
                    continue;
                }
                let pixel = ((up - pad) * width + left - pad) * channels;
                let tap = ((filter * window + i) * window + j) * channels;
                for c in 0..channels {
                    sum += values[pixel + c] * f64::from(weight.values[tap + c]);
                }
            }
            y.push(sum.max(0.0));
        }
    }
    (out(height), out(width), filters, y)
}

fn pool(&(height, width, channels, ref x): &Maps) -> Maps {
    let out = |extent: usize| (extent - 3) / 2 + 1;
    let mut y = Vec::new();
    for (row, column) in (0..out(height)).flat_map(|r| (0..out(width)).map(move |c| (r, c))) {
        for c in 0..channels {
            let window = (0..3).flat_map(|i| (0..3).map(move |j| (i, j)));
            let at = |(i, j)| x[((2 * row + i) * width + 2 * column + j) * channels + c];
            y.push(window.map(at).fold(f64::NEG_INFINITY, f64::max));
        }
    }
    (out(height), out(width), channels, y)
}

fn features(lpips: &Lpips, image: &Image) -> Vec<Maps> {
    let pixel = |(at, &pixel): (usize, &u8)| {
        let x = f64::from(pixel) / 127.5 - 1.0;
        (x - f64::from(SHIFT[at % 3])) / f64::from(SCALE[at % 3])
    };
    let x = image.pixels.iter().enumerate().map(pixel).collect();
    let of = |x: &Maps, at, window| conv(x, &lpips.parameters, at, window);
    let relu1 = of(&(image.height, image.width, 3, x), 0, (4, 2));
    let relu2 = of(&pool(&relu1), 1, (1, 2));
    let relu3 = of(&pool(&relu2), 2, (1, 1));
    let relu4 = of(&relu3, 3, (1, 1));
    let relu5 = of(&relu4, 4, (1, 1));
    vec![relu1, relu2, relu3, relu4, relu5]
}

fn reference(lpips: &Lpips, a: &Image, b: &Image) -> f64 {
    let layers = features(lpips, a).into_iter().zip(features(lpips, b)).zip(&lpips.weights);
    let mut sum = 0.0;
    for ((a, b), weights) in layers {
        let count = (a.0 * a.1) as f64;
        for (a, b) in a.3.chunks(a.2).zip(b.3.chunks(b.2)) {
            let length = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt() + 1e-10;
            let (of_a, of_b) = (length(a), length(b));
            for c in 0..a.len() {
                let difference = a[c] / of_a - b[c] / of_b;
                sum += f64::from(weights[c]) * difference * difference / count;
            }
        }
    }
    sum
}

#[test]
fn the_distance_is_that_of_plain_loops() {
    let lpips = random();
    let image = |seed: usize| {
        let pixels = numbers(70 * 79 * 3, seed).iter().map(|v| (127.0 * (v + 1.0)) as u8).collect();
        Image { height: 70, width: 79, pixels }
    };
    let (a, b) = (image(1), image(2));
    let place = Placement { device: Choice::Cpu, ..Placement::default() };
    let distance = |a: &Image, b: &Image| lpips.distance([a, b], place, &mut |_| ());
    let (found, expected) = (distance(&a, &b).unwrap(), reference(&lpips, &a, &b));
    assert!((found - expected).abs() < 1e-5 * expected.max(1.0), "{found}, {expected}");
    assert!(expected > 0.01, "{expected}");
    assert_eq!(distance(&a, &a).unwrap(), 0.0);
    let other = Image::filled(70, 80, [0; 3]);
    let error = distance(&a, &other).unwrap_err().to_string();
    assert_eq!(error, "the images are 70 x 79 and 70 x 80 pixels: resize them to one size");
    let small = Image::filled(20, 20, [0; 3]);
    let error = distance(&small, &small).unwrap_err().to_string();
    assert!(error.contains("does not fit"), "{error}");
    let empty = Image { height: 2, width: 2, pixels: vec![0; 3] };
    assert!(matches!(distance(&empty, &empty), Err(Error::Pixels { .. })));
}
