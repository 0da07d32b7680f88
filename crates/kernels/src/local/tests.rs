use super::{Geometry, backward_filter, backward_input, cpu, forward, reference};
use crate::conv::{self, Algorithm, Pad};
use crate::gemm::Isa;
use crate::operands::{BackwardInput, BackwardWeights, Forward};
use crate::windows::WindowGeometry;
use ndarray::{Array1, Array4, array};
use proptest::prelude::*;
use proptest::sample::select;
use tensor::{Device, Pool};
use testkit::{
    Expected, OpCase, Slots, bits_equal, cases, close, each_device, gradient, random_array, wide,
};

fn layer(windows: WindowGeometry) -> Geometry {
    Geometry { windows }
}

/// Random operands: x, w, b and dy.
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
        let [filters, kh, kw, c] = *g.filter_shape().dims() else { unreachable!("four extents") };
        Operands {
            g,
            x: random_array(1, (g.images, g.height, g.width, g.channels)),
            w: random_array(2, (filters, kh, kw, c)),
            b: random_array(3, filters),
            dy: random_array(4, (g.images, g.out_height(), g.out_width(), g.filters)),
        }
    }

    /// y, dx, dw and db with the tile of one instruction set. Scratch memory starts as NaN.
    fn run_with(&self, isa: Isa, threads: usize) -> [Vec<f32>; 4] {
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
        let (dw_out, db_out) = (&mut dw[..], &mut db[..]);
        let scratch = &mut scratch();
        let operands = BackwardWeights { x, dy, dw: dw_out, db: db_out, scratch };
        cpu::backward_filter(isa, &pool, g, operands);
        [y, dx, dw, db]
    }
}

impl OpCase<4> for Operands {
    fn run_on(&self, device: &mut Device) -> [Vec<f32>; 4] {
        let (g, mut slots) = (&self.g, Slots::new());
        let (x, w) = (slots.array(&self.x), slots.array(&self.w));
        let (b, dy) = (slots.array(&self.b), slots.array(&self.dy));
        let [y, dx] = [g.out_shape(), g.in_shape()].map(|shape| slots.room(shape));
        let [dw, db] = [g.filter_shape(), g.bias_shape()].map(|shape| slots.room(shape));
        let scratch = slots.room([g.scratch(device.target())]);
        slots.load(device);
        forward(device, g, Forward { x, w, b, y, scratch }).unwrap();
        backward_input(device, g, BackwardInput { dy, w, dx, scratch }).unwrap();
        backward_filter(device, g, BackwardWeights { x, dy, dw, db, scratch }).unwrap();
        [y, dx, dw, db].map(|slot| device.download(slot).unwrap())
    }

    fn expected(&self) -> [Expected; 4] {
        let (g, x, w) = (&self.g, wide(&self.x), wide(&self.w));
        let (b, dy) = (wide(&self.b), wide(&self.dy));
        let y = reference::forward(g, x.view(), w.view(), b.view());
        let dx = reference::backward_input(g, dy.view(), w.view());
        let (dw, db) = reference::backward_filter(g, x.view(), dy.view());
        let expected = |name, values| Expected::new(name, values, 2e-5);
        let db = Expected::new("db", &db, 2e-5);
        [expected("y", &y), expected("dx", &dx), expected("dw", &dw), db]
    }
}

