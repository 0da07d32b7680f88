//! What the fuzz targets in `fuzz/` call, and the tests with them: one function for each reader of
//! strangers' files. Each takes any bytes, must return, and checks what holds for any answer.

use crate::decode::Reason;
use crate::jpeg::{Extent, Jpeg};
use crate::shards::{Manifest, ShardIndex, webdataset};
use crate::tar::TarMembers;
use crate::{archive, cifar, decode, idx, ilsvrc, layout, mat};
use augment::{Image, Rectangle, Resizer};
use std::collections::HashSet;
use std::path::Path;

/// Walks through an archive, and through each member as if it were one.
pub fn tar(bytes: &[u8]) {
    let end = bytes.len() as u64;
    let mut last = 0;
    for member in TarMembers::new(bytes, 0..end).map_while(Result::ok) {
        assert!(member.offset > last && member.offset + member.len <= end, "outside the archive");
        assert!(!member.name.starts_with('/') && !member.name.split('/').any(|part| part == ".."));
        last = member.offset;
        let inside = member.offset..member.offset + member.len;
        for inner in TarMembers::new(bytes, inside.clone()).map_while(Result::ok) {
            assert!(inside.contains(&inner.offset) && inner.offset + inner.len <= inside.end);
        }
    }
}

/// Reads `synsets` and a variable that is not there, for which all others are passed.
pub fn mat(bytes: &[u8]) {
    let _ = mat::variable(bytes, "synsets");
    let _ = mat::variable(bytes, "no variable's name");
}

/// Reads records.
pub fn cifar(bytes: &[u8]) {
    for (labels, classes) in cifar::labels_of_records(bytes).into_iter().zip([10, 100]) {
        let unknown = labels.is_ok_and(|labels| labels.iter().any(|&label| label >= classes));
        assert!(!unknown, "a label that names no class");
    }
}

/// Reads a pickle of NumPy's arrays, and CIFAR's records from it.
pub fn pickle(bytes: &[u8]) {
    cifar::labels_of_pickle(bytes);
    let limits = unpickle::PickleLimits { values: 1 << 16, depth: 50 };
    let Ok(pickle) = unpickle::load::<unpickle::numpy::Global>(bytes, &limits) else { return };
    let root = pickle.root();
    let inside = root.items().into_iter().flatten();
    let pairs = root.pairs().into_iter().flatten().map(|(_, value)| value);
    for value in std::iter::once(root).chain(inside).chain(pairs) {
        if let Ok(array) = unpickle::numpy::array(value) {
            assert_eq!(array.to_f64().len(), array.shape.iter().product::<usize>());
            assert_eq!(array.bytes.len(), array.len() * array.item_bytes);
            let _ = (array.to_i64(), array.as_u8());
        }
    }
}

/// Lists a zip file, and reads what is in it.
pub fn zip(bytes: &[u8]) {
    const LONGEST: u64 = 1 << 20;
    let Ok(entries) = archive::entries_of_zip(bytes, LONGEST) else { return };
    for (name, read) in entries {
        assert!(!name.starts_with('/') && !name.split('/').any(|part| part == ".."), "{name}");
        assert!(read.is_err() || read.unwrap().len() as u64 <= LONGEST, "more than is read");
    }
}

/// Decodes an image and takes the centre square of 32 x 32 pixels.
pub fn jpeg_to_square(bytes: &[u8]) {
    let (mut decoded, mut square) = (Image::default(), Image::default());
    if decode::decode(bytes, &mut decoded).is_err() {
        return;
    }
    let Image { height, width, .. } = decoded;
    assert_eq!(decoded.pixels.len(), height * width * 3);
    // `read_square` refuses longer strips.
    if height.max(width) / height.min(width) <= 1000 {
        Resizer::default().square(&decoded, 32, &mut square);
        assert_eq!(square.pixels.len(), 32 * 32 * 3);
    }
}

/// What another decoder makes of a JPEG: height, width, and the channels as they are stored.
pub type Decoded = (usize, usize, Vec<u8>);

