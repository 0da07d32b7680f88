use super::*;
use crate::collection::{Class, FileLocation};
use crate::scratch_dir::{ScratchDir, encoded};
use crate::shards::ShardIndex;
use crate::{
    Crops, DatasetOptions, Loader, LoaderPlan, ReadBuffer, Shards, Source, Statistics, open,
};
use augment::{Resizer, View, shorter_side_to, ten_crop};
use image::ImageFormat;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

const SIDE: usize = 16;

/// Smooth, so that JPEG keeps it about as it is.
fn picture(number: usize) -> image::RgbImage {
    let (height, width) = (20 + number as u32 % 7, 18 + number as u32 % 11);
    image::RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([60 + (x * 4) as u8, 70 + (y * 4) as u8, 90 + (number * 3) as u8])
    })
}

#[allow(clippy::field_reassign_with_default)] // one of its fields is private
/// `train` and `test` pictures of three classes, as files in a folder.
fn collection(dir: &ScratchDir, train: usize, test: usize) -> Collection {
    let item = |number: usize| {
        let bytes = encoded(&picture(number).into(), ImageFormat::Png);
        let path = dir.write(&format!("in/{number}.png"), &bytes);
        let (name, label) = (path.display().to_string(), number as u32 % 3);
        LabelledFile { name, label, location: FileLocation::File(path) }
    };
    let class = |id: &str| Class { id: id.to_owned(), ..Class::default() };
    let mut collection = Collection::default();
    collection.name = "pictures".to_owned();
    collection.classes = ["ant", "bee", "cat"].map(class).to_vec();
    collection.train = (0..train).map(item).collect();
    collection.test = (train..train + test).map(item).collect();
    collection
}

fn options(encoding: Encoding, keep: Keep) -> PrepareOptions {
    let exif = ExifMode::Ignore;
    PrepareOptions { side: SIDE, keep, encoding, images_per_shard: 4, threads: 2, exif }
}

const RAW: PrepareOptions = PrepareOptions {
    side: SIDE,
    keep: Keep::Centre,
    encoding: Encoding::Raw,
    images_per_shard: 4,
    threads: 2,
    exif: ExifMode::Ignore,
};

fn run(collection: &Collection, out: &Path, options: &PrepareOptions) -> Result<PrepareSummary> {
    prepare(collection, out, options, &mut |_| (), &|| false)
}

/// All files of a folder and their bytes.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let read = |file: fs::DirEntry| {
        (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())
    };
    files.map(read).collect()
}

fn said(result: Result<PrepareSummary>) -> String {
    result.unwrap_err().to_string()
}

/// What should be stored of the picture with this number.
fn expected(number: usize, keep: Keep) -> augment::Image {
    let picture = picture(number);
    let (height, width) = (picture.height() as usize, picture.width() as usize);
    let from = augment::Image { height, width, pixels: picture.into_raw() };
    let mut out = augment::Image::default();
    match keep {
        Keep::Centre => Resizer::default().square(&from, SIDE, &mut out),
        Keep::Whole => {
            let (height, width) = shorter_side_to(SIDE, (height, width));
            Resizer::default().resize(&from, height, width, &mut out);
        }
    }
    out
}

/// The picture that lies at a place of the training set of `len`.
fn shuffled(position: usize, len: usize) -> usize {
    Permutation::new(0, u32::MAX, len as u64).at(position as u64) as usize
}

#[test]
fn raw_shards_hold_the_squares_in_shuffled_order() {
    let dir = ScratchDir::new();
    let set = collection(&dir, 10, 3);
    let out = dir.path().join("out");
    let summary = run(&set, &out, &RAW).unwrap();
    assert_eq!((summary.images, summary.bad), ([10, 3], 0));
    let names: Vec<String> = contents(&out).into_keys().collect();
    let shard = |n: usize, part: &str| ["idx", "tar"].map(|end| format!("{part}-{n:06}.{end}"));
    let mut wanted = vec!["bad.jsonl".to_owned(), "dataset.json".into(), "mean.f32".into()];
    (0..3).for_each(|n| wanted.extend(shard(n, "train")));
    wanted.extend(shard(0, "val"));
    assert_eq!(names, wanted);

    let (train, val) = Shards::open(&out, SIDE).unwrap();
    let mut buffer = ReadBuffer::default();
    let mut places = Vec::new();
    for index in 0..10 {
        let number = shuffled(index, 10);
        places.push(number);
        let square = expected(number, Keep::Centre).pixels;
        assert_eq!(train.read(index, &mut buffer).unwrap(), square);
        assert_eq!(train.label(index), number as u32 % 3);
    }
    places.sort();
    assert_eq!(places, (0..10).collect::<Vec<_>>());
    for index in 0..3 {
        let square = expected(10 + index, Keep::Centre).pixels;
        assert_eq!(val.read(index, &mut buffer).unwrap(), square);
    }
    assert_eq!(train.classes(), ["ant", "bee", "cat"]);
    assert_eq!(train.name(9), "train-000002.tar/000000009.rgb");
    // Whole numbers are summed: what is stored is what a measurement finds, to the last bit.
    let stored = Manifest::read(&out).unwrap().statistics(&out).unwrap();
    assert_eq!(stored, Statistics::of_sample(&train, 2, None, &|_| ()).unwrap());
}

