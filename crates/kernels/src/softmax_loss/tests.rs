use super::*;
use ndarray::Array2;
use proptest::prelude::*;
use testkit::gradient::{Differences, central_differences};
use testkit::{Slots, cases, close, each_device, random_array, wide};

/// The gradient and the sums of its tally, then the probabilities and theirs.
fn run(device: &mut Device, logits: &Array2<f32>, labels: &[u32]) -> [Vec<f32>; 4] {
    let g = Geometry { images: logits.nrows(), classes: logits.ncols() };
    let mut slots = Slots::new();
    let x = slots.array(logits);
    let labels = slots.words([labels.len()], labels.to_vec());
    let [gradient, probabilities] = [(); 2].map(|()| slots.room([g.images, g.classes]));
    let [tally, tally_again] = [(); 2].map(|()| slots.room(tally_shape(g.images)));
    slots.load(device);
    forward_backward(device, &g, x, labels, gradient, tally).unwrap();
    forward(device, &g, x, labels, probabilities, tally_again).unwrap();
    let results = [gradient, tally, probabilities, tally_again];
    let mut results = results.map(|slot| device.download::<f32>(slot).unwrap());
    for idx in [1, 3] {
        let (sums, rows) = results[idx].split_at(4);
        let mut of_rows = [0.0; 4];
        for row in rows.chunks(4) {
            of_rows = std::array::from_fn(|i| of_rows[i] + f64::from(row[i]));
        }
        close(sums, &of_rows[..], 1e-6);
        results[idx].truncate(4);
    }
    results
}

/// By hand: scores 0 and ln 3 are probabilities 1/4 and 3/4.
#[test]
fn known_answers() {
    let logits = ndarray::arr2(&[[0.0, 3.0f32.ln()], [7.0, 7.0]]);
    each_device(|device| {
        let [gradient, tally, probabilities, again] = run(device, &logits, &[0, IGNORED]);
        close(&probabilities, &[0.25, 0.75, 0.5, 0.5], 1e-7);
        close(&gradient, &[-0.75, 0.75, 0.0, 0.0], 1e-7);
        close(&tally, &[4.0f32.ln(), 1.0, 0.0, 1.0], 1e-6);
        assert_eq!(tally, again);
    });
}

/// Ten equal scores: one in ten is correct for top-1, five in ten for top-5.
#[test]
fn ties_count_partly() {
    let logits = Array2::<f32>::zeros((1, 10));
    each_device(|device| close(&run(device, &logits, &[3])[1], &[10f32.ln(), 0.9, 0.5, 1.0], 1e-6));
    assert_eq!(top_error(&[1.0, 2.0, 2.0, 0.0], 1, 1), 0.5);
    assert_eq!(top_error(&[1.0, 2.0, 2.0, 0.0], 0, 1), 1.0);
    assert_eq!(top_error(&[1.0, 2.0, 2.0, 0.0], 0, 5), 0.0);
}

#[test]
fn huge_scores_do_not_overflow_and_nan_shows() {
    let logits = ndarray::arr2(&[[1e30f32, -1e30], [f32::NAN, 1.0]]);
    each_device(|device| {
        let [gradient, tally, _, _] = run(device, &logits, &[0, IGNORED]);
        close(&gradient[..2], &[0.0, 0.0][..], 0.0);
        assert_eq!(tally[..3], [0.0, 0.0, 0.0]);
        let [gradient, tally, _, _] = run(device, &logits, &[0, 1]);
        assert!(tally[0].is_nan() && gradient[2].is_nan() && tally[1] == 1.0, "{tally:?}");
    });
}

#[test]
#[should_panic(expected = "of 2 classes")]
fn a_label_must_be_a_class() {
    run(&mut Device::cpu(1), &Array2::zeros((1, 2)), &[2]);
}

/// The host does not see the labels there.
#[test]
fn on_a_gpu_the_loss_of_an_invalid_label_is_nan() {
    testkit::each_gpu(|device| {
        let [_, tally, ..] = run(device, &Array2::zeros((2, 3)), &[1, 3]);
        assert!(tally[0].is_nan() && tally[1..] == [1.0 + 2.0 / 3.0, 1.0, 2.0], "{tally:?}");
    });
}

/// Rows of the tally by hand: probabilities 1/4 and 3/4, then a tie.
#[test]
fn tally_rows_belong_to_images() {
    let logits = ndarray::arr2(&[[0.0, 3.0f32.ln()], [7.0, 7.0], [1.0, 2.0]]);
    let g = Geometry { images: 3, classes: 2 };
    each_device(|device| {
        let mut slots = Slots::new();
        let x = slots.array(&logits);
        let labels = slots.words([3], vec![0, 1, IGNORED]);
        let (dx, tally) = (slots.room([3, 2]), slots.room(tally_shape(3)));
        slots.load(device);
        forward_backward(device, &g, x, labels, dx, tally).unwrap();
        let rows = device.download::<f32>(tally).unwrap();
        close(&rows[4..8], &[4.0f32.ln(), 1.0, 0.0, 1.0][..], 1e-6);
        close(&rows[8..12], &[2.0f32.ln(), 0.5, 0.0, 1.0][..], 1e-6);
        assert_eq!(rows[12..], [0.0; 4]);
    });
}

