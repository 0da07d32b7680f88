//! Conversions of every f16, and layouts against a plain loop.

use super::*;

#[test]
fn every_f16_has_its_value() {
    for (bits, value) in [
        (0x0000, 0.0),
        (0x0001, 2f32.powi(-24)),
        (0x03FF, 1023.0 * 2f32.powi(-24)),
        (0x0400, 2f32.powi(-14)),
        (0x3555, 0.333_251_95),
        (0x3C00, 1.0),
        (0x3C01, 1.000_976_6),
        (0xC000, -2.0),
        (0x7BFF, 65504.0),
        (0x7C00, f32::INFINITY),
        (0xFC00, f32::NEG_INFINITY),
    ] {
        assert_eq!(f16_to_f32(bits), value, "{bits:#06x}");
    }
    // The definition, in f64.
    for bits in 0..=u16::MAX {
        let (exponent, fraction) = (i32::from(bits >> 10 & 0x1F), f64::from(bits & 0x3FF));
        let magnitude = match exponent {
            0 => fraction * 2f64.powi(-24),
            31 if fraction == 0.0 => f64::INFINITY,
            31 => f64::NAN,
            _ => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
        };
        let expected = if bits & 0x8000 == 0 { magnitude } else { -magnitude };
        let value = f16_to_f32(bits);
        assert_eq!(value.is_nan(), expected.is_nan(), "{bits:#06x}");
        assert_eq!(value.is_sign_negative(), bits & 0x8000 != 0, "{bits:#06x}");
        assert!(expected.is_nan() || f64::from(value) == expected, "{bits:#06x}: {value}");
    }
}

#[test]
fn other_types_are_converted() {
    let read = |element: ElementType, bytes: &[u8], count: usize| {
        Layout::contiguous(&[count]).unwrap().read(&Source::memory(bytes), 0, element)
    };
    let doubles: Vec<u8> =
        [1.5, -1e-300, 1e300, 0.1].iter().flat_map(|v: &f64| v.to_le_bytes()).collect();
    let expected = [1.5, -0.0, f32::INFINITY, 0.1];
    assert_eq!(read(ElementType::F64, &doubles, 4).unwrap(), expected);
    let halves = [0x80, 0x3F, 0x49, 0x40]; // 1 and the upper half of pi
    assert_eq!(read(ElementType::Bf16, &halves, 2).unwrap(), [1.0, 3.140_625]);
    assert!(read(ElementType::I64, &doubles, 4).unwrap_err().contains("type i64"));
    assert!(read(ElementType::F64, &doubles, 5).unwrap_err().contains("cut off"));
    let whole = usize::MAX / 8;
    assert!(read(ElementType::F64, &doubles, whole).unwrap_err().contains("cut off"));
}

/// The elements in the order of C, one at a time.
fn plain(shape: &[usize], strides: &[usize], numbers: &[f32]) -> Vec<f32> {
    let count = shape.iter().product::<usize>();
    let place = |mut index: usize| {
        let mut place = 0;
        for (&len, &stride) in shape.iter().zip(strides).rev() {
            place += index % len * stride;
            index /= len;
        }
        place
    };
    (0..count).map(|index| numbers[place(index)]).collect()
}

#[test]
fn layouts_are_those_of_a_plain_loop() {
    // The last ones are longer than the pieces of 2^18 elements in which a file is read.
    let numbers: Vec<f32> = (0..1_000_000u32).map(|number| number as f32).collect();
    let source = Source::memory(&numbers.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
    for (shape, strides) in [
        (&[][..], &[][..]),
        (&[1], &[0]),
        (&[5], &[1]),
        (&[5], &[3]),
        (&[2, 3], &[3, 1]),
        (&[2, 3], &[1, 2]),
        (&[2, 0, 3], &[0, 0, 0]),
        (&[2, 1, 3], &[3, 999, 1]),
        (&[2, 3, 4, 5], &[60, 1, 15, 3]),
        (&[2, 3, 4, 5], &[1000, 100, 1, 7]),
        (&[1_000_000], &[1]),
        (&[333_333], &[3]),
        (&[3], &[400_000]),
        (&[1000, 1000], &[1, 1000]),
        (&[1000, 10, 100], &[1, 100_000, 1000]),
        (&[10, 100, 500], &[100_000, 1, 200]),
    ] {
        let layout = Layout::strided(shape, strides).unwrap();
        let read = layout.read(&source, 0, ElementType::F32).unwrap();
        assert!(read == plain(shape, strides, &numbers), "{shape:?} {strides:?}");
        assert!(layout.span() <= numbers.len());
    }
    assert_eq!(
        Layout::contiguous(&[3, 4, 5]).unwrap(),
        Layout::strided(&[3, 4, 5], &[20, 5, 1]).unwrap()
    );
    assert_eq!(Layout::contiguous(&[1000, 1000]).unwrap().dims.len(), 1);
}

#[test]
fn layouts_that_cannot_be_are_refused() {
    for (shape, strides, reason) in [
        (&[5][..], &[0][..], "share a place"),
        (&[3, 3], &[1, 1], "share a place"),
        (&[3, 3], &[2, 1], "share a place"),
        (&[usize::MAX, 3], &[3, 1], "too large"),
        (&[2, 2], &[usize::MAX, 1], "too large"),
        (&[3, 2], &[usize::MAX / 2 + 1, 1], "too large"),
        (&[usize::MAX, usize::MAX, 0], &[1, 1, 1], "too large"),
        (&[2], &[1, 1], "2 strides"),
    ] {
        let error = Layout::strided(shape, strides).unwrap_err();
        assert!(error.contains(reason), "{shape:?} {strides:?}: {error}");
    }
    assert!(Layout::contiguous(&[usize::MAX, 2]).is_err());
    let source = Source::memory(&[0; 40]);
    let read =
        |count, at| Layout::contiguous(&[count]).unwrap().read(&source, at, ElementType::F32);
    assert!(read(10, 0).is_ok() && read(11, 0).is_err() && read(10, 1).is_err());
    assert!(read(1, u64::MAX).is_err() && read(0, 40).is_ok());
}
