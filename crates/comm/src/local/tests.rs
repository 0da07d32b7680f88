use super::*;
use proptest::prelude::*;
use std::thread;
use std::time::Instant;
use testkit::{bits_equal, device_with, random_array};

const SHORT: Duration = Duration::from_millis(200);

/// Runs `work` on every rank, each on a thread with its own device, and returns the results.
fn on_ranks<T: Send>(
    ranks: usize,
    timeout: Duration,
    work: impl Fn(Local) -> T + Sync,
) -> Vec<thread::Result<T>> {
    let work = &work;
    thread::scope(|scope| {
        let world = Local::world(ranks, timeout);
        let threads: Vec<_> =
            world.into_iter().map(|comm| scope.spawn(move || work(comm))).collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    })
}

/// The initial values of a rank, whose sum depends on the order.
fn values(rank: usize, len: usize) -> Vec<f32> {
    random_array::<_, _>(rank as u64 + 1, len).to_vec()
}

/// The sum of an element, in rank order.
fn sum_of(parts: &[Vec<f32>], element: usize) -> f32 {
    let mut total = parts[0][element];
    parts[1..].iter().for_each(|part| total += part[element]);
    total
}

/// All collectives at once, started together and waited for in reverse.
fn all_at_once(mut comm: Local, len: usize, root: usize) -> Result<[Vec<f32>; 5]> {
    let (rank, world) = (comm.rank(), comm.world());
    let (next, previous) = ((rank + 1) % world, (rank + world - 1) % world);
    let (own, many) = (values(rank, len), values(rank, world * len));
    let (zeros, many_zeros) = (vec![0.0; len], vec![0.0; world * len]);
    let (mut device, [sum, whole, block, gathered, root_s, received, sent]) =
        device_with([&own, &many, &zeros, &many_zeros, &own, &zeros, &own]);
    let mut handles = vec![
        comm.all_reduce(&mut device, sum)?,
        comm.reduce_scatter(&mut device, whole, block)?,
        comm.all_gather(&mut device, sent, gathered)?,
        comm.broadcast(&mut device, root_s, root)?,
        comm.barrier(&mut device)?,
    ];
    if world > 1 {
        handles.push(comm.send(&mut device, sent, next)?);
        handles.push(comm.recv(&mut device, received, previous)?);
    }
    for handle in handles.into_iter().rev() {
        comm.wait(&mut device, handle)?;
    }
    Ok([sum, block, gathered, root_s, received].map(|slot| device.download(slot).unwrap()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn results_are_those_of_plain_loops(
        world in 1usize..=8,
        len in prop_oneof![0usize..20, Just(RUN), RUN - 1..3 * RUN],
        root in 0usize..8,
    ) {
        let root = root % world;
        let own: Vec<_> = (0..world).map(|rank| values(rank, len)).collect();
        let many: Vec<_> = (0..world).map(|rank| values(rank, world * len)).collect();
        let sums: Vec<f32> = (0..len).map(|i| sum_of(&own, i)).collect();
        let made = on_ranks(world, Local::TIMEOUT, |comm| all_at_once(comm, len, root).unwrap());
        for (rank, made) in made.into_iter().enumerate() {
            let [sum, block, gathered, from_root, received] = made.unwrap();
            bits_equal(&sum, &sums, "all_reduce");
            let expected: Vec<f32> = (0..len).map(|i| sum_of(&many, rank * len + i)).collect();
            bits_equal(&block, &expected, "reduce_scatter");
            bits_equal(&gathered, &own.concat(), "all_gather");
            bits_equal(&from_root, &own[root], "broadcast");
            if world > 1 {
                bits_equal(&received, &own[(rank + world - 1) % world], "recv");
            }
        }
    }
}

#[test]
fn messages_are_received_in_order() {
    on_ranks(2, Local::TIMEOUT, |mut comm| {
        let (mut device, [x, y]) = device_with([&[0.0; 3], &[0.0; 3]]);
        for step in 0..50 {
            let mut handles = Vec::new();
            for slot in [x, y] {
                if comm.rank() == 0 {
                    device.upload(slot, &[step as f32; 3]).unwrap();
                    handles.push(comm.send(&mut device, slot, 1).unwrap());
                    device.upload(slot, &[-1.0; 3]).unwrap();
                } else {
                    handles.push(comm.recv(&mut device, slot, 0).unwrap());
                }
            }
            handles.into_iter().rev().for_each(|handle| comm.wait(&mut device, handle).unwrap());
            if comm.rank() == 1 {
                assert_eq!(device.download::<f32>(x).unwrap(), [step as f32; 3]);
                assert_eq!(device.download::<f32>(y).unwrap(), [step as f32; 3]);
            }
        }
    })
    .into_iter()
    .for_each(|rank| rank.unwrap());
}

/// All-reduces until one fails or `before` returns false.
fn sum_repeatedly(mut comm: Local, mut before: impl FnMut(usize, u32) -> bool) -> Option<Error> {
    let (mut device, [x]) = device_with([&[1.0; 10]]);
    for step in 0..1000 {
        if !before(comm.rank(), step) {
            return None;
        }
        let ended = comm.all_reduce(&mut device, x).and_then(|sum| comm.wait(&mut device, sum));
        if let Err(error) = ended {
            return Some(error);
        }
    }
    unreachable!("rank {} does not stop", comm.rank());
}

/// Checks the error of every rank but one.
fn others_fail_with(made: Vec<thread::Result<Option<Error>>>, lost: usize, sentence: &str) {
    for (rank, made) in made.into_iter().enumerate().filter(|(rank, _)| *rank != lost) {
        let error = made.expect("only one rank panics").expect("noticed").to_string();
        assert!(error.starts_with(sentence), "rank {rank} of {lost} lost: {error}");
    }
}

#[test]
fn a_rank_that_panics_is_named_by_all_others() {
    for lost in 0..4 {
        let began = Instant::now();
        let made = on_ranks(4, Local::TIMEOUT, |comm| {
            sum_repeatedly(comm, |rank, step| {
                assert!(rank != lost || step < 5, "planned");
                true
            })
        });
        others_fail_with(made, lost, &format!("rank {lost} panicked"));
        assert!(began.elapsed() < Duration::from_secs(10), "noticed at once");
    }
}

#[test]
fn a_rank_that_ends_early_is_named_by_all_others() {
    for lost in 0..3 {
        let made = on_ranks(3, Local::TIMEOUT, |comm| {
            sum_repeatedly(comm, |rank, step| rank != lost || step < 5)
        });
        others_fail_with(made, lost, &format!("rank {lost} ended before the others"));
    }
}

#[test]
fn a_rank_that_hangs_is_named_after_the_timeout() {
    let made = on_ranks(3, SHORT, |comm| {
        sum_repeatedly(comm, |rank, step| {
            let hangs = rank == 1 && step == 5;
            if hangs {
                thread::sleep(5 * SHORT);
            }
            !hangs
        })
    });
    others_fail_with(made, 1, "rank 1 has not answered for 0.2 s: all ranks stop");
}

/// Rank 0 waits for rank 1, which waits for rank 2, which hangs.
#[test]
fn a_rank_that_waits_for_a_silent_one_is_not_blamed() {
    let made = on_ranks(3, SHORT, |mut comm| {
        let (mut device, [x]) = device_with([&[1.0; 10]]);
        let from = comm.rank() + 1;
        if from == 3 {
            thread::sleep(5 * SHORT);
            return None;
        }
        thread::sleep(SHORT / 4 * comm.rank() as u32); // the timeout of rank 0 ends first
        let handle = comm.recv(&mut device, x, from).unwrap();
        comm.wait(&mut device, handle).err()
    });
    others_fail_with(made, 2, "rank 2 has not answered");
}

#[test]
fn different_collectives_are_reported() {
    let made = on_ranks(2, Local::TIMEOUT, |mut comm| {
        let (mut device, [x, y]) = device_with([&[1.0; 10], &[1.0; 9]]);
        let handle = match comm.rank() {
            0 => comm.all_reduce(&mut device, x),
            _ => comm.broadcast(&mut device, y, 1),
        };
        comm.wait(&mut device, handle.unwrap()).err().map(|error| error.to_string())
    });
    assert_eq!(
        made[0].as_ref().unwrap().as_deref(),
        Some(
            "rank 1 started broadcast of 9 floats from rank 1 where rank 0 started all_reduce of \
             10 floats: all ranks stop"
        )
    );
}

#[test]
fn slots_that_do_not_fit_are_refused() {
    let made = on_ranks(2, SHORT, |mut comm| {
        let (mut device, [x, y]) = device_with([&[1.0; 10], &[1.0; 9]]);
        comm.reduce_scatter(&mut device, x, y).map(drop).unwrap();
    });
    assert!(made.iter().all(|rank| rank.is_err()));
}

/// Computed by hand: a world of three, blocks of ten floats.
#[test]
fn messages_are_counted() {
    let made = on_ranks(3, Local::TIMEOUT, |mut comm| {
        let (mut device, [block, whole]) = device_with([&[1.0; 10], &[1.0; 30]]);
        let mut sent = Vec::new();
        let works = [
            Collective::AllReduce { x: block },
            Collective::ReduceScatter { x: whole, block },
            Collective::AllGather { block, y: whole },
            Collective::Broadcast { x: block, root: 1 },
            Collective::Barrier,
        ];
        for work in works {
            let before = comm.traffic();
            let handle = comm.start(&mut device, work).unwrap();
            comm.wait(&mut device, handle).unwrap();
            let after = comm.traffic();
            sent.push([after.messages - before.messages, after.bytes - before.bytes]);
        }
        sent
    });
    for (rank, sent) in made.into_iter().enumerate() {
        let broadcast = if rank == 1 { [2, 80] } else { [0, 0] };
        assert_eq!(sent.unwrap(), [[2, 80], [2, 80], [2, 80], broadcast, [2, 0]], "rank {rank}");
    }
}