/// More scores than a block processes at once, and more images than a block has threads.
#[test]
fn long_rows_and_many_images() {
    for (images, classes) in [(3, 1000), (2, 2051), (257, 3)] {
        let logits: Array2<f32> = random_array(7, (images, classes)) * 4.0;
        let labels: Vec<u32> = (0..images).map(|n| (n * 37 % classes) as u32).collect();
        let exact = wide(&logits);
        each_device(|device| {
            let [gradient, tally, probabilities, _] = run(device, &logits, &labels);
            close(&gradient, &reference::gradient(exact.view(), &labels), 1e-6);
            close(&probabilities, &reference::softmax(exact.view()), 1e-6);
            close(&tally[..1], &[reference::loss(exact.view(), &labels)][..], 1e-6);
            let errors = [1, 5].map(|k| reference::errors(exact.view(), &labels, k));
            close(&tally[1..3], &errors[..], 1e-6);
        });
    }
}

#[test]
fn the_reference_is_a_gradient() {
    let labels = [2u32, IGNORED, 0, 3];
    let logits: Vec<f64> = random_array(5, 16).iter().map(|&x: &f32| f64::from(x)).collect();
    let shaped = |x: &[f64]| Array2::from_shape_vec((4, 4), x.to_vec()).unwrap();
    central_differences(
        &logits,
        |x| vec![reference::loss(shaped(x).view(), &labels) / 3.0],
        |x, dy| reference::gradient(shaped(x).view(), &labels).iter().map(|g| g * dy[0]).collect(),
        Differences::F64,
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(24, 64)))]
    #[test]
    fn equals_the_reference(
        images in 1usize..20,
        classes in prop_oneof![1usize..8, Just(10usize), Just(101)],
        coarse: bool,
        seed in 0u64..1000,
    ) {
        let mut logits: Array2<f32> = random_array(seed, (images, classes));
        if coarse {
            logits.mapv_inplace(f32::round); // many ties
        }
        let mut draws = random::Stream::new(seed, random::Purpose::Test, 1, 1);
        let labels: Vec<u32> = (0..images)
            .map(|_| if draws.below(5) == 0 { IGNORED } else { draws.below(classes as u32) })
            .collect();
        let exact = wide(&logits);
        let float = |value: f64| value as f32;
        let expected_tally = [
            reference::loss(exact.view(), &labels),
            reference::errors(exact.view(), &labels, 1),
            reference::errors(exact.view(), &labels, 5),
            labels.iter().filter(|label| **label != IGNORED).count() as f64,
        ]
        .map(float);
        each_device(|device| {
            let [gradient, tally, probabilities, again] = run(device, &logits, &labels);
            close(&tally, &expected_tally, 1e-4);
            assert_eq!(tally, again);
            let expected = reference::gradient(exact.view(), &labels).mapv(float);
            if expected_tally[3] > 0.0 {
                close(&gradient, &expected, 1e-6);
            }
            close(&probabilities, &reference::softmax(exact.view()).mapv(float), 1e-6);
        });
    }
}

/// e^-87 is normal, but its share of a sum, or of a batch, may be denormal: then it is zero.
#[test]
fn probabilities_are_not_denormal() {
    let logits = ndarray::arr2(&[[0.0, -86.5, -87.0, -86.9, 0.0, -86.0]]);
    each_device(|device| {
        let [gradient, _, probabilities, _] = run(device, &logits, &[0]);
        let denormal = |x: &&f32| **x != 0.0 && x.abs() < f32::MIN_POSITIVE;
        assert_eq!(gradient.iter().chain(&probabilities).find(denormal), None);
        assert_eq!((probabilities[2], probabilities[0]), (0.0, 0.5));
        assert!(probabilities[5] > 0.0); // e^-86 / 2 = 2.2e-38
    });
}

/// The gradient with dense targets, and the sums of its tally.
fn run_dense(
    device: &mut Device,
    logits: &Array2<f32>,
    targets: &Array2<f32>,
    labels: &[u32],
) -> [Vec<f32>; 2] {
    let g = Geometry { images: logits.nrows(), classes: logits.ncols() };
    let mut slots = Slots::new();
    let (logits, targets) = (slots.array(logits), slots.array(targets));
    let labels = slots.words([labels.len()], labels.to_vec());
    let gradient = slots.room([g.images, g.classes]);
    let tally = slots.room(tally_shape(g.images));
    slots.load(device);
    let inputs = DenseInputs { logits, labels, targets };
    forward_backward_dense(device, &g, inputs, gradient, tally).unwrap();
    let tally = device.download::<f32>(tally).unwrap()[..4].to_vec();
    [device.download(gradient).unwrap(), tally]
}