#[test]
fn jpeg_shards_are_close_to_the_squares() {
    let dir = ScratchDir::new();
    let set = collection(&dir, 6, 1);
    let out = dir.path().join("out");
    run(&set, &out, &options(Encoding::Jpeg { quality: 95 }, Keep::Centre)).unwrap();
    let (train, _) = Shards::open(&out, SIDE).unwrap();
    let mut buffer = ReadBuffer::default();
    for index in 0..6 {
        let square = expected(shuffled(index, 6), Keep::Centre).pixels;
        let pixels = train.read(index, &mut buffer).unwrap();
        let difference: u32 =
            pixels.iter().zip(&square).map(|(&a, &b)| u32::from(a.abs_diff(b))).sum();
        assert!(difference < 3 * square.len() as u32, "{difference} levels");
    }
    let stored = Manifest::read(&out).unwrap().statistics(&out).unwrap();
    let measured = Statistics::of(&train).unwrap();
    for (a, b) in stored.color.iter().zip(measured.color) {
        // In sixteen pixels a rounded coefficient shows; in 256 it is a hundredth of a level.
        assert!((a - b).abs() < 4.0, "{a} and {b}");
    }
}

/// All crops of all forms are windows of what is stored; a raw crop is also read a second time,
/// when its checksum is no longer looked at.
#[test]
fn crops_are_windows_of_the_stored_images() {
    let dir = ScratchDir::new();
    let set = collection(&dir, 9, 2);
    for (number, keep) in [Keep::Centre, Keep::Whole].into_iter().enumerate() {
        for encoding in [Encoding::Raw, Encoding::Jpeg { quality: 90 }] {
            let out = dir.path().join(format!("{number}-{}", encoding.extension()));
            run(&set, &out, &options(encoding, keep)).unwrap();
            let (train, _) = Shards::open(&out, SIDE).unwrap();
            for index in 0..9 {
                let whole = expected(shuffled(index, 9), keep);
                let size = (whole.height, whole.width);
                assert_eq!(train.size_of(index), size);
                for crop in [(16, 16), (11, 13), (1, 16)] {
                    let views = ten_crop(size, crop);
                    for views in [&views[..], &views[3..4]] {
                        check_crops(
                            &train,
                            index,
                            views,
                            crop,
                            (encoding == Encoding::Raw).then_some(&whole),
                        );
                    }
                }
            }
        }
    }
}

fn check_crops(
    source: &Shards,
    index: usize,
    views: &[View],
    crop: (usize, usize),
    exact: Option<&augment::Image>,
) {
    let mut buffer = ReadBuffer::default();
    let mut crops = vec![0; views.len() * crop.0 * crop.1 * 3];
    let asked = Crops { views, size: crop, into: &mut crops };
    source.read_crops(index, asked, &mut buffer).unwrap();
    // The whole image is the one crop that is as large.
    let size = source.size_of(index);
    let mut whole = vec![0; size.0 * size.1 * 3];
    let all = View { top: 0, left: 0, mirror: false };
    let asked = Crops { views: &[all], size, into: &mut whole };
    source.read_crops(index, asked, &mut buffer).unwrap();
    if let Some(exact) = exact {
        assert_eq!(whole, exact.pixels);
    }
    for (view, got) in views.iter().zip(crops.chunks(crop.0 * crop.1 * 3)) {
        let mut window = vec![0; got.len()];
        augment::crop(&whole, size.1, view.top, view.left, crop, &mut window);
        assert_eq!(got, window);
    }
}

