//! EXIF orientation on every way from files to pixels: folders, crops, webdataset's tar files and
//! prepared shards.

use alexnet_data::collection::Collection;
use alexnet_data::shards::{Encoding, Keep, Manifest};
use alexnet_data::{
    Crops, DatasetOptions, ExifMode, Folder, PrepareOptions, ReadBuffer, Source, decode, prepare,
    verify,
};
use augment::{Image, Resizer, View};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use std::fs;
use std::path::{Path, PathBuf};

const SIDE: usize = 20;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("alexnet-exif-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A JPEG of 28 x 41 pixels whose EXIF data state an orientation.
fn jpeg(orientation: u8, halved: bool) -> Vec<u8> {
    let (height, width) = (28u16, 41u16);
    let color = |y: u16, x: u16| [x * 6, y * 9, (x + 2 * y) * 2].map(|level| level as u8);
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
    let pixels: Vec<u8> = places.flat_map(|(y, x)| color(y, x)).collect();
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 90);
    let factor = if halved { SamplingFactor::F_2_2 } else { SamplingFactor::F_1_1 };
    encoder.set_sampling_factor(factor);
    encoder.encode(&pixels, width, height, ColorType::Rgb).unwrap();
    let entry = [&[0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0][..], &[0; 4]].concat();
    let tiff = [&b"MM\0*\0\0\0\x08\0\x01"[..], &entry].concat();
    let len = (2 + 6 + tiff.len()) as u16;
    let head = [&[0xFF, 0xD8, 0xFF, 0xE1][..], &len.to_be_bytes(), b"Exif\0\0", &tiff].concat();
    [&head, &bytes[2..]].concat()
}

/// The upright image, by the words of the standard: where the stored row 0 and column 0 belong.
fn upright(stored: &Image, orientation: u8) -> Image {
    let (h, w) = (stored.height, stored.width);
    let (height, width) = if orientation >= 5 { (w, h) } else { (h, w) };
    let mut pixels = Vec::new();
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        let (row, column) = match orientation {
            2 => (y, w - 1 - x),
            3 => (h - 1 - y, w - 1 - x),
            4 => (h - 1 - y, x),
            5 => (x, y),
            6 => (h - 1 - x, y),
            7 => (h - 1 - x, w - 1 - y),
            8 => (x, w - 1 - y),
            _ => (y, x),
        };
        pixels.extend(stored.pixel(row, column));
    }
    Image { height, width, pixels }
}

fn expected(bytes: &[u8], orientation: u8) -> Image {
    let (mut stored, mut square) = (Image::default(), Image::default());
    decode::decode(bytes, &mut stored).unwrap();
    Resizer::default().square(&upright(&stored, orientation), SIDE, &mut square);
    square
}

/// All orientations in two classes, with whole and with halved chroma.
fn photographs(root: &Path) {
    for (class, halved) in [("a", false), ("b", true)] {
        fs::create_dir_all(root.join(class)).unwrap();
        for orientation in 1..=8 {
            let path = root.join(class).join(format!("{orientation}.jpg"));
            fs::write(path, jpeg(orientation, halved)).unwrap();
        }
    }
}

/// What a source delivers of every image, and of its crops.
fn check(source: &dyn Source, what: &str, apply: bool) {
    let mut buffer = ReadBuffer::default();
    let orientation_of = |name: &str| -> u8 {
        let name = name.rsplit('/').next().unwrap();
        name.split('.').next().unwrap().parse().unwrap()
    };
    for index in 0..source.len() {
        let name = source.name(index);
        let orientation = orientation_of(&name);
        let bytes = jpeg(orientation, source.label(index) == 1);
        let square = expected(&bytes, if apply { orientation } else { 1 });
        let pixels = source.read(index, &mut buffer).unwrap();
        assert!(pixels == square.pixels, "{what}: {name}, apply {apply}");
        let size = (7, 9);
        for (top, left) in [(0, 0), (13, 11), (5, 2), (0, 11), (13, 0)] {
            let (mut crop, mut want) = (vec![0; 7 * 9 * 3], vec![0; 7 * 9 * 3]);
            let view = View { top, left, mirror: false };
            let asked = Crops { views: &[view], size, into: &mut crop };
            source.read_crops(index, asked, &mut buffer).unwrap();
            augment::crop(&square.pixels, SIDE, top, left, size, &mut want);
            assert!(crop == want, "{what}: {name} at {top}, {left}, apply {apply}");
        }
    }
}

#[test]
fn folders_deliver_upright_images_and_crops_if_asked_to() {
    let scratch = Scratch::new("folder");
    photographs(&scratch.0);
    for mode in [ExifMode::Ignore, ExifMode::Apply] {
        let folder = Folder::open(&scratch.0, SIDE).unwrap().with_exif(mode);
        assert!(folder.remarks().is_empty());
        check(&folder, "folder", mode == ExifMode::Apply);
        let remarks = folder.remarks();
        assert!(remarks[0].contains("14 images have an EXIF orientation"), "{remarks:?}");
        assert!(remarks[0].contains("a/2.jpg"), "{remarks:?}");
    }
}

#[test]
fn small_sets_report_orientation_when_they_are_opened() {
    let scratch = Scratch::new("memory");
    photographs(&scratch.0);
    let name = scratch.0.display().to_string();
    for (mode, word) in [(ExifMode::Ignore, "ignored"), (ExifMode::Apply, "applied")] {
        let options = DatasetOptions { exif: mode, ..DatasetOptions::with_side(SIDE) };
        let set = alexnet_data::open(&name, &options, &|_, _| ()).unwrap();
        let notes = set.notes.join("\n");
        assert!(notes.contains("EXIF orientation") && notes.contains(word), "{notes}");
        assert!(set.train.remarks().is_empty(), "reported twice");
    }
    let options = verify::VerifyOptions { exif: ExifMode::Apply, ..Default::default() };
    let report = verify::folder(&scratch.0, options, &|_, _| ()).unwrap();
    assert_eq!(report.count(verify::FindingKind::Orientation), 14);
}

