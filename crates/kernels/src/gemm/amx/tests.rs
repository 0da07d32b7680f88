use super::pack::{self, PackLayout, Runs};
use super::*;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Pseudo-random bits.
fn words(len: usize, seed: u64) -> Vec<u32> {
    SmallRng::seed_from_u64(seed).random_iter().take(len).collect()
}

fn values(len: usize, seed: u64) -> Vec<f32> {
    words(len, seed).iter().map(|&word| word as f32 / (1u64 << 31) as f32 - 1.0).collect()
}

/// The hardware, or a notice that the test is skipped.
fn hardware() -> Option<MatrixUnit> {
    if MatrixUnit::best() == MatrixUnit::Twin {
        eprintln!("SKIPPED: no AMX here: {}", tensor::amx().unwrap_err());
        return None;
    }
    Some(MatrixUnit::best())
}

fn run(unit: MatrixUnit, block: &Block<'_>, before: &BlockSums) -> BlockSums {
    let mut sums = *before;
    unit.configure().multiply(block, &mut sums);
    sums
}

#[test]
fn a_thread_can_be_configured_again_after_dropping() {
    for _ in 0..2 {
        let _configured = MatrixUnit::best().configure();
        // Each thread is configured separately.
        std::thread::spawn(|| drop(MatrixUnit::best().configure())).join().unwrap();
    }
}

#[test]
#[should_panic(expected = "a thread is configured once at a time")]
fn a_thread_is_not_configured_twice() {
    let _first = MatrixUnit::best().configure();
    let _second = MatrixUnit::best().configure();
}

/// All loops, one or two tiles in each direction, every start, against plain sums in f64.
#[test]
fn blocks_are_sums_of_products() {
    let rounded: Vec<Bf16> = values(20_000, 1).into_iter().map(pack::portable::round).collect();
    let (before, row) = (values(SIDE * SIDE, 2), values(SIDE, 3));
    let (before, row) = (before.first_chunk().unwrap(), row.first_chunk().unwrap());
    let loops = [
        Loop { count: 2, a: 300, b: 4 },
        Loop { count: 3, a: 8, b: 1000 },
        Loop { count: 5, a: 32, b: 64 },
    ];
    for (a_second, b_second) in
        [(None, None), (Some(900), None), (None, Some(7)), (Some(3), Some(9))]
    {
        for start in [Start::Zero, Start::Sum, Start::Row(row)] {
            let a = Tiles { elements: &rounded, first: 5, second: a_second, row: 51 };
            let b = Tiles { elements: &rounded[7000..], first: 2, second: b_second, row: 70 };
            let block = Block { a, b, loops, start };
            let twin = run(MatrixUnit::Twin, &block, before);
            check(&block, before, &twin);
            if let Some(unit) = hardware() {
                let actual = run(unit, &block, before);
                let has = |at: usize| {
                    (at / SIDE < TILE || a_second.is_some())
                        && (at % SIDE < TILE || b_second.is_some())
                };
                let equal = (0..SIDE * SIDE).all(|at| !has(at) || actual[at] == twin[at]);
                assert!(equal, "{a_second:?} {b_second:?} {start:?}");
            }
        }
    }
}

