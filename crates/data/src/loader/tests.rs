use super::*;
use crate::faulty::Faulty;
use crate::{Fake, ReadBuffer};
use augment::{
    ColorFormula, EraseFill, Erasing, Interpolation, Jitter, Mixing, Policy, ResizedCrop, View,
    ten_crop,
};
use random::{Permutation, Purpose, Stream};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

const SIZE: (usize, usize) = (9, 7);
const CROP: (usize, usize) = (6, 4);
const LEN: usize = 23;

const COLOR: ColorShift = ColorShift {
    formula: ColorFormula::Source,
    noise: 0.1,
    variances: [900.0, 90.0, 9.0],
    components: [[0.6, 0.8, 0.0], [-0.8, 0.6, 0.0], [0.0, 0.0, 1.0]],
};

/// Training, testing and ten views; the last batch of each is short.
fn plans() -> [LoaderPlan; 3] {
    [
        LoaderPlan::training(4, CROP, 7),
        LoaderPlan::testing(5, CROP),
        LoaderPlan::ten_views(25, CROP),
    ]
}

fn sound() -> Arc<dyn Source> {
    Arc::new(Faulty::new(LEN, SIZE))
}

/// Does `work` on a thread of its own, and fails where it would wait for ever.
fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, wait) = channel();
    let thread = std::thread::spawn(move || done.send(work()).expect("someone waits"));
    match wait.recv_timeout(Duration::from_secs(60)) {
        Ok(value) => value,
        Err(RecvTimeoutError::Timeout) => panic!("still not done after a minute"),
        Err(RecvTimeoutError::Disconnected) => resume_unwind(thread.join().unwrap_err()),
    }
}

#[test]
fn an_epoch_has_each_of_its_batches_once() {
    for plan in plans() {
        let mut loader = Loader::builder(sound(), plan).workers(2).build().unwrap();
        let wanted = batches(&mut Loader::new(sound(), plan, 1, 0), 2 * plan.batches(LEN));
        let mut wanted = wanted.into_iter().flatten();
        for epoch in 0..2 {
            let got: Vec<Batch> = loader.epoch().map(|batch| batch.unwrap().clone()).collect();
            assert_eq!(got.len(), plan.batches(LEN), "epoch {epoch} of {plan:?}");
            if epoch == 0 || plan.mode == LoaderMode::Training {
                assert!(got.iter().eq(wanted.by_ref().take(got.len()).collect::<Vec<_>>().iter()));
            } else {
                assert!(got.iter().all(|batch| batch.epoch == 0), "a test starts over");
            }
        }
        // What was taken otherwise is not delivered again.
        loader.start_at(0, 1);
        drop(loader.next_batch().unwrap());
        assert_eq!(loader.epoch().count(), plan.batches(LEN) - 2);
    }
}

#[test]
fn an_epoch_that_was_left_goes_on() {
    let plan = LoaderPlan::testing(5, CROP);
    let mut loader = Loader::builder(sound(), plan).workers(1).build().unwrap();
    assert!(loader.epoch().next().unwrap().is_ok());
    let rest: Vec<usize> = loader.epoch().map(|batch| batch.unwrap().position).collect();
    assert_eq!(rest, [1, 2, 3, 4]);
}

#[test]
fn settings_that_contradict_each_other_are_errors() {
    let refused = |source: Arc<dyn Source>, plan: LoaderPlan| {
        let loader = Loader::builder(source, plan).build();
        loader.expect_err("these settings contradict each other").to_string()
    };
    let large = LoaderPlan::testing(4, (10, 7));
    let text = "a crop of (10, 7) pixels does not fit images of (9, 7)";
    assert_eq!(refused(sound(), large), text);
    let empty: Arc<dyn Source> = Arc::new(Faulty::new(0, SIZE));
    assert_eq!(refused(empty, LoaderPlan::testing(4, CROP)), "a source without images");
    let few = "9 rows cannot hold the views of an image";
    assert_eq!(refused(sound(), LoaderPlan::ten_views(9, CROP)), few);
}

