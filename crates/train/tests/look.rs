//! What `Step::look` shows is what a full forward pass computes.

use data::Batch;
use layers::{Mode, Spec, window};
use random::{Purpose, Stream};
use tensor::{Device, Target};
use train::recipe::{Init, Layer, Mean, Recipe};
use train::recipes;
use train::step::{Plan, Step};

const IMAGES: usize = 3;
const SIDE: usize = 20;
const CLASSES: usize = 4;

/// Every kind of row; normalisation and pooling are fused, and so are ReLUs.
fn spec() -> Spec {
    Spec::image("every-row", SIDE, SIDE, 3)
        .conv("conv1", 8, window(3).pad(1))
        .relu()
        .lrn()
        .pool(window(3).stride(2))
        .conv("conv2", 8, window(3).pad(1).groups(2))
        .tanh()
        .average_pool(window(3).stride(2).ceil())
        .linear("fc3", 12)
        .relu()
        .dropout(0.5)
        .linear("fc4", CLASSES)
}

fn step(mode: Mode) -> Step {
    let rule = Layer { weights: Some(Init::ScaledNormal(1.4)), ..Layer::default() };
    let mut recipe = Recipe { batch: IMAGES, ..recipes::paper() };
    recipe.layers = [("*".to_string(), rule)].into();
    let plan =
        Plan::new(&spec(), IMAGES, mode, (Mean::Color, [SIDE; 2]), Target::Cpu { threads: 2 })
            .unwrap();
    let mut step = plan.open(Device::cpu(2)).unwrap();
    step.initialize(&recipe, 3).unwrap();
    step.set_input(&[128.0; 3], 1.0 / 64.0).unwrap();
    step
}

fn batch() -> Batch {
    let mut draws = Stream::new(5, Purpose::Test, 0, 0);
    Batch {
        pixels: (0..IMAGES * SIDE * SIDE * 3).map(|_| draws.below(256) as u8).collect(),
        views: vec![[0, 0, 0]; IMAGES],
        tints: vec![[1.0, 0.0, 0.0, 0.0]; IMAGES],
        samples: (0..IMAGES as u32).collect(),
        images: IMAGES,
        epoch: 0,
        position: 0,
        labels: vec![1; IMAGES],
    }
}

/// A network planned for learning keeps every output until it has gone backward: after a test all
/// of them still lie on the device.
fn kept() -> Vec<Vec<f32>> {
    let mut step = step(Mode::Train);
    step.test(&batch()).unwrap();
    let rows = step.network().rows().iter();
    rows.map(|row| step.device().download(row.output()).unwrap()).collect()
}

#[test]
fn views_are_those_of_a_full_pass() {
    let (expected, mut step) = (kept(), step(Mode::Infer));
    let all: Vec<usize> = (0..expected.len()).collect();
    assert!(all.len() >= 7, "{} rows", all.len());
    let mut seen = Vec::new();
    step.look(&batch(), &all, &mut |row, values| seen.push((row, values.to_vec()))).unwrap();
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
        step.look(&batch(), &[row], &mut |row, values| seen.push((row, values.to_vec()))).unwrap();
        assert!(seen == [(row, expected[row].clone())], "{}", step.layer(row).0);
    }
    let mut probabilities = [[0.0; IMAGES * CLASSES]; 2];
    step.test(&batch()).unwrap();
    step.probabilities(&mut probabilities[0]).unwrap();
    step.look(&batch(), &[2, 4], &mut |_, _| ()).unwrap();
    step.test(&batch()).unwrap();
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
