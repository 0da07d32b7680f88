//! GPUs that exchange through NCCL: every collective against what it has to come to.

use crate::Verdict;
use crate::cli::Cli;
use comm::{Comm, Nccl};
use std::thread;
use std::time::{Duration, Instant};
use tensor::{Choice, DType, Device, Planner, Shape, Slot};

/// GPUs that are asked at most.
const MOST: usize = 8;
/// How long ranks wait for each other.
const TIMEOUT: Duration = Duration::from_secs(20);

/// All GPUs of this machine; where there is one it joins itself, which shows that the library is
/// the one that was thought of.
pub fn run(cli: &Cli) -> Result<Verdict, String> {
    match tensor::nccl::Nccl::find() {
        Ok(library) => println!("NCCL {}", library.version()),
        Err(error) => {
            println!("{error}");
            return Ok(Verdict::Unfinished);
        }
    }
    let gpus = (0..MOST).map_while(|gpu| Device::open(Choice::Cuda(gpu), 0).ok());
    let mut gpus: Vec<Device> = gpus.collect();
    let world = gpus.len();
    let len = if cli.small { 1000 } else { 1 << 24 };
    let mut slots = Vec::new();
    for (rank, gpu) in gpus.iter_mut().enumerate() {
        slots.push(prepare(gpu, rank, world, len).map_err(|error| error.to_string())?);
    }
    let ranks = Nccl::world(&mut gpus, TIMEOUT).map_err(|error| error.to_string())?;
    let ended: Vec<comm::Result<(Vec<&str>, f64)>> = thread::scope(|scope| {
        let each = ranks.into_iter().zip(gpus).zip(&slots);
        let start = |((comm, gpu), slots)| scope.spawn(move || check(comm, gpu, slots, len));
        let threads: Vec<_> = each.map(start).collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    });
    let mut verdict = Verdict::Passed;
    for (rank, ended) in ended.into_iter().enumerate() {
        let (wrong, seconds) = ended.map_err(|error| format!("rank {rank}: {error}"))?;
        let told = if wrong.is_empty() { "as it should be".to_string() } else { wrong.join(", ") };
        let rate = 4e-9 * len as f64 / seconds;
        println!("* rank {rank} of {world}: {told}; sums of {len} floats at {rate:.1} GB/s");
        verdict = verdict.and(Verdict::of(wrong.is_empty()));
    }
    Ok(verdict)
}

/// Whole numbers, whose sums have one value in any order.
fn number(rank: usize, at: usize) -> f32 {
    ((at * 7 + rank * 31) % 1000) as f32
}

/// What a rank reads and writes: a sum, a block a rank, its block, another's.
fn prepare(gpu: &mut Device, rank: usize, world: usize, len: usize) -> tensor::Result<[Slot; 4]> {
    let mut planner = Planner::new();
    let mut floats = |len: usize| planner.claim(DType::F32, Shape::from([len]));
    let slots = [floats(len), floats(world * len), floats(len), floats(len)];
    gpu.reserve(planner.total())?;
    let own: Vec<f32> = (0..len).map(|at| number(rank, at)).collect();
    for slot in [slots[0], slots[2], slots[3]] {
        gpu.upload(slot, &own)?;
    }
    Ok(slots)
}

/// What differs, and the seconds of a sum.
fn check(
    mut comm: Nccl,
    mut gpu: Device,
    &[sum, all, block, other]: &[Slot; 4],
    len: usize,
) -> comm::Result<(Vec<&'static str>, f64)> {
    let (rank, world, gpu) = (comm.rank(), comm.world(), &mut gpu);
    let mut wrong = Vec::new();
    let mut expect = |name, gpu: &Device, slot: Slot, value: &dyn Fn(usize) -> f32| {
        let found = gpu.download::<f32>(slot)?;
        if found.iter().enumerate().any(|(at, found)| *found != value(at)) {
            wrong.push(name);
        }
        comm::Result::Ok(())
    };
    let of_all = |at: usize| (0..world).map(|rank| number(rank, at)).sum::<f32>();

    let gathered = comm.all_gather(gpu, block, all)?;
    comm.wait(gpu, gathered)?;
    expect("all_gather", gpu, all, &|at| number(at / len, at % len))?;
    let scattered = comm.reduce_scatter(gpu, all, block)?;
    comm.wait(gpu, scattered)?;
    expect("reduce_scatter", gpu, block, &|at| world as f32 * number(rank, at))?;
    if world > 1 {
        let (next, previous) = ((rank + 1) % world, (rank + world - 1) % world);
        let sent = comm.send(gpu, sum, next)?;
        let received = comm.recv(gpu, other, previous)?;
        comm.wait(gpu, received)?;
        comm.wait(gpu, sent)?;
        expect("send and recv", gpu, other, &|at| number(previous, at))?;
    }
    let reduced = comm.all_reduce(gpu, sum)?;
    comm.wait(gpu, reduced)?;
    expect("all_reduce", gpu, sum, &of_all)?;
    let told = comm.broadcast(gpu, block, world - 1)?;
    comm.wait(gpu, told)?;
    expect("broadcast", gpu, block, &|at| world as f32 * number(world - 1, at))?;

    let all_here = comm.barrier(gpu)?;
    comm.wait(gpu, all_here)?;
    let began = Instant::now();
    let again = comm.all_reduce(gpu, other)?;
    comm.wait(gpu, again)?;
    let all_done = comm.barrier(gpu)?;
    comm.wait(gpu, all_done)?;
    Ok((wrong, began.elapsed().as_secs_f64()))
}