#[test]
fn a_plan_is_the_same_after_serialisation() {
    let changes = Changes {
        vertical_flip: 0.1,
        rotation: Some(Rotation { degrees: 15.0, interpolation: Interpolation::Bilinear }),
        policy: Some((Policy::TrivialAugmentWide { bins: 31 }, Interpolation::Nearest)),
        jitter: Some(Jitter { brightness: 0.4, ..Jitter::default() }),
        grayscale: 0.2,
        erasing: Some(Erasing { fill: EraseFill::Color([1, 2, 3]), ..Erasing::default() }),
    };
    let views = CropMode::Resized { crop: ResizedCrop::default(), mirror: true };
    let mixing = Mixing { mixup: Some(0.2), cutmix: None };
    let sampling = ClassSampling::Balanced;
    let many = LoaderPlan { changes, views, mixing, sampling, ..LoaderPlan::training(4, CROP, 7) };
    for plan in plans().into_iter().chain([many]) {
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<LoaderPlan>(&text).unwrap(), plan, "{text}");
    }
}

/// The next batch, copied and given back.
fn next(loader: &mut Loader) -> Option<Batch> {
    loader.next_batch().unwrap().map(|batch| batch.clone())
}

/// The next `count` batches; a test starts over at its end, which counts as one.
fn batches(loader: &mut Loader, count: usize) -> Vec<Option<Batch>> {
    let mut batches = Vec::new();
    for _ in 0..count {
        batches.push(next(loader));
        if batches.last() == Some(&None) {
            loader.start_at(0, 0);
        }
    }
    batches
}

/// An epoch of training, or a test.
fn epoch(loader: &mut Loader) -> Vec<Batch> {
    let count = loader.batches_per_epoch();
    (0..count).map(|_| next(loader).expect("another batch")).collect()
}

/// A loader with as few threads as can be.
fn simple(source: Arc<dyn Source>, plan: LoaderPlan) -> Loader {
    Loader::new(source, plan, 1, 1)
}

fn samples(batches: &[Batch]) -> Vec<u32> {
    batches.iter().flat_map(|batch| &batch.samples[..batch.images]).copied().collect()
}

#[test]
fn batches_are_the_same_for_any_workers_and_depth() {
    in_time(|| {
        let some_bad: Arc<dyn Source> = Arc::new(Faulty::new(LEN, SIZE).with_bad([2, 11, 19]));
        for (source, plan) in [sound(), some_bad].iter().flat_map(|s| plans().map(|p| (s, p))) {
            let run = |workers, depth| {
                let mut loader = Loader::new(source.clone(), plan, workers, depth);
                loader.set_color(Some(COLOR));
                let count = loader.batches_per_epoch() * 5 / 2;
                let batches = batches(&mut loader, count);
                (batches, loader.bad().clone())
            };
            let alone = run(1, 1);
            for workers in [1, 2, 3, 8] {
                for depth in [1, 2, 5, 0] {
                    let same = run(workers, depth) == alone;
                    assert!(same, "{workers} workers, {depth} batches, {plan:?}");
                }
            }
        }
    });
}

#[test]
fn any_position_is_resumed() {
    in_time(|| {
        for plan in plans() {
            let mut loader = Loader::new(sound(), plan, 2, 3);
            loader.set_color(Some(COLOR));
            let in_epoch = loader.batches_per_epoch();
            let epochs = if plan.mode == LoaderMode::Training { 3 } else { 1 };
            let whole: Vec<_> = (0..epochs).flat_map(|_| epoch(&mut loader)).collect();
            // Now near, now far; some batches are taken before the next jump.
            for start in (0..whole.len()).map(|n| n * 7 % whole.len()) {
                loader.start_at((start / in_epoch) as u32, start % in_epoch);
                for wanted in whole[start..].iter().take(start % 4) {
                    assert!(next(&mut loader).as_ref() == Some(wanted), "from {start}, {plan:?}");
                }
                let mut fresh = Loader::new(sound(), plan, 3, 0);
                fresh.set_color(Some(COLOR));
                fresh.start_at((start / in_epoch) as u32, start % in_epoch);
                for wanted in &whole[start..] {
                    assert!(next(&mut fresh).as_ref() == Some(wanted), "from {start}, {plan:?}");
                }
            }
        }
    });
}

