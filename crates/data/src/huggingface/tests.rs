use super::find::ParquetFiles;
use super::rows::{ParquetFile, ParquetRows};
use super::*;
use crate::collection::{Collection, LabelledFile};
use crate::scratch_dir::{ScratchDir, encoded};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::path::PathBuf;
use std::sync::Arc;

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/huggingface");

fn opened(path: &Path) -> Collection {
    open(path, &|_, _| ()).unwrap()
}

fn said(path: &Path) -> String {
    let error = open(path, &|_, _| ()).map(|_| ()).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

/// Label, and the number of the picture, which is its first pixel's red.
fn rows(collection: &Collection, items: &[LabelledFile]) -> Vec<(u32, u8)> {
    let mut bytes = Vec::new();
    let row = |item: &LabelledFile| {
        collection.read(item, &mut bytes).unwrap();
        let image = image::load_from_memory(&bytes).unwrap().to_rgb8();
        assert_eq!(image.get_pixel(3, 3).0[1], image.get_pixel(0, 0).0[0].wrapping_mul(2));
        (item.label, image.get_pixel(0, 0).0[0])
    };
    items.iter().map(row).collect()
}

fn ids(collection: &Collection) -> Vec<&str> {
    collection.classes.iter().map(|class| class.id.as_str()).collect()
}

/// Written by pyarrow as `datasets` does: see fixtures/huggingface.py.
#[test]
fn files_as_datasets_writes_them() {
    let numbered = |numbers: std::ops::Range<u8>| -> Vec<(u32, u8)> {
        numbers.map(|n| (u32::from(n) % 4, n)).collect()
    };
    let root = Path::new(FIXTURE);
    for path in [root.to_owned(), root.join("data")] {
        assert!(is_at(&path));
        let set = opened(&path);
        assert_eq!(ids(&set), ["tench, Tinca tinca", "crane (1)", "drake", "crane (3)"]);
        assert_eq!(rows(&set, &set.train), numbered(0..12));
        assert_eq!(rows(&set, &set.test), numbered(20..24));
        let unlabelled = "2 rows of test have no label: not used";
        assert!(set.notes.iter().any(|note| note.contains(unlabelled)), "{:?}", set.notes);
        assert!(set.notes[0].contains("4 classes, 12 images to train on and 4 to test on"));
    }
    // One file: every tenth image of a class is held out, and there are too few.
    let one = opened(&root.join("data/validation-00000-of-00001.parquet"));
    assert_eq!((one.train.len(), one.test.len()), (4, 4));
}

#[test]
fn rows_are_the_same_on_demand_by_threads() {
    let tables = ParquetFiles::find(Path::new(FIXTURE)).unwrap().files;
    let tables = tables.iter().map(|(_, path)| ParquetFile::open(path).unwrap()).collect();
    let all = ParquetRows::new(tables, 0);
    assert!(all.stated_bytes() > 18 * 60);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let all = &all;
            scope.spawn(move || {
                for round in 0..50 {
                    let n = (thread * 5 + round * 7) % 12;
                    let (table, n) = if n < 7 { (0, n) } else { (1, n - 7) };
                    let bytes = all.read(table, n / 3, n % 3).unwrap();
                    let pixel = image::load_from_memory(&bytes).unwrap().to_rgb8();
                    assert_eq!(u32::from(pixel.get_pixel(0, 0).0[0]), n + 7 * table);
                }
            });
        }
    });
    assert!(all.read(0, 0, 3).unwrap_err().contains("ends before"));
}

fn picture(number: u8) -> Vec<u8> {
    let pixel = image::Rgb([number, number.wrapping_mul(2), 5]);
    encoded(&image::RgbImage::from_pixel(4, 4, pixel).into(), image::ImageFormat::Png)
}

