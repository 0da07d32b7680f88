use super::*;
use crate::scratch_dir::ScratchDir;

/// A record of CIFAR-10, and records in each of its files.
const RECORD: usize = 1 + PIXELS;
const RECORDS: usize = 10_000;

/// Files of full length: image `n` of file `f` has label (n + f) % 10 and n, f and 9 in its first
/// pixel.
fn fill(folder: &ScratchDir) {
    let names = TEN.binary.train.iter().chain([&TEN.binary.test]);
    for (file, name) in names.enumerate() {
        let mut bytes = vec![0; RECORDS * RECORD];
        for (number, record) in bytes.chunks_exact_mut(RECORD).enumerate() {
            record[0] = ((number + file) % 10) as u8;
            (record[1], record[1025], record[2049]) = (number as u8, file as u8, 9);
        }
        folder.write(name, &bytes);
    }
}

#[test]
fn records_are_read_in_order_and_interleaved() {
    let folder = ScratchDir::new();
    fill(&folder);
    assert!(Cifar::is_at(folder.path()));
    let (train, test) = Cifar::open(folder.path(), 32).unwrap();
    assert_eq!((train.len(), test.len()), (50_000, 10_000));
    assert_eq!((train.classes()[0].as_str(), train.classes()[9].as_str()), ("airplane", "truck"));
    let mut buffer = ReadBuffer::default();
    assert_eq!(train.read(20_003, &mut buffer).unwrap()[..6], [3, 2, 9, 0, 0, 0]);
    assert_eq!((train.label(20_003), test.label(4)), (5, 9));
    assert_eq!(test.read(4, &mut buffer).unwrap()[..3], [4, 5, 9]);

    folder.write("batches.meta.txt", b"a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n");
    let (larger, _) = Cifar::open(folder.path(), 40).unwrap();
    assert_eq!(larger.classes()[9], "j");
    assert_eq!(larger.read(0, &mut buffer).unwrap().len(), 40 * 40 * 3);
    assert_eq!(larger.remarks().len(), 1);
}

#[test]
fn files_of_a_wrong_length_or_label() {
    let folder = ScratchDir::new();
    fill(&folder);
    let said = || Cifar::open(folder.path(), 32).expect_err("an error").to_string();
    folder.write("batches.meta.txt", b"a\nb\n");
    assert!(said().contains("2 class names"), "{}", said());
    std::fs::remove_file(folder.path().join("batches.meta.txt")).unwrap();

    let path = folder.path().join("data_batch_3.bin");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[7 * RECORD] = 10;
    folder.write("data_batch_3.bin", &bytes);
    assert!(said().contains("image 7 is of class 10"), "{}", said());
    bytes.pop();
    folder.write("data_batch_3.bin", &bytes);
    assert!(said().contains("data_batch_3.bin: 30729999 bytes where"), "{}", said());
    std::fs::remove_file(path).unwrap();
    assert!(said().contains("data_batch_3.bin: a file of CIFAR-10 is missing"), "{}", said());
}

/// Image `n` has coarse label 3, fine label n % 100, and n and its set in its first pixel.
#[test]
fn cifar_100_is_read_by_its_fine_labels() {
    let folder = ScratchDir::new();
    for (set, (name, count)) in [("train.bin", 50_000), ("test.bin", 10_000)].iter().enumerate() {
        let mut bytes = vec![0; count * (2 + PIXELS)];
        for (number, record) in bytes.chunks_exact_mut(2 + PIXELS).enumerate() {
            (record[0], record[1]) = (3, (number % 100) as u8);
            (record[2], record[2 + 1024], record[2 + 2048]) = (number as u8, set as u8, 7);
        }
        folder.write(name, &bytes);
    }
    assert!(Cifar::is_at(folder.path()));
    let (train, test) = Cifar::open(folder.path(), 32).unwrap();
    assert_eq!((train.len(), test.len()), (50_000, 10_000));
    assert_eq!((train.label(4_242), test.label(99)), (42, 99));
    let mut buffer = ReadBuffer::default();
    assert_eq!(test.read(103, &mut buffer).unwrap()[..6], [103, 1, 7, 0, 0, 0]);
    assert_eq!((train.classes()[0].as_str(), train.classes()[99].as_str()), ("apple", "worm"));
    assert_eq!(
        (train.name(5).as_str(), train.classes().len()),
        ("CIFAR-100 training image 5", 100)
    );

    let names: String = (0..100).map(|class| format!("fine {class}\n")).collect();
    folder.write("fine_label_names.txt", names.as_bytes());
    assert_eq!(Cifar::open(folder.path(), 32).unwrap().0.classes()[41], "fine 41");
    let said = || Cifar::open(folder.path(), 32).expect_err("an error").to_string();
    let path = folder.path().join("test.bin");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8 * (2 + PIXELS) + 1] = 100;
    folder.write("test.bin", &bytes);
    assert!(said().contains("image 8 is of class 100, and the last is 99"), "{}", said());
    folder.write("test.bin", &bytes[..bytes.len() - 3000]);
    assert!(said().contains("30737000 bytes where 10,000 images take 30740000"), "{}", said());
    std::fs::remove_file(path).unwrap();
    assert!(said().contains("test.bin: a file of CIFAR-100 is missing"), "{}", said());
}

