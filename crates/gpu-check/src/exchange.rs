//! Compares the results of all NCCL collectives with the expected values.

use crate::Verdict;
use crate::cli::Cli;
use comm::{Comm, Nccl};
use std::thread;
use std::time::{Duration, Instant};
use tensor::{Choice, DType, Device, Planner, Shape, Slot};

/// The largest number of GPUs.
const MAX_GPUS: usize = 8;
/// How long ranks wait for each other.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Runs the section on all GPUs of this machine. A single GPU is a world of size one, which checks
/// at least that the library is compatible.
pub fn run(cli: &Cli) -> Result<Verdict, String> {
    match tensor::nccl::Nccl::find() {
        Ok(library) => println!("NCCL {}", library.version()),
        Err(error) => {
            println!("{error}");
            return Ok(Verdict::Unfinished);
        }
    }
    let gpus = (0..MAX_GPUS).map_while(|gpu| Device::open(Choice::Cuda(gpu), 0).ok());
    let mut gpus: Vec<Device> = gpus.collect();
    let world = gpus.len();
    let len = if cli.small { 1000 } else { 1 << 24 };
    let mut slots = Vec::new();
    for (rank, gpu) in gpus.iter_mut().enumerate() {
        slots.push(prepare(gpu, rank, world, len).map_err(|error| error.to_string())?);
    }
    let ranks = Nccl::world(&mut gpus, TIMEOUT).map_err(|error| error.to_string())?;
    let results: Vec<comm::Result<(Vec<&str>, f64)>> = thread::scope(|scope| {
        let each = ranks.into_iter().zip(gpus).zip(&slots);
        let start = |((comm, gpu), slots)| scope.spawn(move || check(comm, gpu, slots, len));
        let threads: Vec<_> = each.map(start).collect();
        threads.into_iter().map(|thread| thread.join().expect("ranks do not panic")).collect()
    });
    let mut verdict = Verdict::Passed;
    for (rank, result) in results.into_iter().enumerate() {
        let (wrong, seconds) = result.map_err(|error| format!("rank {rank}: {error}"))?;
        let result = if wrong.is_empty() {
            "correct".to_string()
        } else {
            format!("WRONG: {}", wrong.join(", "))
        };
        let rate = 4e-9 * len as f64 / seconds;
        println!(
            "* rank {rank} of {world}: {result}; all_reduce of {len} floats at {rate:.1} GB/s"
        );
        verdict = verdict.and(Verdict::of(wrong.is_empty()));
    }
    Ok(verdict)
}

/// Integers, whose sums are exact in any order.
fn value(rank: usize, at: usize) -> f32 {
    ((at * 7 + rank * 31) % 1000) as f32
}

/// The slots of a rank: the sum, the blocks of all ranks, its block and another rank's block.
fn prepare(gpu: &mut Device, rank: usize, world: usize, len: usize) -> tensor::Result<[Slot; 4]> {
    let mut planner = Planner::new();
    let mut floats = |len: usize| planner.claim(DType::F32, Shape::from([len]));
    let slots = [floats(len), floats(world * len), floats(len), floats(len)];
    gpu.reserve(planner.total())?;
    let own: Vec<f32> = (0..len).map(|at| value(rank, at)).collect();
    for slot in [slots[0], slots[2], slots[3]] {
        gpu.upload(slot, &own)?;
    }
    Ok(slots)
}

/// The collectives with wrong results, and the seconds of an `all_reduce`.
fn check(
    mut comm: Nccl,
    mut gpu: Device,
    &[sum, all, block, other]: &[Slot; 4],
    len: usize,
) -> comm::Result<(Vec<&'static str>, f64)> {
    let (rank, world, gpu) = (comm.rank(), comm.world(), &mut gpu);
    let mut wrong = Vec::new();
    let mut expect = |name, gpu: &Device, slot: Slot, expected: &dyn Fn(usize) -> f32| {
        let found = gpu.download::<f32>(slot)?;
        if found.iter().enumerate().any(|(at, found)| *found != expected(at)) {
            wrong.push(name);
        }
        comm::Result::Ok(())
    };
    let sum_of_all = |at: usize| (0..world).map(|rank| value(rank, at)).sum::<f32>();

    let gathered = comm.all_gather(gpu, block, all)?;
    comm.wait(gpu, gathered)?;
    expect("all_gather", gpu, all, &|at| value(at / len, at % len))?;
    let scattered = comm.reduce_scatter(gpu, all, block)?;
    comm.wait(gpu, scattered)?;
    expect("reduce_scatter", gpu, block, &|at| world as f32 * value(rank, at))?;
    if world > 1 {
        let (next, previous) = ((rank + 1) % world, (rank + world - 1) % world);
        let sent = comm.send(gpu, sum, next)?;
        let received = comm.recv(gpu, other, previous)?;
        comm.wait(gpu, received)?;
        comm.wait(gpu, sent)?;
        expect("send and recv", gpu, other, &|at| value(previous, at))?;
    }
    let reduced = comm.all_reduce(gpu, sum)?;
    comm.wait(gpu, reduced)?;
    expect("all_reduce", gpu, sum, &sum_of_all)?;
    let sent = comm.broadcast(gpu, block, world - 1)?;
    comm.wait(gpu, sent)?;
    expect("broadcast", gpu, block, &|at| world as f32 * value(world - 1, at))?;

    let ready = comm.barrier(gpu)?;
    comm.wait(gpu, ready)?;
    let began = Instant::now();
    let again = comm.all_reduce(gpu, other)?;
    comm.wait(gpu, again)?;
    let done = comm.barrier(gpu)?;
    comm.wait(gpu, done)?;
    Ok((wrong, began.elapsed().as_secs_f64()))
}