/// By hand: probabilities 1/4 and 3/4, targets 0.4 and 0.6; ln 4 = 1.386294, ln 4/3 = 0.287682.
#[test]
fn known_answers_with_dense_targets() {
    let logits = ndarray::arr2(&[[0.0, 3.0f32.ln()], [7.0, 7.0]]);
    let targets = ndarray::arr2(&[[0.4f32, 0.6], [1.0, 1.0]]);
    each_device(|device| {
        let [gradient, tally] = run_dense(device, &logits, &targets, &[1, IGNORED]);
        close(&gradient, &[-0.15, 0.15, 0.0, 0.0], 1e-6);
        close(&tally, &[0.4 * 1.386_294_4 + 0.6 * 0.287_682_07, 0.0, 0.0, 1.0], 1e-6);
        // Weights of two: twice the loss and the gradient.
        let [double, twice] = run_dense(device, &logits, &(&targets * 2.0), &[1, IGNORED]);
        close(&double, &[-0.3, 0.3, 0.0, 0.0], 1e-6);
        close(&twice[..1], &[tally[0] * 2.0][..], 1e-6);
    });
}

#[test]
fn the_dense_reference_is_a_gradient() {
    let labels = [2u32, IGNORED, 0, 3];
    let logits: Vec<f64> = random_array(5, 16).iter().map(|&x: &f32| f64::from(x)).collect();
    let targets: Array2<f32> = random_array(6, (4, 4));
    let targets = wide(&targets.mapv(f32::abs));
    let shaped = |x: &[f64]| Array2::from_shape_vec((4, 4), x.to_vec()).unwrap();
    central_differences(
        &logits,
        |x| vec![reference::dense_loss(shaped(x).view(), targets.view(), &labels) / 3.0],
        |x, dy| {
            let gradient = reference::dense_gradient(shaped(x).view(), targets.view(), &labels);
            gradient.iter().map(|g| g * dy[0]).collect()
        },
        Differences::F64,
    );
}

/// One-hot targets give the same numbers as labels, and all targets those of the reference.
#[test]
fn dense_targets_equal_the_reference() {
    for (images, classes) in [(3, 1), (4, 7), (5, 10), (3, 101), (2, 1000), (2, 2051), (257, 3)] {
        let logits: Array2<f32> = random_array(7, (images, classes)) * 4.0;
        let labels: Vec<u32> = (0..images)
            .map(|n| if n % 5 == 3 { IGNORED } else { (n * 37 % classes) as u32 })
            .collect();
        let one_hot = Array2::from_shape_fn((images, classes), |(n, c)| {
            f32::from(u8::from(labels[n] == c as u32))
        });
        let soft: Array2<f32> = random_array(9, (images, classes));
        let soft = soft.mapv(|t| 1.5 * t.abs());
        let exact = wide(&logits);
        each_device(|device| {
            let [hard, hard_tally, ..] = run(device, &logits, &labels);
            let [dense, dense_tally] = run_dense(device, &logits, &one_hot, &labels);
            close(&dense, &hard, 1e-6);
            close(&dense_tally, &hard_tally, 1e-6);
            let [gradient, tally] = run_dense(device, &logits, &soft, &labels);
            let targets = wide(&soft);
            let expected = reference::dense_gradient(exact.view(), targets.view(), &labels);
            close(&gradient, &expected, 1e-5);
            let loss = reference::dense_loss(exact.view(), targets.view(), &labels);
            close(&tally[..1], &[loss][..], 1e-6);
            assert_eq!(tally[1..], hard_tally[1..]);
        });
    }
}

#[test]
fn scores_that_are_nan_or_huge_show_in_a_dense_loss() {
    let logits = ndarray::arr2(&[[1e30f32, -1e30], [f32::NAN, 1.0]]);
    let targets = ndarray::arr2(&[[1.0f32, 0.0], [0.5, 0.5]]);
    each_device(|device| {
        let [gradient, tally] = run_dense(device, &logits, &targets, &[0, IGNORED]);
        assert_eq!((gradient, tally), (vec![0.0; 4], vec![0.0, 0.0, 0.0, 1.0]));
        let [gradient, tally] = run_dense(device, &logits, &targets, &[0, 1]);
        assert!(tally[0].is_nan() && gradient[2].is_nan() && tally[1] == 1.0, "{tally:?}");
    });
}