/// The pickle of a batch as Python 2 writes it, of records as `fill` makes them.
fn pickled(file: usize, labels: &[&str], records: usize, last_label: usize) -> Vec<u8> {
    let text = |text: &str| [&[b'U', text.len() as u8], text.as_bytes()].concat();
    let mut bytes = b"\x80\x02}(".to_vec();
    bytes.extend(text("data"));
    bytes.extend(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87R");
    bytes.extend(b"(K\x01M");
    bytes.extend((records as u16).to_le_bytes());
    bytes.extend(b"M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\0K\x01\x87R");
    bytes.extend(b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89T");
    bytes.extend(((records * PIXELS) as u32).to_le_bytes());
    for number in 0..records {
        let mut planes = vec![0; PIXELS];
        (planes[0], planes[1024], planes[2048]) = (number as u8, file as u8, 9);
        bytes.extend(planes);
    }
    bytes.extend(b"tb");
    for (key, factor) in labels.iter().zip([1, 0]) {
        bytes.extend(text(key));
        bytes.extend(b"](");
        let label = |number: usize| (number + file) * factor % (last_label + 1);
        (0..records).for_each(|number| bytes.extend([b'K', label(number) as u8]));
        bytes.push(b'e');
    }
    bytes.extend(b"u.");
    bytes
}

/// The pickle of the class names.
fn pickled_names(key: &str, names: &[&str]) -> Vec<u8> {
    let text = |text: &str| [&[b'U', text.len() as u8], text.as_bytes()].concat();
    let names: Vec<u8> = names.iter().flat_map(|name| text(name)).collect();
    [b"\x80\x02}", &text(key)[..], b"](", &names, b"es."].concat()
}

/// The Python version of CIFAR-10, with the images and labels of `fill`.
fn python_ten() -> Vec<(String, Vec<u8>)> {
    let folder = TEN.python.folder;
    let mut files = vec![(format!("{folder}/readme.html"), b"<html>".to_vec())];
    for (file, name) in TEN.python.train.iter().chain([&TEN.python.test]).enumerate() {
        files.push((format!("{folder}/{name}"), pickled(file, &["labels"], RECORDS, 9)));
    }
    let names: Vec<&str> = TEN.class_names().collect();
    files.push((format!("{folder}/batches.meta"), pickled_names("label_names", &names)));
    files
}

fn packed(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let fast = flate2::Compression::fast();
    let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), fast));
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, &bytes[..]).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

