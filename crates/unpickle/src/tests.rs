//! Pickles written by Python in every protocol are read; dangerous and damaged ones are rejected.

use super::*;
use crate::numpy::{ElementKind, Global, array, bytes};
use std::fmt::Write;

type Loaded<'a> = Pickle<'a, Global>;

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/fixtures/{name}.pkl", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn read(bytes: &[u8]) -> Result<Loaded<'_>> {
    load(bytes, &PickleLimits::default())
}

/// A value as Python shows it, up to the order of a set.
fn shown(value: Value<'_, Global>) -> String {
    let list = |values: Vec<Value<'_, Global>>| {
        values.into_iter().map(shown).collect::<Vec<_>>().join(", ")
    };
    if let Ok(bytes) = bytes(value) {
        return format!("b{:?}", bytes.escape_ascii().to_string());
    }
    match value.kind() {
        "None" => "None".to_owned(),
        "a bool" => format!("{:?}", value.as_bool().unwrap()),
        "an int" => value.as_int().unwrap().to_string(),
        "a float" => format!("{:?}", value.as_float().unwrap()),
        "a string" => format!("{:?}", value.as_str().unwrap()),
        "a tuple" => format!("({})", list(value.items().unwrap().collect())),
        "a dictionary" => value.pairs().unwrap().fold(String::new(), |mut text, (key, value)| {
            writeln!(text, "{}: {}", shown(key), shown(value)).unwrap();
            text
        }),
        _ => format!("[{}]", list(value.items().unwrap().collect())),
    }
}

#[test]
fn plain_values_of_every_protocol() {
    let ints = "[0, 1, 255, 256, 65535, 65536, -1, 2147483648, -9223372036854775808, \
                9223372036854775807]";
    let expected = format!(
        "\"none\": None\n\"flags\": [true, false]\n\"ints\": {ints}\n\
         \"floats\": [0.0, -1.5, 1e300]\n\"bytes\": b\"\\\\x00\\\\xff\\\\'\\\\\\\"\\\\\\\\\\\\n\"\n\
         \"text\": \"aé€😀\\\\\\n'\"\n\
         \"tuples\": ((), (1), (1, 2), (1, 2, 3), (1, 2, 3, 4))\n\
         \"nested\": \"a\": \"b\": [\"c\": 7\n]\n\n\n\"long\": \"{}\"\n\"again\": {ints}\n",
        "x".repeat(300)
    );
    for protocol in 0..6 {
        let file = fixture(&format!("plain-{protocol}"));
        let pickle = read(&file).unwrap();
        assert_eq!(shown(pickle.root()), expected, "protocol {protocol}");
        let [one, other] = ["ints", "again"].map(|key| pickle.root().get(key).unwrap().id());
        assert_eq!(one, other, "a value that occurs twice lies there once");
        // Cut anywhere, it is no pickle.
        for len in 0..file.len() {
            assert!(read(&file[..len]).is_err(), "protocol {protocol}, {len} bytes");
        }
    }
}