#[test]
fn at_another_side_images_are_resized() {
    let dir = ScratchDir::new();
    let set = collection(&dir, 4, 1);
    for keep in [Keep::Centre, Keep::Whole] {
        let out = dir.path().join(format!("{keep:?}"));
        run(&set, &out, &options(Encoding::Raw, keep)).unwrap();
        let (train, _) = Shards::open(&out, 8).unwrap();
        assert_eq!(train.size_of(0), (8, 8));
        let mut small = augment::Image::default();
        Resizer::default().square(&expected(shuffled(0, 4), keep), 8, &mut small);
        let mut buffer = ReadBuffer::default();
        assert_eq!(train.read(0, &mut buffer).unwrap(), small.pixels);
        let mut crop = vec![0; 5 * 4 * 3];
        let view = View { top: 2, left: 3, mirror: false };
        let asked = Crops { views: &[view], size: (5, 4), into: &mut crop };
        train.read_crops(0, asked, &mut buffer).unwrap();
        let mut wanted = vec![0; 5 * 4 * 3];
        augment::crop(&small.pixels, 8, 2, 3, (5, 4), &mut wanted);
        assert_eq!(crop, wanted);
    }
}

#[test]
fn threads_do_not_change_the_bytes() {
    let dir = ScratchDir::new();
    let set = collection(&dir, 13, 5);
    for encoding in [Encoding::Raw, Encoding::Jpeg { quality: 95 }] {
        let made = [1, 2, 7].map(|threads| {
            let out = dir.path().join(format!("{threads}-{}", encoding.extension()));
            let options = PrepareOptions { threads, ..options(encoding, Keep::Centre) };
            let summary = run(&set, &out, &options).unwrap();
            (contents(&out), summary)
        });
        assert!(made[0] == made[1] && made[1] == made[2]);
    }
}

#[test]
fn a_run_stopped_anywhere_is_resumed_to_the_same_bytes() {
    let dir = ScratchDir::new();
    let set = collection(&dir, 11, 6);
    fs::write(dir.path().join("in/5.png"), b"no image").unwrap();
    let whole = dir.path().join("whole");
    assert_eq!(run(&set, &whole, &RAW).unwrap().bad, 1);
    for allowed in 0..17 {
        let out = dir.path().join(format!("out-{allowed}"));
        let asked = AtomicUsize::new(0);
        let stop = || asked.fetch_add(1, Ordering::Relaxed) >= allowed;
        let stopped = prepare(&set, &out, &RAW, &mut |_| (), &stop).unwrap();
        assert!(stopped.manifest.is_none() && !out.join("dataset.json").exists());
        // What a kill at the worst moments leaves besides: halves under temporary names, and a
        // shard that has its name but is not yet in the state.
        for name in ["train-000000.tar.tmp", "train-000002.tar", "val-000001.tar", "val-000001.idx"]
        {
            if !out.join(name).exists() {
                fs::write(out.join(name), b"half").unwrap();
            }
        }
        for name in ["prepare.state.tmp", "dataset.json.tmp", "mean.f32.tmp", "bad.jsonl.tmp"] {
            fs::write(out.join(name), b"half").unwrap();
        }
        let mut told = Vec::new();
        let done = prepare(&set, &out, &RAW, &mut |p| told.push(p.done), &|| false).unwrap();
        assert_eq!((done.images, done.bad), ([10, 6], 1));
        assert!(told.is_sorted() && *told.last().unwrap() == 17, "{told:?}");
        assert!(contents(&out) == contents(&whole), "stopped after {allowed} images");
        // Once more: there is nothing to do.
        assert_eq!(run(&set, &out, &RAW).unwrap(), done);
    }
}