fn check(block: &Block<'_>, before: &BlockSums, actual: &BlockSums) {
    let wide = |bits: Bf16| f64::from(f32::from_bits(u32::from(bits) << 16));
    for (at, &actual) in actual.iter().enumerate() {
        let (m, n) = (at / SIDE, at % SIDE);
        let firsts =
            |tiles: &Tiles<'_>, at| if at < TILE { Some(tiles.first) } else { tiles.second };
        let (Some(a), Some(b)) = (firsts(&block.a, m), firsts(&block.b, n)) else {
            continue; // no second tile
        };
        let mut sum = match block.start {
            Start::Zero => 0.0,
            Start::Sum => f64::from(before[at]),
            Start::Row(row) => f64::from(row[n]),
        };
        let [outer, middle, inner] = block.loops;
        for (i, j, k) in (0..outer.count)
            .flat_map(|i| (0..middle.count).map(move |j| (i, j)))
            .flat_map(|(i, j)| (0..inner.count).map(move |k| (i, j, k)))
        {
            let a = a + i * outer.a + j * middle.a + k * inner.a + m % TILE * block.a.row;
            let b = b + i * outer.b + j * middle.b + k * inner.b + 2 * (n % TILE);
            for k in 0..DEPTH {
                let b = block.b.elements[b + k / 2 * block.b.row + k % 2];
                sum += wide(block.a.elements[a + k]) * wide(b);
            }
        }
        assert!((f64::from(actual) - sum).abs() < 1e-3, "{at}: {actual} for {sum}");
    }
}

/// Arbitrary bits: infinities, NaNs, denormal values, and products that are denormal.
#[test]
fn the_twin_is_bit_identical_to_the_hardware() {
    let Some(unit) = hardware() else { return };
    let value_of = |word: u32, kind: u32| match kind {
        0 => word as Bf16,                     // any bits
        1 => (word & 0x807F) as Bf16,          // denormal
        2 => (word & 0x81FF | 0x1F00) as Bf16, // with denormal products
        3 => (word & 0x80FF | 0x3F00) as Bf16, // of the order of one
        _ => (word & 0x8000 | 0x7F80) as Bf16, // infinite
    };
    for seed in 0..200 {
        let kinds = words(2, 1000 + seed);
        let some = |seed: u64, kind: u32| -> Vec<Bf16> {
            let words = words(4 * PACKED, seed).into_iter();
            // A few of any kind among many of one kind.
            words.map(|w| value_of(w, if w >> 28 == 0 { w >> 20 & 7 } else { kind % 4 })).collect()
        };
        let (a, b) = (some(2 * seed, kinds[0]), some(2 * seed + 1, kinds[1]));
        let tiles = |elements| Tiles { elements, first: 0, second: Some(PACKED), row: DEPTH };
        let once = Loop { count: 1, a: 0, b: 0 };
        let loops = [once, once, Loop { count: 2, a: 2 * PACKED, b: 2 * PACKED }];
        let block = Block { a: tiles(&a), b: tiles(&b), loops, start: Start::Sum };
        let before: Vec<f32> =
            words(SIDE * SIDE, 7 + seed).into_iter().map(f32::from_bits).collect();
        let before: &BlockSums = before.first_chunk().unwrap();
        let (twin, hardware) = (run(MatrixUnit::Twin, &block, before), run(unit, &block, before));
        for (at, (twin, hardware)) in twin.iter().zip(&hardware).enumerate() {
            let (t, h) = (twin.to_bits(), hardware.to_bits());
            assert!(
                t == h || twin.is_nan() && hardware.is_nan(),
                "seed {seed}, kinds {kinds:?}, {at}: {t:x} for {h:x}"
            );
        }
    }
}

#[test]
fn an_empty_product_is_its_start() {
    let a = Tiles { elements: &[], first: 0, second: None, row: 32 };
    let none = Loop { count: 0, a: 0, b: 0 };
    let row = values(SIDE, 3);
    let start = Start::Row(row.first_chunk().unwrap());
    let block = Block { a, b: a, loops: [none; 3], start };
    let sums = run(MatrixUnit::best(), &block, &[f32::NAN; SIDE * SIDE]);
    assert!(sums.chunks(SIDE).all(|sums| sums == row));
}

#[test]
#[should_panic(expected = "elements of A")]
fn a_block_reads_no_further_than_a() {
    let elements = [0; 2 * PACKED];
    let a = Tiles { elements: &elements, first: 0, second: Some(PACKED + 1), row: DEPTH };
    let b = Tiles { second: None, ..a };
    let block = Block { a, b, loops: [Loop::ONCE; 3], start: Start::Zero };
    run(MatrixUnit::Twin, &block, &[0.0; SIDE * SIDE]);
}

