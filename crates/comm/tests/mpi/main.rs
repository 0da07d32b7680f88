//! Ranks as processes under mpirun: every test here starts this program again, as so many ranks.

mod hosts;

use alexnet_comm::{Comm, Error, Handle, Mpi};
use hosts::TwoHosts;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use std::{env, thread};
use testkit::{bits_equal, device_with, random_array};

const CASE: &str = "ALEXNET_MPI_CASE";
const SHORT: Duration = Duration::from_secs(1);

/// Runs a case of [`as_a_rank`] on `ranks` ranks.
fn mpirun(ranks: usize, case: &str, options: &[&str]) -> Output {
    let mut mpirun = Command::new("mpirun");
    mpirun.args(["--allow-run-as-root", "--oversubscribe", "-np", &ranks.to_string()]);
    finish(mpirun.args(options), case)
}

fn finish(mpirun: &mut Command, case: &str) -> Output {
    mpirun
        .args(["-x", CASE])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "as_a_rank", "--nocapture", "--quiet"])
        .env(CASE, case)
        .output()
        .expect("mpirun, of Open MPI")
}

/// The lines that ranks print, sorted.
fn said(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter_map(|line| line.find("rank ").map(|at| line[at..].to_owned()));
    let mut lines: Vec<_> = lines.collect();
    lines.sort();
    lines
}

fn all_say(output: &Output, expected: &[&str]) {
    assert_eq!(said(output), expected, "{}", String::from_utf8_lossy(&output.stderr));
}

/// Under mpirun, a rank; by itself, nothing.
#[test]
fn as_a_rank() {
    let Ok(case) = env::var(CASE) else { return };
    let mut comm = Mpi::join(if case == "collectives" { Duration::from_secs(60) } else { SHORT })
        .expect("a rank of MPI's world");
    let (rank, ended) = (comm.rank(), run(&case, &mut comm));
    drop(comm);
    println!(
        "\nrank {rank}: {}",
        ended.as_ref().map_or_else(Error::to_string, ToString::to_string)
    );
    std::process::exit(ended.is_err().into());
}

fn run(case: &str, comm: &mut Mpi) -> alexnet_comm::Result<String> {
    let last = comm.rank() + 1 == comm.world();
    match case {
        "collectives" => {
            for round in 0..30 {
                collectives(comm, [0, 1, 7, 2047, 2048, 5000][round % 6], round % comm.world())?;
            }
            return Ok(format!("all well, {} ranks", comm.world()));
        }
        "a rank leaves" => sum_repeatedly(comm, |step| !(last && step == 20))?,
        "a rank hangs" => sum_repeatedly(comm, |step| {
            if last && step == 20 {
                thread::sleep(60 * SHORT);
            }
            true
        })?,
        "a rank is killed" => sum_repeatedly(comm, |step| {
            if last && step == 20 {
                let pid = std::process::id().to_string();
                Command::new("kill").args(["-9", &pid]).status().expect("kill");
            }
            true
        })?,
        "ranks disagree" => {
            let (mut device, [x, y]) = device_with([&[1.0; 4], &[1.0; 4]]);
            let work =
                if last { comm.all_reduce(&mut device, x) } else { comm.barrier(&mut device) };
            let (work, _next) = (work?, comm.all_reduce(&mut device, y)?);
            comm.wait(&mut device, work)?;
        }
        _ => unreachable!("a case called {case}"),
    }
    Ok("went on and on".into())
}

/// The initial values of a rank, whose sum depends on the order.
fn values(rank: usize, len: usize) -> Vec<f32> {
    random_array::<_, _>(rank as u64 + 1, len).to_vec()
}

fn sum(parts: &[Vec<f32>], element: usize) -> f32 {
    parts[1..].iter().fold(parts[0][element], |total, part| total + part[element])
}

/// All collectives at once, started together and waited for in reverse, against plain loops.
fn collectives(comm: &mut Mpi, len: usize, root: usize) -> alexnet_comm::Result<()> {
    let (rank, world) = (comm.rank(), comm.world());
    let (next, previous) = ((rank + 1) % world, (rank + world - 1) % world);
    let own: Vec<_> = (0..world).map(|rank| values(rank, len)).collect();
    let many: Vec<_> = (0..world).map(|rank| values(rank, world * len)).collect();
    let (zeros, many_zeros) = (vec![0.0; len], vec![0.0; world * len]);
    let mine = &own[rank];
    let (mut device, [reduced, whole, block, gathered, from_root, received, sent]) =
        device_with([mine, &many[rank], &zeros, &many_zeros, mine, &zeros, mine]);
    let mut handles: Vec<Handle> = vec![
        comm.all_reduce(&mut device, reduced)?,
        comm.reduce_scatter(&mut device, whole, block)?,
        comm.all_gather(&mut device, sent, gathered)?,
        comm.broadcast(&mut device, from_root, root)?,
        comm.barrier(&mut device)?,
    ];
    if world > 1 {
        handles.push(comm.send(&mut device, sent, next)?);
        handles.push(comm.recv(&mut device, received, previous)?);
    }
    handles.into_iter().rev().try_for_each(|handle| comm.wait(&mut device, handle))?;

    let get = |slot| device.download::<f32>(slot).unwrap();
    let sums: Vec<f32> = (0..len).map(|i| sum(&own, i)).collect();
    let blocks: Vec<f32> = (0..len).map(|i| sum(&many, rank * len + i)).collect();
    bits_equal(&get(reduced), &sums, "all_reduce");
    bits_equal(&get(block), &blocks, "reduce_scatter");
    bits_equal(&get(gathered), &own.concat(), "all_gather");
    bits_equal(&get(from_root), &own[root], "broadcast");
    if world > 1 {
        bits_equal(&get(received), &own[previous], "recv");
    }
    Ok(())
}

