use super::*;
use crate::scratch_dir::ScratchDir;

/// Files of full length: image `n` of file `f` has label (n + f) % 10 and n, f and 9 in its first
/// pixel.
fn fill(folder: &ScratchDir) {
    let names = train_files().into_iter().chain(["test_batch.bin".to_owned()]);
    for (file, name) in names.enumerate() {
        let mut bytes = vec![0; RECORDS * RECORD];
        for (number, record) in bytes.chunks_exact_mut(RECORD).enumerate() {
            record[0] = ((number + file) % 10) as u8;
            (record[1], record[1025], record[2049]) = (number as u8, file as u8, 9);
        }
        folder.write(&name, &bytes);
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