/// The only worker is held at its first image while the loader is sent elsewhere; the ring's only
/// batch comes back from there.
#[test]
fn batches_in_progress_at_a_restart_are_discarded() {
    in_time(|| {
        for plan in plans() {
            let wanted = epoch(&mut simple(sound(), plan));
            let (gate, entered) = (Arc::new(Barrier::new(2)), AtomicBool::new(false));
            let mut source = Faulty::new(LEN, SIZE);
            let worker = gate.clone();
            source.on_read = Some(Box::new(move |_| {
                if !entered.swap(true, Ordering::Relaxed) {
                    worker.wait(); // at work
                    worker.wait(); // may go on
                }
            }));
            let mut loader = simple(Arc::new(source), plan);
            gate.wait();
            loader.start_at(0, 2);
            assert_eq!(loader.ready(), 0);
            gate.wait();
            for wanted in &wanted[2..] {
                assert!(next(&mut loader).as_ref() == Some(wanted), "{plan:?}");
            }
        }
    });
}

#[test]
fn a_test_ends_until_it_is_started_again() {
    in_time(|| {
        for plan in [LoaderPlan::testing(5, CROP), LoaderPlan::ten_views(25, CROP)] {
            let mut loader = Loader::new(sound(), plan, 2, 0);
            let first = epoch(&mut loader);
            assert_eq!(samples(&first).len(), LEN * plan.views_per_image());
            for _ in 0..3 {
                assert!(next(&mut loader).is_none());
            }
            loader.start_at(0, 0);
            assert!(epoch(&mut loader) == first);
            loader.start_at(1, 0); // a test has no second epoch
            assert!(next(&mut loader).is_none());
        }
    });
}

/// Parts side by side are the whole batch, and each reads its own images alone; in the short last
/// batch some have none.
#[test]
fn parts_are_the_batch_and_read_nothing_else() {
    in_time(|| {
        let whole_plans = [LoaderPlan::training(8, CROP, 7), LoaderPlan::testing(8, CROP)];
        for plan in whole_plans.into_iter().chain([LoaderPlan::ten_views(40, CROP)]) {
            let load = |source: Arc<dyn Source>, plan| {
                let mut loader = Loader::new(source, plan, 2, 1);
                loader.set_color(Some(COLOR));
                let batches = epoch(&mut loader);
                drop(loader); // nothing is read ahead any more
                batches
            };
            let whole = load(sound(), plan);
            for of in [2, 4] {
                let mut read = Vec::new();
                let parts: Vec<Vec<Batch>> = (0..of)
                    .map(|which| {
                        let seen = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
                        let mut source = Faulty::new(LEN, SIZE);
                        let to = Arc::clone(&seen);
                        source.on_read = Some(Box::new(move |index| {
                            to.lock().unwrap().insert(index as u32);
                        }));
                        // Training continues past the end of an epoch.
                        let testing = plan.mode == LoaderMode::Testing;
                        let part = load(Arc::new(source), plan.part((which, of)));
                        let own: BTreeSet<u32> = samples(&part).into_iter().collect();
                        let seen = seen.lock().unwrap();
                        assert!(!testing || *seen == own, "{plan:?}: {seen:?}, {own:?}");
                        read.extend(own);
                        part
                    })
                    .collect();
                read.sort_unstable();
                assert_eq!(read, Vec::from_iter(0..LEN as u32));
                for (number, whole) in whole.iter().enumerate() {
                    let rows = plan.rows / of;
                    let bytes = rows * CROP.0 * CROP.1 * 3;
                    for (which, part) in parts.iter().map(|part| &part[number]).enumerate() {
                        let own = which * rows..(which + 1) * rows;
                        let place = (part.epoch, part.position);
                        assert_eq!(place, (whole.epoch, whole.position));
                        assert_eq!(*part.pixels, whole.pixels[which * bytes..][..bytes]);
                        assert_eq!(part.views, whole.views[own.clone()]);
                        assert_eq!(part.tints, whole.tints[own.clone()]);
                        assert_eq!(part.labels, whole.labels[own.clone()]);
                        assert_eq!(part.samples, whole.samples[own]);
                    }
                    let images: usize = parts.iter().map(|part| part[number].images).sum();
                    assert_eq!(images, whole.images);
                }
            }
        }
    });
}

#[test]
fn training_takes_every_image_once_an_epoch_in_another_order() {
    in_time(|| {
        let mut orders = BTreeSet::new();
        for seed in [7, 8] {
            let mut loader = Loader::new(sound(), LoaderPlan::training(4, CROP, seed), 2, 0);
            for number in 0..3 {
                let batches = epoch(&mut loader);
                for (position, batch) in batches.iter().enumerate() {
                    assert_eq!((batch.epoch, batch.position), (number, position));
                }
                let order = samples(&batches);
                assert!(!order.is_sorted());
                assert_eq!(BTreeSet::from_iter(order.clone()), (0..LEN as u32).collect());
                assert_eq!(order.len(), LEN);
                assert!(orders.insert(order), "seed {seed}, epoch {number}");
            }
        }
        let shuffled = Permutation::new(7, 2, LEN as u64);
        let wanted: Vec<u32> = (0..LEN as u64).map(|p| shuffled.at(p) as u32).collect();
        assert!(orders.contains(&wanted));
    });
}

