use super::*;
use crate::faulty::Faulty;
use crate::loader::{Batch, ClassSampling, Loader, LoaderPlan};
use crate::{Fake, IGNORED, ReadBuffer, Result, Shapes, Source};
use augment::{ColorFormula, ColorShift, Mix, Mixing};
use std::sync::Arc;

const SIDE: usize = 32;
const CROP: (usize, usize) = (20, 24);
const BYTES: usize = 20 * 24 * 3;
const SEED: u64 = 7;

fn shapes() -> Arc<dyn Source> {
    Arc::new(Shapes::train(Shapes::SEED, SIDE, 20))
}

fn everything() -> Changes {
    Changes {
        vertical_flip: 0.5,
        rotation: Some(Rotation { degrees: 20.0, interpolation: Interpolation::Bilinear }),
        policy: Some((Policy::TrivialAugmentWide { bins: 31 }, Interpolation::Nearest)),
        jitter: Some(Jitter { brightness: 0.4, ..Jitter::default() }),
        grayscale: 0.3,
        erasing: Some(Erasing { probability: 0.5, fill: EraseFill::Mean, ..Erasing::default() }),
    }
}

/// A mean image in which every byte is another's neighbour's successor.
fn mean() -> Arc<[u8]> {
    (0..SIDE * SIDE * 3).map(|at| (at * 7 % 251) as u8).collect()
}

/// The first `count` batches, by two workers.
fn batches(source: Arc<dyn Source>, plan: LoaderPlan, count: usize) -> Vec<Batch> {
    let mut loader = Loader::with_mean(source, plan, Some(mean()), 2, 0);
    (0..count).map(|_| loader.next_batch().unwrap().unwrap().clone()).collect()
}

/// The crop of a row in the orientation of the network.
fn seen(batch: &Batch, row: usize) -> Vec<u8> {
    let mut pixels = batch.pixels[row * BYTES..][..BYTES].to_vec();
    if batch.views[row][2] == 1 {
        augment::mirror(&mut pixels, CROP.1);
    }
    pixels
}

/// Each change alone, and all in their order, on the reflected crop.
#[test]
fn changes_apply_to_what_the_network_sees() {
    let plan = LoaderPlan::training(6, CROP, SEED);
    let all = everything();
    let none = Changes::default();
    let single = [
        Changes { vertical_flip: 0.5, ..none },
        Changes { rotation: all.rotation, ..none },
        Changes { policy: all.policy, ..none },
        Changes { grayscale: 0.5, ..none },
        Changes { erasing: all.erasing, ..none },
        all,
    ];
    let plain = batches(shapes(), plan, 5);
    for changes in single {
        let changed = batches(shapes(), LoaderPlan { changes, ..plan }, 5);
        let (mut differ, mut rows, mut canvas) = (0, 0, Canvas::default());
        for (plain, changed) in plain.iter().zip(&changed) {
            assert_eq!(plain.views, changed.views);
            for row in 0..plain.images {
                let (mut wanted, view) = (seen(plain, row), plain.views[row]);
                let stream = |p| Stream::new(SEED, p, plain.epoch, plain.samples[row]);
                let mut apply = |operation: Operation, interpolation, pixels: &mut [u8]| {
                    let sampling = Sampling { interpolation, fill: None };
                    operation.apply(pixels, CROP, sampling, &mut canvas);
                };
                let nearest = Interpolation::Nearest;
                if f64::from(stream(Purpose::VerticalFlip).unit()) < changes.vertical_flip {
                    apply(Operation::VerticalFlip, nearest, &mut wanted);
                }
                if let Some(Rotation { degrees, interpolation }) = changes.rotation {
                    let unit = f64::from(stream(Purpose::Rotate).unit());
                    let angle = degrees * (2.0 * unit - 1.0);
                    apply(Operation::Rotate(angle), interpolation, &mut wanted);
                }
                let (epoch, sample) = (plain.epoch, plain.samples[row]);
                if let Some((policy, interpolation)) = changes.policy {
                    policy.draw(SEED, epoch, sample, CROP, |drawn| {
                        apply(drawn, interpolation, &mut wanted);
                    });
                }
                if let Some(jitter) = changes.jitter {
                    augment::adjust(&mut wanted, &jitter.draw(SEED, epoch, sample));
                }
                if f64::from(stream(Purpose::Grayscale).unit()) < changes.grayscale {
                    apply(Operation::Grayscale, nearest, &mut wanted);
                }
                let hole = changes.erasing.and_then(|e| e.draw(SEED, epoch, sample, CROP));
                for (y, x) in hole.into_iter().flat_map(|h| {
                    (h.top..h.top + h.height)
                        .flat_map(move |y| (h.left..h.left + h.width).map(move |x| (y, x)))
                }) {
                    // What the device subtracts from this pixel.
                    let from = if view[2] == 1 { CROP.1 - 1 - x } else { x };
                    let at = ((view[0] as usize + y) * SIDE + view[1] as usize + from) * 3;
                    wanted[(y * CROP.1 + x) * 3..][..3].copy_from_slice(&mean()[at..at + 3]);
                }
                assert_eq!(seen(changed, row), wanted, "{changes:?}, row {row}");
                differ += usize::from(wanted != seen(plain, row));
                rows += 1;
            }
        }
        assert!(differ > 3 && (differ < rows || changes.rotation.is_some()), "{differ} of {rows}");
    }
}

