use super::*;
use proptest::prelude::*;
use testkit::{Slots, bits_equal, each_device, random_array, same_bits_for_threads};

type Op = fn(&mut Device, Slot, Slot) -> Result<()>;

fn run(device: &mut Device, op: Op, x: &[f32], y: &[f32]) -> Vec<f32> {
    let mut slots = Slots::new();
    let (x, y) = (slots.floats([x.len()], x.to_vec()), slots.floats([y.len()], y.to_vec()));
    slots.load(device);
    op(device, x, y).unwrap();
    device.download(y).unwrap()
}

fn packed(device: &mut Device, x: &[f32]) -> Vec<f32> {
    run(device, pack, x, &vec![f32::NAN; packed_len(x.len())])
}

/// The first `n` values.
fn unpacked(words: &[f32], n: usize) -> Vec<f32> {
    let halves = words.iter().flat_map(|word| [word.to_bits() << 16, word.to_bits() & 0xFFFF_0000]);
    halves.map(f32::from_bits).take(n).collect()
}

/// Values on both sides of every rounding boundary.
#[test]
fn rounds_to_the_nearest_and_ties_to_even() {
    let expected = [
        (0x3F80_8000, 0x3F80_0000), // a tie: down to the even
        (0x3F81_8000, 0x3F82_0000), // a tie: up to the even
        (0x3F80_8001, 0x3F81_0000),
        (0x3F81_7FFF, 0x3F81_0000),
        (0x3FFF_8000, 0x4000_0000), // into the next power of two
        (0x7F7F_7FFF, 0x7F7F_0000), // the largest
        (0x7F7F_8000, 0x7F80_0000), // beyond it
        (0x7F80_0000, 0x7F80_0000),
        (0x0000_8000, 0x0000_0000), // half of the smallest
        (0x0000_8001, 0x0001_0000),
        (0x0001_8000, 0x0002_0000),
        (0x007F_8000, 0x0080_0000),
    ];
    let both = [0, 0x8000_0000].map(|sign| expected.map(|(x, r)| (x | sign, r | sign)));
    let (x, r): (Vec<f32>, Vec<f32>) =
        both.concat().into_iter().map(|(x, r)| (f32::from_bits(x), f32::from_bits(r))).unzip();
    bits_equal(&x.iter().map(|&x| reference::round(x)).collect::<Vec<_>>(), &r, "by arithmetic");
    each_device(|device| bits_equal(&unpacked(&packed(device, &x), x.len()), &r, "packed"));
}

#[test]
fn nan_stays_nan() {
    let x = [0x7F80_0001, 0xFFFF_FFFF, 0x7FC0_0000, 0xFF80_8000].map(f32::from_bits);
    each_device(|device| {
        assert!(unpacked(&packed(device, &x), 4).iter().all(|x| x.is_nan()));
        assert!(run(device, add_rounded, &x, &[1.0; 4]).iter().all(|x| x.is_nan()));
        let words = packed(device, &[1.0; 4]);
        let y = run(device, add_packed, &words, &x);
        assert!(y.iter().all(|x| x.is_nan()));
    });
}

/// Floats of any magnitude, as in gradients.
fn any_floats(n: usize) -> impl Strategy<Value = Vec<f32>> {
    let float = prop_oneof![
        any::<u32>().prop_map(f32::from_bits).prop_filter("a number", |x| x.is_finite()),
        -1.0f32..1.0,
        Just(0.0f32),
    ];
    proptest::collection::vec(float, n)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn equal_the_reference(
        (x, y) in (0usize..70).prop_flat_map(|n| (any_floats(n), any_floats(n))),
    ) {
        let n = x.len();
        let rounded: Vec<f32> = x.iter().map(|&x| reference::round(x)).collect();
        let sum = reference::add(&x, &y);
        each_device(|device| {
            let words = packed(device, &x);
            bits_equal(&unpacked(&words, n), &rounded, "packed");
            let rest = unpacked(&words, 2 * words.len());
            assert!(rest[n..].iter().all(|rest| rest.to_bits() == 0), "{rest:?}");
            bits_equal(&run(device, add_rounded, &x, &y), &sum, "rounded here");
            bits_equal(&run(device, add_packed, &words, &y), &sum, "rounded there");
        });
    }

    /// Rounding is idempotent, with an error of at most a part in 2^8.
    #[test]
    fn rounding_is_idempotent_and_close(x in -1e30f32..1e30) {
        let rounded = reference::round(x);
        prop_assert_eq!(reference::round(rounded).to_bits(), rounded.to_bits());
        prop_assert!((rounded - x).abs() <= x.abs() / 256.0);
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    let n = 200_001;
    let [x, y] = [1, 2].map(|seed| random_array::<_, _>(seed, n).to_vec());
    same_bits_for_threads(|threads| packed(&mut Device::cpu(threads), &x));
    same_bits_for_threads(|threads| run(&mut Device::cpu(threads), add_rounded, &x, &y));
    let words = packed(&mut Device::cpu(1), &x);
    same_bits_for_threads(|threads| run(&mut Device::cpu(threads), add_packed, &words, &y));
}
