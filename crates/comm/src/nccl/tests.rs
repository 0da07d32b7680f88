use super::*;
use crate::Local;
use cuda_on_cpu::{Behaviour, NcclBehaviour, StandIn};
use std::sync::OnceLock;
use std::time::Instant;
use tensor::{Choice, DType, Planner, Shape, Slot};
use testkit::{bits_equal, device_with, random_array, stand_in_in_use};

const TIMEOUT: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(200);

/// The stand-ins for the driver and for NCCL, and NCCL as this program finds it.
type StandIns = (&'static StandIn, &'static cuda_on_cpu::Nccl, &'static nccl::Nccl);

/// `None` if there is a real GPU, or no compiler.
fn stand_ins() -> Option<StandIns> {
    static NCCL: OnceLock<(cuda_on_cpu::Nccl, &'static nccl::Nccl)> = OnceLock::new();
    let driver = stand_in_in_use()?;
    let (nccl, found) = NCCL.get_or_init(|| {
        let nccl = cuda_on_cpu::Nccl::load().unwrap();
        let found = nccl::Nccl::open(nccl.path()).unwrap();
        (nccl, found)
    });
    Some((driver, nccl, found))
}

/// A GPU with these slots.
fn gpu_with<const N: usize>(number: usize, values: [&[f32]; N]) -> (Device, [Slot; N]) {
    let mut planner = Planner::new();
    let slots = values.map(|values| planner.claim(DType::F32, Shape::from([values.len()])));
    let mut device = Device::open(Choice::Cuda(number), 0).unwrap();
    device.reserve(planner.total()).unwrap();
    for (slot, values) in slots.into_iter().zip(values) {
        device.upload(slot, values).unwrap();
    }
    (device, slots)
}

/// Runs `work` on `ranks` ranks, each on a thread with access to the stand-in's GPUs.
fn on_gpus<T: Send>(
    (driver, _, _): StandIns,
    ranks: usize,
    work: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    let work = &work;
    thread::scope(|scope| {
        let start = |rank| {
            scope.spawn(move || {
                driver.behave(Behaviour { devices: 8, ..Behaviour::default() });
                work(rank)
            })
        };
        let threads: Vec<_> = (0..ranks).map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

type Values = fn(usize, usize) -> Vec<f32>;

/// Integers, whose sum does not depend on the order.
fn whole(rank: usize, len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7 + rank * 31) % 1000) as f32).collect()
}

/// Values whose sum depends on the order.
fn random(rank: usize, len: usize) -> Vec<f32> {
    random_array::<_, _>(rank as u64 + 1, len).to_vec()
}

/// The initial values of the slots of [`all_at_once`].
fn at_first(values: Values, rank: usize, world: usize, len: usize) -> [Vec<f32>; 7] {
    let (own, many) = (values(rank, len), values(rank, world * len));
    let (zeros, many_zeros) = (vec![0.0; len], vec![0.0; world * len]);
    [own.clone(), many, zeros.clone(), many_zeros, own.clone(), zeros, own]
}

/// All collectives, started together and waited for in reverse.
fn all_at_once(
    mut comm: impl Comm,
    device: &mut Device,
    [sum, whole, block, gathered, from_root, received, sent]: [Slot; 7],
    root: usize,
) -> Result<[Vec<f32>; 5]> {
    let (rank, world) = (comm.rank(), comm.world());
    let mut handles = vec![
        comm.all_reduce(device, sum)?,
        comm.reduce_scatter(device, whole, block)?,
        comm.all_gather(device, sent, gathered)?,
        comm.broadcast(device, from_root, root)?,
        comm.barrier(device)?,
    ];
    if world > 1 {
        handles.push(comm.send(device, sent, (rank + 1) % world)?);
        handles.push(comm.recv(device, received, (rank + world - 1) % world)?);
    }
    handles.into_iter().rev().try_for_each(|handle| comm.wait(device, handle))?;
    let mut made = [const { Vec::new() }; 5];
    for (made, slot) in made.iter_mut().zip([sum, block, gathered, from_root, received]) {
        *made = device.download(slot)?;
    }
    Ok(made)
}

fn by_nccl(stand_ins: StandIns, world: usize, len: usize, values: Values) -> Vec<[Vec<f32>; 5]> {
    let id = stand_ins.2.new_id().unwrap();
    on_gpus(stand_ins, world, |rank| {
        let at_first = at_first(values, rank, world, len);
        let (mut device, slots) = gpu_with(rank, at_first.each_ref().map(|v| &v[..]));
        let comm = Nccl::join(stand_ins.2, &id, &mut device, rank, world, TIMEOUT).unwrap();
        all_at_once(comm, &mut device, slots, len % world).unwrap()
    })
}

fn by_local(world: usize, len: usize, values: Values) -> Vec<[Vec<f32>; 5]> {
    thread::scope(|scope| {
        let start = |(rank, comm)| {
            scope.spawn(move || {
                let at_first = at_first(values, rank, world, len);
                let (mut device, slots) = device_with(at_first.each_ref().map(|v| &v[..]));
                all_at_once(comm, &mut device, slots, len % world).unwrap()
            })
        };
        let ranks = Local::world(world, TIMEOUT).into_iter().enumerate();
        let threads: Vec<_> = ranks.map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn results_are_those_of_local() {
    let Some(stand_ins) = stand_ins() else { return };
    for (world, len) in [(1, 5), (2, 0), (2, 1), (2, 40_000), (4, 3), (4, 20_001), (8, 100)] {
        let (made, expected) = (by_nccl(stand_ins, world, len, whole), by_local(world, len, whole));
        for (rank, (made, expected)) in made.iter().zip(&expected).enumerate() {
            for (idx, (made, expected)) in made.iter().zip(expected).enumerate() {
                bits_equal(made, expected, &format!("{idx} on rank {rank} of {world}, {len}"));
            }
        }
    }
}

/// Two values have one sum; the order of more is NCCL's, the same on every rank and in every run.
#[test]
fn sums_are_the_same_on_all_ranks_and_in_every_run() {
    let Some(stand_ins) = stand_ins() else { return };
    assert_eq!(by_nccl(stand_ins, 2, 500, random), by_local(2, 500, random));
    let once = by_nccl(stand_ins, 4, 500, random);
    assert_eq!(once, by_nccl(stand_ins, 4, 500, random));
    assert!(once.iter().all(|made| made[0] == once[0][0]));
    let here = by_local(4, 500, random);
    assert_ne!(once[0][0], here[0][0], "the stand-in adds up in another order");
    for (made, expected) in once[0][0].iter().zip(&here[0][0]) {
        assert!((made - expected).abs() <= 4.0 * f32::EPSILON * 4.0, "{made} {expected}");
    }
}

/// `start` does not wait: before `wait`, the slots still have the old values.
#[test]
fn exchanges_run_beside_the_gpu_until_they_are_waited_for() {
    let Some(stand_ins) = stand_ins() else { return };
    let id = stand_ins.2.new_id().unwrap();
    on_gpus(stand_ins, 2, |rank| {
        let (mut device, [x, y, other]) = gpu_with(rank, [&[1.0; 3], &[2.0; 3], &[0.0; 3]]);
        let mut comm = Nccl::join(stand_ins.2, &id, &mut device, rank, 2, TIMEOUT).unwrap();
        let first = comm.all_reduce(&mut device, x).unwrap();
        let send = comm.send(&mut device, y, 1 - rank).unwrap();
        assert_eq!(comm.collected.len(), 1, "a send waits for its counterpart");
        let receive = comm.recv(&mut device, other, 1 - rank).unwrap();
        assert_eq!((comm.collected.len(), comm.launched.len()), (0, 2));
        assert_eq!(device.download::<f32>(x).unwrap(), [1.0; 3], "read before the wait");
        for handle in [receive, first, send] {
            comm.wait(&mut device, handle).unwrap();
        }
        assert_eq!(device.download::<f32>(x).unwrap(), [2.0; 3]);
        assert_eq!(device.download::<f32>(other).unwrap(), [2.0; 3]);
        assert!(comm.launched.is_empty());
        for _ in 0..50 {
            let sum = comm.all_reduce(&mut device, x).unwrap();
            comm.wait(&mut device, sum).unwrap();
        }
        assert_eq!(device.download::<f32>(x.part(0, [1].into())).unwrap(), [2f32.powi(51)]);
        assert_eq!(comm.traffic(), Traffic { messages: 52, bytes: 52 * 12 });
    });
}

/// A program may connect before it knows how much memory it needs.
#[test]
fn a_gpu_that_is_opened_anew_is_the_same_gpu() {
    let Some(stand_ins) = stand_ins() else { return };
    let id = stand_ins.2.new_id().unwrap();
    on_gpus(stand_ins, 2, |rank| {
        let (mut first, [x]) = gpu_with(rank, [&[1.0; 3]]);
        let mut comm = Nccl::join(stand_ins.2, &id, &mut first, rank, 2, TIMEOUT).unwrap();
        let sum = comm.all_reduce(&mut first, x).unwrap();
        comm.wait(&mut first, sum).unwrap();
        drop(first);
        let (mut device, [x]) = gpu_with(rank, [&[5.0; 3]]);
        let sum = comm.all_reduce(&mut device, x).unwrap();
        comm.wait(&mut device, sum).unwrap();
        assert_eq!(device.download::<f32>(x).unwrap(), [10.0; 3]);
        comm.set_timeout(SHORT);
        if rank == 0 {
            let sum = comm.all_reduce(&mut device, x).unwrap();
            comm.wait(&mut device, sum).unwrap();
            let told = device.download::<f32>(x).unwrap_err().to_string();
            assert!(told.contains("has not answered for 0.2 s"), "{told}");
        }
    });
}

#[test]
fn a_missing_rank_is_an_error_after_the_timeout() {
    let Some(stand_ins) = stand_ins() else { return };
    for (world, sentence) in [
        (2, "rank 1 has not answered for 0.2 s: all ranks stop"),
        (3, "another rank's GPU has not answered for 0.2 s: all ranks stop"),
    ] {
        let (id, began) = (stand_ins.2.new_id().unwrap(), Instant::now());
        let told = on_gpus(stand_ins, world - 1, |rank| {
            let (mut device, []) = gpu_with(rank, []);
            let joined = Nccl::join(stand_ins.2, &id, &mut device, rank, world, SHORT);
            joined.unwrap_err().to_string()
        });
        assert!(told.iter().all(|told| told == sentence), "{told:?}");
        assert!(began.elapsed() < 20 * SHORT);
    }
}

#[test]
fn a_rank_that_hangs_or_ends_is_an_error_after_the_timeout() {
    let Some(stand_ins) = stand_ins() else { return };
    for hangs in [true, false] {
        let (id, began) = (stand_ins.2.new_id().unwrap(), Instant::now());
        let told = on_gpus(stand_ins, 2, |rank| {
            let (mut device, [x]) = gpu_with(rank, [&[1.0; 10]]);
            let mut comm = Nccl::join(stand_ins.2, &id, &mut device, rank, 2, SHORT).unwrap();
            for step in 0.. {
                if rank == 1 && step == 5 {
                    thread::sleep(if hangs { 5 * SHORT } else { Duration::ZERO });
                    return None;
                }
                let sum = comm.all_reduce(&mut device, x).unwrap();
                comm.wait(&mut device, sum).unwrap(); // the host waits in the download:
                if let Err(error) = device.download::<f32>(x) {
                    // From here on downloads and collectives fail.
                    assert!(device.download::<f32>(x).is_err());
                    let next = comm.all_reduce(&mut device, x).unwrap_err().to_string();
                    assert_eq!(next, "rank 1 has not answered for 0.2 s: all ranks stop");
                    return Some(error.to_string());
                }
            }
            unreachable!()
        });
        let sentence = "another rank's GPU has not answered for 0.2 s: all ranks stop";
        assert_eq!(told, [Some(sentence.to_string()), None]);
        assert!(began.elapsed() < 50 * SHORT, "{:?}", began.elapsed());
    }
}

/// Two ranks with the same planned failure: their results and the numbers of their calls.
fn both_fail(stand_ins: StandIns, behaviour: NcclBehaviour) -> Vec<(Result<()>, [u64; 2])> {
    let (_, nccl, found) = stand_ins;
    let id = found.new_id().unwrap();
    on_gpus(stand_ins, 2, |rank| {
        nccl.behave(behaviour);
        let at_first = at_first(whole, rank, 2, 10);
        let (mut device, slots) = gpu_with(rank, at_first.each_ref().map(|v| &v[..]));
        let joined = Nccl::join(found, &id, &mut device, rank, 2, 10 * SHORT);
        let done = joined.and_then(|comm| all_at_once(comm, &mut device, slots, 1).map(drop));
        drop(device);
        (done, nccl.counts())
    })
}

#[test]
fn every_failing_call_is_reported() {
    let Some(stand_ins) = stand_ins() else { return };
    let calls = both_fail(stand_ins, NcclBehaviour::default())[0].1[0];
    // Joining, five collectives and a pair of messages with their groups, finalizing.
    assert_eq!(calls, 1 + 5 * 3 + 4 + 1);
    for failing_call in 1..calls {
        let behaviour = NcclBehaviour { failing_call: Some(failing_call), ..Default::default() };
        for (done, _) in both_fail(stand_ins, behaviour) {
            let told = done.unwrap_err().to_string();
            let is_told = told.starts_with("NCCL's ") && told.ends_with("(a planned failure)");
            assert!(is_told, "call {failing_call} of {calls}: {told}");
        }
    }
    // The last finalizes; its failure changes nothing.
    let behaviour = NcclBehaviour { failing_call: Some(calls), ..Default::default() };
    assert!(both_fail(stand_ins, behaviour).iter().all(|(done, _)| done.is_ok()));
}

#[test]
fn asynchronous_failures_are_reported() {
    let Some(stand_ins) = stand_ins() else { return };
    let behaviour = NcclBehaviour { failing_query: Some(1), ..Default::default() };
    for (done, _) in both_fail(stand_ins, behaviour) {
        let told = done.unwrap_err().to_string();
        assert!(told.starts_with("NCCL's joining the other GPUs failed"), "{told}");
    }
}

#[test]
#[should_panic(expected = "NCCL is for GPUs")]
fn a_cpu_cannot_join() {
    gpu(&mut Device::cpu(1));
}

/// A safe function must reject slots that a collective would read or write past.
#[test]
fn collectives_that_do_not_fit_the_world_are_refused() {
    let Some(stand_ins) = stand_ins() else { return };
    let id = stand_ins.2.new_id().unwrap();
    type Collective = fn(&mut Group<'_>, [Slot; 3]) -> tensor::Result<()>;
    let wrong: [(Collective, &str); 8] = [
        (|group, [_, block, short]| group.reduce_scatter(short, block), "one block a rank"),
        (|group, [_, block, short]| group.all_gather(block, short), "one block a rank"),
        (|group, [whole, ..]| group.reduce_scatter(whole, whole.part(0, BLOCK.into())), "overlap"),
        (|group, [whole, ..]| group.all_gather(whole.part(4, BLOCK.into()), whole), "overlap"),
        (|group, [whole, ..]| group.broadcast(whole, 2), "rank 2 in a world of 2"),
        (|group, [whole, ..]| group.send(whole, 2), "and rank 2"),
        (|group, [whole, ..]| group.recv(whole, usize::MAX), "and rank 18446744073709551615"),
        (|group, [whole, ..]| group.send(whole, 0), "rank 0 of 2 and rank 0"),
    ];
    on_gpus(stand_ins, 2, |rank| {
        let (mut device, slots) = gpu_with(rank, [&[1.0; 8], &[1.0; 4], &[1.0; 7]]);
        let comm = Nccl::join(stand_ins.2, &id, &mut device, rank, 2, TIMEOUT);
        let mut comm = comm.unwrap();
        for (ask, told) in wrong.iter().filter(|_| rank == 0) {
            let link = &mut comm.link;
            let asked = std::panic::AssertUnwindSafe(|| {
                let _ = link.start(gpu(&mut device), |group| ask(group, slots));
            });
            let panic = std::panic::catch_unwind(asked).unwrap_err();
            let said = panic.downcast_ref::<String>().unwrap();
            assert!(said.contains(told), "{told}: {said}");
        }
        // Nothing was started, and what fits still works.
        let [whole, block, _] = slots;
        let handle = comm.reduce_scatter(&mut device, whole, block).unwrap();
        comm.wait(&mut device, handle).unwrap();
        assert_eq!(device.download::<f32>(block).unwrap(), [2.0; 4]);
    });
}

const BLOCK: [usize; 1] = [4];
