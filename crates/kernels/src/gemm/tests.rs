use super::*;

fn values(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 37 + seed * 11) % 101) as f32 / 50.0 - 1.0).collect()
}

/// An element of a tile in f64, over the three loops.
fn expected(tile: &Tile<'_>, width: usize, r: usize, n: usize, before: f32) -> f64 {
    let mut sum = match tile.start {
        Start::Zero => 0.0,
        Start::Sum => f64::from(before),
        Start::Bias(bias) => f64::from(bias[n]),
    };
    let (row, step) = match tile.layout {
        Layout::Rows(row) => (row, 1),
        Layout::Columns(step) => (1, step),
    };
    for i in 0..tile.outer.count {
        for j in 0..tile.middle.count {
            for k in 0..tile.inner {
                let a = tile.a[i * tile.outer.a + j * tile.middle.a + k * step + r * row];
                let b = tile.b[i * tile.outer.b + j * tile.middle.b + k * width + n];
                sum += f64::from(a) * f64::from(b);
            }
        }
    }
    if tile.relu { sum.max(0.0) } else { sum }
}

/// Every height and width of a tile, both layouts of A, every start; elements around the tile are
/// unchanged.
#[test]
fn every_tile_equals_plain_loops() {
    let (a, b, bias) = (values(600, 1), values(3000, 2), values(32, 3));
    for isa in Isa::available() {
        let shapes = (1..=isa.rows()).flat_map(|rows| (1..=isa.columns()).map(move |n| (rows, n)));
        for (rows, columns) in shapes {
            for (layout, inner) in [(Layout::Rows(20), 7), (Layout::Columns(16), 5)] {
                for start in [Start::Zero, Start::Sum, Start::Bias(&bias)] {
                    let tile = Tile {
                        rows,
                        columns,
                        a: &a,
                        layout,
                        b: &b,
                        outer: Loop { count: 2, a: 150, b: 20 * isa.columns() },
                        middle: Loop { count: 3, a: 9, b: 6 * isa.columns() },
                        inner,
                        c: 2,
                        c_row: 35,
                        start,
                        relu: rows % 2 == 0,
                        last: columns % 2 == 0,
                    };
                    let before = values(35 * rows + 2, 4);
                    let mut c = before.clone();
                    // SAFETY: `c` is local.
                    unsafe { isa.tile(&tile, &SharedFloats::new(&mut c)) };
                    for (i, (&c, &before)) in c.iter().zip(&before).enumerate() {
                        let (r, n) = (i.wrapping_sub(2) / 35, i.wrapping_sub(2) % 35);
                        if i < 2 || n >= columns {
                            assert_eq!(c, before, "{isa:?} {rows} x {columns}: wrote outside");
                            continue;
                        }
                        let expected = expected(&tile, isa.columns(), r, n, before);
                        let error = (f64::from(c) - expected).abs();
                        assert!(error < 1e-4, "{isa:?} {rows} x {columns}: {c} != {expected}");
                    }
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "floats of A")]
fn a_tile_reads_no_further_than_a() {
    let mut c = [0.0; 4];
    let tile = Tile {
        rows: 2,
        columns: 1,
        a: &[1.0; 5],
        layout: Layout::Rows(3),
        b: &[1.0; 96],
        outer: Loop::ONCE,
        middle: Loop::ONCE,
        inner: 3,
        c: 0,
        c_row: 1,
        start: Start::Zero,
        relu: false,
        last: true,
    };
    // SAFETY: `c` is local.
    unsafe { Isa::best().tile(&tile, &SharedFloats::new(&mut c)) };
}

#[test]
fn splits_are_even() {
    let split = Isa::available()[0].split(55);
    let parts: Vec<_> = split.iter().collect();
    assert_eq!(parts.iter().map(|part| part.1).sum::<usize>(), 55);
    assert!(parts.windows(2).all(|pair| pair[0].0 + pair[0].1 == pair[1].0));
    let heights = || parts.iter().map(|part| part.1);
    assert!(heights().max().unwrap() - heights().min().unwrap() <= 1);
}

#[test]
fn transposing_twice_is_the_identity() {
    let b = values(5 * 40, 1);
    let mut panel = vec![f32::NAN; 40 * 16];
    transpose_panel(&b, 40, 5, 16, &mut panel);
    assert_eq!(panel[3 * 16..3 * 16 + 6], [b[3], b[43], b[83], b[123], b[163], 0.0]);
    let mut back = vec![f32::NAN; 5 * 40];
    untranspose_panel(&panel, 16, 5, &mut back);
    assert_eq!(back, b);
    let mut rows = vec![f32::NAN; 5 * 48];
    copy_rows(&b, 40, 40, 48, &mut rows);
    assert_eq!((&rows[48..88], rows[47], rows[95]), (&b[40..80], 0.0, 0.0));
}

/// An intrinsic in a function compiled without its instruction set becomes a function call:
/// correct, but many times slower. Its mangled name is then in the program. Integers of other sizes
/// are excluded, as the standard library searches text with them.
#[test]
#[cfg(target_arch = "x86_64")]
fn no_instruction_on_floats_is_a_call() {
    const OF_PULP: &str = "_mm256_blendv_ps"; // a call in test builds, not in releases
    let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let module = ["core_arch", "3x86"].concat();
    let names = program.windows(60).filter(|text| text.starts_with(module.as_bytes()));
    let calls: Vec<_> = names
        .map(|text| String::from_utf8_lossy(text.split(|byte| *byte == 0).next().unwrap()))
        .filter(|name| name.contains("_mm256_") || name.contains("_mm512_"))
        .filter(|name| name.contains("_ps") || name.contains("_epi32"))
        .filter(|name| !name.contains(OF_PULP))
        .collect();
    assert!(calls.is_empty(), "{calls:?}");
}

/// The tiles of AlexNet's products in bf16, and slices that no precision changes.
#[test]
fn tiles_follow_from_the_sizes() {
    let tile = |kernel: &str, sizes, count| {
        let tiles = super::gpu_tiles(kernel, sizes, count).expect("there is such a kernel");
        let default = super::cuda::Tiling::of(sizes, count);
        assert_eq!(tiles.slices, default.slices, "{kernel} {sizes:?}");
        (tiles.kernel, tiles.tile)
    };
    for images in [128, 1024] {
        let pixels = [3025, 729, 169].map(|pixels| images * pixels);
        let conv1 = tile("conv_forward", [pixels[0], 96, 363], 1);
        assert_eq!(conv1, ("conv_forward_128x96_bf16", [128, 96]));
        let conv1 = tile("conv_backward_filter", [96, 363, pixels[0]], 1);
        assert_eq!(conv1, ("conv_backward_filter_96x128_bf16", [96, 128]));
        let conv2 = tile("conv_forward", [pixels[1], 128, 1200], 2);
        assert_eq!(conv2, ("conv_forward_bf16", [128, 128]));
        let conv2 = tile("conv_backward_input", [pixels[1], 48, 3200], 2);
        assert_eq!(conv2, ("conv_backward_input_256x64_bf16", [256, 64]));
        let conv4 = tile("conv_backward_filter", [192, 1728, pixels[2]], 2);
        assert_eq!(conv4, ("conv_backward_filter_96x128_bf16", [96, 128]));
    }
    let small = tile("linear_forward", [32, 1000, 4096], 1);
    assert_eq!(small, ("linear_forward_small_bf16", [64, 64]));
    assert_eq!(super::gpu_tiles("pool_forward", [1, 1, 1], 1), None);
}