#[test]
fn a_test_takes_the_images_in_their_own_order() {
    in_time(|| {
        let batches = epoch(&mut simple(sound(), LoaderPlan::testing(5, CROP)));
        assert_eq!(samples(&batches), Vec::from_iter(0..LEN as u32));
    });
}

/// The ring has one batch, which was full before: nothing of it may be left.
#[test]
fn rows_past_the_last_image_are_ignored() {
    in_time(|| {
        let short = [(4, 3), (5, 3), (25, 10)]; // rows, and how many the last batch fills
        for (plan, (rows, filled)) in plans().into_iter().zip(short) {
            let mut loader = simple(sound(), plan);
            loader.set_color(Some(COLOR));
            let batches = epoch(&mut loader);
            let (last, full) = batches.split_last().unwrap();
            assert_eq!((last.images, last.labels.len()), (filled, rows));
            let per_batch = rows - rows % plan.views_per_image();
            assert!(full.iter().all(|batch| batch.images == per_batch));
            for batch in &batches {
                let bytes = CROP.0 * CROP.1 * 3;
                let (shown, padding) = batch.pixels.split_at(batch.images * bytes);
                assert!(shown.chunks(bytes).all(|row| row.iter().any(|&byte| byte > 0)));
                assert!(padding.iter().all(|&byte| byte == 0));
                for row in 0..rows {
                    let is_padding = row >= batch.images;
                    assert_eq!(batch.labels[row] == IGNORED, is_padding);
                    assert_eq!(batch.samples[row] == IGNORED, is_padding);
                    assert_eq!(batch.tints[row] == ColorShift::NONE, is_padding);
                    assert!(!is_padding || batch.views[row] == [0; 3]);
                }
            }
        }
    });
}

/// Each row by itself: a crop of its image where its view says, not mirrored; and the view, label
/// and tint that belong to the image.
fn check_rows(batch: &Batch, source: &Faulty, view: impl Fn(usize, u32) -> View) {
    let bytes = CROP.0 * CROP.1 * 3;
    for row in 0..batch.images {
        let (sample, [top, left, mirror]) = (batch.samples[row], batch.views[row]);
        let wanted = view(row, sample);
        let got = View { top: top as usize, left: left as usize, mirror: mirror == 1 };
        assert_eq!((got, mirror < 2), (wanted, true));
        let mut crop = vec![0; bytes];
        let image = &source.images[sample as usize];
        augment::crop(image, SIZE.1, wanted.top, wanted.left, CROP, &mut crop);
        assert!(batch.pixels[row * bytes..][..bytes] == crop, "row {row}: image {sample}");
        assert_eq!(batch.labels[row], source.label(sample as usize));
    }
}

#[test]
fn a_row_is_its_image_at_its_view() {
    in_time(|| {
        let source = Arc::new(Faulty::new(LEN, SIZE));
        for (random_place, mirror) in [(true, true), (true, false), (false, true), (false, false)] {
            let views = CropMode::One { random_place, mirror };
            let plan = LoaderPlan { views, ..LoaderPlan::training(4, CROP, 7) };
            let mut loader = Loader::new(source.clone(), plan, 2, 0);
            let mut seen = BTreeSet::new();
            for _ in 0..2 * loader.batches_per_epoch() {
                let batch = next(&mut loader).unwrap();
                check_rows(&batch, &source, |_, sample| {
                    let drawn = View::draw(7, batch.epoch, sample, SIZE, CROP);
                    let centre = View::centre(SIZE, CROP);
                    let place = if random_place { drawn } else { centre };
                    View { mirror: mirror && drawn.mirror, ..place }
                });
                seen.extend(batch.views[..batch.images].iter().copied());
            }
            // 4 x 4 places; with 46 draws nearly all of them are seen.
            let places = if random_place { 10..17 } else { 1..2 };
            let plain = seen.iter().filter(|view| view[2] == 0).count();
            assert!(places.contains(&plain), "{seen:?}");
            assert_eq!(seen.iter().any(|view| view[2] == 1), mirror);
        }
    });
}

