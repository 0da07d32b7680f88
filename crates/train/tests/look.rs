//! What `Predictor::look` shows is what a full forward pass computes.

mod fixtures;

use alexnet_train::plan::SingleDevicePlan;
use alexnet_train::recipe::{Input, Mean, Recipe};
use alexnet_train::recipes;
use alexnet_train::step::SingleDevice;
use data::Batch;
use evaluate::Evaluate;
use fixtures::{every_row, scaled};
use inference::{InferencePlan, Predictor};
use layers::Spec;
use random::{Purpose, Stream};
use std::path::Path;
use tensor::{Device, Target};

const IMAGES: usize = 3;
const SIDE: usize = 20;
const CLASSES: usize = 4;

/// Normalisation and pooling are fused, and so are ReLUs.
fn spec() -> Spec {
    every_row(SIDE, CLASSES)
}

const INPUT: (Mean, [usize; 2]) = (Mean::Color, [SIDE; 2]);
const TARGET: Target = Target::Cpu { threads: 2 };

fn recipe() -> Recipe {
    let mut recipe = scaled(Recipe { batch: IMAGES, ..recipes::paper() });
    recipe.input = Input { scale: (1.0 / 64.0).into(), mean: Mean::Color, ..recipe.input };
    recipe
}

fn step() -> SingleDevice {
    let plan = SingleDevicePlan::new(&spec(), IMAGES, INPUT, TARGET).unwrap();
    let start = fixtures::fresh_with(&recipe(), 3, vec![128.0; 3]);
    plan.open(Device::cpu(2), &start).unwrap()
}

fn predictor() -> Predictor {
    let weights = fixtures::weights_of(&step(), &spec(), recipe().input, vec![128.0; 3]);
    let plan = InferencePlan::new(&spec(), IMAGES, INPUT, TARGET).unwrap();
    plan.open(Device::cpu(2), &weights, Path::new("drawn")).unwrap()
}

fn batch() -> Batch {
    let mut draws = Stream::new(5, Purpose::Test, 0, 0);
    let pixels = (0..IMAGES * SIDE * SIDE * 3).map(|_| draws.below(256) as u8).collect();
    fixtures::batch(pixels, [0; 3], [1.0, 0.0, 0.0, 0.0], vec![1; IMAGES])
}

/// A network planned for learning keeps every output until it has gone backward: after a test all
/// of them still lie on the device.
fn kept() -> Vec<Vec<f32>> {
    let mut step = step();
    step.test_on(&batch()).unwrap();
    let rows = step.network().rows().iter();
    rows.map(|row| step.device().download(row.output()).unwrap()).collect()
}

#[test]
fn views_are_those_of_a_full_pass() {
    let (expected, mut step) = (kept(), predictor());
    let all: Vec<usize> = (0..expected.len()).collect();
    assert!(all.len() >= 7, "{} rows", all.len());
    let mut seen = Vec::new();
    step.activations(&batch(), &all, &mut |row, values| seen.push((row, values.to_vec()))).unwrap();
    assert_eq!(seen.iter().map(|(row, _)| *row).collect::<Vec<_>>(), all);
    for (row, values) in &seen {
        let (name, shape) = step.layer(*row);
        assert_eq!(values.len(), IMAGES * shape.iter().product::<usize>(), "{name}");
        assert!(*values == expected[*row], "{name} differs from a full pass");
        assert!(values.iter().any(|&value| value != 0.0), "{name} shows nothing");
    }

    // A look at one row ends there, whatever was looked at before, and disturbs no later test.
    for &row in all.iter().rev() {
        let mut seen = Vec::new();
        step.activations(&batch(), &[row], &mut |row, values| seen.push((row, values.to_vec())))
            .unwrap();
        assert!(seen == [(row, expected[row].clone())], "{}", step.layer(row).0);
    }
    let mut probabilities = [[0.0; IMAGES * CLASSES]; 2];
    step.test_on(&batch()).unwrap();
    step.probabilities(&mut probabilities[0]).unwrap();
    step.activations(&batch(), &[2, 4], &mut |_, _| ()).unwrap();
    step.test_on(&batch()).unwrap();
    step.probabilities(&mut probabilities[1]).unwrap();
    assert_eq!(probabilities[0], probabilities[1]);

    // The classifier's scores are those whose softmax the test gives.
    let scores = expected.last().unwrap();
    for (scores, found) in scores.chunks(CLASSES).zip(probabilities[0].chunks(CLASSES)) {
        let sum: f64 = scores.iter().map(|&score| f64::from(score).exp()).sum();
        for (&score, &found) in scores.iter().zip(found) {
            assert!((f64::from(score).exp() / sum - f64::from(found)).abs() < 1e-6);
        }
    }
}
