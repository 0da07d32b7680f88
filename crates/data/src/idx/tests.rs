use super::*;
use crate::scratch_dir::ScratchDir;
use flate2::{Compression, write::GzEncoder};
use std::io::Write;

fn idx(dims: &[u32], elements: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dims.len() as u8];
    dims.iter().for_each(|dim| bytes.extend(dim.to_be_bytes()));
    bytes.extend(elements);
    bytes
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Six training and three test images of 2 x 3 pixels, every byte another, in three classes.
fn small() -> ScratchDir {
    let folder = ScratchDir::new();
    let pixels: Vec<u8> = (0..36).collect();
    folder.write("train-images-idx3-ubyte", &idx(&[6, 2, 3], &pixels));
    folder.write("train-labels-idx1-ubyte", &idx(&[6], &[2, 0, 1, 1, 0, 2]));
    folder.write("t10k-images-idx3-ubyte", &idx(&[3, 2, 3], &pixels[18..]));
    folder.write("t10k-labels-idx1-ubyte", &idx(&[3], &[0, 1, 2]));
    folder
}

fn said(folder: &ScratchDir) -> String {
    Idx::open(folder.path(), 2).expect_err("an error").to_string()
}

#[test]
fn every_byte_of_a_grey_image_is_spread_over_the_channels() {
    let folder = small();
    assert!(Idx::is_at(folder.path()));
    assert_eq!(Idx::stored_size(folder.path()).unwrap(), (2, 3));
    let (train, test) = Idx::open(folder.path(), 2).unwrap();
    assert_eq!(
        (train.len(), test.len(), train.classes()),
        (6, 3, &["0", "1", "2"].map(String::from)[..])
    );
    assert_eq!((train.label(0), train.label(4), test.label(1)), (2, 0, 1));
    let mut buffer = ReadBuffer::default();
    // The left square: of three columns the margin of one goes to the right.
    let square = train.read(1, &mut buffer).unwrap();
    assert_eq!(square, [[6; 3], [7; 3], [9; 3], [10; 3]].as_flattened());
    assert_eq!(train.remarks().len(), 1);
    assert!(test.name(2).ends_with("t10k-images-idx3-ubyte: image 2"), "{}", test.name(2));
}

#[test]
fn packed_and_dotted_names_and_three_channels() {
    let folder = ScratchDir::new();
    let pixels: Vec<u8> = (0..48).collect();
    let images = packed(&idx(&[4, 2, 2, 3], &pixels));
    folder.write("train-images.idx4-ubyte.gz", &images);
    folder.write("train-labels.idx1-ubyte.gz", &packed(&idx(&[4], &[1, 2, 1, 2])));
    folder.write("t10k-images-idx3-ubyte", &idx(&[1, 2, 2], &[1, 2, 3, 4]));
    folder.write("t10k-labels-idx1-ubyte", &idx(&[1], &[0]));
    let (train, test) = Idx::open(folder.path(), 2).unwrap();
    let mut buffer = ReadBuffer::default();
    assert_eq!(train.read(2, &mut buffer).unwrap(), &pixels[24..36]);
    let grey = [[1; 3], [2; 3], [3; 3], [4; 3]];
    assert_eq!(test.read(0, &mut buffer).unwrap(), grey.as_flattened());
    // Labels may start at one, as EMNIST's letters do: then no image is of class 0.
    assert_eq!((train.classes().len(), train.remarks().len()), (3, 0));
    folder.write("train-images.idx4-ubyte.gz", &images[..images.len() - 12]);
    assert!(said(&folder).contains("then: "), "{}", said(&folder));
    let promise = packed(&idx(&[4, 9000, 9000, 3], &pixels));
    folder.write("train-images.idx4-ubyte.gz", &promise);
    assert!(said(&folder).contains("cannot hold [4, 9000, 9000, 3] elements"), "{}", said(&folder));
    folder.write("train-images.idx4-ubyte.gz", &packed(&idx(&[4, 2, 3, 3], &pixels)));
    assert!(said(&folder).contains("48 of 72 bytes"), "{}", said(&folder));
    folder.write("train-images.idx4-ubyte.gz", &packed(&idx(&[4, 2, 1, 3], &pixels)));
    assert!(said(&folder).contains("more than 24 bytes"), "{}", said(&folder));
    folder.write("train-images.idx4-ubyte.gz", b"no gzip");
    assert!(said(&folder).contains("incomplete header"), "{}", said(&folder));
}

