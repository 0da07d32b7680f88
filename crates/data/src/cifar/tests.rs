use super::*;
use crate::scratch_dir::ScratchDir;

/// A record of CIFAR-10, and records in each of its files.
const RECORD: usize = 1 + PIXELS;
const RECORDS: usize = 10_000;

/// Files of full length: image `n` of file `f` has label (n + f) % 10 and n, f and 9 in its first
/// pixel.
fn fill(folder: &ScratchDir) {
    let names = TEN.train.iter().chain([&TEN.test]);
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
    let said = || Cifar::open(folder.path(), 32).err().expect("an error").to_string();
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
    assert!(said().contains("data_batch_3.bin: No such file"), "{}", said());
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
    let said = || Cifar::open(folder.path(), 32).err().expect("an error").to_string();
    let path = folder.path().join("test.bin");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8 * (2 + PIXELS) + 1] = 100;
    folder.write("test.bin", &bytes);
    assert!(said().contains("image 8 is of class 100, and the last is 99"), "{}", said());
    folder.write("test.bin", &bytes[..bytes.len() - 3000]);
    assert!(said().contains("30737000 bytes where 10,000 images take 30740000"), "{}", said());
    std::fs::remove_file(path).unwrap();
    assert!(said().contains("test.bin: No such file"), "{}", said());
}
