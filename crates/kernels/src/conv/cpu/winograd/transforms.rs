//! The transforms of one axis: seven inputs to seven values at seven points, and so on.
//!
//! A filter of r taps and m outputs take m r products; Toom and Cook need m + r - 1. The filter is
//! a polynomial of r coefficients; [`Spread`] gives its values at m + r - 1 points. The inputs are
//! transformed by a matching [`Input`], both are multiplied point by point, and [`Gather`] computes
//! m outputs from the products. (Lavin and Gray's matrices G, B^T and A^T.)
//!
//! ```text
//! Spread: ĝ(p) = sum over k of p^k g[k]
//! Input:  x̂(p) = sum over k of l(p)[k] x[k],   l(p)(t) = product over other points q of
//!                                                        (t - q) / (p - q)
//! Gather: y[k] = sum over p of p^k x̂(p) ĝ(p)
//! ```
//!
//! At infinity the value of a polynomial is its highest coefficient. The order of points is
//! ±a, ±b, ±c, 0, infinity: six, seven or eight of them. Points of opposite sign share the products
//! with even and with odd powers, which halves the work. Values at a point are the same for any
//! number of points, as the denominators are in `Input` only: so outputs of different lengths share
//! transformed filters.
//!
//! The loops run over channels. Their products and sums have a fixed order and are not fused, so
//! results are bit-identical on every processor.
//!
//! Lower bound: one vector is loaded per input and one stored per value.

use pulp::Simd;

/// The most points of an axis.
pub(super) const MAX_POINTS: usize = 8;

/// The coefficients for three pairs of points.
#[derive(Debug)]
pub(super) struct Points {
    /// For each pair p: p, p^2, p^3, p^4.
    powers: [[f32; 4]; 3],
    /// For each pair, with six points: coefficients of the inputs 0, 2, 4 and 1, 3, 5 for the
    /// values at both points.
    of_six: [[[f32; 3]; 2]; 3],
    /// With seven or more points: coefficients of the inputs 1, 3, 5 and 2, 4, 6.
    of_seven: [[[f32; 3]; 2]; 3],
    /// For the value at 0: inputs 0, 2, 4, 6.
    zero: [f32; 4],
    /// For the value at infinity: inputs 1, 3, 5, 7.
    infinity: [f32; 4],
}

impl Points {
    /// # Panics
    /// Never: it is evaluated at compile time.
    pub const fn new(pairs: [f64; 3]) -> Points {
        let squares = [pairs[0] * pairs[0], pairs[1] * pairs[1], pairs[2] * pairs[2]];
        let mut points = Points {
            powers: [[0.0; 4]; 3],
            of_six: [[[0.0; 3]; 2]; 3],
            of_seven: [[[0.0; 3]; 2]; 3],
            zero: [0.0; 4],
            infinity: [0.0; 4],
        };
        let mut i = 0;
        while i < 3 {
            let (p, square) = (pairs[i], squares[i]);
            points.powers[i] =
                [p as f32, square as f32, (square * p) as f32, (square * square) as f32];
            // The product of (t^2 - q^2) over the other pairs.
            let (q, s) = (squares[(i + 1) % 3], squares[(i + 2) % 3]);
            let others = [q * s, -(q + s), 1.0];
            let denominator = 2.0 * p * (square - q) * (square - s);
            let mut k = 0;
            while k < 3 {
                points.of_six[i][0][k] = (others[k] * p / denominator) as f32;
                points.of_six[i][1][k] = (others[k] / denominator) as f32;
                points.of_seven[i][0][k] = (others[k] / denominator) as f32;
                points.of_seven[i][1][k] = (others[k] / (p * denominator)) as f32;
                k += 1;
            }
            i += 1;
        }
        // The product of (t^2 - p^2) over all pairs.
        let [a, b, c] = squares;
        let all = [-a * b * c, a * b + a * c + b * c, -(a + b + c), 1.0];
        let mut k = 0;
        while k < 4 {
            points.zero[k] = (all[k] / all[0]) as f32;
            points.infinity[k] = all[k] as f32;
            k += 1;
        }
        points
    }
}

/// Values of one axis for one vector of channels; the transform defines how many are used.
pub(super) type Values<S> = [<S as Simd>::f32s; MAX_POINTS];

/// A transform of one axis.
pub(super) trait Transform {
    const FROM: usize;
    const TO: usize;

    fn run<S: Simd>(simd: S, points: &Points, x: &Values<S>) -> Values<S>;
}

/// `P` inputs to values at `P` points.
pub(super) struct Input<const P: usize>;

/// `N` coefficients to values at `P` points.
pub(super) struct Spread<const N: usize, const P: usize>;

/// Values at `P` points to `N` sums: the transpose of [`Spread`].
pub(super) struct Gather<const P: usize, const N: usize>;