#[test]
fn errors_name_the_file_and_the_problem() {
    let pixels: Vec<u8> = (0..36).collect();
    for (file, bytes, expected) in [
        (
            "train-images-idx3-ubyte",
            idx(&[6, 2, 3], &pixels[..35]),
            "51 bytes; [6, 2, 3] elements take 52",
        ),
        ("train-images-idx3-ubyte", idx(&[6, 2, 3], &[0; 37]), "53 bytes; "),
        ("train-images-idx3-ubyte", idx(&[6, 6], &pixels), "2 dimensions; images have three"),
        ("train-images-idx3-ubyte", idx(&[6, 3, 2, 1], &pixels[..30]), "50 bytes; "),
        ("train-images-idx3-ubyte", idx(&[3, 2, 3, 2], &pixels), "channels must be one or three"),
        (
            "train-images-idx3-ubyte",
            idx(&[0, 2, 3], &[]),
            "[0, 2, 3] is not a valid number of images",
        ),
        ("train-images-idx3-ubyte", idx(&[u32::MAX; 4], &[]), "exceed the limit"),
        ("train-images-idx3-ubyte", idx(&[6, u32::MAX, 1], &[]), "exceed the limit"),
        ("train-images-idx3-ubyte", b"\x89PNG\r\n".to_vec(), "starts with [89, 50, 4e, 47]"),
        ("train-images-idx3-ubyte", vec![0, 0, 13, 3, 0], "elements of type 0x0d in 3 dimensions"),
        ("train-images-idx3-ubyte", vec![0, 0, 8, 3, 0], "incomplete header"),
        ("train-images-idx3-ubyte", vec![], "incomplete header"),
        ("train-labels-idx1-ubyte", idx(&[5], &[0; 5]), "5 labels, but"),
        ("train-labels-idx1-ubyte", idx(&[6, 1], &[0; 6]), "labels of 2 dimensions"),
        ("train-labels-idx1-ubyte", idx(&[6], &[0; 6]), "only one class"),
        ("train-labels-idx1-ubyte", idx(&[6], &[0, 1, 1, 200, 2, 0]), "image 3 is of class 200"),
        (
            "t10k-labels-idx1-ubyte",
            idx(&[3], &[0, 3, 2]),
            "image 1 is of class 3, and the last is 2",
        ),
    ] {
        let folder = small();
        let path = folder.write(file, &bytes).display().to_string();
        let message = said(&folder);
        assert!(message.starts_with(&path) && message.contains(expected), "{message}");
    }
    let folder = small();
    std::fs::remove_file(folder.path().join("t10k-labels-idx1-ubyte")).unwrap();
    assert!(said(&folder).contains("no `t10k-labels-idx1-ubyte`"), "{}", said(&folder));
}

proptest::proptest! {
    /// Whatever the bytes: an answer, and no panic.
    #[test]
    fn any_bytes_give_a_set_or_an_error(head in 0u8..3, tail in proptest::collection::vec(0u8..10, 0..60)) {
        let folder = small();
        let mut bytes = vec![0, 0, 8, head + 1];
        bytes.extend(tail);
        folder.write("train-images-idx3-ubyte", &bytes);
        folder.write("t10k-labels-idx1-ubyte", &bytes);
        proptest::prop_assert!(Idx::open(folder.path(), 2).is_err());
    }
}
