use super::cpu::PackedOperands;
use super::{Algorithm, Geometry, Pad, bf16, cpu, reference};
use crate::gemm::Isa;
use crate::gemm::amx::MatrixUnit;
use crate::gemm::amx::pack::{self, Runs};
use crate::operands::{BackwardInput, BackwardWeights, Forward};
use crate::value::Value;
use ndarray::{Array1, Array4, array};
use proptest::prelude::*;
use proptest::sample::select;
use tensor::{Bf16, Device, Pool, Shape, Target};
use testkit::{
    Expected, OpCase, Slots, bits_equal, cases, close, compare, gradient, is_long, random_array,
    same_bits_for_threads, wide,
};

/// Results in bf16 by AMX's twin, to compare vector widths.
pub(crate) fn by_the_twin(g: &Geometry) -> [(&'static str, Vec<f32>); 5] {
    let numbers = |seed, len: usize| Array1::from(crate::tests::numbers(seed, len));
    let shaped = |seed, shape: Shape| {
        let [a, b, c, d] = shape.dims().try_into().unwrap();
        numbers(seed, shape.len()).into_shape_with_order((a, b, c, d)).unwrap()
    };
    let (x, w) = (shaped(1, g.in_shape()), shaped(2, g.filter_shape()));
    let (b, dy) = (numbers(3, g.filters), shaped(4, g.out_shape()));
    let [y, packed_y, dx, dw, db] =
        Operands { g: *g, x, w, b, dy }.run_in_bf16(MatrixUnit::Twin, 2);
    [("y", y), ("packed y", packed_y), ("dx", dx), ("dw", dw), ("db", db)]
}

/// Random operands of a convolution.
#[derive(Clone)]
struct Operands {
    g: Geometry,
    x: Array4<f32>,
    w: Array4<f32>,
    b: Array1<f32>,
    dy: Array4<f32>,
}

impl Operands {
    fn random(g: Geometry) -> Operands {
        let w = (g.filters, g.window.0, g.window.1, g.channels / g.groups);
        Operands {
            g,
            x: random_array(1, (g.images, g.height, g.width, g.channels)),
            w: random_array(2, w),
            b: random_array(3, g.filters),
            dy: random_array(4, (g.images, g.out_height(), g.out_width(), g.filters)),
        }
    }

    /// y, dx, dw and db of the fast code. Scratch memory and results start as NaN.
    fn run(&self, isa: Isa, threads: usize) -> [Vec<f32>; 4] {
        let (g, pool) = (&self.g, Pool::new(threads));
        let scratch = || vec![f32::NAN; cpu::scratch(isa, g, threads)];
        let room = |like: usize| vec![f32::NAN; like];
        let (x, w) = (self.x.as_slice().unwrap(), self.w.as_slice().unwrap());
        let (b, dy) = (self.b.as_slice().unwrap(), self.dy.as_slice().unwrap());
        let (mut y, mut dx) = (room(dy.len()), room(x.len()));
        let (mut dw, mut db) = (room(w.len()), room(b.len()));
        let operands = Forward { x, w, b, y: &mut y[..], scratch: &mut scratch() };
        cpu::forward(isa, &pool, g, operands);
        let operands = BackwardInput { dy, w, dx: &mut dx[..], scratch: &mut scratch() };
        cpu::backward_input(isa, &pool, g, operands);
        cpu::backward_filter(
            isa,
            &pool,
            g,
            BackwardWeights { x, dy, dw: &mut dw[..], db: &mut db[..], scratch: &mut scratch() },
        );
        [y, dx, dw, db]
    }

    /// The same in bf16, and y with stored filters.
    fn run_in_bf16(&self, unit: MatrixUnit, threads: usize) -> [Vec<f32>; 5] {
        let (g, pool) = (&self.g, Pool::new(threads));
        let scratch = || vec![f32::NAN; bf16::scratch(g, threads)];
        let room = |like: usize| vec![f32::NAN; like];
        let (x, w) = (self.x.as_slice().unwrap(), self.w.as_slice().unwrap());
        let (b, dy) = (self.b.as_slice().unwrap(), self.dy.as_slice().unwrap());
        let (mut y, mut again) = (room(dy.len()), room(dy.len()));
        let operands = Forward { x, w, b, y: &mut y[..], scratch: &mut scratch() };
        bf16::forward(unit, &pool, g, operands);
        let mut stored = vec![u16::MAX; bf16::stored_len(g)];
        bf16::store_weights(&pool, g, w, &mut stored);
        let scratch = &mut scratch();
        let (filters, bias, work) = (&stored[..], Some(b), &mut scratch[..]);
        let operands = PackedOperands { source: x, filters, bias, target: &mut again[..], work };
        bf16::forward_stored(unit, &pool, g, operands);
        // The same on values in bf16.
        let halves = |values: &[f32]| values.iter().map(|&x| Bf16::rounded(x)).collect::<Vec<_>>();
        let (source, mut target) = (halves(x), vec![Bf16::MAX; dy.len()]);
        scratch.fill(f32::NAN);
        let (source, bias, work) = (&source[..], Some(b), &mut scratch[..]);
        let operands = PackedOperands { source, filters, bias, target: &mut target[..], work };
        bf16::forward_stored(unit, &pool, g, operands);
        assert!(target == halves(&again), "values in bf16");
        scratch.fill(f32::NAN);
        let (mut dx, mut dw, mut db) = (room(x.len()), room(w.len()), room(b.len()));
        let operands = BackwardInput { dy, w, dx: &mut dx[..], scratch };
        bf16::backward_input(unit, &pool, g, operands);
        scratch.fill(f32::NAN);
        let (dw_out, db_out) = (&mut dw[..], &mut db[..]);
        let operands = BackwardWeights { x, dy, dw: dw_out, db: db_out, scratch };
        bf16::backward_filter(unit, &pool, g, operands);
        [y, again, dx, dw, db]
    }

    /// y with filters that were packed before.
    fn run_packed(&self, isa: Isa, threads: usize) -> Vec<f32> {
        let (g, pool) = (&self.g, Pool::new(threads));
        let scratch = || vec![f32::NAN; cpu::scratch(isa, g, threads)];
        let (x, w) = (self.x.as_slice().unwrap(), self.w.as_slice().unwrap());
        let mut packed = vec![f32::NAN; cpu::packed_len(isa, g)];
        cpu::pack_weights(isa, &pool, g, w, &mut packed, &mut scratch());
        let mut y = vec![f32::NAN; self.dy.len()];
        let (b, scratch) = (self.b.as_slice().unwrap(), &mut scratch());
        let operands = Forward { x, w: &packed[..], b, y: &mut y[..], scratch };
        cpu::forward_packed(isa, &pool, g, operands);
        y
    }

    /// The reference's results, with this tolerance.
    fn references(&self, tolerance: f64) -> [Expected; 4] {
        let (g, x, w) = (&self.g, wide(&self.x), wide(&self.w));
        let (b, dy) = (wide(&self.b), wide(&self.dy));
        let y = reference::forward(g, x.view(), w.view(), b.view());
        let dx = reference::backward_input(g, dy.view(), w.view());
        let (dw, db) = reference::backward_filter(g, x.view(), dy.view());
        let expected = |name, values| Expected::new(name, values, tolerance);
        let db = Expected::new("db", &db, tolerance);
        [expected("y", &y), expected("dx", &dx), expected("dw", &dw), db]
    }

    fn check_with(&self, isa: Isa, threads: usize) {
        self.check_against(&self.expected(), isa, threads);
    }

    fn check_against(&self, expected: &[Expected; 4], isa: Isa, threads: usize) {
        compare(&self.run(isa, threads), expected);
        compare(&[self.run_packed(isa, threads)], &[expected[0].clone()]);
    }
}

impl OpCase<4> for Operands {
    fn run_on(&self, device: &mut Device) -> [Vec<f32>; 4] {
        let g = &self.g;
        let mut slots = Slots::new();
        let [x, w, dy] = [&self.x, &self.w, &self.dy].map(|a| slots.array(a));
        let b = slots.array(&self.b);
        let (y, dx) = (slots.room(g.out_shape()), slots.room(g.in_shape()));
        let (dw, db) = (slots.room(g.filter_shape()), slots.room([g.filters]));
        let scratch = slots.room([g.scratch(device.target())]);
        slots.load(device);
        super::forward(device, g, Forward { x, w, b, y, scratch }).unwrap();
        super::backward_input(device, g, BackwardInput { dy, w, dx, scratch }).unwrap();
        super::backward_filter(device, g, BackwardWeights { x, dy, dw, db, scratch }).unwrap();
        [y, dx, dw, db].map(|slot| device.download(slot).unwrap())
    }

    fn expected(&self) -> [Expected; 4] {
        // Random terms: errors grow as the square root of their number, as the sums do.
        self.references(if self.g.algorithm == Algorithm::Direct { 2e-5 } else { 2e-4 })
    }
}

prop_compose! {
    fn geometry()(
        (images, groups, stride, relu) in (1usize..=3, 1usize..=3, 1usize..=4, any::<bool>()),
        window in (1usize..=5, 1usize..=5),
        pad in (0usize..=5, 0usize..=5, 0usize..=5, 0usize..=5),
        (channels, filters) in (
            select(vec![1, 2, 3, 5, 8, 13, 16, 17, 33]),
            select(vec![1, 2, 3, 7, 15, 16, 17, 31, 33, 48, 65]),
        ),
        (height, out_width) in (1usize..=12, 1usize..=40),
        spare in 0usize..4,
        algorithm in select(vec![Algorithm::Fastest, Algorithm::Direct, Algorithm::Winograd]),
        square in select(vec![None, Some((3, 1)), Some((5, 1)), Some((5, 2)), Some((11, 4))]),
    ) -> Geometry {
        // Most of them suit Winograd's algorithm.
        let (window, stride) = square.map_or((window, stride), |(side, step)| ((side, side), step));
        let pad = Pad { top: pad.0, bottom: pad.1, left: pad.2, right: pad.3 };
        // As wide as the output requires, and up to three columns that no window covers.
        let seen = (out_width - 1) * stride + window.1 + spare.min(stride - 1);
        Geometry {
            images,
            height: height.max((window.0).saturating_sub(pad.top + pad.bottom)),
            width: seen.saturating_sub(pad.left + pad.right).max(1),
            channels: channels * groups,
            filters: filters * groups,
            window,
            stride,
            pad,
            groups,
            relu,
            algorithm,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(16, 48)))]

    #[test]
    fn equals_the_reference(g in geometry(), threads in 1usize..=3) {
        let operands = Operands::random(g);
        let expected = operands.expected();
        for isa in Isa::available() {
            operands.check_against(&expected, isa, threads);
        }
    }

    #[test]
    fn every_instruction_set_is_bit_identical(g in geometry()) {
        let operands = Operands::random(g);
        let expected = operands.run(Isa::Portable, 1);
        let expected_packed = operands.run_packed(Isa::Portable, 1);
        for isa in Isa::available() {
            for (actual, expected) in operands.run(isa, 2).iter().zip(&expected) {
                bits_equal(actual, expected, &format!("{isa:?}"));
            }
            let packed = operands.run_packed(isa, 2);
            bits_equal(&packed, &expected_packed, &format!("{isa:?}"));
            if g.algorithm != Algorithm::Fastest {
                bits_equal(&packed, &expected[0], "the requested algorithm");
            }
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// <y, dy> = <x, dx> = <w, dw>
    #[test]
    fn gradients_are_adjoint(g in geometry()) {
        let mut operands = Operands::random(Geometry { relu: false, ..g });
        operands.b.fill(0.0);
        let [y, dx, dw, _] = operands.run(Isa::best(), 2);
        let [x, w, dy] = [&operands.x, &operands.w, &operands.dy].map(|a| a.as_slice().unwrap());
        gradient::adjoint(x, &dx, &y, dy, 1e-5);
        gradient::adjoint(w, &dw, &y, dy, 1e-5);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// In bf16: AMX, if available, and its twin; any number of threads; filters stored or not.
    #[test]
    fn bf16_is_bit_identical_for_threads_and_hardware(g in geometry(), images in 1usize..4) {
        let operands = Operands::random(Geometry { images, ..g });
        let expected = operands.run_in_bf16(MatrixUnit::best(), 1);
        bits_equal(&expected[0], &expected[1], "stored filters");
        for (unit, threads) in [(MatrixUnit::best(), 3), (MatrixUnit::Twin, 2)] {
            for (actual, expected) in operands.run_in_bf16(unit, threads).iter().zip(&expected) {
                bits_equal(actual, expected, &format!("{unit:?}, {threads} threads"));
            }
        }
    }
}

/// x rounded to bf16.
fn rounded(x: f32) -> f32 {
    let mut number = [0];
    pack::runs(&[x], &mut number, Runs { count: 1, len: 1, from: 1, to: 1 });
    f32::from_bits(u32::from(number[0]) << 16)
}

/// In bf16, with operands rounded before: against the reference, and bit-identical to the twin.
/// Images in several bands; several pairs of images at once, and a last single one; sums too large
/// for pieces. The long run adds more filters and images.
#[test]
fn bf16_equals_the_reference() {
    let [conv1, source, conv2, _] = layers();
    let bands = Geometry { filters: 24, images: 3, ..source };
    let visits = Geometry {
        images: 71,
        height: 9,
        width: 7,
        channels: 3,
        filters: 40,
        relu: false,
        ..conv2
    };
    let visits = Geometry { groups: 1, ..visits };
    let blocks = Geometry { height: 9, width: 9, images: 3, ..conv2 };
    let conv1 = Geometry { filters: 20, ..conv1 };
    let sample = [Geometry { filters: 8, images: 1, ..bands }, Geometry { images: 1, ..blocks }];
    let sample = [&[conv1, visits][..], &sample].concat();
    for g in if is_long() { vec![conv1, bands, visits, blocks] } else { sample } {
        let mut operands = Operands::random(g);
        operands.x.mapv_inplace(rounded);
        operands.w.mapv_inplace(rounded);
        operands.dy.mapv_inplace(rounded);
        let actual = operands.run_in_bf16(MatrixUnit::best(), 2);
        let [y, dx, dw, db] = operands.references(2e-5);
        compare(&actual, &[y.clone(), y, dx, dw, db]);
        // The twin is slow.
        let other = if g == visits { MatrixUnit::Twin } else { MatrixUnit::best() };
        for (actual, again) in actual.iter().zip(&operands.run_in_bf16(other, 3)) {
            bits_equal(actual, again, &format!("{other:?}, three threads"));
        }
    }
}

fn small(g: Geometry) -> Geometry {
    Geometry { images: 2, ..g }
}

/// conv1 to conv3 of the paper, and conv1 of the 2012 source, whose windows extend over the right
/// and bottom edges.
fn layers() -> [Geometry; 4] {
    let conv1 = Geometry {
        images: 1,
        height: 227,
        width: 227,
        channels: 3,
        filters: 96,
        window: (11, 11),
        stride: 4,
        pad: Pad::none(),
        groups: 1,
        relu: true,
        algorithm: Algorithm::Fastest,
    };
    let overhang = Pad { bottom: 3, right: 3, ..Pad::none() };
    let source = Geometry { height: 224, width: 224, pad: overhang, ..conv1 };
    let conv2 = Geometry {
        height: 27,
        width: 27,
        channels: 96,
        filters: 256,
        window: (5, 5),
        stride: 1,
        pad: Pad::same(2),
        groups: 2,
        ..conv1
    };
    let conv3 = Geometry {
        height: 13,
        width: 13,
        channels: 256,
        filters: 384,
        window: (3, 3),
        pad: Pad::same(1),
        groups: 1,
        ..conv2
    };
    [conv1, source, conv2, conv3]
}

#[test]
fn alexnets_layers_equal_the_reference() {
    let outputs = layers().map(|g| (g.out_height(), g.out_width()));
    assert_eq!(outputs, [(55, 55), (55, 55), (27, 27), (13, 13)]);
    for g in layers() {
        // Maps of full size, but fewer channels and filters, since the reference is slow.
        let channels = if g.channels == 3 { 3 } else { g.channels / 4 };
        let g = Geometry { channels, filters: g.filters / 4, ..g };
        Operands::random(g).check_with(Isa::best(), 2);
    }
}

/// The root mean square and the maximum of the errors, relative to the root mean square of the
/// expected values.
fn errors(actual: &[f32], expected: &[f64]) -> [f64; 2] {
    let typical = expected.iter().map(|e| e * e).sum::<f64>().sqrt();
    let off = || actual.iter().zip(expected).map(|(&a, e)| (f64::from(a) - e).abs());
    let largest = off().fold(0.0, f64::max) * (expected.len() as f64).sqrt() / typical;
    [off().map(|off| off * off).sum::<f64>().sqrt() / typical, largest]
}

/// The root mean square and the maximum of Winograd's errors in y, dx and dw, and the direct
/// algorithm's.
fn errors_of_both(operands: &Operands) -> [[[f64; 2]; 2]; 3] {
    let expected = operands.expected();
    let form = |algorithm| {
        let g = Geometry { algorithm, ..operands.g };
        Operands { g, ..operands.clone() }.run(Isa::best(), 2)
    };
    let both = [Algorithm::Winograd, Algorithm::Direct].map(form);
    // The gradients of biases are sums over dy with either algorithm.
    assert!(errors(&both[0][3], expected[3].values())[1] < 1e-6);
    [0, 1, 2].map(|idx| [0, 1].map(|form| errors(&both[form][idx], expected[idx].values())))
}

/// Checks the bounds in the documentation of [`Algorithm::Winograd`].
fn check_errors(what: &str, operands: &Operands) {
    for (name, [few, all]) in ["y", "dx", "dw"].into_iter().zip(errors_of_both(operands)) {
        println!(
            "{what}, {name}: {:.1e} rms, {:.1e} at most; direct {:.1e} and {:.1e}",
            few[0], few[1], all[0], all[1]
        );
        assert!(few[0] < 6e-6 && few[1] < 1.2e-4, "{what}, {name}: {few:?}");
        assert!(few[0] < 9.0 * all[0], "{what}, {name}: {few:?} against {all:?}");
    }
}

/// conv1 to conv3 of the paper with a quarter of the filters, since the reference is slow. The
/// values in the documentation of [`Algorithm::Winograd`] come from this test.
#[test]
fn winograds_errors_are_small() {
    let [conv1, _, conv2, conv3] = layers();
    for g in [conv1, conv2, conv3] {
        let g = Geometry { images: 1, filters: g.filters / 4, relu: false, ..g };
        let window = g.window.0;
        let mut operands = Operands::random(g);
        operands.b.fill(0.0);
        check_errors(&format!("window of {window}, zero mean"), &operands);
        // Rectified activations and sparse gradients, as in training.
        operands.x.mapv_inplace(|x| x.max(0.0));
        operands.w.mapv_inplace(|w| 0.01 * w);
        operands.dy.mapv_inplace(|dy| if dy > 0.3 { dy - 0.6 } else { 0.0 });
        check_errors(&format!("window of {window}, as in training"), &operands);
    }
}

/// The bound holds wherever the algorithm is chosen by default: few and many images, of shapes that
/// the tiles divide with and without waste.
#[test]
fn winograds_errors_are_small_where_it_is_chosen() {
    let [_, _, conv2, conv3] = layers();
    let conv2 = Geometry { relu: false, filters: 64, ..conv2 };
    let long = Geometry { images: 16, height: 28, width: 6, filters: 128, ..conv2 };
    let wide = Geometry { channels: 64, filters: 64, relu: false, ..conv3 };
    let cases = [
        long,
        Geometry { images: 4, ..conv2 },
        Geometry { images: 8, height: 8, width: 8, ..conv2 },
        Geometry { images: 4, ..wide },
        Geometry { images: 2, height: 32, width: 32, ..wide },
    ];
    for g in cases {
        assert_eq!(g.resolved().algorithm, Algorithm::Winograd, "{g:?}");
        let what = format!("{} x {} x {}, window of {}", g.images, g.height, g.width, g.window.0);
        let mut operands = Operands::random(g);
        operands.b.fill(0.0);
        check_errors(&what, &operands);
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    let forms = [Algorithm::Direct, Algorithm::Winograd];
    for (g, algorithm) in layers().into_iter().flat_map(|g| forms.map(|form| (g, form))) {
        // One layer has all of its filters, so that every thread has several panels.
        let has_all = is_long() || g == layers()[2];
        let filters = if has_all { g.filters } else { g.filters / 4 };
        let operands = Operands::random(Geometry { algorithm, filters, ..small(g) });
        same_bits_for_threads(|threads| operands.run(Isa::best(), threads).concat());
        same_bits_for_threads(|threads| operands.run_packed(Isa::best(), threads));
    }
    // Several blocks, and chunks of several images.
    let many = Geometry {
        images: 70,
        height: 9,
        width: 7,
        channels: 96,
        filters: 40,
        window: (3, 2),
        pad: Pad::same(1),
        ..layers()[3]
    };
    let operands = Operands::random(many);
    same_bits_for_threads(|threads| operands.run(Isa::best(), threads).concat());
    operands.check_with(Isa::best(), 3);
}

/// More images than are transformed at once, compared with the direct algorithm.
#[test]
fn winograd_handles_several_blocks_of_images() {
    let g = Geometry { images: 24, filters: 64, algorithm: Algorithm::Winograd, ..layers()[3] };
    let operands = Operands::random(g);
    let few = operands.run(Isa::best(), 2);
    let g = Geometry { algorithm: Algorithm::Direct, ..g };
    let all = Operands { g, ..operands }.run(Isa::best(), 2);
    few.iter().zip(&all).for_each(|(few, all)| close(few, all, 2e-4));
}

/// By hand: a window of 2 x 2 over 3 x 3 pixels, without padding and with padding to the left.
#[test]
fn known_answers() {
    let g = Geometry {
        images: 1,
        height: 3,
        width: 3,
        channels: 1,
        filters: 1,
        window: (2, 2),
        stride: 1,
        pad: Pad::none(),
        groups: 1,
        relu: false,
        algorithm: Algorithm::Fastest,
    };
    let mut operands = Operands::random(g);
    operands.x.iter_mut().zip(1u8..).for_each(|(x, i)| *x = f32::from(i));
    operands.w.iter_mut().zip([1.0, 10.0, 100.0, -1.0]).for_each(|(w, value)| *w = value);
    operands.b.fill(0.5);
    operands.dy = array![1.0, 2.0, 0.0, 1.0].into_shape_with_order((1, 2, 2, 1)).unwrap();
    for isa in Isa::available() {
        let [y, dx, dw, db] = operands.run(isa, 1);
        // 1 + 20 + 400 - 5, 2 + 30 + 500 - 6, 4 + 50 + 700 - 8, 5 + 60 + 800 - 9; and the bias.
        assert_eq!(y, [416.5, 526.5, 746.5, 856.5]);
        assert_eq!(dx, [1.0, 12.0, 20.0, 100.0, 200.0, 8.0, 0.0, 100.0, -1.0]);
        assert_eq!(dw, [1.0 + 4.0 + 5.0, 2.0 + 6.0 + 6.0, 4.0 + 10.0 + 8.0, 5.0 + 12.0 + 9.0]);
        assert_eq!(db, [4.0]);
    }
    let pad = Pad { left: 1, ..Pad::none() };
    let g = Geometry { pad, stride: 2, relu: true, ..g };
    let mut padded = Operands::random(g);
    padded.x.assign(&operands.x);
    padded.w.iter_mut().zip([1.0, 10.0, 100.0, -1.0]).for_each(|(w, value)| *w = value);
    padded.b.fill(-20.0);
    // 10 - 4 - 20 < 0; 2 + 30 + 500 - 6 - 20.
    assert_eq!(padded.run(Isa::best(), 1)[0], [0.0, 506.0]);
}

#[test]
fn runs_on_a_device() {
    let g = small(Geometry { height: 5, width: 6, channels: 4, filters: 6, ..layers()[2] });
    assert_eq!(g.packed_len(Target::Cuda), 0, "a GPU reads the filters unpacked");
    assert!(g.packed_len(Target::Cpu { threads: 1 }) > 0);
    let operands = Operands::random(g);
    let expected = operands.references(2e-5);
    testkit::each_device(|device: &mut Device| {
        compare(&operands.run_on(device), &expected);
        let mut slots = Slots::new();
        let [x, w] = [&operands.x, &operands.w].map(|a| slots.array(a));
        let (b, y) = (slots.array(&operands.b), slots.room(g.out_shape()));
        let packed = slots.room([g.packed_len(device.target())]);
        let scratch = slots.room([g.scratch(device.target())]);
        slots.load(device);
        super::pack_weights(device, &g, w, packed, scratch).unwrap();
        let operands = Forward { x, w, b, y, scratch };
        super::forward_packed(device, &g, operands, packed).unwrap();
        compare(&[device.download(y).unwrap()], &[expected[0].clone()]);
    });
}

prop_compose! {
    /// Small, since the stand-in for a GPU is slow; with tiles of both sizes, and numbers of
    /// channels and filters that are multiples of four or not, or of sixteen, which come in blocks.
    fn gpu_geometry()(
        (images, groups, stride, relu) in (1usize..=2, 1usize..=3, 1usize..=4, any::<bool>()),
        window in (1usize..=5, 1usize..=5),
        pad in (0usize..=3, 0usize..=3, 0usize..=3, 0usize..=3),
        channels in select(vec![1, 2, 3, 4, 8, 12, 16, 48]),
        filters in select(vec![1, 2, 3, 4, 8, 20, 16, 32]),
        (height, width) in (1usize..=8, 1usize..=11),
        wide in select(vec![false, false, false, true]),
    ) -> Geometry {
        let pad = Pad { top: pad.0, bottom: pad.1, left: pad.2, right: pad.3 };
        let (filters, groups) = if wide { (68 + filters, 1) } else { (filters, groups) };
        Geometry {
            images,
            height: height.max(window.0.saturating_sub(pad.top + pad.bottom)),
            width: width.max(window.1.saturating_sub(pad.left + pad.right)),
            channels: channels * groups,
            filters: filters * groups,
            window,
            stride,
            pad,
            groups,
            relu,
            algorithm: Algorithm::Direct,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(16, 64)))]

    #[test]
    fn gpus_equal_the_reference(g in gpu_geometry()) {
        Operands::random(g).check_on_gpus();
    }
}

prop_compose! {
    /// Few channels and a stride of four or eight: folded in tf32 and bf16.
    fn folded_geometry()(
        (images, channels, filters) in (1usize..=3, 1usize..=3, select(vec![1, 8, 70])),
        stride in select(vec![4, 4, 8]),
        window in (1usize..=11, 1usize..=11),
        pad in (0usize..=5, 0usize..=5, 0usize..=5, 0usize..=5),
        (height, width, relu) in (1usize..=23, 1usize..=23, any::<bool>()),
    ) -> Geometry {
        let pad = Pad { top: pad.0, bottom: pad.1, left: pad.2, right: pad.3 };
        Geometry {
            images,
            height: height.max(window.0.saturating_sub(pad.top + pad.bottom)),
            width: width.max(window.1.saturating_sub(pad.left + pad.right)),
            channels,
            filters,
            window,
            stride,
            pad,
            groups: 1,
            relu,
            algorithm: Algorithm::Direct,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(16, 64)))]

    #[test]
    fn gpus_fold_few_channels(g in folded_geometry()) {
        assert!(super::cuda::folded(&g).is_some());
        Operands::random(g).check_on_gpus();
    }
}

/// k in slices, in each of the three passes; bit-identical for any order of blocks.
#[test]
fn gpus_add_slices() {
    let many_taps = Geometry { height: 4, width: 4, channels: 70, filters: 66, ..layers()[3] };
    let blocks_of_channels = Geometry { channels: 80, filters: 80, ..many_taps };
    let many_pixels = Geometry { height: 24, width: 24, channels: 4, filters: 4, ..layers()[2] };
    let folded = Geometry { height: 67, width: 67, filters: 20, images: 2, ..layers()[0] };
    for g in [many_taps, blocks_of_channels, many_pixels, folded] {
        let g = Geometry { algorithm: Algorithm::Direct, ..g };
        assert!(g.scratch(Target::Cuda) > 0);
        Operands::random(g).check_orders_on_gpus();
    }
}

#[test]
#[should_panic(expected = "a window of (5, 5) does not fit")]
fn a_window_too_large_is_rejected() {
    Geometry { height: 2, width: 2, pad: Pad::none(), ..layers()[2] }.scratch(Target::Cuda);
}

#[test]
fn nan_passes_through_the_relu() {
    for algorithm in [Algorithm::Direct, Algorithm::Winograd] {
        let g = Geometry { height: 3, width: 3, algorithm, ..layers()[3] };
        let mut operands = Operands::random(g);
        operands.x[[0, 1, 1, 0]] = f32::NAN;
        for isa in Isa::available() {
            assert!(operands.run(isa, 1)[0].iter().all(|y| y.is_nan()), "{algorithm:?}, {isa:?}");
        }
    }
}
