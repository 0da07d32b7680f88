use super::*;
use augment::Mix;
use kernels::softmax_loss::{self, DenseInputs, Geometry, tally_shape};
use tensor::{DType, Device, Planner, Shape};

const IMAGES: usize = 4;
const CLASSES: usize = 5;
const LABELS: [u32; IMAGES] = [2, 0, 4, 2];
const WEIGHTS: [f32; CLASSES] = [0.5, 1.0, 2.0, 0.25, 3.0];

/// The scores of fixtures/cross_entropy.py.
fn scores() -> Vec<f32> {
    let mut x = 99u32;
    let next = || {
        x = x.wrapping_mul(1664525).wrapping_add(1013904223);
        (x >> 20) as f32 / 512.0 - 4.0
    };
    std::iter::repeat_with(next).take(IMAGES * CLASSES).collect()
}

/// A batch whose images are mixed with the ones before them, unless `own` is one.
fn batch(own: f64) -> Batch {
    Batch {
        labels: LABELS.to_vec(),
        mix: (own < 1.0).then(|| Mix::blend(own)),
        other_labels: vec![2, 2, 0, 4],
        images: IMAGES,
        ..Batch::default()
    }
}

/// Targets and labels of all rows.
fn filled(settings: &LossSettings, batch: &Batch) -> (Vec<f32>, Vec<u32>) {
    let (mut targets, mut labels) = (vec![9.0; IMAGES * CLASSES], vec![9; IMAGES]);
    let scale =
        settings.weight_sum(batch).map_or(1.0, |sum| IMAGES as f64 / settings.value_of(sum));
    settings.fill(batch, 0..IMAGES, scale, &mut targets, &mut labels);
    (targets, labels)
}

/// The mean loss and its gradient.
fn loss(targets: &[f32], labels: &[u32]) -> (f32, Vec<f32>) {
    let g = Geometry { images: IMAGES, classes: CLASSES };
    let (shape, mut planner) = (Shape::from([IMAGES, CLASSES]), Planner::new());
    let [logits, t, dx] = [(); 3].map(|()| planner.claim(DType::F32, shape));
    let words = planner.claim(DType::U32, Shape::from([IMAGES]));
    let tally = planner.claim(DType::F32, tally_shape(IMAGES));
    let mut device = Device::cpu(1);
    device.reserve(planner.total()).unwrap();
    device.upload(logits, &scores()).unwrap();
    device.upload(t, targets).unwrap();
    device.upload(words, labels).unwrap();
    let inputs = DenseInputs { logits, labels: words, targets: t };
    softmax_loss::forward_backward_dense(&mut device, &g, inputs, dx, tally).unwrap();
    let tally = device.download::<f32>(tally).unwrap();
    (tally[0] / tally[3], device.download(dx).unwrap())
}

/// Recorded by fixtures/cross_entropy.py with torch 2.15.
#[test]
fn losses_and_gradients_are_pytorchs() {
    let recorded = include_str!("../../fixtures/cross_entropy.txt");
    let lines = recorded.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(lines.clone().count(), 24);
    for line in lines {
        let numbers: Vec<f64> = line.split(' ').map(|word| word.parse().unwrap()).collect();
        let [label_smoothing, weighted, own, expected, ref gradient @ ..] = numbers[..] else {
            panic!("{line}")
        };
        let class_weights = (weighted == 1.0).then(|| Arc::from(WEIGHTS));
        let (targets, labels) =
            filled(&LossSettings { label_smoothing, class_weights }, &batch(own));
        let (loss, dx) = loss(&targets, &labels);
        assert!((f64::from(loss) - expected).abs() < 1e-6 * expected, "{loss}: {line}");
        for (&got, wanted) in dx.iter().zip(gradient) {
            assert!((f64::from(got) - wanted).abs() < 1e-7, "{got} {wanted}: {line}");
        }
    }
}

#[test]
fn the_largest_target_decides_the_error() {
    let settings = LossSettings { label_smoothing: 0.1, class_weights: Some(Arc::from(WEIGHTS)) };
    let labels = |own| filled(&settings, &batch(own)).1;
    assert_eq!(labels(1.0), LABELS);
    assert_eq!(labels(0.75), LABELS);
    assert_eq!(labels(0.25), [2, 2, 0, 4]);
    assert_eq!(labels(0.5), [2, 0, 0, 2]); // the first of equal ones
}

#[test]
fn padding_has_no_target() {
    let mut batch = batch(0.75);
    batch.labels[3] = IGNORED;
    batch.other_labels[3] = IGNORED;
    let settings = LossSettings { label_smoothing: 0.1, class_weights: Some(Arc::from(WEIGHTS)) };
    let (targets, labels) = filled(&settings, &batch);
    assert_eq!((&targets[15..], labels[3]), (&[0.0; 5][..], IGNORED));
    batch.mix = None;
    let sum = settings.weight_sum(&batch).unwrap();
    assert!((settings.value_of(sum) - (2.0 + 0.5 + 3.0)).abs() < 1e-9);
    assert_eq!(LossSettings::default().weight_sum(&batch), None);
}

/// The sum of ranks' parts is the whole's, in any order: floats of integers below 2^24.
#[test]
fn sums_of_weights_do_not_depend_on_ranks() {
    let sums = [3, 1 << 27, (1 << 50) + 12_345, (1 << 60) - 1].map(WeightSum);
    let mut parts = [0.0; WeightSum::PARTS];
    for sum in sums {
        assert_eq!(WeightSum::from_parts(sum.to_parts()), sum);
        (0..WeightSum::PARTS).for_each(|at| parts[at] += sum.to_parts()[at]);
    }
    let whole = WeightSum(sums.iter().map(|sum| sum.0).sum());
    assert_eq!(WeightSum::from_parts(parts), whole);
}

/// The mean is weighted: a common factor changes nothing, however small it is.
#[test]
fn a_common_factor_of_class_weights_changes_nothing() {
    let of = |factor: f32| {
        let class_weights = Some(WEIGHTS.iter().map(|weight| weight * factor).collect());
        let settings = LossSettings { label_smoothing: 0.1, class_weights };
        filled(&settings, &batch(1.0)).0
    };
    let expected = of(1.0);
    for factor in [1e-3, 1e-9, 1e-20, 1e3] {
        for (got, wanted) in of(factor).into_iter().zip(&expected) {
            assert!((got - wanted).abs() <= 1e-6 * wanted, "{factor}: {got} {wanted}");
        }
    }
    // A class of little weight beside one of much, alone in its batch.
    let rare = [1e-6, 1.0, 1.0, 1.0, 1e4];
    let settings = LossSettings { class_weights: Some(Arc::from(rare)), label_smoothing: 0.0 };
    let alone = Batch { labels: vec![0; IMAGES], images: IMAGES, ..Batch::default() };
    assert!(filled(&settings, &alone).0.iter().step_by(CLASSES).all(|t| (t - 1.0).abs() < 0.1));
}
