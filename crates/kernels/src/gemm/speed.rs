//! What bounds a product, measured: `cargo test --release -p alexnet-kernels --lib gemm::speed --
//! --ignored --nocapture`.
//!
//! All threads at once, a tile of the best instruction set: from the first-level cache, with B from
//! the second, and with rows of A from memory as a fully connected layer reads its weights; beside
//! multiply-adds on registers alone, in turn.

use super::tests::numbers;
use super::*;
use pulp::{Simd, WithSimd};
use std::hint::black_box;
use std::sync::Mutex;
use std::time::Instant;
use tensor::{Device, Pool};

/// Times that everything is measured.
const TURNS: usize = 9;
/// Floats of A a thread that no cache holds.
const MUCH: usize = 20 << 20;

/// A tile that goes down A, each time by all panels of B.
#[derive(Clone, Copy, Debug)]
struct Walk {
    name: &'static str,
    depth: usize,
    panels: usize,
    /// From one row of A to the next; nothing: A is packed, and its rows are neighbours.
    row: Option<usize>,
    /// Floats of A that are gone through before it begins again.
    span: usize,
}

const WALKS: [Walk; 5] = [
    Walk { name: "A and B from L1", depth: 256, panels: 1, row: Some(272), span: 1 },
    Walk { name: "the same, A packed", depth: 256, panels: 1, row: None, span: 1 },
    Walk { name: "B from L2", depth: 512, panels: 4, row: Some(528), span: 1 },
    Walk { name: "the same, A packed", depth: 512, panels: 4, row: None, span: 1 },
    Walk {
        name: "A from memory, rows of 9216",
        depth: 512,
        panels: 4,
        row: Some(9216),
        span: MUCH,
    },
];

struct Registers;

impl WithSimd for Registers {
    /// Operations, and a value that keeps the loop from being left out.
    type Output = (f64, f32);

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> (f64, f32) {
        const ROUNDS: usize = 20_000_000;
        let (scale, add) = (simd.splat_f32s(0.999), simd.splat_f32s(black_box(0.5)));
        let mut sums = [add; 12];
        for _ in 0..ROUNDS {
            sums.iter_mut().for_each(|sum| *sum = simd.mul_add_f32s(*sum, scale, add));
        }
        let sum = sums.into_iter().fold(add, |total, sum| simd.add_f32s(total, sum));
        ((2 * S::F32_LANES * 12 * ROUNDS) as f64, simd.reduce_sum_f32s(sum))
    }
}

impl Walk {
    /// Operations of one thread that goes down A at least once, and for some milliseconds.
    fn go(&self, isa: Isa, a: &[f32], b: &[f32], c: &mut [f32]) -> f64 {
        let (rows, columns) = (isa.rows(), isa.columns());
        let layout = self.row.map_or(Layout::Columns(rows), Layout::Rows);
        let step = self.row.map_or(rows * self.depth, |row| rows * row);
        let tiles = (self.span / step).max(1);
        let c = Shared::new(c);
        let again = (60_000 / (tiles * self.panels)).max(1);
        for _ in 0..again {
            for at in (0..tiles).map(|tile| tile * step) {
                for panel in b.chunks_exact(self.depth * columns).take(self.panels) {
                    let tile = Tile {
                        rows,
                        columns,
                        a: &a[at..],
                        layout,
                        b: panel,
                        outer: Loop::ONCE,
                        middle: Loop::ONCE,
                        inner: self.depth,
                        c: 0,
                        c_row: columns,
                        start: Start::Zero,
                        relu: false,
                    };
                    // SAFETY: nobody else has `c`.
                    unsafe { isa.tile(&tile, &c) };
                }
            }
        }
        (2 * rows * columns * self.depth * self.panels * tiles * again) as f64
    }
}

/// Operations a second of all threads, each of which does `work`.
fn rate(pool: &Pool, work: impl Fn(usize) -> f64 + Sync + Send) -> f64 {
    let start = Instant::now();
    let done = Mutex::new(0.0);
    pool.each(pool.threads(), |thread| *done.lock().unwrap() += work(thread));
    done.into_inner().unwrap() / start.elapsed().as_secs_f64()
}

#[test]
#[ignore = "a measurement, which wants the machine for itself"]
fn what_bounds_a_product() {
    let device = Device::cpu(0);
    let Device::Cpu(cpu) = &device else { unreachable!("opened as a CPU") };
    let (pool, isa) = (cpu.pool(), Isa::best());
    let a: Vec<Vec<f32>> = (0..pool.threads()).map(|_| numbers(MUCH + (1 << 17), 1)).collect();
    let b = numbers(4 * 512 * isa.columns(), 2);
    let mut rates = [const { Vec::new() }; WALKS.len() + 1];
    for _ in 0..TURNS {
        rates[0].push(rate(pool, |_| black_box(pulp::Arch::new().dispatch(Registers)).0));
        for (walk, rates) in WALKS.iter().zip(&mut rates[1..]) {
            rates.push(rate(pool, |thread| {
                let mut c = vec![0.0; isa.rows() * isa.columns()];
                let done = walk.go(isa, &a[thread], &b, &mut c);
                black_box(c);
                done
            }));
        }
    }
    let medians = rates.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rates[TURNS / 2] / 1e9
    });
    println!("{isa:?}, {} threads", pool.threads());
    let names = ["multiply-adds on registers"].into_iter().chain(WALKS.map(|walk| walk.name));
    for (name, rate) in names.zip(medians) {
        println!("{name:30} {rate:6.0} GFLOP/s {:5.0} %", 100.0 * rate / medians[0]);
    }
}