/// Decodes a JPEG whole, a part of it in the middle, and once more with all coefficients kept: the
/// pixels must be the same. Then its channels must be `another` decoder's to two levels, if that
/// takes the file, too.
pub fn jpeg(bytes: &[u8], another: impl Fn(&[u8]) -> Option<Decoded>) {
    const MOST: usize = 1 << 22; // pixels: larger images only take time
    let (mut jpeg, mut whole, mut part) = (Jpeg::default(), Image::default(), Image::default());
    let is_small = |height: usize, width: usize| {
        if (1..=MOST).contains(&(height * width)) {
            Ok(())
        } else {
            Err(Reason::UnusableSize(format!("{width} x {height}")))
        }
    };
    let all = |height: usize, width: usize| {
        is_small(height, width).map(|()| Rectangle { top: 0, left: 0, height, width })
    };
    let middle = |height: usize, width: usize| {
        let (top, left) = (height / 3, width / 3);
        let part = Rectangle { top, left, height: height.div_ceil(3), width: width.div_ceil(3) };
        is_small(height, width).map(|()| part)
    };
    let is_part = jpeg.decode(bytes, middle, Extent::Needed, &mut part).is_ok();
    if jpeg.decode(bytes, all, Extent::Whole, &mut whole).is_err() {
        return;
    }
    assert!(is_part, "a part of a sound image is unsound");
    let Rectangle { top, left, height, width } = middle(whole.height, whole.width).expect("again");
    for (y, x) in (top..top + height).flat_map(|y| (left..left + width).map(move |x| (y, x))) {
        assert_eq!(part.pixel(y, x), whole.pixel(y, x), "row {y}, column {x}");
    }
    jpeg.decode_kept(bytes, false, &mut part).expect("read before");
    assert!(part.pixels == whole.pixels, "coefficients that are kept make other pixels");
    let is_comparable = jpeg.decode_kept(bytes, true, &mut part).expect("read before");
    let Some((height, width, theirs)) = another(bytes).filter(|_| is_comparable) else { return };
    assert_eq!((height, width), (whole.height, whole.width), "another size");
    let mut ours = part.pixels;
    if theirs.len() == height * width {
        ours = ours.as_chunks::<3>().0.iter().map(|&[grey, ..]| grey).collect();
    }
    assert_eq!(ours.len(), theirs.len());
    for (at, (&ours, &theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert!(ours.abs_diff(theirs) <= 2, "value {at}: {ours}, by another decoder {theirs}");
    }
}

/// Reads each of the lists that come with images.
pub fn lists(bytes: &[u8]) {
    let _ = ilsvrc::lists::ground_truth(bytes);
    for (name, _) in ilsvrc::lists::val_annotations(bytes).unwrap_or_default() {
        assert!(!name.contains(['/', '\\', '\0']) && name != ".." && name != ".");
    }
    layout::parse_lists(bytes);
}

/// Reads an array, plain and packed.
pub fn idx(bytes: &[u8]) {
    for name in ["train-images-idx3-ubyte", "train-images-idx3-ubyte.gz"] {
        let read = idx::read_array(Path::new(name), bytes);
        assert!(read.is_err() || read.unwrap().len() <= 1 << 20, "more than was promised");
    }
}

/// Reads a shard's index as it is, and with a checksum that is right: a change would not get past
/// that. What is read is written as it was, but for the words that mean nothing.
pub fn shard_index(bytes: &[u8]) {
    let path = Path::new("train-000000.idx");
    let sealed = [bytes, &crc32c::crc32c(bytes).to_le_bytes()].concat();
    for bytes in [bytes, &sealed] {
        let Ok(index) = ShardIndex::from_bytes(bytes, path) else { continue };
        let inside =
            index.entries.iter().all(|entry| entry.offset + u64::from(entry.len) <= index.tar_len);
        assert!(inside, "an image outside its tar file");
        assert_eq!(index.to_bytes().len(), bytes.len());
        assert_eq!(ShardIndex::from_bytes(&index.to_bytes(), path), Ok(index));
    }
}

/// Reads a prepared folder's description.
pub fn dataset_json(bytes: &[u8]) {
    if let Ok(about) = Manifest::from_bytes(bytes, Path::new("dataset.json")) {
        assert!(about.side > 0 && !about.classes.is_empty(), "sizes that are zero");
    }
}

/// Looks for the samples of a tar file in webdataset's layout.
pub fn webdataset(bytes: &[u8]) {
    let end = bytes.len() as u64;
    let scan = webdataset::scan(bytes, Path::new("train-000000.tar")).unwrap_or_default();
    let mut images = HashSet::new();
    for sample in &scan.samples {
        assert!(sample.image.offset + sample.image.len <= end, "an image outside its tar file");
        assert!(sample.label < webdataset::LARGEST_LABEL, "a label beyond all classes");
        assert!(images.insert(&sample.image.name), "an image that is there twice");
    }
    assert_eq!(scan.names.of(3).len(), 3);
}