#[test]
fn tar_files_deliver_upright_images() {
    let scratch = Scratch::new("tar");
    for part in ["train", "val"] {
        let file = fs::File::create(scratch.0.join(format!("{part}-0.tar"))).unwrap();
        let mut tar = tar::Builder::new(file);
        let mut add = |name: String, bytes: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, bytes).unwrap();
        };
        for (label, orientation) in (0..2).flat_map(|label| (1..=8).map(move |o| (label, o))) {
            let key = format!("{label}/{orientation}");
            add(format!("{key}.jpg"), &jpeg(orientation, label == 1));
            add(format!("{key}.cls"), label.to_string().as_bytes());
        }
        tar.finish().unwrap();
    }
    let name = scratch.0.display().to_string();
    for exif in [ExifMode::Ignore, ExifMode::Apply] {
        let options = DatasetOptions { exif, memory_limit: 0, ..DatasetOptions::with_side(SIDE) };
        let set = alexnet_data::open(&name, &options, &|_, _| ()).unwrap();
        check(&*set.train, "tar", exif == ExifMode::Apply);
    }
}

#[test]
fn prepared_folders_keep_their_exif_mode_and_reject_another() {
    let scratch = Scratch::new("prepare");
    let photos = scratch.0.join("photos");
    photographs(&photos);
    let name = |path: &Path| path.display().to_string();
    for (exif, other) in [(ExifMode::Ignore, ExifMode::Apply), (ExifMode::Apply, ExifMode::Ignore)]
    {
        let out = scratch.0.join(exif.to_string());
        let (keep, encoding) = (Keep::Centre, Encoding::Raw);
        let options =
            PrepareOptions { side: SIDE, keep, encoding, exif, ..PrepareOptions::default() };
        let collection = Collection::open(&photos, &|_, _| ()).unwrap();
        let go =
            |options: &PrepareOptions| prepare(&collection, &out, options, &mut |_| (), &|| false);
        let manifest = go(&options).unwrap().manifest.unwrap();
        assert_eq!((manifest.exif, manifest.decoder), (exif, decode::DECODER_VERSION));
        assert_eq!(Manifest::read(&out).unwrap(), manifest);
        let json = fs::read_to_string(out.join("dataset.json")).unwrap();
        assert_eq!(json.contains("exif"), exif == ExifMode::Apply);
        let error = go(&PrepareOptions { exif: other, ..options }).unwrap_err().to_string();
        assert!(error.contains(&format!("EXIF mode {exif}, not {other}")), "{error}");

        let with = |exif| {
            let options = DatasetOptions { exif, ..DatasetOptions::with_side(SIDE) };
            alexnet_data::open(name(&out), &options, &|_, _| ())
        };
        let error = with(other).err().unwrap().to_string();
        assert!(error.contains(&format!("use EXIF mode `{exif}`")), "{error}");
        assert_eq!(alexnet_data::stored_exif(name(&out)), Ok(Some(exif)));
        let set = with(exif).unwrap();
        let mut buffer = ReadBuffer::default();
        let mut found: Vec<Vec<u8>> = (0..set.train.len())
            .map(|index| set.train.read(index, &mut buffer).unwrap().to_vec())
            .collect();
        let items = collection.train.iter();
        let mut wanted: Vec<Vec<u8>> = items
            .map(|item| {
                let file = item.name.rsplit('/').next().unwrap();
                let orientation: u8 = file.split('.').next().unwrap().parse().unwrap();
                let bytes = jpeg(orientation, item.label == 1);
                expected(&bytes, if exif == ExifMode::Apply { orientation } else { 1 }).pixels
            })
            .collect();
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted);
    }
}

#[test]
fn folders_of_earlier_programs_are_read_with_a_warning() {
    let scratch = Scratch::new("earlier");
    let (photos, out) = (scratch.0.join("photos"), scratch.0.join("out"));
    photographs(&photos);
    let options = PrepareOptions { side: SIDE, ..PrepareOptions::default() };
    let collection = Collection::open(&photos, &|_, _| ()).unwrap();
    prepare(&collection, &out, &options, &mut |_| (), &|| false).unwrap();
    let name = out.display().to_string();
    let notes =
        || alexnet_data::open(&name, &DatasetOptions::with_side(SIDE), &|_, _| ()).unwrap().notes;
    assert!(notes().is_empty(), "{:?}", notes());
    let path = out.join("dataset.json");
    let json = fs::read_to_string(&path).unwrap();
    let line = format!("  \"decoder\": {},\n", decode::DECODER_VERSION);
    assert!(json.contains(&line), "{json}");
    fs::write(&path, json.replace(&line, "")).unwrap(); // as before there were versions
    assert_eq!(Manifest::read(&out).unwrap().decoder, 1);
    let warned = notes();
    assert_eq!(warned.len(), 1, "{warned:?}");
    for word in ["decoder version 1", "prepare the folder again", "same fingerprint"] {
        assert!(warned[0].contains(word), "{}", warned[0]);
    }
    // Done is done: the same command finds nothing to do.
    prepare(&collection, &out, &options, &mut |_| (), &|| false).unwrap();
    assert_eq!(Manifest::read(&out).unwrap().decoder, 1);
}