fn mixing() -> [Mixing; 3] {
    let (mixup, cutmix) = (Some(0.4), Some(1.0));
    [Mixing { mixup, cutmix: None }, Mixing { mixup: None, cutmix }, Mixing { mixup, cutmix }]
}

const COLOR: ColorShift = ColorShift {
    formula: ColorFormula::Source,
    noise: 0.1,
    variances: [900.0, 90.0, 9.0],
    components: [[0.6, 0.8, 0.0], [-0.8, 0.6, 0.0], [0.0, 0.0, 1.0]],
};

#[test]
fn every_image_is_mixed_with_the_one_before_it() {
    for mixing in mixing() {
        // Twenty images in batches of six: the last has two.
        let fill = EraseFill::Color([1, 2, 3]); // the mean depends on where mirroring is done
        let erasing = everything().erasing.map(|erasing| Erasing { fill, ..erasing });
        let changes = Changes { erasing, ..everything() };
        let plan = LoaderPlan { changes, ..LoaderPlan::training(6, CROP, SEED) };
        let load = |plan| {
            let mut loader = Loader::with_mean(shapes(), plan, Some(mean()), 3, 0);
            loader.set_color(Some(COLOR));
            let next = || loader.next_batch().unwrap().unwrap().clone();
            std::iter::repeat_with(next).take(8).collect::<Vec<_>>()
        };
        let (plain, mixed) = (load(plan), load(LoaderPlan { mixing, ..plan }));
        for (plain, mixed) in plain.iter().zip(&mixed) {
            let mix = mixing.draw(SEED, plain.epoch, plain.position as u32, CROP).unwrap();
            assert_eq!((mixed.mix, &mixed.labels), (Some(mix), &plain.labels));
            let [weight, rest] = mix.weights();
            for row in 0..plain.images {
                let other = if row == 0 { plain.images - 1 } else { row - 1 };
                assert_eq!(mixed.other_labels[row], plain.labels[other]);
                let pixels = &mixed.pixels[row * BYTES..][..BYTES];
                assert_eq!(pixels, blended(plain, [row, other], &mix));
                for k in 0..4 {
                    let [own, second] = [row, other].map(|row| plain.tints[row][k]);
                    let blend = if weight < 1.0 { own * weight + second * rest } else { own };
                    assert_eq!(mixed.tints[row][k], blend);
                }
                assert_eq!(mixed.views[row], [plain.views[row][0], plain.views[row][1], 0]);
            }
            assert!(mixed.labels[plain.images..].iter().all(|&label| label == IGNORED));
        }
    }
}

/// By definition, in f64.
fn blended(batch: &Batch, [own, other]: [usize; 2], mix: &Mix) -> Vec<u8> {
    let (own, other) = (seen(batch, own), seen(batch, other));
    let cut = mix.cut;
    (0..BYTES)
        .map(|at| {
            let (y, x) = (at / 3 / CROP.1, at / 3 % CROP.1);
            let inside = (cut.top..cut.top + cut.height).contains(&y)
                && (cut.left..cut.left + cut.width).contains(&x);
            let [weight, rest] = mix.weights().map(f64::from);
            let mean = f64::from(own[at]) * weight + f64::from(other[at]) * rest;
            if inside { other[at] } else { mean.round() as u8 }
        })
        .collect()
}

