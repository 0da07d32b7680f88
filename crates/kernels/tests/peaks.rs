//! Parts of products in isolation: each thread does all its work, on a GPU or the stand-in.

use alexnet_kernels::gemm::peaks::{Peak, PeakRun};
use tensor::{DType, Device, Planner, Precision, Shape};
use testkit::own_gpu;

const BLOCKS: usize = 3;
const THREADS: usize = 256;
const TURNS: u32 = 9;

/// The sums of a part, over `floats` values of 0 to 15.
fn sums(peak: Peak, floats: usize) -> Option<(Vec<f32>, Vec<f32>)> {
    let mut device = own_gpu()?;
    let mut planner = Planner::new();
    let x = planner.claim(DType::F32, Shape::from([floats]));
    let y = planner.claim(DType::F32, PeakRun::sums(BLOCKS));
    device.reserve(planner.total()).unwrap();
    let values: Vec<f32> = (0..floats).map(|i| (i / 4 * 7 % 16) as f32).collect();
    device.upload(x, &values).unwrap();
    device.set_precision(Precision::Bf16).unwrap();
    let run = PeakRun { x, y, turns: TURNS };
    let Device::Cuda(cuda) = &mut device else { unreachable!("a GPU") };
    run.launch(cuda, peak).unwrap();
    Some((values, device.download(y).unwrap()))
}

#[test]
fn tensor_cores_multiply_ones() {
    let Some((_, sums)) = sums(Peak::TensorCores, 4096) else { return };
    // 8 products a turn, of which a thread has 4 elements, each a sum of 16.
    assert_eq!(sums, vec![(TURNS * 8 * 4 * 16) as f32; BLOCKS * THREADS]);
}

/// The sum of 16 bytes' floats at some places.
fn expected(values: &[f32], places: impl Iterator<Item = usize>) -> f32 {
    places.flat_map(|at| &values[4 * at..4 * at + 4]).sum()
}

#[test]
fn threads_read_what_a_block_shares() {
    for peak in [Peak::SharedMemory, Peak::FirstLevelCache] {
        let Some((values, sums)) = sums(peak, 8192) else { return };
        for (thread, &sum) in sums.iter().enumerate() {
            let turns = (0..TURNS as usize).flat_map(|turn| (0..8).map(move |i| (turn, i)));
            let places = turns.map(|(turn, i)| (thread % THREADS + 8 * turn + 64 * i) % 1024);
            assert_eq!(sum, expected(&values, places), "{peak:?}, thread {thread}");
        }
    }
}

#[test]
fn every_block_reads_all_of_x() {
    const COUNT: usize = 2048;
    let Some((values, sums)) = sums(Peak::SecondLevelCache, 4 * COUNT) else { return };
    for (thread, &sum) in sums.iter().enumerate() {
        let first = thread / THREADS * (COUNT / BLOCKS) + thread % THREADS;
        let places = (0..8 * TURNS as usize).map(|read| (first + read * THREADS) % COUNT);
        assert_eq!(sum, expected(&values, places), "thread {thread}");
    }
}

#[test]
fn amounts_are_counted() {
    let mut planner = Planner::new();
    let x = planner.claim(DType::F32, Shape::from([4096]));
    let y = planner.claim(DType::F32, PeakRun::sums(BLOCKS));
    let run = PeakRun { x, y, turns: TURNS };
    let reads = (8 * TURNS as usize * BLOCKS * THREADS * 16) as f64;
    assert_eq!(run.amount(Peak::SharedMemory), reads);
    // A warp multiplies 16 x 8 x 16 for each 32 reads of its threads.
    assert_eq!(run.amount(Peak::TensorCores), reads / 16.0 / 32.0 * 4096.0);
}