/// A column of a file to be written.
enum Values {
    Numbers(Vec<i64>),
    Texts(Vec<&'static str>),
    /// `None`: null.
    Images(Vec<Option<u8>>),
}

/// Writes a parquet file of one group of rows.
fn write(path: PathBuf, message: &str, columns: &[Values], metadata: Option<&str>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let schema = Arc::new(parse_message_type(message).unwrap());
    let pair = metadata.map(|text| KeyValue::new("huggingface".to_owned(), text.to_owned()));
    let properties = WriterProperties::builder().set_key_value_metadata(pair.map(|p| vec![p]));
    let file = std::fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties.build())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for values in columns {
        let mut column = group.next_column().unwrap().expect("as many as in the schema");
        match values {
            Values::Numbers(numbers) => {
                column.typed::<Int64Type>().write_batch(numbers, None, None).unwrap();
            }
            Values::Texts(texts) => {
                let texts: Vec<ByteArray> = texts.iter().map(|&text| text.into()).collect();
                column.typed::<ByteArrayType>().write_batch(&texts, None, None).unwrap();
            }
            Values::Images(images) => {
                let levels: Vec<i16> =
                    images.iter().map(|i| if i.is_some() { 2 } else { 1 }).collect();
                let files = images.iter().flatten().map(|&n| ByteArray::from(picture(n)));
                let files: Vec<ByteArray> = files.collect();
                let typed = column.typed::<ByteArrayType>();
                typed.write_batch(&files, Some(&levels), None).unwrap();
            }
        }
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
}

const IMAGE: &str = "optional group image { optional binary bytes; }";

fn message(columns: &str) -> String {
    format!("message m {{ {columns} }}")
}

fn images(count: u8) -> Values {
    Values::Images((0..count).map(Some).collect())
}

#[test]
fn columns_are_found_by_metadata_and_by_usual_names() {
    let dir = ScratchDir::new();
    let path = |name: &str| dir.path().join(name).join("train.parquet");
    // CIFAR-100: two kinds of labels, of which the fine ones are taken.
    let features = r#"{"info":{"features":{
        "img":{"_type":"Image"},
        "fine_label":{"_type":"ClassLabel","names":["apple","bear"]},
        "coarse_label":{"_type":"ClassLabel","names":["fruit","beast","x"]}}}}"#;
    let img = IMAGE.replace("image", "img");
    let both = message(&format!("{img} required int64 fine_label; required int64 coarse_label;"));
    let columns = [images(3), Values::Numbers(vec![1, 0, 1]), Values::Numbers(vec![0, 1, 2])];
    write(path("fine"), &both, &columns, Some(features));
    let set = opened(&dir.path().join("fine"));
    assert_eq!(ids(&set), ["apple", "bear"]);
    assert_eq!(rows(&set, &set.train), [(1, 0), (0, 1), (1, 2)]);

    let texts = message(&format!("{IMAGE} required binary label (UTF8);"));
    write(path("text"), &texts, &[images(3), Values::Texts(vec!["dog", "cat", "dog"])], None);
    let set = opened(&dir.path().join("text"));
    assert_eq!(ids(&set), ["cat", "dog"]);
    assert_eq!(rows(&set, &set.train), [(1, 0), (0, 1), (1, 2)]);

    let plain = message(&format!("{IMAGE} required int64 label;"));
    let numbers = |numbers: &[i64]| Values::Numbers(numbers.to_vec());
    write(path("plain"), &plain, &[images(3), numbers(&[3, 7, 7])], None);
    let set = opened(&dir.path().join("plain"));
    assert_eq!((ids(&set), rows(&set, &set.train)), (vec!["3", "7"], vec![(0, 0), (1, 1), (1, 2)]));

    let two = message(&format!("{IMAGE} required int64 kind; required int64 size;"));
    write(
        path("two"),
        &two,
        &[images(1), numbers(&[0]), numbers(&[1])],
        Some(
            r#"{"info":{"features":{"kind":{"_type":"ClassLabel","names":["a","b"]},
        "size":{"_type":"ClassLabel","names":["a","b"]}}}}"#,
        ),
    );
    assert!(said(&dir.path().join("two")).contains("several columns of labels: kind, size"));
    write(path("none"), &message(IMAGE), &[images(1)], None);
    assert!(said(&dir.path().join("none")).contains("no column of labels"));
    let label = message("required int64 label;");
    write(path("label"), &label, &[numbers(&[1])], None);
    assert!(said(&dir.path().join("label")).contains("no column of images"));
    let named = r#"{"info":{"features":{"label":{"_type":"ClassLabel","names":["a","b"]}}}}"#;
    write(path("beyond"), &plain, &[images(1), numbers(&[2])], Some(named));
    assert!(said(&dir.path().join("beyond")).contains("but there are 2 names"));
    write(path("one"), &plain, &[images(2), numbers(&[0, 0])], None);
    assert!(said(&dir.path().join("one")).contains("1 classes"));
}

#[test]
fn a_row_without_an_image_is_an_error_of_that_image() {
    let dir = ScratchDir::new();
    let plain = message(&format!("{IMAGE} required int64 label;"));
    let some = Values::Images(vec![Some(1), None, Some(3)]);
    let path = dir.path().join("train.parquet");
    write(path.clone(), &plain, &[some, Values::Numbers(vec![0, 1, 1])], None);
    let set = opened(dir.path());
    let mut bytes = Vec::new();
    let error = set.read(&set.train[1], &mut bytes).unwrap_err().to_string();
    assert!(error.contains("train.parquet/0/1: the row has no image"), "{error}");
    assert_eq!(rows(&set, &[set.train[0].clone(), set.train[2].clone()]), [(0, 1), (1, 3)]);

    // Damaged anywhere, there is an error or an image, and no panic.
    let whole = std::fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(3) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xFF;
        std::fs::write(&path, &bytes).unwrap();
        let _ = open(dir.path(), &|_, _| ());
        std::fs::write(&path, &bytes[..at]).unwrap();
        assert!(open(dir.path(), &|_, _| ()).is_err(), "cut at {at}");
    }
}