/// All-reduces until one fails or `goes_on` returns false.
fn sum_repeatedly(
    comm: &mut Mpi,
    mut goes_on: impl FnMut(u32) -> bool,
) -> alexnet_comm::Result<()> {
    let (mut device, [x]) = device_with([&[1.0; 10]]);
    for step in 0..100_000 {
        if !goes_on(step) {
            break;
        }
        let sum = comm.all_reduce(&mut device, x)?;
        comm.wait(&mut device, sum)?;
    }
    Ok(())
}

#[test]
fn results_are_those_of_plain_loops() {
    for ranks in [1, 2, 4] {
        let output = mpirun(ranks, "collectives", &[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let expected = (0..ranks).map(|rank| format!("rank {rank}: all well, {ranks} ranks"));
        assert_eq!(said(&output), expected.collect::<Vec<_>>());
    }
}

#[test]
fn a_rank_that_leaves_is_noticed() {
    let began = Instant::now();
    let output = mpirun(3, "a rank leaves", &[]);
    assert!(began.elapsed() < 20 * SHORT && !output.status.success());
    let missed = "rank 2 ended before the others: all ranks stop";
    let (first, second) = (format!("rank 0: {missed}"), format!("rank 1: {missed}"));
    let all = [&*first, &*second, "rank 2: went on and on"];
    // mpirun may kill the second before it has printed.
    let said = said(&output);
    assert!(said.len() >= 2 && said.iter().all(|line| all.contains(&&**line)), "{said:?}");

    // As here it does not.
    let began = Instant::now();
    let output = mpirun(3, "a rank leaves", &["--enable-recovery"]);
    assert!(began.elapsed() < 20 * SHORT);
    all_say(&output, &all);
}

#[test]
fn a_rank_that_hangs_is_named_by_all_and_ended() {
    let began = Instant::now();
    let output = mpirun(3, "a rank hangs", &[]);
    assert!(began.elapsed() < 30 * SHORT && !output.status.success());
    let said = said(&output);
    let missed = "rank 2 has not answered for 1 s: all ranks stop";
    let names = |line: &String| line.ends_with(missed);
    // mpirun may end the second before it has spoken.
    assert!(!said.is_empty() && said.iter().all(names), "{said:?}");
}

#[test]
fn a_rank_that_is_killed_is_named() {
    let began = Instant::now();
    let output = mpirun(3, "a rank is killed", &[]);
    assert!(began.elapsed() < 30 * SHORT && !output.status.success());
    let mpirun_says = String::from_utf8_lossy(&output.stderr);
    assert!(mpirun_says.contains("rank 2"), "{mpirun_says}");
}

#[test]
fn ranks_notice_a_killed_one_if_the_launcher_does_not_end_them() {
    let began = Instant::now();
    let output = mpirun(3, "a rank is killed", &["--enable-recovery"]);
    assert!(began.elapsed() < 30 * SHORT);
    let missed = "rank 2 has not answered for 1 s: all ranks stop";
    let (first, second) = (format!("rank 0: {missed}"), format!("rank 1: {missed}"));
    all_say(&output, &[&first, &second]);
}

#[test]
fn different_collectives_are_reported() {
    let output = mpirun(2, "ranks disagree", &[]);
    assert!(!output.status.success());
    let said = said(&output);
    let tells = |line: &String| line.contains("barrier") && line.contains("all_reduce of 4 floats");
    assert!(said.iter().any(tells), "{said:?}");
}

#[test]
fn a_world_may_have_two_hosts() {
    let hosts = match TwoHosts::new() {
        Ok(hosts) => hosts,
        Err(why) => return println!("SKIPPED: no network namespaces here: {why}"),
    };
    let before = hosts.bytes();
    let output = finish(&mut hosts.mpirun(), "collectives");
    all_say(&output, &["rank 0: all well, 2 ranks", "rank 1: all well, 2 ranks"]);
    // Five of each length: a sum, a gathering and what is sent are one slot each, a scattering too;
    // a broadcast is one from every other root.
    let floats = 5 * (4 + 1) * (1 + 7 + 2047 + 2048 + 5000) - 5 * (1 + 2047 + 5000);
    let crossed = hosts.bytes() - before;
    let floor = 4 * floats;
    assert!((floor..3 * floor).contains(&crossed), "{crossed} bytes crossed, {floor} had to");
}