#[test]
fn ten_views_take_ten_rows() {
    in_time(|| {
        let source = Arc::new(Faulty::new(LEN, SIZE));
        let views = ten_crop(SIZE, CROP);
        let mut loader = Loader::new(source.clone(), LoaderPlan::ten_views(25, CROP), 2, 0);
        for (position, batch) in epoch(&mut loader).iter().enumerate() {
            check_rows(batch, &source, |row, _| views[row % 10]);
            for row in 0..batch.images {
                assert_eq!(batch.samples[row] as usize, position * 2 + row / 10);
            }
        }
    });
}

#[test]
fn tints_depend_on_seed_epoch_and_image_only() {
    in_time(|| {
        let mut loader = Loader::new(sound(), LoaderPlan::training(4, CROP, 7), 2, 4);
        let plain = next(&mut loader).unwrap();
        assert_eq!(plain.tints, [ColorShift::NONE; 4]);
        loader.set_color(Some(COLOR)); // holds for batches that were ready before, too
        for _ in 0..2 * loader.batches_per_epoch() {
            let batch = next(&mut loader).unwrap();
            for (tint, &sample) in batch.tints.iter().zip(&batch.samples[..batch.images]) {
                assert_eq!(*tint, COLOR.draw(7, batch.epoch, sample));
            }
        }
        loader.set_color(None);
        assert_eq!(next(&mut loader).unwrap().tints, [ColorShift::NONE; 4]);
    });
}

#[test]
fn a_borrowed_batch_does_not_change() {
    in_time(|| {
        let wanted = epoch(&mut simple(sound(), LoaderPlan::testing(5, CROP)));
        let mut loader = Loader::new(sound(), LoaderPlan::testing(5, CROP), 2, 3);
        let mut loan = |_| loader.next_batch().unwrap().unwrap();
        let (first, second) = (loan(0), loan(1));
        let rest: Vec<Batch> = (2..5).map(|position| loan(position).clone()).collect();
        assert!(rest == wanted[2..]);
        assert!(*first == wanted[0] && *second == wanted[1]);
        drop(loader); // before its batches
        assert!(*first == wanted[0]);
    });
}

#[test]
fn workers_read_no_further_ahead_than_the_ring_is_deep() {
    in_time(|| {
        let source = Arc::new(Faulty::new(LEN, SIZE));
        let (rows, depth) = (2, 4);
        let mut loader = Loader::new(source.clone(), LoaderPlan::training(rows, CROP, 7), 3, depth);
        for taken in 0..30 {
            while loader.ready() < depth {
                std::thread::yield_now();
            }
            // An epoch's last batch has one image only, so reads may be a few fewer.
            let read = source.reads.load(Ordering::Relaxed);
            assert!(read <= (taken + depth) * rows, "{read} images after {taken} batches");
            next(&mut loader);
        }
    });
}

/// The image that a bad one is replaced by, as the plan of replacements says.
fn replaced(source: &Faulty, seed: u64, epoch: u32, sample: u32) -> u32 {
    let mut others = Stream::new(seed, Purpose::Replace, epoch, sample);
    let mut at = sample;
    while source.bad.contains(&(at as usize)) {
        at = others.below(source.len() as u32);
    }
    at
}

#[test]
fn training_replaces_bad_images() {
    in_time(|| {
        let bad = [2, 3, 11, 12, 19];
        let source = Arc::new(Faulty::new(LEN, SIZE).with_bad(bad));
        let plan = LoaderPlan::training(4, CROP, 7);
        let (mut whole, mut loader) =
            (simple(sound(), plan), Loader::new(source.clone(), plan, 2, 0));
        let mut replacements = BTreeSet::new();
        for number in 0..3 {
            for (wanted, got) in epoch(&mut whole).iter().zip(epoch(&mut loader)) {
                let drawn = |_, sample| View::draw(7, number, sample, SIZE, CROP);
                check_rows(&got, &source, drawn);
                for (&due, &sample) in wanted.samples[..wanted.images].iter().zip(&got.samples) {
                    assert_eq!(sample, replaced(&source, 7, number, due));
                    if sample != due {
                        replacements.insert(sample);
                    }
                }
            }
        }
        assert!(replacements.len() > 5, "always other images: {replacements:?}");
        // Met in each epoch, counted once.
        assert_eq!(loader.bad().keys().copied().collect::<Vec<_>>(), bad.map(|bad| bad as u32));
        assert!(loader.bad()[&11].to_string().starts_with("noise 11: spoilt"));
        assert!(whole.bad().is_empty());
    });
}