#[test]
fn arrays_of_every_protocol_type_and_order() {
    for protocol in 0..6 {
        let file = fixture(&format!("arrays-{protocol}"));
        let pickle = read(&file).unwrap();
        let get = |name: &str| array(pickle.root().get(name).unwrap()).unwrap();
        for (name, kind, item_bytes) in [
            ("u1", ElementKind::Unsigned, 1),
            ("i1", ElementKind::Signed, 1),
            ("<u2", ElementKind::Unsigned, 2),
            (">u2", ElementKind::Unsigned, 2),
            ("<i4", ElementKind::Signed, 4),
            (">i8", ElementKind::Signed, 8),
            ("u8", ElementKind::Unsigned, 8),
            ("<f2", ElementKind::Float, 2),
            (">f4", ElementKind::Float, 4),
            ("f8", ElementKind::Float, 8),
        ] {
            let array = get(name);
            let what = format!("{name}, protocol {protocol}");
            assert_eq!((array.kind, array.item_bytes), (kind, item_bytes), "{what}");
            assert_eq!(array.shape, [2, 3], "{what}");
            assert_eq!(array.to_f64(), [0.0, 1.0, 2.0, 3.0, 100.0, 1.0], "{what}");
            let integers = (kind != ElementKind::Float).then(|| vec![0, 1, 2, 3, 100, 1]);
            assert_eq!(array.to_i64(), integers, "{what}");
            assert_eq!(array.as_u8().is_some(), name == "u1", "{what}");
        }
        assert_eq!(get("bool").to_i64().unwrap(), [0, 1, 1, 1, 1, 1]);
        let fortran = get("fortran");
        assert!(fortran.fortran);
        assert_eq!(fortran.as_u8().unwrap().to_vec(), (0..24).collect::<Vec<u8>>());
        assert_eq!(get("fortran i2").to_i64().unwrap(), [-3, -2, -1, 0, 1, 2]);
        assert_eq!((get("empty").shape, get("empty").len()), (vec![0, 3], 0));
        assert_eq!((get("scalar").shape, get("scalar").to_f64()), (vec![], vec![2.5]));
    }
}

#[test]
fn a_pickle_of_python_2() {
    let file = fixture("python2");
    let pickle = read(&file).unwrap();
    let data = array(pickle.root().get("data").unwrap()).unwrap();
    assert_eq!((&data.shape[..], &*data.bytes), (&[2, 3][..], &[0, 1, 2, 253, 254, 255][..]));
    assert_eq!(shown(pickle.root().get("labels").unwrap()), "[6, 9]");
    assert_eq!(pickle.root().get("batch_label").unwrap().as_str(), Some("one"));
}

fn said(bytes: &[u8]) -> String {
    read(bytes).unwrap_err().to_string()
}