// Functions instead of closures: a closure is compiled for the baseline instruction set.

#[inline(always)]
fn scale<S: Simd>(simd: S, c: f32, x: S::f32s) -> S::f32s {
    simd.mul_f32s(x, simd.splat_f32s(c))
}

/// `c0 x0 + c1 x2 + c2 x4`, with indices counted from `from`.
#[inline(always)]
fn weigh<S: Simd>(simd: S, c: &[f32; 3], x: &Values<S>, from: usize) -> S::f32s {
    let sum = simd.add_f32s(scale(simd, c[0], x[from]), scale(simd, c[1], x[from + 2]));
    simd.add_f32s(sum, scale(simd, c[2], x[from + 4]))
}

/// `c0 x0 + c1 x2 + c2 x4 + c3 x6`, with indices counted from `from`.
#[inline(always)]
fn weigh_four<S: Simd>(simd: S, c: &[f32; 4], x: &Values<S>, from: usize) -> S::f32s {
    let sum = weigh(simd, &[c[0], c[1], c[2]], x, from);
    simd.add_f32s(sum, scale(simd, c[3], x[from + 6]))
}

impl<const P: usize> Transform for Input<P> {
    const FROM: usize = P;
    const TO: usize = P;

    #[inline(always)]
    fn run<S: Simd>(simd: S, points: &Points, x: &Values<S>) -> Values<S> {
        let mut y = [simd.splat_f32s(0.0); MAX_POINTS];
        for i in 0..3 {
            if P == 6 {
                let [even, odd] = &points.of_six[i];
                let even = weigh(simd, even, x, 0);
                let odd = weigh(simd, odd, x, 1);
                y[2 * i] = simd.add_f32s(even, odd);
                y[2 * i + 1] = simd.sub_f32s(even, odd);
            } else {
                let [odd, even] = &points.of_seven[i];
                let odd = weigh(simd, odd, x, 1);
                let even = weigh(simd, even, x, 2);
                y[2 * i] = simd.add_f32s(even, odd);
                y[2 * i + 1] = simd.sub_f32s(even, odd);
            }
        }
        if P > 6 {
            y[6] = weigh_four(simd, &points.zero, x, 0);
        }
        if P > 7 {
            y[7] = weigh_four(simd, &points.infinity, x, 1);
        }
        y
    }
}

impl<const N: usize, const P: usize> Transform for Spread<N, P> {
    const FROM: usize = N;
    const TO: usize = P;

    #[inline(always)]
    fn run<S: Simd>(simd: S, points: &Points, x: &Values<S>) -> Values<S> {
        let mut y = [simd.splat_f32s(0.0); MAX_POINTS];
        for i in 0..3 {
            let powers = &points.powers[i];
            let (mut even, mut odd) = (x[0], scale(simd, powers[0], x[1]));
            for k in 2..N {
                let term = scale(simd, powers[k - 1], x[k]);
                match k % 2 {
                    0 => even = simd.add_f32s(even, term),
                    _ => odd = simd.add_f32s(odd, term),
                }
            }
            y[2 * i] = simd.add_f32s(even, odd);
            y[2 * i + 1] = simd.sub_f32s(even, odd);
        }
        if P > 6 {
            y[6] = x[0];
        }
        if P > 7 {
            y[7] = x[N - 1];
        }
        y
    }
}

impl<const P: usize, const N: usize> Transform for Gather<P, N> {
    const FROM: usize = P;
    const TO: usize = N;

    #[inline(always)]
    fn run<S: Simd>(simd: S, points: &Points, x: &Values<S>) -> Values<S> {
        let mut y = [simd.splat_f32s(0.0); MAX_POINTS];
        for i in 0..3 {
            let even = simd.add_f32s(x[2 * i], x[2 * i + 1]);
            let odd = simd.sub_f32s(x[2 * i], x[2 * i + 1]);
            for (k, y) in y[..N].iter_mut().enumerate() {
                let side = if k % 2 == 0 { even } else { odd };
                let term = match k {
                    0 => side,
                    _ => scale(simd, points.powers[i][k - 1], side),
                };
                *y = if i == 0 { term } else { simd.add_f32s(*y, term) };
            }
        }
        if P > 6 {
            y[0] = simd.add_f32s(y[0], x[6]);
        }
        if P > 7 {
            y[N - 1] = simd.add_f32s(y[N - 1], x[7]);
        }
        y
    }
}

/// A transform selected at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AxisTransform {
    Input { points: usize },
    Spread { from: usize, points: usize },
    Gather { points: usize, to: usize },
}

impl AxisTransform {
    pub fn from(self) -> usize {
        match self {
            AxisTransform::Input { points } | AxisTransform::Gather { points, .. } => points,
            AxisTransform::Spread { from, .. } => from,
        }
    }

