//! Ranks as processes that a launcher like torchrun started, each with a GPU: every test here
//! starts this program again, as so many ranks, with stand-ins for the driver and for NCCL.

use alexnet_comm::rendezvous::Launch;
use alexnet_comm::{Comm, Nccl};
use std::env;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tensor::{Choice, DType, Device, Planner, Shape};

const CASE: &str = "ALEXNET_NCCL_CASE";

/// Runs as a rank if started by another test; otherwise does nothing.
#[test]
fn as_a_rank() {
    if env::var_os(CASE).is_none() {
        return;
    }
    let told = match run() {
        Ok(told) => told,
        Err(error) => error.to_string(),
    };
    println!("\nrank: {told}");
}

fn run() -> alexnet_comm::Result<String> {
    cuda_on_cpu::load().expect("the stand-in, which the parent has found");
    let launch = Launch::from_environment()?.expect("started by a launcher");
    let x = Planner::new().claim(DType::F32, Shape::from([3]));
    let mut device = Device::open(Choice::Cuda(launch.local), 0)?;
    device.reserve(x.range().end)?;
    device.upload(x, &[1.0, 2.0, launch.rank as f32])?;
    let mut comm = Nccl::connect(&mut device, &launch, Duration::from_secs(20))?;
    let sum = comm.all_reduce(&mut device, x)?;
    comm.wait(&mut device, sum)?;
    let sum = device.download::<f32>(x)?;
    Ok(format!("{} of {}: {sum:?}", comm.rank(), comm.world()))
}

/// The output of `ranks` ranks, each with its own GPU; they find NCCL in `folder`.
fn start(ranks: usize, folder: &str) -> Vec<String> {
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let start = |rank: usize| {
        Command::new(env::current_exe().unwrap())
            .args(["--exact", "as_a_rank", "--nocapture", "--quiet"])
            .env(CASE, "")
            .env("LD_LIBRARY_PATH", folder)
            .env("CUDA_ON_CPU", format!("devices={ranks}"))
            .env("RANK", rank.to_string())
            .env("LOCAL_RANK", rank.to_string())
            .env("WORLD_SIZE", ranks.to_string())
            .env("MASTER_ADDR", "127.0.0.1")
            .env("MASTER_PORT", port.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let started: Vec<_> = (0..ranks).map(start).collect();
    let said = |output: Output| {
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().find_map(|line| Some(line.split_once("rank: ")?.1.to_owned()));
        line.unwrap_or_else(|| panic!("{text}"))
    };
    started.into_iter().map(|process| said(process.wait_with_output().unwrap())).collect()
}

#[test]
fn processes_with_one_gpu_each_form_a_world() {
    if testkit::stand_in_in_use().is_none() {
        return;
    }
    let library = cuda_on_cpu::Nccl::without(&[]).unwrap();
    let folder = library.parent().unwrap().to_str().unwrap();
    for (world, sum) in [(2, "[2.0, 4.0, 1.0]"), (4, "[4.0, 8.0, 6.0]")] {
        let expected: Vec<_> = (0..world).map(|r| format!("{r} of {world}: {sum}")).collect();
        assert_eq!(start(world, folder), expected);
    }
}

#[test]
fn without_nccl_every_rank_reports_the_remedy() {
    if testkit::stand_in_in_use().is_none() {
        return;
    }
    if let Ok(found) = tensor::nccl::Nccl::find() {
        return println!("SKIPPED: NCCL {} is installed", found.version());
    }
    for told in start(2, "") {
        let because = "NCCL cannot be used: libnccl.so.2: cannot open shared object file";
        assert!(told.starts_with(because) && told.contains("LD_LIBRARY_PATH"), "{told}");
    }
}