#[test]
fn testing_marks_bad_images() {
    in_time(|| {
        let source = Arc::new(Faulty::new(LEN, SIZE).with_bad([0, 7, 22]));
        for plan in [LoaderPlan::testing(5, CROP), LoaderPlan::ten_views(25, CROP)] {
            let mut loader = Loader::new(source.clone(), plan, 2, 0);
            let bytes = CROP.0 * CROP.1 * 3;
            for (wanted, got) in epoch(&mut simple(sound(), plan)).iter().zip(epoch(&mut loader)) {
                let same =
                    |batch: &Batch| (batch.images, batch.samples.clone(), batch.views.clone());
                assert_eq!(same(&got), same(wanted));
                for row in 0..wanted.images {
                    let is_bad = source.bad.contains(&(got.samples[row] as usize));
                    let label = if is_bad { IGNORED } else { wanted.labels[row] };
                    assert_eq!(got.labels[row], label);
                    let pixels = |batch: &Batch| batch.pixels[row * bytes..][..bytes].to_vec();
                    let shown = if is_bad { vec![0; bytes] } else { pixels(wanted) };
                    assert_eq!(pixels(&got), shown);
                }
            }
            assert_eq!(loader.bad().keys().copied().collect::<Vec<_>>(), [0, 7, 22]);
        }
    });
}

#[test]
fn ten_bad_images_or_one_in_a_thousand_are_tolerated() {
    let limits = [0, 500, 10_999, 11_000, 1_281_167].map(bad_limit);
    assert_eq!(limits, [10, 10, 10, 11, 1281]);
}

#[test]
fn more_bad_images_than_the_limit_are_an_error() {
    in_time(|| {
        let few = Arc::new(Faulty::new(40, SIZE).with_bad(10..20));
        let many = Arc::new(Faulty::new(40, SIZE).with_bad(10..21));
        let mut loader = Loader::new(few, LoaderPlan::testing(4, CROP), 2, 0);
        assert_eq!((epoch(&mut loader).len(), loader.bad().len()), (10, 10));

        let mut loader = Loader::new(many.clone(), LoaderPlan::testing(4, CROP), 2, 0);
        let outcomes: Vec<bool> = (0..10).map(|_| loader.next_batch().is_ok()).collect();
        assert_eq!(outcomes, [true, true, true, true, true, false, false, false, false, false]);
        assert!(loader.next_batch().unwrap().is_none());
        loader.start_at(0, 0);
        let first = Box::new(many.read(10, &mut ReadBuffer::default()).unwrap_err());
        let wanted = Error::TooManyBad { count: 11, len: 40, limit: 10, first };
        assert_eq!(loader.next_batch().err(), Some(wanted.clone()));

        let mut loader = Loader::new(many, LoaderPlan::training(4, CROP, 7), 2, 0);
        let first_error = (0..).find_map(|_| loader.next_batch().err()).unwrap();
        assert_eq!((first_error, loader.bad().len()), (wanted, 11));
    });
}

/// A batch for which no image can be found still tells what was bad, so that the limit is reached
/// and more than one image is reported.
#[test]
fn only_bad_images_are_an_error() {
    in_time(|| {
        let source = |len| Arc::new(Faulty::new(len, SIZE).with_bad(0..len));
        let mut loader = Loader::new(source(1000), LoaderPlan::training(4, CROP, 7), 2, 0);
        let error = loader.next_batch().err().unwrap();
        assert!(matches!(error, Error::TooManyBad { count: 11.., limit: 10, .. }), "{error}");

        // Too few for that.
        let mut loader = Loader::new(source(5), LoaderPlan::training(4, CROP, 7), 2, 0);
        let error = loader.next_batch().err().unwrap();
        assert!(matches!(error, Error::Image { .. }), "{error}");
        assert_eq!(loader.bad().len(), 5);
        assert!(loader.next_batch().is_err());
    });
}