/// Every form in which CIFAR-10 is downloaded is the same set: the fingerprint is over classes,
/// names, labels and pixels.
#[test]
fn all_versions_of_cifar_10_are_one_set() {
    let binary = ScratchDir::new();
    fill(&binary);
    let same = |path: &Path| {
        assert!(Cifar::is_at(path), "{}", path.display());
        let (train, test) = Cifar::open(path, 32).unwrap();
        let mut buffer = ReadBuffer::default();
        assert_eq!(train.read(20_003, &mut buffer).unwrap()[..6], [3, 2, 9, 0, 0, 0]);
        assert_eq!((train.label(20_003), test.label(4)), (5, 9));
        [train, test].map(|set| crate::fingerprint(&set))
    };
    let expected = same(binary.path());
    let files = python_ten();
    let above = ScratchDir::new();
    for (name, bytes) in &files {
        above.write(name, bytes);
    }
    assert_eq!(same(&above.path().join("cifar-10-batches-py")), expected);
    assert_eq!(same(above.path()), expected);

    let archives = ScratchDir::new();
    let path = archives.write("cifar-10-python.tar.gz", &packed(&files));
    assert_eq!(same(archives.path()), expected, "from the folder of the archive");
    let renamed = archives.path().join("download (1)");
    std::fs::rename(path, &renamed).unwrap();
    assert_eq!(same(&renamed), expected, "under another name");
    assert!(!Cifar::is_at(archives.path()), "a folder with some file");
    let entries = std::fs::read_dir(binary.path()).unwrap().map(|entry| entry.unwrap());
    let read = |entry: std::fs::DirEntry| {
        let name = format!("cifar-10-batches-bin/{}", entry.file_name().display());
        (name, std::fs::read(entry.path()).unwrap())
    };
    let mut files: Vec<(String, Vec<u8>)> = entries.map(read).collect();
    files.sort();
    let path = archives.write("cifar-10-binary.tar.gz", &packed(&files));
    assert_eq!(same(&path), expected);
}

#[test]
fn the_python_version_of_cifar_100_is_read_by_its_fine_labels() {
    let (folder, archives) = (ScratchDir::new(), ScratchDir::new());
    let keys = ["fine_labels", "coarse_labels"];
    let names: Vec<&str> = HUNDRED.class_names().collect();
    let files = [
        ("train", pickled(0, &keys, 50_000, 99)),
        ("test", pickled(1, &keys, 10_000, 99)),
        ("meta", pickled_names("fine_label_names", &names)),
    ]
    .map(|(name, bytes)| (format!("cifar-100-python/{name}"), bytes));
    for (name, bytes) in &files {
        folder.write(name, bytes);
    }
    let archive = archives.write("cifar-100-python.tar.gz", &packed(&files));
    let places =
        [&folder.path().join("cifar-100-python"), folder.path(), &archive, archives.path()];
    for path in places {
        assert!(Cifar::is_at(path));
        let (train, test) = Cifar::open(path, 32).unwrap();
        assert_eq!((train.len(), test.len(), train.classes().len()), (50_000, 10_000, 100));
        assert_eq!((train.label(4_242), test.label(98), test.label(99)), (42, 99, 0));
        assert_eq!((train.classes()[0].as_str(), train.classes()[99].as_str()), ("apple", "worm"));
        let mut buffer = ReadBuffer::default();
        assert_eq!(test.read(103, &mut buffer).unwrap()[..6], [103, 1, 9, 0, 0, 0]);
    }
    folder.write("cifar-10-batches-bin/data_batch_1.bin", b"");
    let error = Cifar::open(folder.path(), 32).err().unwrap().to_string();
    assert!(error.contains("both CIFAR-10 and CIFAR-100"), "{error}");
    assert!(Cifar::is_at(folder.path()), "so that the error is shown");
}

#[test]
fn damaged_files_of_the_python_version() {
    let folder = ScratchDir::new();
    let good = pickled(0, &["labels"], RECORDS, 9);
    let said = |bytes: &[u8]| {
        folder.write("data_batch_1", bytes);
        Cifar::open(folder.path(), 32).expect_err("an error").to_string()
    };
    let remedy = "download the Python version of CIFAR-10 again";
    for (bytes, problem) in [
        (good.clone(), "data_batch_2: a file of CIFAR-10 is missing"),
        (good[..good.len() / 2].to_vec(), "data_batch_1: the pickle is truncated at byte"),
        (b"cos\nsystem\n(S'ls'\ntR.".to_vec(), "the pickle calls os.system, which is not allowed"),
        (pickled(0, &["labels"], 0, 9), "it has no image"),
        (pickled(0, &["labels"], RECORDS, 10), "image 10 is of class 10, and the last is 9"),
        (pickled(0, &["fine_labels"], RECORDS, 9), "it has no `labels`"),
        (b"}.".to_vec(), "it has no `data`"),
        (b"}(S'data'\n]S'labels'\n]u.".to_vec(), "its `data`: a list where an array"),
    ] {
        let error = said(&bytes);
        assert!(error.contains(problem) && error.ends_with(remedy), "{error}");
    }
    for (file, name) in TEN.python.train.iter().chain([&TEN.python.test]).enumerate() {
        folder.write(name, &pickled(file, &["labels"], RECORDS, 9));
    }
    folder.write("batches.meta", &pickled_names("label_names", &["a", "b"]));
    let error = Cifar::open(folder.path(), 32).err().unwrap().to_string();
    assert!(error.contains("batches.meta: 2 class names where CIFAR-10 has 10"), "{error}");
    std::fs::remove_file(folder.path().join("batches.meta")).unwrap();
    assert_eq!(Cifar::open(folder.path(), 32).unwrap().0.classes()[9], "truck");
    std::fs::File::create(folder.path().join("data_batch_5")).unwrap().set_len(1 << 40).unwrap();
    let error = Cifar::open(folder.path(), 32).err().unwrap().to_string();
    assert!(error.contains("data_batch_5: longer than its limit of 67108864 bytes"), "{error}");
}