#[test]
fn images_that_cannot_be_read_are_left_out_and_named() {
    let dir = ScratchDir::new();
    let set = collection(&dir, 30, 2);
    fs::write(dir.path().join("in/7.png"), b"GIF89a").unwrap();
    fs::remove_file(dir.path().join("in/31.png")).unwrap();
    let out = dir.path().join("out");
    let summary = run(&set, &out, &RAW).unwrap();
    assert_eq!((summary.images, summary.bad), ([29, 1], 2));
    let lines = fs::read_to_string(out.join("bad.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (lines.len(), &lines[0]["set"], &lines[1]["set"]),
        (2, &"train".into(), &"val".into())
    );
    assert!(lines[0]["name"].as_str().unwrap().ends_with("in/7.png"));
    assert!(lines[0]["reason"].as_str().unwrap().contains("incomplete GIF"));
    let (train, _) = Shards::open(&out, SIDE).unwrap();
    assert_eq!(train.len(), 29);

    for number in 8..18 {
        fs::write(dir.path().join(format!("in/{number}.png")), b"GIF89a").unwrap();
    }
    let out = dir.path().join("too many");
    let error = said(run(&set, &out, &RAW));
    assert!(error.contains("11 of 30") && error.contains("incomplete GIF"), "{error}");
    let named = fs::read_to_string(out.join("bad.jsonl")).unwrap();
    assert_eq!(named.lines().count(), 11);
}

#[test]
fn a_folder_with_other_files_is_rejected_and_unchanged() {
    let dir = ScratchDir::new();
    let set = collection(&dir, 5, 2);
    let strange = dir.write("strange/letter.txt", b"dear");
    let error = said(run(&set, strange.parent().unwrap(), &RAW));
    assert!(error.contains("it contains `letter.txt`"), "{error}");

    let out = dir.path().join("out");
    run(&set, &out, &RAW).unwrap();
    let before = contents(&out);
    let error = said(run(&set, &out, &PrepareOptions { side: 8, ..RAW }));
    assert!(error.contains("images of side 16, not 8"), "{error}");
    let mut other = collection(&dir, 5, 2);
    other.train[0].label = 2;
    let error = said(run(&other, &out, &RAW));
    assert!(error.contains("another collection"), "{error}");
    assert!(contents(&out) == before);

    let half = dir.path().join("half");
    prepare(&set, &half, &RAW, &mut |_| (), &|| true).unwrap();
    let jpeg = options(Encoding::Jpeg { quality: 95 }, Keep::Centre);
    let error = said(run(&set, &half, &jpeg));
    assert!(error.contains("Raw, not Jpeg"), "{error}");

    let held = lock(&half).unwrap();
    assert!(said(run(&set, &half, &RAW)).contains("another process"));
    drop(held);
    run(&set, &half, &RAW).unwrap();
}

#[test]
fn invalid_options_are_rejected_before_anything_is_written() {
    let dir = ScratchDir::new();
    let (set, out) = (collection(&dir, 3, 1), dir.path().join("out"));
    let jpeg = |quality| options(Encoding::Jpeg { quality }, Keep::Centre);
    for (wrong, what) in [
        (PrepareOptions { side: 0, ..RAW }, "side 0"),
        (jpeg(0), "quality 0"),
        (jpeg(101), "quality 101"),
        (PrepareOptions { images_per_shard: 0, ..RAW }, "without images"),
    ] {
        let error = said(run(&set, &out, &wrong));
        assert!(error.contains(what), "{error}");
    }
    let mut empty = collection(&dir, 1, 1);
    empty.train.clear();
    assert!(said(run(&empty, &out, &RAW)).contains("0 training images"));
    assert!(!out.exists());
    let file = dir.write("file", b"");
    let error = said(run(&set, &file.join("out"), &RAW));
    assert!(error.contains("cannot be written"), "{error}");
}

#[test]
fn a_full_disk_is_an_error_with_a_remedy() {
    let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
    let text = write_error(Path::new("x.tar"), &full).to_string();
    assert!(text.contains("x.tar") && text.contains("finished shards are kept"), "{text}");
    let locked = std::io::Error::from(std::io::ErrorKind::ReadOnlyFilesystem);
    assert!(write_error(Path::new("x"), &locked).to_string().contains("choose a writable folder"));
}

#[test]
fn damage_is_found_by_its_checksum_and_named() {
    let dir = ScratchDir::new();
    let set = collection(&dir, 6, 1);
    for encoding in [Encoding::Raw, Encoding::Jpeg { quality: 95 }] {
        let out = dir.path().join(encoding.extension());
        run(&set, &out, &options(encoding, Keep::Centre)).unwrap();
        let tar = out.join("train-000001.tar");
        let mut bytes = fs::read(&tar).unwrap();
        bytes[512 + 300] ^= 1;
        fs::write(&tar, &bytes).unwrap();
        let (train, _) = Shards::open(&out, SIDE).unwrap();
        let mut buffer = ReadBuffer::default();
        let mut crop = vec![0; 12 * 12 * 3];
        let view = View { top: 0, left: 0, mirror: false };
        for _ in 0..2 {
            let asked = Crops { views: &[view], size: (12, 12), into: &mut crop };
            let error = train.read_crops(4, asked, &mut buffer).unwrap_err();
            let name = format!("train-000001.tar/000000004.{}: damaged", encoding.extension());
            assert!(error.to_string().starts_with(&name), "{error}");
        }
        assert!(train.read(5, &mut buffer).is_ok());
        fs::write(&tar, &bytes[..5000]).unwrap();
        let error = Shards::open(&out, SIDE).err().unwrap().to_string();
        assert!(error.contains("5000 bytes; according to its index"), "{error}");
    }
}

/// Its mapping breaks with SIGBUS; what is left can be read, and what is gone is named.
#[test]
fn a_raw_shard_that_shrinks_under_a_reader_is_an_error() {
    let (dir, count) = (ScratchDir::new(), 40);
    let collection = collection(&dir, count, 0);
    let out = dir.path().join("out");
    run(&collection, &out, &PrepareOptions { images_per_shard: count, ..RAW }).unwrap();
    let (shards, _) = Shards::open(&out, SIDE).unwrap();
    let mut buffer = ReadBuffer::default();
    let mut crop = |index: usize| {
        let (view, mut pixels) = (View { top: 3, left: 2, mirror: false }, vec![0; 10 * 9 * 3]);
        let asked = Crops { views: &[view], size: (10, 9), into: &mut pixels };
        let read = shards.read_crops(index, asked, &mut buffer);
        read.map(|()| pixels)
    };
    let whole: Vec<_> = (0..2 * count).map(|index| crop(index % count).unwrap()).collect();
    let tar = fs::OpenOptions::new().write(true).open(out.join("train-000000.tar")).unwrap();
    let index = ShardIndex::read(out.join("train-000000.idx")).unwrap();
    tar.set_len(index.entries[count / 2].offset).unwrap();
    let last = crop(count - 1).unwrap_err().to_string();
    assert!(last.contains("train-000000.tar/000000039.rgb: failed to fill"), "{last}");
    for (index, whole) in whole[..count].iter().enumerate() {
        let got = crop(index);
        assert_eq!(got.is_ok(), index < count / 2, "image {index}: {got:?}");
        assert!(got.is_err() || got.unwrap() == *whole, "image {index}");
    }
}

#[test]
fn a_prepared_folder_is_recognised_and_its_statistics_are_used() {
    let dir = ScratchDir::new();
    let set = collection(&dir, 8, 3);
    for keep in [Keep::Centre, Keep::Whole] {
        let out = dir.path().join(format!("{keep:?}"));
        run(&set, &out, &options(Encoding::Raw, keep)).unwrap();
        let opened =
            |side| open(out.to_str().unwrap(), &DatasetOptions::with_side(side), &|_, _| ());
        let set = opened(SIDE).unwrap();
        let stored = Manifest::read(&out).unwrap().statistics(&out).unwrap();
        assert_eq!(set.statistics.as_ref(), Some(&stored));
        assert_eq!((set.train.len(), set.test.len(), set.notes.len()), (8, 3, 0));
        assert_eq!(stored, Statistics::of(&*set.train).unwrap());
        assert!(opened(8).unwrap().statistics.is_none());
        let outside = (0..8).any(|index| set.train.size_of(index) != (SIDE, SIDE));
        assert_eq!(outside, keep == Keep::Whole);
    }
}

/// Batches depend on seed, epoch and position alone, from the first epoch (when raw images are
/// compared with their checksums) to the later ones (when they are not).
#[test]
fn a_loader_makes_the_same_batches_with_any_number_of_workers() {
    let dir = ScratchDir::new();
    let set = collection(&dir, 13, 1);
    for encoding in [Encoding::Raw, Encoding::Jpeg { quality: 95 }] {
        let out = dir.path().join(encoding.extension());
        run(&set, &out, &options(encoding, Keep::Whole)).unwrap();
        let load = |workers, depth, start: (u32, usize), count| -> Vec<crate::Batch> {
            let (train, _) = Shards::open(&out, SIDE).unwrap();
            let plan = LoaderPlan::training(4, (12, 12), 7);
            let mut loader = Loader::new(std::sync::Arc::new(train), plan, workers, depth);
            loader.start_at(start.0, start.1);
            (0..count).map(|_| loader.next_batch().unwrap().unwrap().clone()).collect()
        };
        let all = load(1, 2, (0, 0), 12);
        assert_eq!(all, load(3, 7, (0, 0), 12));
        assert_eq!(all[6..], load(2, 3, (1, 2), 6));
        // The mean image is of the square: places in it never leave it.
        let views = all.iter().flat_map(|batch| &batch.views);
        assert!(views.clone().all(|view| view[0] <= 4 && view[1] <= 4));
        assert!(views.clone().any(|view| view[0] == 4) && views.clone().any(|view| view[0] == 0));
    }
}