    pub fn to(self) -> usize {
        match self {
            AxisTransform::Input { points } | AxisTransform::Spread { points, .. } => points,
            AxisTransform::Gather { to, .. } => to,
        }
    }
}

/// Evaluates an expression with `$T` the [`Transform`] that an [`AxisTransform`] selects.
macro_rules! with_transform {
    ($line:expr, $T:ident => $body:expr) => {
        with_transform!(@match $line, $T, $body,
            (AxisTransform::Input { points: 6 }, Input<6>),
            (AxisTransform::Input { points: 7 }, Input<7>),
            (AxisTransform::Input { points: 8 }, Input<8>),
            (AxisTransform::Spread { from: 2, points: 6 }, Spread<2, 6>),
            (AxisTransform::Spread { from: 3, points: 6 }, Spread<3, 6>),
            (AxisTransform::Spread { from: 3, points: 7 }, Spread<3, 7>),
            (AxisTransform::Spread { from: 4, points: 6 }, Spread<4, 6>),
            (AxisTransform::Spread { from: 4, points: 8 }, Spread<4, 8>),
            (AxisTransform::Spread { from: 5, points: 6 }, Spread<5, 6>),
            (AxisTransform::Spread { from: 5, points: 7 }, Spread<5, 7>),
            (AxisTransform::Spread { from: 5, points: 8 }, Spread<5, 8>),
            (AxisTransform::Gather { points: 6, to: 2 }, Gather<6, 2>),
            (AxisTransform::Gather { points: 6, to: 3 }, Gather<6, 3>),
            (AxisTransform::Gather { points: 7, to: 3 }, Gather<7, 3>),
            (AxisTransform::Gather { points: 6, to: 4 }, Gather<6, 4>),
            (AxisTransform::Gather { points: 8, to: 4 }, Gather<8, 4>),
            (AxisTransform::Gather { points: 6, to: 5 }, Gather<6, 5>),
            (AxisTransform::Gather { points: 7, to: 5 }, Gather<7, 5>),
            (AxisTransform::Gather { points: 8, to: 5 }, Gather<8, 5>)
        )
    };
    (@match $line:expr, $T:ident, $body:expr, $(($pattern:pat, $transform:ty)),*) => {
        match $line {
            $($pattern => {
                type $T = $transform;
                $body
            })*
            line => unreachable!("no window uses {line:?}"),
        }
    };
}
pub(super) use with_transform;

#[cfg(test)]
mod tests {
    use super::*;
    use pulp::Scalar;

    fn run<T: Transform>(points: &Points, x: &[f32]) -> Vec<f32> {
        assert_eq!(x.len(), T::FROM);
        let mut values = [0.0; MAX_POINTS];
        values[..x.len()].copy_from_slice(x);
        T::run(Scalar::new(), points, &values)[..T::TO].to_vec()
    }

    /// One axis: y[i] = sum over k of g[k] x[i + k].
    fn correlates<I: Transform, S: Transform, G: Transform>(points: &Points) {
        let x: Vec<f32> = (0..I::FROM).map(|i| [1.0, -2.0, 0.5, 3.0][i % 4] + i as f32).collect();
        let g: Vec<f32> = (0..S::FROM).map(|i| [0.75, -1.0, 2.0, 0.25, -3.0][i]).collect();
        let (xs, gs) = (run::<I>(points, &x), run::<S>(points, &g));
        let products: Vec<f32> = xs.iter().zip(&gs).map(|(x, g)| x * g).collect();
        let y = run::<G>(points, &products);
        for (i, y) in y.iter().enumerate() {
            let expected: f32 = g.iter().zip(&x[i..]).map(|(g, x)| g * x).sum();
            assert!((y - expected).abs() < 2e-4, "{y} for {expected}, output {i}");
        }
    }

    #[test]
    fn each_triple_of_transforms_is_a_correlation() {
        for points in [Points::new([0.5, 1.0, 2.0]), Points::new([0.5, 1.125, 3.5])] {
            correlates::<Input<6>, Spread<3, 6>, Gather<6, 4>>(&points);
            correlates::<Input<6>, Spread<4, 6>, Gather<6, 3>>(&points);
            correlates::<Input<6>, Spread<5, 6>, Gather<6, 2>>(&points);
            correlates::<Input<6>, Spread<2, 6>, Gather<6, 5>>(&points);
            correlates::<Input<7>, Spread<3, 7>, Gather<7, 5>>(&points);
            correlates::<Input<7>, Spread<5, 7>, Gather<7, 3>>(&points);
            correlates::<Input<8>, Spread<5, 8>, Gather<8, 4>>(&points);
            correlates::<Input<8>, Spread<4, 8>, Gather<8, 5>>(&points);
        }
    }
}