/// The same pickle as Python 3 writes it if its texts are `bytes`: calls of `_codecs.encode`.
fn by_python_3(bytes: &[u8], texts: &[&str]) -> Vec<u8> {
    let mut made = bytes.to_vec();
    for text in texts {
        let old = [&[b'U', text.len() as u8], text.as_bytes()].concat();
        let at = made.windows(old.len()).position(|part| part == old).unwrap();
        let len = (text.len() as u32).to_le_bytes();
        let new = [b"c_codecs\nencode\nX", &len[..], text.as_bytes(), b"X\x06\0\0\0latin1\x86R"];
        made.splice(at..at + old.len(), new.concat());
    }
    made
}

#[test]
fn a_small_set_by_python_3() {
    let folder = ScratchDir::new();
    for (file, name) in TEN.python.train.iter().chain([&TEN.python.test]).enumerate() {
        let batch = pickled(file, &["labels"], 20 + file, 9);
        folder.write(name, &by_python_3(&batch, &["data", "labels"]));
    }
    let names: Vec<&str> = TEN.class_names().collect();
    let texts = [&["label_names"], &names[..]].concat();
    folder.write("batches.meta", &by_python_3(&pickled_names("label_names", &names), &texts));
    let (train, test) = Cifar::open(folder.path(), 32).unwrap();
    assert_eq!((train.len(), test.len()), (20 + 21 + 22 + 23 + 24, 25));
    assert_eq!(train.classes(), names);
    assert_eq!((train.label(0), train.label(20), test.label(3)), (0, 1, 8));
}

#[test]
fn errors_of_a_damaged_archive_name_its_path() {
    let folder = ScratchDir::new();
    let files = [("cifar-10-batches-py/data_batch_1".to_owned(), pickled(0, &["labels"], 99, 9))];
    let whole = packed(&files);
    let path = folder.write("cifar-10-python.tar.gz", &whole[..whole.len() - 9]);
    let said = || Cifar::open(&path, 32).expect_err("an error").to_string();
    assert!(said().starts_with(&format!("{}: ", path.display())), "{}", said());
    folder.write("cifar-10-python.tar.gz", &packed(&[files.clone(), files].concat()));
    assert!(said().contains("it contains data_batch_1 twice"), "{}", said());
}

/// Pixel `p` of plane `c` of image `n` is (7 n + 3 c + p) mod 251: see fixtures/cifar.py.
#[test]
fn a_batch_that_python_read_back() {
    let bytes = include_bytes!("../../fixtures/cifar-batch.pkl");
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    python::PythonBatch::read(bytes, "labels", |batch| {
        batch.records().enumerate().try_for_each(|(number, (label, planes))| {
            TEN.add(number, label, planes, &mut images, &mut labels)
        })
    })
    .unwrap();
    assert_eq!(labels, [6, 9]);
    for (n, image) in images.iter().enumerate() {
        for p in 0..1024 {
            let expected = [0, 1, 2].map(|c| ((7 * n + 3 * c + p) % 251) as u8);
            assert_eq!(image.pixel(p / 32, p % 32), expected, "image {n}, pixel {p}");
        }
    }
}
