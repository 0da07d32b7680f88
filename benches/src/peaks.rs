//! What the machine could do at most.

use crate::median;
use pulp::{Simd, WithSimd};
use std::hint::black_box;
use std::time::Instant;
use tensor::Device;

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

fn flops(threads: usize) -> f64 {
    let device = Device::cpu(threads);
    let Device::Cpu(cpu) = &device else { unreachable!("opened as a CPU") };
    let pool = cpu.pool();
    let once = || {
        let start = Instant::now();
        pool.each(pool.threads(), |_| {
            black_box(pulp::Arch::new().dispatch(MultiplyAdds { start: black_box(0.5) }));
        });
        start.elapsed().as_secs_f64()
    };
    let (lanes, _) = pulp::Arch::new().dispatch(MultiplyAdds { start: 0.5 });
    let operations = (2 * lanes * CHAINS * ROUNDS * pool.threads()) as f64;
    once();
    operations / median((0..5).map(|_| once()).collect())
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