#[test]
fn sets_are_named_by_files_or_folders() {
    let dir = ScratchDir::new();
    let plain = message(&format!("{IMAGE} required int64 label;"));
    let file = |name: &str, from: u8, labels: &[i64]| {
        let numbers = (from..from + labels.len() as u8).map(Some).collect();
        let columns = [Values::Images(numbers), Values::Numbers(labels.to_vec())];
        write(dir.path().join(name), &plain, &columns, None);
    };
    file("hub/default/train/0000.parquet", 0, &[0, 1]);
    file("hub/default/test/0000.parquet", 9, &[1]);
    file("hub/default/extra.parquet", 9, &[1]);
    let set = opened(&dir.path().join("hub"));
    assert_eq!(rows(&set, &set.train), [(0, 0), (1, 1)]);
    assert_eq!(rows(&set, &set.test), [(1, 9)]);
    assert!(
        set.notes
            .iter()
            .any(|note| note.contains("1 parquet files without a split in their names"))
    );

    file("hub/other/train/0000.parquet", 0, &[0, 1]);
    let error = said(&dir.path().join("hub"));
    assert!(error.contains("several data sets") && error.contains("hub/other"), "{error}");

    file("part/train-00000-of-00003.parquet", 0, &[0, 1]);
    file("part/train-00002-of-00003.parquet", 0, &[0, 1]);
    let error = said(&dir.path().join("part"));
    assert!(error.contains("2 of 3 files of train: 00001-of-00003 is missing"), "{error}");

    file("test/test.parquet", 0, &[0, 1]);
    let error = said(&dir.path().join("test"));
    assert!(error.contains("no labelled training images"), "{error}");
    file("new/train.parquet", 0, &[0, 1]);
    file("new/validation.parquet", 5, &[2]);
    let error = said(&dir.path().join("new"));
    assert!(error.contains("class `2` has test images but no training images"), "{error}");
    file("many/train.parquet", 0, &(0..40).map(|n| n % 2).collect::<Vec<i64>>());
    let set = opened(&dir.path().join("many"));
    assert_eq!(rows(&set, &set.test), [(0, 18), (1, 19), (0, 38), (1, 39)]);
    assert!(!is_at(&dir.path().join("nowhere")));
}

/// A packed tar of the images of `names`, each with its place in its red.
fn tarball(names: &[&str]) -> Vec<u8> {
    let packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut builder = tar::Builder::new(packer);
    for (number, name) in (0..).zip(names) {
        let bytes = picture(number);
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, &bytes[..]).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

#[test]
fn older_archives_of_imagenet() {
    let dir = ScratchDir::new();
    let wnids = ["n02012849", "n01440764"];
    let train = |from: usize| -> Vec<String> {
        let name = |n: usize| format!("{0}_{n}_{0}.JPEG", wnids[n % 2]);
        (from..from + 3).map(name).collect()
    };
    let refs = |names: &[String]| tarball(&names.iter().map(String::as_str).collect::<Vec<_>>());
    dir.write("data/train_images_0.tar.gz", &refs(&train(0)));
    assert!(has_tars(dir.path()));
    let said = || open_tars(dir.path(), &|_, _| ()).map(|_| ()).unwrap_err().to_string();
    assert!(said().contains("val_images.tar.gz is missing"), "{}", said());
    let val =
        ["ILSVRC2012_val_00000002_n01440764.JPEG", "x/ILSVRC2012_val_1_n02012849.JPEG", "README"];
    dir.write("data/val_images.tar.gz", &tarball(&val));
    dir.write("data/test_images.tar.gz", b"never read");
    dir.write("data/train_images_2.tar.gz", &refs(&train(3)));
    assert!(said().contains("train_images_1.tar.gz is missing"), "{}", said());
    std::fs::rename(
        dir.path().join("data/train_images_2.tar.gz"),
        dir.path().join("data/train_images_1.tar.gz"),
    )
    .unwrap();
    let set = open_tars(dir.path(), &|_, _| ()).unwrap();
    assert_eq!(ids(&set), ["n01440764", "n02012849"]);
    // By class, and then by archive and name.
    let expected = [(0, 1), (0, 0), (0, 2), (1, 0), (1, 2), (1, 1)];
    assert_eq!(rows(&set, &set.train), expected);
    assert_eq!(rows(&set, &set.test), [(0, 0), (1, 1)]);
    let notes = set.notes.join("\n");
    for note in ["2 of the 5 archives", "test_images has no labels", "such as README"] {
        assert!(notes.contains(note), "{notes}");
    }
    let strange = ["ILSVRC2012_val_00000002_n09999999.JPEG"];
    dir.write("data/val_images.tar.gz", &tarball(&strange));
    assert!(said().contains("class n09999999 has no training image"), "{}", said());
}