/// Whichever rank reads a row, its bytes are the same, with unreadable images among them, for any
/// number of workers, and from any position.
#[test]
fn parts_workers_and_restarts_do_not_change_a_batch() {
    let size = (SIDE, SIDE);
    let source = || -> Arc<dyn Source> { Arc::new(Faulty::new(23, size).with_bad([3, 11])) };
    for sampling in [ClassSampling::Shuffled, ClassSampling::Balanced] {
        for mixing in mixing() {
            let plan = LoaderPlan::training(8, CROP, SEED);
            let plan = LoaderPlan { changes: everything(), mixing, sampling, ..plan };
            let whole = batches(source(), plan, 7);
            let mut one = Loader::with_mean(source(), plan, Some(mean()), 1, 1);
            one.start_at(1, 1);
            let later = one.next_batch().unwrap().unwrap().clone();
            assert_eq!(later, whole[4]);
            for parts in [2, 4] {
                for index in 0..parts {
                    let part = batches(source(), plan.part((index, parts)), 7);
                    let rows = 8 / parts;
                    for (part, whole) in part.iter().zip(&whole) {
                        let own = index * rows..(index + 1) * rows;
                        assert_eq!(*part.pixels, whole.pixels[own.start * BYTES..own.end * BYTES]);
                        assert_eq!(part.labels, whole.labels[own.clone()]);
                        assert_eq!(part.draws, whole.draws[own.clone()]);
                        assert_eq!(part.mix, whole.mix);
                        assert_eq!(part.other_labels, whole.other_labels[own]);
                    }
                }
            }
        }
    }
}

/// Ninety images of class 0, none of class 1, ten of class 2.
struct Uneven(Fake);

impl Source for Uneven {
    fn classes(&self) -> &[String] {
        self.0.classes()
    }

    fn size(&self) -> (usize, usize) {
        self.0.size()
    }

    fn len(&self) -> usize {
        100
    }

    fn label(&self, index: usize) -> u32 {
        if index % 10 == 4 { 2 } else { 0 }
    }

    fn name(&self, index: usize) -> String {
        self.0.name(index)
    }

    fn read<'a>(&'a self, index: usize, buffer: &'a mut ReadBuffer) -> Result<&'a [u8]> {
        self.0.read(index, buffer)
    }
}

#[test]
fn balanced_epochs_draw_classes_equally_often() {
    let plan =
        LoaderPlan { sampling: ClassSampling::Balanced, ..LoaderPlan::training(10, (4, 4), SEED) };
    let mut loader = Loader::new(Arc::new(Uneven(Fake::new(100, 16, 3))), plan, 2, 0);
    assert_eq!(loader.batches_per_epoch(), 10);
    let (mut counts, mut views) = ([0u32; 100], std::collections::BTreeSet::new());
    for _ in 0..200 {
        let batch = loader.next_batch().unwrap().unwrap();
        for row in 0..10 {
            assert_eq!(batch.draws[row] as usize, batch.position * 10 + row);
            let sample = batch.samples[row] as usize;
            counts[sample] += 1;
            views.insert((batch.epoch, sample, batch.views[row]));
        }
    }
    // 2000 draws: 1000 of each class, standard deviation 22; 100 of each rare image, 10.
    let rare: u32 = counts.iter().skip(4).step_by(10).sum();
    assert!(rare.abs_diff(1000) < 112, "{rare}");
    assert!(counts.iter().skip(4).step_by(10).all(|n| n.abs_diff(100) < 50), "{counts:?}");
    assert!(counts.iter().enumerate().all(|(at, &n)| at % 10 == 4 || n < 35), "{counts:?}");
    // A rare image appears five times an epoch, in crops of its own.
    let drawn_rare = views.iter().filter(|(_, sample, _)| sample % 10 == 4).count();
    assert!(drawn_rare > 900, "{drawn_rare}");
}

#[test]
#[should_panic(expected = "needs a mean image of (32, 32)")]
fn erasing_with_the_mean_needs_it() {
    let plan = LoaderPlan { changes: everything(), ..LoaderPlan::training(6, CROP, SEED) };
    Loader::new(shapes(), plan, 1, 1);
}
