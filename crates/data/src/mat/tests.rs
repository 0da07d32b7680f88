use super::*;
use proptest::prelude::*;
use testkit::mat::{MatFormat, Value as Written, file};

/// Written by SciPy 1.17.1 (fixtures/mat.py).
const PLAIN: &[u8] = include_bytes!("../../fixtures/meta-plain.mat");
const PACKED: &[u8] = include_bytes!("../../fixtures/meta-packed.mat");

fn forms() -> Vec<MatFormat> {
    let form =
        |bits| MatFormat { big_endian: bits & 1 > 0, compressed: bits & 2 > 0, utf8: bits & 4 > 0 };
    (0..8).map(form).collect()
}

/// What a reader should make of what was written.
fn expected(written: &Written) -> MatValue {
    match written {
        Written::Numbers(numbers) => MatValue::Numbers(numbers.clone()),
        Written::Text(text) => MatValue::Text(text.clone()),
        Written::Cell(values) => MatValue::Cell(values.iter().map(expected).collect()),
        Written::Struct(fields, rows) => {
            let values = rows.iter().flatten().map(expected).collect();
            MatValue::Struct(MatStruct { fields: fields.clone(), values })
        }
    }
}

fn number(value: f64) -> Written {
    Written::Numbers(vec![value])
}

