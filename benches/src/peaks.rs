//! Peak rates of the machine.

use crate::ledger::Table;
use crate::median;
use kernels::gemm::walk::{self, Walk};
use pulp::{Simd, WithSimd};
use std::hint::black_box;
use std::sync::Mutex;
use std::time::Instant;
use tensor::{Device, Pool};

/// Measured peak rates of all threads together.
#[derive(Clone, Copy, Debug)]
pub struct Peaks {
    /// Operations per second of f32 fused multiply-adds on registers, two for each.
    pub flops: f64,
    /// Bytes per second of `a[i] = s a[i] + b[i]` on arrays much larger than the caches: 12 bytes
    /// per element. Writing in place avoids the uncounted reads of write-allocation.
    pub bytes: f64,
}

/// Measures both on `threads` threads (0: one per core), in about three seconds.
pub fn measure(threads: usize) -> Peaks {
    Peaks { flops: flops(threads), bytes: bytes(threads) }
}

/// Independent sums: enough for two units with a latency of five.
const CHAINS: usize = 12;
/// About a tenth of a second: for a few milliseconds the processor may run faster, or the system
/// may keep both threads on one core.
const ROUNDS: usize = 50_000_000;

struct MultiplyAdds {
    start: f32,
}

impl WithSimd for MultiplyAdds {
    /// Floats per vector, and a value that keeps the compiler from removing the loop.
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

/// Runs the multiply-adds of one thread; returns the number of operations.
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

/// Rates of matrix tiles compared with multiply-adds on registers, on all threads, alternately: an
/// upper bound for products.
pub fn tiles(threads: usize) -> Table {
    const TURNS: usize = 9;
    let device = Device::cpu(threads);
    let Device::Cpu(cpu) = &device else { unreachable!("opened as a CPU") };
    let benchmarks = benchmarks(cpu.pool());
    let mut rates = vec![Vec::new(); benchmarks.len()];
    for _ in 0..TURNS {
        benchmarks.iter().zip(&mut rates).for_each(|((_, run), rates)| rates.push(run()));
    }
    let medians: Vec<f64> = rates.into_iter().map(median).collect();
    let mut table = Table::new(&["what"], &["GFLOP/s", "of the first"]);
    for ((name, _), rate) in benchmarks.into_iter().zip(&medians) {
        let part = format!("{:.0} %", 100.0 * rate / medians[0]);
        table.push([name, format!("{:.0}", rate / 1e9), part]);
    }
    table
}

type Benchmark<'a> = (String, Box<dyn Fn() -> f64 + 'a>);

fn benchmarks(pool: &Pool) -> Vec<Benchmark<'_>> {
    // Floats of A per thread, larger than any cache.
    const BEYOND_CACHES: usize = 20 << 20;
    let [rows, columns] = Walk::tile();
    let once = |depth, panels, row| Walk { depth, panels, row, places: 1 };
    let walks = [
        ("A and B from the first-level cache", once(256, 1, Some(272))),
        ("the same, A packed", once(256, 1, None)),
        ("B from the second-level cache", once(512, 4, Some(528))),
        ("the same, A packed", once(512, 4, None)),
        (
            "A from memory, its rows 9216 apart",
            Walk { places: BEYOND_CACHES / 9216 / rows, ..once(512, 4, Some(9216)) },
        ),
    ];
    let registers = move || rate(pool, |_| multiply_adds());
    let mut benchmarks: Vec<Benchmark<'_>> =
        vec![("multiply-adds on registers".to_string(), Box::new(registers))];
    benchmarks.extend(walks.map(|(name, walk)| -> Benchmark<'_> {
        let operands = walk.floats().map(|floats| vec![0.5f32; floats]);
        let operands = vec![operands; pool.threads()];
        // About fifty milliseconds.
        let times = (15_000_000 / (walk.places * walk.panels * walk.depth)).max(1);
        let run = move || {
            rate(pool, |thread| {
                let [a, b] = &operands[thread];
                walk.go(times, a, b)
            })
        };
        (format!("tiles of {rows} x {columns}: {name}"), Box::new(run))
    }));
    if tensor::amx().is_ok() {
        let bf16 = move || rate(pool, |_| walk::bf16(256, 100_000));
        benchmarks.push(("AMX, blocks from the first-level cache".to_string(), Box::new(bf16)));
    }
    benchmarks
}

/// Operations per second of all threads; `work` returns its number of operations.
fn rate(pool: &Pool, work: impl Fn(usize) -> f64 + Sync + Send) -> f64 {
    let start = Instant::now();
    let done = Mutex::new(0.0);
    pool.each(pool.threads(), |thread| {
        let own = work(thread);
        *done.lock().expect("no thread panics") += own;
    });
    done.into_inner().expect("no thread panics") / start.elapsed().as_secs_f64()
}