#[test]
fn after_a_panic_the_error_is_returned_and_the_loader_continues() {
    in_time(|| {
        let source = Arc::new(Faulty::new(LEN, SIZE).with_bad([6]).with_deadly([7, 16]));
        for workers in [1, 3] {
            for plan in [LoaderPlan::testing(5, CROP), LoaderPlan::ten_views(50, CROP)] {
                let wanted = epoch(&mut simple(sound(), plan));
                let mut loader = Loader::new(source.clone(), plan, workers, 0);
                for (position, deadly) in [None, Some(7), None, Some(16), None].iter().enumerate() {
                    match (loader.next_batch(), deadly) {
                        (Ok(batch), None) => assert!(*batch.unwrap() == wanted[position]),
                        (Err(error), Some(at)) => {
                            let name = format!("noise {at}");
                            let message = format!("image {at} is deadly");
                            assert_eq!(error, Error::Panic { name, message });
                        }
                        (outcome, _) => panic!("batch {position} came: {}", outcome.is_ok()),
                    }
                }
                assert!(next(&mut loader).is_none());
                // Read before the panic in the same batch.
                assert_eq!(loader.bad().keys().copied().collect::<Vec<_>>(), [6]);
            }
        }
    });
}

#[test]
fn a_panic_in_training_names_its_image_each_epoch() {
    in_time(|| {
        let source = Arc::new(Faulty::new(LEN, SIZE).with_deadly([5]));
        let mut loader = Loader::new(source, LoaderPlan::training(4, CROP, 7), 2, 0);
        let count = 4 * loader.batches_per_epoch();
        let errors: Vec<Error> = (0..count).filter_map(|_| loader.next_batch().err()).collect();
        assert_eq!(errors.len(), 4);
        assert!(errors.iter().all(|error| error.to_string().starts_with("noise 5: reading it")));
    });
}

#[test]
fn holding_all_batches_panics_with_a_message() {
    in_time(|| {
        let wanted = epoch(&mut simple(sound(), LoaderPlan::testing(5, CROP)));
        let mut loader = Loader::new(sound(), LoaderPlan::testing(5, CROP), 2, 2);
        let mut held: Vec<LoadedBatch> =
            (0..2).map(|_| loader.next_batch().unwrap().unwrap()).collect();
        let panic = catch_unwind(AssertUnwindSafe(|| loader.next_batch().is_ok())).unwrap_err();
        let message = panic.downcast_ref::<&str>().unwrap();
        assert!(message.contains("the caller holds all batches"), "{message}");
        held.pop(); // and all is well again
        for wanted in &wanted[2..] {
            assert!(next(&mut loader).as_ref() == Some(wanted));
        }
        // At the end there is nothing to wait for, even if all batches are held.
        let mut loader = Loader::new(sound(), LoaderPlan::testing(5, CROP), 2, 5);
        let held: Vec<Option<LoadedBatch>> = (0..5).map(|_| loader.next_batch().unwrap()).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(next(&mut loader).is_none());
    });
}

/// A source whose image 6 is not read before the gate is opened, as if its disk had gone away.
fn behind_a_gate() -> (Arc<dyn Source>, Arc<AtomicBool>) {
    let (mut source, gate) = (Faulty::new(LEN, SIZE), Arc::new(AtomicBool::new(false)));
    let open = gate.clone();
    source.on_read = Some(Box::new(move |index| {
        while index == 6 && !open.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }));
    (Arc::new(source), gate)
}

const MILLISECOND: Duration = Duration::from_millis(1);

#[test]
fn a_stalled_read_is_reported_and_then_continues() {
    in_time(|| {
        let wanted = epoch(&mut simple(sound(), LoaderPlan::testing(5, CROP)));
        for workers in [1, 3] {
            let (source, gate) = behind_a_gate();
            let mut loader = Loader::new(source, LoaderPlan::testing(5, CROP), workers, 0);
            loader.set_timeouts(ReadTimeouts {
                notice: 100 * MILLISECOND,
                ..ReadTimeouts::default()
            });
            let (mut told, mut asked, mut batches) = (Vec::new(), 0, Vec::new());
            while let Some(batch) = loader
                .next_batch_watched(&mut |stalled| {
                    asked += 1;
                    told.extend(stalled.cloned());
                    gate.store(told.len() == 3, Ordering::SeqCst);
                    true
                })
                .unwrap()
            {
                batches.push(batch.clone());
            }
            assert!(batches == wanted);
            assert!(told.len() == 3 && asked > 3, "{told:?}, asked {asked} times");
            for (stalled, least) in told.iter().zip([100, 200, 400]) {
                assert_eq!((&*stalled.name, stalled.limit.as_secs()), ("noise 6", 600));
                assert!(stalled.waited >= least * MILLISECOND, "{told:?}");
            }
            assert!(loader.bad().is_empty());
        }
    });
}