#[test]
fn synsets_are_read_as_scipy_wrote_them() {
    for bytes in [PLAIN, PACKED] {
        let Some(MatValue::Struct(synsets)) = variable(bytes, "synsets").unwrap() else {
            panic!("no struct");
        };
        assert_eq!(synsets.fields[..2], ["ILSVRC2012_ID", "WNID"]);
        assert_eq!(synsets.field("num_train_images"), Some(7));
        let rows: Vec<&[MatValue]> = synsets.rows().collect();
        assert_eq!(rows.len(), 3);
        assert_eq!((rows[0][0].number(), rows[0][1].text()), (Some(1.0), Some("n02119789")));
        assert_eq!(
            (rows[1][2].text(), rows[1][7].number()),
            (Some("tench, Tinca tinca"), Some(2.0))
        );
        assert_eq!(rows[1][5], MatValue::Numbers(vec![]));
        assert_eq!(rows[2][3].text(), Some("that which is perceived — é"));
        assert_eq!(rows[2][5], MatValue::Numbers(vec![1.0, 2.0]));

        let read = |name| variable(bytes, name).unwrap();
        assert_eq!(read("note"), Some(MatValue::Text("hello".into())));
        assert_eq!(read("big"), Some(MatValue::Numbers(vec![1.5, -2.0])));
        assert_eq!(read("bits"), Some(MatValue::Numbers(vec![1.0, 0.0, 3.0])));
        let columns_first = MatValue::Numbers(vec![0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(
            read("cell"),
            Some(MatValue::Cell(vec![MatValue::Text("a".into()), columns_first]))
        );
        assert_eq!(read("none"), None);
    }
}

#[test]
fn every_encoding_gives_the_same_values() {
    let written = Written::Struct(
        vec!["text".into(), "cell".into(), "numbers".into()],
        vec![
            vec![
                Written::Text("é — 𝄞 and letters".into()),
                Written::Cell(vec![number(1.0), Written::Text(String::new())]),
                Written::Numbers(vec![0.25, -1e300, f64::INFINITY]),
            ],
            vec![
                Written::Text("ab".into()),
                Written::Cell(vec![]),
                Written::Numbers(vec![65_535.0]),
            ],
        ],
    );
    for form in forms() {
        let bytes = file(&[("first", number(300.0)), ("it", written.clone())], form);
        assert_eq!(variable(&bytes, "it").unwrap(), Some(expected(&written)), "{form:?}");
        assert_eq!(variable(&bytes, "first").unwrap().unwrap().number(), Some(300.0));
    }
}

/// A number of every type, in both orders, written by hand.
#[test]
fn numbers_of_every_type() {
    let one = |kind: u32, data: &[u8], big_endian: bool| {
        let mut file =
            file(&[("x", number(7.0))], MatFormat { big_endian, ..MatFormat::default() });
        // The contents are the last element, of one byte inside its tag.
        file.truncate(file.len() - 8);
        let word = |n: u32| if big_endian { n.to_be_bytes() } else { n.to_le_bytes() };
        let element = [&word(kind)[..], &word(data.len() as u32), data].concat();
        let len = file.len() - 136 + element.len();
        file[132..136].copy_from_slice(&word(len as u32));
        file.extend(element);
        variable(&file, "x").map(|value| value.unwrap().number().unwrap())
    };
    let cases: [(u32, &[u8], f64); 10] = [
        (1, &[0xFE], -2.0),
        (2, &[0xFE], 254.0),
        (3, &[0xFF, 0xFE], -2.0),
        (4, &[0xFF, 0xFE], 65_534.0),
        (5, &[0xFF, 0xFF, 0xFF, 0xFE], -2.0),
        (6, &[0xFF, 0xFF, 0xFF, 0xFE], 4_294_967_294.0),
        (7, &[0x3F, 0xC0, 0, 0], 1.5),
        (9, &[0x3F, 0xF8, 0, 0, 0, 0, 0, 0], 1.5),
        (12, &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE], -2.0),
        (13, &[0, 0, 0, 1, 0, 0, 0, 0], 4_294_967_296.0),
    ];
    for (kind, big, value) in cases {
        let little: Vec<u8> = big.iter().rev().copied().collect();
        assert_eq!(one(kind, big, true), Ok(value), "type {kind}");
        assert_eq!(one(kind, &little, false), Ok(value), "type {kind}");
    }
    assert!(matches!(one(8, &[0; 8], false), Err(MatError::Element(_))));
    assert!(matches!(one(9, &[0; 7], false), Err(MatError::Element(_))));
    assert!(matches!(one(2, &[0; 2], false), Err(MatError::Element(_))));
}

#[test]
fn a_truncated_file_is_an_error_or_lacks_the_variable() {
    for form in forms() {
        let row = vec![Written::Text("n01440764".into()), number(1300.0)];
        let synsets = Written::Struct(vec!["WNID".into(), "id".into()], vec![row; 2]);
        let whole = file(&[("other", number(1.0)), ("synsets", synsets.clone())], form);
        for length in 0..whole.len() {
            match variable(&whole[..length], "synsets") {
                Err(MatError::Header(_) | MatError::Truncated | MatError::Compressed(_)) => {}
                Ok(None) => {} // cut between two variables
                // Nothing but padding is lacking.
                other => {
                    assert_eq!(other, Ok(Some(expected(&synsets))), "{length} bytes, {form:?}")
                }
            }
            assert!(
                length + 8 > whole.len()
                    || variable(&whole[..length], "synsets") != Ok(Some(expected(&synsets)))
            );
        }
    }
    for length in 0..PACKED.len() {
        let _ = variable(&PACKED[..length], "bits");
    }
}

#[test]
fn files_of_other_kinds_are_rejected() {
    let said = |bytes: &[u8]| variable(bytes, "x").unwrap_err().to_string();
    assert!(said(b"short").contains("shorter than a header"));
    assert!(said(&[b'x'; 200]).starts_with("this is not a MAT-file of version 5"));
    let mut newer = file(&[], MatFormat::default());
    newer[124..128].copy_from_slice(&[0, 2, b'I', b'M']);
    assert!(said(&newer).contains("-v7"), "{}", said(&newer));
    assert_eq!(variable(&file(&[], MatFormat::default()), "x"), Ok(None));
}

#[test]
fn limits_are_enforced() {
    let nested =
        |depth: usize| (0..depth).fold(number(1.0), |inside, _| Written::Cell(vec![inside]));
    let read =
        |written: &Written| variable(&file(&[("x", written.clone())], MatFormat::default()), "x");
    assert_eq!(read(&nested(DEEPEST)), Ok(Some(expected(&nested(DEEPEST)))));
    assert_eq!(read(&nested(DEEPEST + 1)), Err(MatError::Limit("nested levels")));
    // Far deeper than any stack.
    assert_eq!(read(&nested(3_000)), Err(MatError::Limit("nested levels")));
}

/// Small files that claim or unpack to much.
#[test]
fn decompression_bombs_are_rejected_quickly() {
    let start = std::time::Instant::now();
    let packed = MatFormat { compressed: true, ..MatFormat::default() };
    let zeros = Written::Numbers(vec![0.0; MAX_ELEMENTS + 1]);
    let bomb = file(&[("a", zeros)], packed);
    assert!(bomb.len() < 8_000, "{}", bomb.len());
    assert_eq!(variable(&bomb, "a"), Err(MatError::Limit("elements")));

    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::copy(&mut std::io::repeat(0).take(MAX_UNPACKED + 1), &mut zlib).unwrap();
    let zlib = zlib.finish().unwrap();
    let mut bomb = file(&[], MatFormat::default());
    bomb.extend([&15u32.to_le_bytes()[..], &(zlib.len() as u32).to_le_bytes(), &zlib].concat());
    assert_eq!(variable(&bomb, "a"), Err(MatError::Limit("compressed bytes")));

    // A struct of four billion rows in 200 bytes.
    let empty = Written::Struct(vec!["f".into()], vec![]);
    let mut claims = file(&[("x", empty)], MatFormat::default());
    let rows = claims.windows(8).position(|w| w == [5, 0, 0, 0, 8, 0, 0, 0]).unwrap() + 8;
    claims[rows..rows + 8].copy_from_slice(&[255, 255, 255, 127, 255, 255, 255, 127]);
    assert_eq!(variable(&claims, "x"), Err(MatError::Truncated));
    claims[rows + 3] = 255;
    assert_eq!(variable(&claims, "x"), Err(MatError::Truncated));
    assert!(start.elapsed().as_secs() < 10);
}

/// The matrix without a body that SciPy and MATLAB write for what is not there.
#[test]
fn a_matrix_without_a_body_is_empty() {
    let mut bytes = file(&[], MatFormat::default());
    bytes.extend([14, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(variable(&bytes, ""), Ok(Some(MatValue::Numbers(vec![]))));
    assert_eq!(variable(&bytes, "x"), Ok(None));
}

fn any_value() -> impl Strategy<Value = Written> {
    let leaf = prop_oneof![
        prop::collection::vec(any::<f64>().prop_filter("equal to itself", |n| !n.is_nan()), 0..5)
            .prop_map(Written::Numbers),
        ".{0,12}".prop_map(Written::Text),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Written::Cell),
            (prop::collection::vec("[a-z_]{1,31}", 1..4), 0usize..3, inner).prop_map(
                |(fields, rows, value)| {
                    let row = vec![value; fields.len()];
                    Written::Struct(fields, vec![row; rows])
                }
            ),
        ]
    })
}

proptest! {
    #[test]
    fn written_values_are_read_back(value in any_value(), form in prop::sample::select(forms())) {
        let bytes = file(&[("before", number(1.0)), ("x", value.clone())], form);
        prop_assert_eq!(variable(&bytes, "x"), Ok(Some(expected(&value))));
    }

    #[test]
    fn any_changed_byte_gives_a_value_or_an_error(
        value in any_value(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = file(&[("x", value)], MatFormat::default());
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = variable(&bytes, "x");
    }
}