prop_compose! {
    fn geometry()(
        (images, groups, stride, relu) in
            (select(vec![1usize, 2, 15, 31]), 1usize..=3, 1usize..=3, any::<bool>()),
        window in (1usize..=4, 1usize..=4),
        pad in (0usize..=4, 0usize..=4, 0usize..=4, 0usize..=4),
        (channels, filters) in (
            select(vec![1, 2, 3, 8, 17, 33]),
            select(vec![1, 2, 7, 16, 31, 33]),
        ),
        (height, width) in (1usize..=6, 1usize..=6),
    ) -> Geometry {
        let pad = Pad { top: pad.0, bottom: pad.1, left: pad.2, right: pad.3 };
        // Many images or large products, but not both at once: the reference is slow.
        let images = if channels * filters > 256 { images.min(2) } else { images };
        layer(WindowGeometry {
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
})
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(16, 64)))]

    #[test]
    fn equals_the_reference(g in geometry()) {
        Operands::random(g).check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn results_depend_on_neither_threads_nor_instructions(g in geometry(), threads in 1usize..=3) {
        let operands = Operands::random(g);
        let expected = operands.run_with(Isa::Portable, 1);
        for isa in Isa::available() {
            for (actual, expected) in operands.run_with(isa, threads).iter().zip(&expected) {
                bits_equal(actual, expected, &format!("{isa:?}"));
            }
        }
    }

    /// <y, dy> = <x, dx> = <w, dw>
    #[test]
    fn gradients_are_adjoint(g in geometry()) {
        let mut operands = Operands::random(layer(WindowGeometry { relu: false, ..*g }));
        operands.b.fill(0.0);
        let [y, dx, dw, _] = operands.run_with(Isa::best(), 2);
        let [x, w, dy] = [&operands.x, &operands.w, &operands.dy].map(|a| a.as_slice().unwrap());
        gradient::adjoint(x, &dx, &y, dy, 1e-5);
        gradient::adjoint(w, &dw, &y, dy, 1e-5);
    }
}

/// Two pixels, whose windows cover the pixel and its right neighbour, with different filters.
#[test]
fn every_pixel_has_its_own_filters() {
    let g = layer(WindowGeometry {
        images: 1,
        height: 1,
        width: 2,
        channels: 1,
        filters: 1,
        window: (1, 2),
        stride: 1,
        pad: Pad { right: 1, ..Pad::none() },
        groups: 1,
        relu: false,
        algorithm: Algorithm::Direct,
    });
    let operands = Operands {
        g,
        x: array![[[[1.0], [2.0]]]],
        w: array![[[[3.0], [4.0]]], [[[5.0], [6.0]]]],
        b: array![10.0, 20.0],
        dy: array![[[[1.0], [10.0]]]],
    };
    each_device(|device| {
        let [y, dx, dw, db] = operands.run_on(device);
        assert_eq!(y, [10.0 + 3.0 + 8.0, 20.0 + 10.0]);
        assert_eq!(dx, [3.0, 4.0 + 50.0]);
        assert_eq!(dw, [1.0, 2.0, 20.0, 0.0]); // the last is outside the image
        assert_eq!(db, [1.0, 10.0]);
    });
}

/// If all pixels have the same filters, the layer is a convolution.
#[test]
fn equal_filters_make_a_convolution() {
    let pad = Pad { top: 1, bottom: 2, left: 0, right: 1 };
    let g = layer(WindowGeometry {
        images: 3,
        height: 5,
        width: 4,
        channels: 4,
        filters: 6,
        window: (3, 2),
        stride: 2,
        pad,
        groups: 2,
        relu: true,
        algorithm: Algorithm::Direct,
    });
    let pixels = g.out_height() * g.out_width();
    let shared: Array4<f32> = random_array(5, (g.filters, 3, 2, 2));
    let bias: Array1<f32> = random_array(6, g.filters);
    let mut operands = Operands::random(g);
    operands.w = Array4::from_shape_fn((pixels * g.filters, 3, 2, 2), |(f, kh, kw, c)| {
        shared[[f % g.filters, kh, kw, c]]
    });
    operands.b = Array1::from_shape_fn(pixels * g.filters, |f| bias[f % g.filters]);

    let x = wide(&operands.x);
    let expected = conv::reference::forward(&g, x.view(), wide(&shared).view(), wide(&bias).view());
    let [y, ..] = operands.run_with(Isa::best(), 1);
    close(&y, &expected.into_raw_vec_and_offset().0, 1e-5);
}

#[test]
fn nan_propagates() {
    let g = layer(WindowGeometry {
        images: 2,
        height: 2,
        width: 2,
        channels: 1,
        filters: 3,
        window: (2, 2),
        stride: 1,
        pad: Pad::none(),
        groups: 1,
        relu: true,
        algorithm: Algorithm::Direct,
    });
    let mut operands = Operands::random(g);
    operands.x.fill(f32::NAN);
    each_device(|device| {
        let [y, _, dw, _] = operands.run_on(device);
        assert!(y.iter().chain(&dw).all(|value| value.is_nan()));
    });
}