/// Every length of run, packed in every layout, with and without AVX-512.
#[test]
fn packing_is_the_same_with_and_without_avx512() {
    let mut matrix = values(40 * 40, 5);
    let odd = [f32::NAN, f32::INFINITY, -1e-39, 1e-45, f32::MAX, f32::MIN_POSITIVE];
    matrix[200..206].copy_from_slice(&odd);
    matrix.iter_mut().zip(words(900, 6)).for_each(|(x, word)| *x = f32::from_bits(word));
    let sources =
        [PackLayout::RowsOfA, PackLayout::ColumnsOfB, PackLayout::AcrossA, PackLayout::AcrossB];
    for source in sources {
        for len in 0..=32 {
            let matrix = &matrix;
            let runs = |tile: usize| {
                move |idx: usize| {
                    let max = if matches!(source, PackLayout::RowsOfA | PackLayout::ColumnsOfB) {
                        32
                    } else {
                        16
                    };
                    &matrix[40 * idx + tile..][..if idx == 3 { 1 } else { max.min(len) }]
                }
            };
            let mut fast = [0xFFFF; 2 * PACKED];
            pack::tiles(source, &mut fast, runs);
            let mut plain = [[0xFFFF; PACKED]; 2];
            pack::portable::tiles(source, &mut plain, runs);
            assert!(fast == *plain.as_flattened(), "{source:?}, runs of {len}");
        }
    }
    for len in 1..=40 {
        let (mut single, mut double) = ([7; 200], [7; 400]);
        let runs = Runs { count: 3, len, from: 41, to: 45 };
        pack::runs(&matrix, &mut single, runs);
        pack::pairs([&matrix, &matrix[500..]], &mut double, Runs { to: 90, ..runs });
        for at in 0..200 {
            let (run, i) = (at / 45, at % 45);
            let inside = run < 3 && i < len;
            let [a, b] = [0, 500].map(|first| pack::portable::round(matrix[first + run * 41 + i]));
            assert_eq!(single[at], if inside { a } else { 7 });
            let pair = [double[2 * at], double[2 * at + 1]];
            assert_eq!(pair, if inside { [a, b] } else { [7; 2] });
        }
    }
}

#[test]
fn rounding_is_to_the_nearest_even() {
    let round = |x: f32| pack::portable::round(x);
    assert_eq!(round(1.0), 0x3F80);
    assert_eq!(round(1.0 + 1.0 / 256.0), 0x3F80, "a tie goes to the even one");
    assert_eq!(round(1.0 + 3.0 / 256.0), 0x3F82, "a tie to the even one above");
    assert_eq!(round(f32::MAX), 0x7F80, "too large becomes infinite");
    assert_eq!(round(-1e-39), 0x8000, "denormal values are zero");
    assert!(round(f32::from_bits(0x7F80_0001)) & 0x40 != 0, "a NaN stays one");
}

#[test]
fn panels_contain_the_matrix() {
    let matrix = values(50 * 20, 8);
    for (source, n, depth, step) in
        [(PackLayout::RowsOfA, 13, 45, 50), (PackLayout::AcrossB, 13, 45, 20)]
    {
        let mut packed = [0; 2 * PACKED];
        pack::panel(source, &matrix, step, n, depth, &mut packed);
        for (at, &number) in packed.iter().enumerate() {
            let (tile, line, i) = (at / PACKED, at % PACKED / DEPTH, at % DEPTH);
            let (row, k) = match source {
                PackLayout::RowsOfA => (line, tile * DEPTH + i),
                _ => (i / 2, tile * DEPTH + 2 * line + i % 2),
            };
            let from = if source == PackLayout::RowsOfA { row * step + k } else { k * step + row };
            let inside = row < n && k < depth;
            assert_eq!(number, if inside { pack::portable::round(matrix[from]) } else { 0 });
        }
    }
}
