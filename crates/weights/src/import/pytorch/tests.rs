//! What the PyTorch of today does not write: files of early versions, and damaged descriptions.

use super::*;

/// A text of a pickle.
fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

/// A pickle of the concatenation of `parts`.
fn pickle(parts: &[&[u8]]) -> Vec<u8> {
    [b"\x80\x02", &parts.concat()[..], b"."].concat()
}

/// The persistent id of a storage `k` of six elements of `class`, of which `part` is meant.
fn storage(class: &str, part: &[u8]) -> Vec<u8> {
    let class = format!("ctorch\n{class}\n");
    [b"(", &text("storage")[..], class.as_bytes(), &text("k"), &text("cpu"), b"K\x06", part, b"tQ"]
        .concat()
}

/// A file of an early version: an object with one storage of six numbers.
fn stream(object: &[u8]) -> Vec<u8> {
    let values: Vec<u8> =
        [1f32, 2.0, 3.0, 4.0, 5.0, 6.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    [
        &b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."[..],
        &pickle(&[b"M\xe9\x03"]),
        &pickle(&[b"}", &text("little_endian"), b"\x88s"]),
        &pickle(&[object]),
        &pickle(&[b"]", &text("k"), b"a"]),
        &6u64.to_le_bytes(),
        &values,
    ]
    .concat()
}

/// A call of `function` with the storage and `rest`.
fn tensor(function: &str, storage: &[u8], rest: &[u8]) -> Vec<u8> {
    [b"ctorch._utils\n", function.as_bytes(), b"\n(", storage, rest, b"tR"].concat()
}

/// A dictionary of one entry, `w`.
fn dictionary(value: &[u8]) -> Vec<u8> {
    [b"}", &text("w")[..], value, b"s"].concat()
}

/// Name, shape and values of a tensor.
type Found = (String, Vec<usize>, Vec<f32>);

fn read(object: &[u8]) -> Result<Vec<Found>, String> {
    let mut file = open_stream(Source::memory(&stream(object)))?;
    let tensors = file.tensors().to_vec().into_iter().enumerate();
    tensors.map(|(at, tensor)| Ok((tensor.name, tensor.shape, file.read(at)?))).collect()
}

#[test]
fn early_versions_and_python_2() {
    // Of the storage, elements 2 to 5 are a storage of their own; of that, two from the second on.
    let part = [b"(", &text("v")[..], b"K\x02K\x04t"].concat();
    let made =
        tensor("_rebuild_tensor", &storage("FloatStorage", &part), b"K\x01K\x02\x85K\x01\x85");
    let expected = vec![("w".to_owned(), vec![2], vec![4.0, 5.0])];
    assert_eq!(read(&dictionary(&made)).unwrap(), expected);
    // An `OrderedDict` of Python 2: a call with a list of pairs.
    let name = text("w");
    let pairs: [&[u8]; 5] = [b"ccollections\nOrderedDict\n]]", &name, b"a", &made, b"aa\x85R"];
    assert_eq!(read(&pairs.concat()).unwrap(), expected);
    // `None` for a part, as later versions have it; a class that is not `torch.Tensor`'s own.
    let whole = storage("FloatStorage", b"N");
    let arguments: [&[u8]; 3] = [b"(", &whole, b"K\x00K\x03K\x02\x86K\x02K\x01\x86\x89Nt"];
    let typed: [&[u8]; 3] = [
        b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\n\
          ctorch\nTensor\n",
        &arguments.concat(),
        b"}tR",
    ];
    let expected = vec![("w".to_owned(), vec![3, 2], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])];
    assert_eq!(read(&dictionary(&typed.concat())).unwrap(), expected);
}

#[test]
fn descriptions_that_cannot_be_are_refused() {
    let whole = storage("FloatStorage", b"N");
    let minus_one = b"J\xff\xff\xff\xff";
    let large = b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f";
    for (rest, reason) in [
        ([b"K\x00", &minus_one[..], b"\x85K\x01\x85"].concat(), "negative"),
        ([&minus_one[..], b"K\x01\x85K\x01\x85"].concat(), "negative"),
        ([b"K\x00K\x02\x85", &minus_one[..], b"\x85"].concat(), "negative"),
        ([b"K\x00", &large[..], b"\x85K\x01\x85"].concat(), "beyond the 24 bytes"),
        ([&large[..], b"K\x01\x85K\x01\x85"].concat(), "beyond the 24 bytes"),
        ([b"K\x00K\x02\x85", &large[..], b"\x85"].concat(), "beyond the 24 bytes"),
        (b"K\x00K\x07\x85K\x01\x85".to_vec(), "beyond the 24 bytes"),
        (b"K\x06K\x01\x85K\x01\x85".to_vec(), "beyond the 24 bytes"),
        (b"K\x00K\x04\x85K\x02\x85".to_vec(), "beyond the 24 bytes"),
        (b"K\x00K\x06\x85K\x00\x85".to_vec(), "share a place"),
        (b"K\x00K\x02\x85K\x01K\x01\x86".to_vec(), "strides"),
        (b"K\x00(K\x01K\x01K\x01K\x01K\x01K\x01K\x01K\x01K\x01t)".to_vec(), "8 dimensions"),
        (b"K\x00N)".to_vec(), "no tuple"),
        (b"K\x00".to_vec(), "not known"),
    ] {
        let made = tensor("_rebuild_tensor_v2", &whole, &rest);
        let error = read(&dictionary(&made)).unwrap_err();
        assert!(error.contains("`w`") && error.contains(reason), "{error} is not {reason}");
    }
    let plain = b"K\x00K\x02\x85K\x01\x85";
    let negated = [&plain[..], b"\x89N}", &text("neg"), b"\x88s"].concat();
    let error = read(&dictionary(&tensor("_rebuild_tensor_v2", &whole, &negated))).unwrap_err();
    assert!(error.contains("pending negation"), "{error}");
    let name = text(&"n".repeat(600));
    let long = [b"}", &name[..], &tensor("_rebuild_tensor_v2", &whole, plain), b"s"].concat();
    assert!(read(&long).unwrap_err().contains("a name of more than 512 bytes"));
    // One tensor a hundred thousand times: no more memory than the pickle takes.
    let entry = [&text("w")[..], b"q\x01", &tensor("_rebuild_tensor_v2", &whole, plain), b"q\x02"];
    let many = [b"}(", &entry.concat()[..], &b"h\x01h\x02".repeat(100_000), b"u"].concat();
    assert!(read(&many).unwrap_err().contains("more than 16384 tensors"));
    let doubles = tensor("_rebuild_tensor_v2", &storage("DoubleStorage", b"N"), plain);
    assert!(read(&dictionary(&doubles)).unwrap_err().contains("it is cut off"), "48 bytes");
    let quantised = tensor("_rebuild_qtensor", &whole, plain);
    assert!(read(&dictionary(&quantised)).unwrap_err().contains("`torch._utils._rebuild_qtensor`"));
}