#[test]
fn a_read_that_never_returns_is_an_error_and_blocks_no_other() {
    in_time(|| {
        let (source, gate) = behind_a_gate();
        let mut loader = Loader::new(source.clone(), LoaderPlan::testing(5, CROP), 2, 0);
        loader.set_timeouts(ReadTimeouts { notice: MILLISECOND, limit: 200 * MILLISECOND });
        assert!(next(&mut loader).is_some());
        let error = loader.next_batch().err().unwrap();
        assert_eq!(error, Error::Stalled { name: "noise 6".into(), seconds: 0 });
        drop(loader); // while its worker reads on
        assert!(Arc::strong_count(&source) > 1, "the worker is still there");
        gate.store(true, Ordering::SeqCst);
        while Arc::strong_count(&source) > 1 {
            std::thread::sleep(MILLISECOND); // and goes when it can
        }
    });
}

#[test]
fn waiting_can_be_interrupted() {
    in_time(|| {
        let (source, gate) = behind_a_gate();
        let wanted = epoch(&mut simple(sound(), LoaderPlan::testing(5, CROP)));
        let mut loader = Loader::new(source, LoaderPlan::testing(5, CROP), 2, 0);
        assert!(next(&mut loader).as_ref() == Some(&wanted[0]));
        let mut asked = 0;
        let called_away = loader.next_batch_watched(&mut |stalled| {
            assert!(stalled.is_none(), "no ten seconds have passed");
            asked += 1;
            asked < 3
        });
        assert!(called_away.unwrap().is_none() && asked == 3);
        gate.store(true, Ordering::SeqCst);
        assert!(next(&mut loader).as_ref() == Some(&wanted[1]));
    });
}

#[test]
fn a_loader_returns_its_plan_and_source() {
    let loader = Loader::new(sound(), LoaderPlan::ten_views(25, CROP), 1, 0);
    assert_eq!((*loader.plan(), loader.source().len()), (LoaderPlan::ten_views(25, CROP), LEN));
    assert_eq!(loader.batches_per_epoch(), 12);
}

#[test]
#[should_panic(expected = "a source without images")]
fn no_image() {
    simple(Arc::new(Faulty::new(0, SIZE)), LoaderPlan::testing(1, CROP));
}

#[test]
#[should_panic(expected = "4294967295 images: too many to number")]
fn more_images_than_indices() {
    simple(Arc::new(Fake::new(IGNORED as usize, 1, 2)), LoaderPlan::testing(1, (1, 1)));
}

#[test]
#[should_panic(expected = "a crop of (9, 8) pixels does not fit images of (9, 7)")]
fn a_crop_wider_than_the_images() {
    simple(sound(), LoaderPlan::testing(1, (9, 8)));
}

#[test]
#[should_panic(expected = "a crop of (10, 7) pixels does not fit images of (9, 7)")]
fn a_crop_higher_than_the_images() {
    simple(sound(), LoaderPlan::testing(1, (10, 7)));
}

#[test]
#[should_panic(expected = "9 rows cannot hold the views of an image")]
fn too_few_rows_for_ten_views() {
    simple(sound(), LoaderPlan::ten_views(9, CROP));
}

#[test]
#[should_panic(expected = "batch 6 of an epoch of 6")]
fn a_start_past_the_epoch() {
    simple(sound(), LoaderPlan::training(4, CROP, 7)).start_at(0, 6);
}

#[test]
fn a_caller_can_stop_waiting_for_a_stalled_source() {
    in_time(|| {
        let stalled = Arc::new(AtomicBool::new(true));
        let gate = Arc::clone(&stalled);
        let on_read = move |_| {
            while gate.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        let mut source = Faulty::new(LEN, SIZE);
        source.on_read = Some(Box::new(on_read));
        let mut loader = simple(Arc::new(source), LoaderPlan::training(4, CROP, 7));
        let begun = std::time::Instant::now();
        let mut late = |_: Option<&_>| begun.elapsed() <= Duration::from_millis(20);
        assert!(loader.next_batch_watched(&mut late).unwrap().is_none());
        stalled.store(false, Ordering::SeqCst);
        // The batch that was not waited for comes next.
        assert_eq!(next(&mut loader), next(&mut simple(sound(), LoaderPlan::training(4, CROP, 7))));
    });
}