#[test]
fn no_way_to_call_what_is_not_allowed() {
    for (bytes, name) in [
        (&b"cos\nsystem\n(S'ls'\ntR."[..], "os.system"),
        (b"(S'ls'\nios\nsystem\n.", "os.system"),
        (b"(cos\nsystem\nS'ls'\no.", "os.system"),
        (b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93.", "os.system"),
        (b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85\x81.", "builtins.eval"),
        (b"cnumpy\nload\n.", "numpy.load"),
        (b"cnumpy.core.numpy\nndarray\n.", "numpy.core.numpy.ndarray"),
        (b"cmultiarray\nscalar\n.", "multiarray.scalar"),
        (b"c\x1b[31m\nx\n.", "\\u{1b}[31m.x"),
    ] {
        assert_eq!(said(bytes), format!("the pickle calls {name}, which is not allowed"));
    }
    // Text of the stack as the name of a global, put together at run time.
    assert!(said(b"\x80\x04K\x01\x8c\x01a\x93.").contains("whose name is not text"));
}

#[test]
fn what_is_not_read_is_said() {
    for (bytes, reason) in [
        (&b"\x80\x06N."[..], "at byte 0: protocol 6 is not supported"),
        (b"\x80\x02\x82\x01.", "at byte 2: extension codes"),
        (b"\x80\x05\x97.", "out-of-band buffers"),
        (b"N.N", "at byte 2: data after the end"),
        (b"x", "byte 0x78 is not an instruction"),
        (b"", "truncated at byte 0"),
        (b".", "missing from the stack"),
        (b"(.", "missing from the stack"),
        (b"K\x01(0", "missing from the stack"),
        (b"t.", "no mark"),
        (b"h\x00.", "undefined memo key"),
        (b"p-1\n.", "a negative memo key"),
        (b"(K\x01d.", "a key without a value"),
        (b"K\x01K\x02a.", "elements for a value"),
        (b"]K\x01K\x02s.", "entries for a value"),
        (b"K\x01)R.", "not a class or function"),
        (b"cnumpy\ndtype\nK\x01R.", "not a tuple"),
        (b"K\x01Nb.", "a state for"),
        (b"cnumpy\ndtype\n)}K\x01K\x02s\x92.", "keyword arguments"),
        (b"X\x01\x00\x00\x00\xff.", "not UTF-8"),
        (b"S'a\n.", "without its quotes"),
        (b"S'\\q'\n.", "an unknown escape"),
        (b"V\\ud800a\n.", "an unpaired surrogate"),
        (b"L99999999999999999999L\n.", "not a 64-bit integer"),
        (b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\x00.", "more than 64 bits"),
        (b"T\xff\xff\xff\xff.", "truncated"),
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff.", "truncated"),
    ] {
        assert!(said(bytes).contains(reason), "{}: {}", bytes.escape_ascii(), said(bytes));
    }
    assert!(said(&[&b"c"[..], &[b'a'; 10_000]].concat()).contains("without an end"));
    assert_eq!(read(b"\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\xff.").unwrap().root().as_int(), {
        Some(-1)
    });
}

#[test]
fn objects_of_other_libraries_can_be_looked_at() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Torch {
        OrderedDict,
        Rebuild,
    }
    impl Callable for Torch {
        fn find(module: &str, name: &str) -> Option<Torch> {
            match (module, name) {
                ("collections", "OrderedDict") => Some(Torch::OrderedDict),
                ("torch._utils", "_rebuild_tensor_v2") => Some(Torch::Rebuild),
                _ => None,
            }
        }
    }
    // A state_dict of one tensor as torch.save writes it, in short: its elements lie elsewhere.
    let bytes = b"\x80\x02ccollections\nOrderedDict\nq\0)Rq\x01X\x01\0\0\0wq\x02ctorch._utils\n\
        _rebuild_tensor_v2\nq\x03((X\x07\0\0\0storageX\x01\0\0\x000tQK\0K\x02\x85K\x01\x85tRs}b.";
    let pickle = load::<Torch>(bytes, &PickleLimits::default()).unwrap();
    let dict = pickle.root().as_call().unwrap();
    assert_eq!((dict.callable, dict.items().len()), (Torch::OrderedDict, 0));
    assert_eq!(dict.state.unwrap().pairs().unwrap().len(), 0);
    let (key, value) = dict.pairs().next().unwrap();
    let tensor = value.as_call().unwrap();
    assert_eq!((key.as_str(), tensor.callable), (Some("w"), Torch::Rebuild));
    let args = tensor.args.as_tuple().unwrap();
    let storage = args[0].as_persistent().unwrap().as_tuple().unwrap();
    assert_eq!(storage[0].as_str(), Some("storage"));
    assert_eq!(args[2].items().unwrap().next().unwrap().as_int(), Some(2));
    let (first, len) = load_prefix::<Torch>(b"K\x07.K\x08.", &PickleLimits::default()).unwrap();
    assert_eq!((first.root().as_int(), len), (Some(7), 3));
}

#[test]
fn objects_outside_the_pickle_are_listed() {
    // An id in protocol 0 is a line of text; in later ones any value. The second is dropped again.
    let bytes = b"(Pstorage 1\nK\x02Q0K\x03Q\x85t.";
    let pickle = read(bytes).unwrap();
    let ids = pickle.persistent().map(|value| value.as_persistent().unwrap());
    let ids: Vec<_> = ids.map(|id| (id.as_str(), id.as_int())).collect();
    assert_eq!(ids, [(Some("storage 1"), None), (None, Some(2)), (None, Some(3))]);
    let items: Vec<_> = pickle.root().items().unwrap().collect();
    assert_eq!((items.len(), items[0].kind()), (2, "an object outside the pickle"));
    assert!(items[1].as_persistent().is_none() && read(b"N.").unwrap().persistent().count() == 0);
    assert_eq!(said(b"Pstorage 1"), "the pickle is truncated at byte 10");
    assert!(said(b"(Q.").contains("missing from the stack"));
}

#[test]
fn cycles_and_deep_nesting_are_refused() {
    assert_eq!(read(b"]q\0h\0a.").unwrap_err(), Error::Cycle);
    assert_eq!(read(b"}q\0K\x01h\0s.").unwrap_err(), Error::Cycle);
    assert_eq!(read(b"cnumpy\ndtype\n)Rq\0h\0b.").unwrap_err(), Error::Cycle);
    let deep = |depth: usize| [vec![b']'; depth], vec![b'a'; depth - 1], b".".to_vec()].concat();
    assert!(read(&deep(101)).is_ok());
    assert!(said(&deep(102)).contains("more than 100 levels"), "{}", said(&deep(102)));
    assert!(said(&deep(1_000_000)).contains("levels"));
    // A list twice in another is no cycle, and costs nothing: 2^60 elements, if they were copied.
    let laughs = [b"]q\0".to_vec(), b"]h\0ah\0aq\0".repeat(60), b".".to_vec()].concat();
    assert!(read(&laughs).is_ok());
}

#[test]
fn what_a_pickle_may_take_is_limited() {
    let limits = PickleLimits { values: 10, depth: 3 };
    let attempt = |bytes: &[u8]| load::<NoGlobals>(bytes, &limits).map(drop);
    assert!(attempt(b"(NNNNNNNNNt.").is_ok());
    for (bytes, what) in [
        (&b"(NNNNNNNNNNt."[..], "values"),
        (b"N22222222222.", "elements on its stack"),
        (b"(((((((((((N.", "marks"),
        (b"N\x94\x94\x94\x94\x94\x94\x94\x94\x94\x94\x94.", "memo entries"),
        (b"]]]]]aaaa.", "levels of nesting"),
    ] {
        let error = attempt(bytes).unwrap_err().to_string();
        assert!(error.contains(what), "{}: {error}", bytes.escape_ascii());
    }
}

#[test]
fn arrays_that_are_none_are_refused() {
    let dtype = |name: &str, state: &str| format!("cnumpy\ndtype\n(S'{name}'\nI0\nI1\ntR{state}");
    let state = "(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb";
    let plain = dtype("u1", state);
    let array = |class: &str, shape: &str, dtype: &str, bytes: &str| {
        format!(
            "cnumpy.core.multiarray\n_reconstruct\n({class}(I0\ntS'b'\ntR(I1\n{shape}{dtype}\
             I00\n{bytes}tb."
        )
    };
    let nd = "cnumpy\nndarray\n";
    let error = |text: String| {
        let pickle = read(text.as_bytes()).unwrap();
        numpy::array(pickle.root()).map(|array| array.shape).map_err(|error| error.to_string())
    };
    assert_eq!(error(array(nd, "(I2\nt", &plain, "S'ab'\n")), Ok(vec![2]));
    let huge = "(I4611686018427387904\nI4611686018427387904\nt";
    for (text, reason) in [
        (array(nd, "(I3\nt", &plain, "S'ab'\n"), "2 bytes for an array of shape [3]"),
        (array(nd, huge, &plain, "S''\n"), "0 bytes for an array of shape"),
        (array(nd, "(I-1\nt", &plain, "S''\n"), "unknown shape"),
        (array(nd, "(I1\nt", &plain, "I5\n"), "an int where bytes were expected"),
        (array(nd, "(I1\nt", &dtype("O8", state), "(Nl"), "type `O8`"),
        (array(nd, "(I1\nt", &dtype("u1", ""), "S'a'\n"), "unknown byte order"),
        (array("cnumpy\ndtype\n", "(I1\nt", &plain, "S'a'\n"), "not numpy.ndarray"),
        (
            array(nd, "(I1\nt", &dtype("u1", "(I3\nS'<'\nN(S'x'\ntNI-1\nI-1\nI0\ntb"), "S'a'\n"),
            "fields or dimensions",
        ),
        ("N.".to_owned(), "None where an array was expected"),
        (format!("{plain}."), "an object where an array was expected"),
    ] {
        let error = error(text).unwrap_err();
        assert!(error.contains(reason), "{error} is not {reason}");
    }
}
