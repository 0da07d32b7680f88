//! What the machine could do at most.

use crate::ledger::Table;
use crate::median;
use kernels::gemm::walk::{self, Walk};
use pulp::{Simd, WithSimd};
use std::hint::black_box;
use std::sync::Mutex;
use std::time::Instant;
use tensor::{Device, Pool};

/// What all threads together can do at most, measured.
#[derive(Clone, Copy, Debug)]
pub struct Peaks {
    /// Multiplications and additions a second, in f32 fused multiply-adds on registers.
    pub flops: f64,
    /// Bytes a second of `a[i] = s a[i] + b[i]` on arrays far beyond the caches: 12 an element, and
    /// none that are moved uncounted, as whatever lies where new values are written would be.
    pub bytes: f64,
}

/// Measures both on `threads` threads (0: one for each core), in about three seconds.
pub fn measure(threads: usize) -> Peaks {
    Peaks { flops: flops(threads), bytes: bytes(threads) }
}

/// Sums that do not wait for each other: enough for two units of a latency of five.
const CHAINS: usize = 12;
/// So many that a tenth of a second goes by: a processor may run faster for a few milliseconds, and
/// its system leave both threads on one core for as long.
const ROUNDS: usize = 50_000_000;

struct MultiplyAdds {
    start: f32,
}

impl WithSimd for MultiplyAdds {
    /// Floats in a vector, and a value that keeps the loop from being left out.
    type Output = (usize, f32);

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> (usize, f32) {
        let lanes = size_of::<S::f32s>() / size_of::<f32>();
        let (scale, add) = (simd.splat_f32s(0.999), simd.splat_f32s(self.start));
        let mut sums = [add; CHAINS];
        for _ in 0..ROUNDS {
            sums.iter_mut().for_each(|sum| *sum = simd.mul_add_f32s(*sum, scale, add));
        }
        let total = sums.into_iter().fold(add, |total, sum| simd.add_f32s(total, sum));
        (lanes, simd.reduce_sum_f32s(total))
    }
}

/// Multiply-adds of one thread, as multiplications and additions.
fn multiply_adds() -> f64 {
    let (lanes, value) = pulp::Arch::new().dispatch(MultiplyAdds { start: black_box(0.5) });
    black_box(value);
    (2 * lanes * CHAINS * ROUNDS) as f64
}

fn flops(threads: usize) -> f64 {
    let device = Device::cpu(threads);
    let Device::Cpu(cpu) = &device else { unreachable!("opened as a CPU") };
    let once = || rate(cpu.pool(), |_| multiply_adds());
    once();
    median((0..5).map(|_| once()).collect())
}

fn bytes(threads: usize) -> f64 {
    const LEN: usize = 1 << 26; // 256 MiB an array
    const CHUNK: usize = 1 << 16;
    let device = Device::cpu(threads);
    let Device::Cpu(cpu) = &device else { unreachable!("opened as a CPU") };
    let (mut a, b) = (vec![1.0f32; LEN], vec![2.0f32; LEN]);
    let mut once = || {
        let start = Instant::now();
        cpu.pool().chunks(&mut a, CHUNK, |idx, a| {
            let b = &b[idx * CHUNK..][..a.len()];
            pulp::Arch::new().dispatch(|| {
                a.iter_mut().zip(b).for_each(|(a, b)| *a = 0.5 * *a + b);
            });
        });
        start.elapsed().as_secs_f64()
    };
    let times = (0..9).map(|_| once()).collect();
    black_box(&a);
    (12 * LEN) as f64 / median(times)
}

/// What tiles reach beside multiply-adds that load nothing, all threads at once, in turn: how far
/// a product could come if nothing else were to do.
pub fn tiles(threads: usize) -> Table {
    const TURNS: usize = 9;
    let device = Device::cpu(threads);
    let Device::Cpu(cpu) = &device else { unreachable!("opened as a CPU") };
    let measures = measures(cpu.pool());
    let mut rates = vec![Vec::new(); measures.len()];
    for _ in 0..TURNS {
        measures.iter().zip(&mut rates).for_each(|((_, measure), rates)| rates.push(measure()));
    }
    let medians: Vec<f64> = rates.into_iter().map(median).collect();
    let mut table = Table::new(&["what"], &["GFLOP/s", "of the first"]);
    for ((name, _), rate) in measures.into_iter().zip(&medians) {
        let part = format!("{:.0} %", 100.0 * rate / medians[0]);
        table.push([name, format!("{:.0}", rate / 1e9), part]);
    }
    table
}

type Measure<'a> = (String, Box<dyn Fn() -> f64 + 'a>);

fn measures(pool: &Pool) -> Vec<Measure<'_>> {
    // Floats of A, for each thread, that no cache holds.
    const MUCH: usize = 20 << 20;
    let [rows, columns] = Walk::tile();
    let once = |depth, panels, row| Walk { depth, panels, row, places: 1 };
    let walks = [
        ("A and B from the first-level cache", once(256, 1, Some(272))),
        ("the same, A packed", once(256, 1, None)),
        ("B from the second-level cache", once(512, 4, Some(528))),
        ("the same, A packed", once(512, 4, None)),
        (
            "A from memory, its rows 9216 apart",
            Walk { places: MUCH / 9216 / rows, ..once(512, 4, Some(9216)) },
        ),
    ];
    let registers = move || rate(pool, |_| multiply_adds());
    let mut measures: Vec<Measure<'_>> =
        vec![("multiply-adds on registers".to_string(), Box::new(registers))];
    measures.extend(walks.map(|(name, walk)| -> Measure<'_> {
        let operands = walk.floats().map(|floats| vec![0.5f32; floats]);
        let operands = vec![operands; pool.threads()];
        // About fifty milliseconds.
        let times = (15_000_000 / (walk.places * walk.panels * walk.depth)).max(1);
        let measure = move || {
            rate(pool, |thread| {
                let [a, b] = &operands[thread];
                walk.go(times, a, b)
            })
        };
        (format!("tiles of {rows} x {columns}: {name}"), Box::new(measure))
    }));
    if tensor::amx().is_ok() {
        let bf16 = move || rate(pool, |_| walk::bf16(256, 100_000));
        measures.push(("AMX, blocks from the first-level cache".to_string(), Box::new(bf16)));
    }
    measures
}

/// Operations a second of all threads, each of which tells how many it did.
fn rate(pool: &Pool, work: impl Fn(usize) -> f64 + Sync + Send) -> f64 {
    let start = Instant::now();
    let done = Mutex::new(0.0);
    pool.each(pool.threads(), |thread| {
        let own = work(thread);
        *done.lock().expect("no thread panics") += own;
    });
    done.into_inner().expect("no thread panics") / start.elapsed().as_secs_f64()
}
