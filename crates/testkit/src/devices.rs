//! One test body for every device.

use crate::bits_equal;
use cuda_on_cpu::{Behaviour, Schedule, StandIn};
use std::cell::RefCell;
use std::sync::OnceLock;
use tensor::{Choice, Device};

/// Runs `test` on every device.
///
/// The CPU has its turn with one thread and with three. Then comes the first CUDA GPU; where there
/// is none, its stand-in on the CPU, once for each order of threads in [`Schedule::ALL`]. Without
/// g++ there is no stand-in, which is said on standard error. With `ALEXNET_REQUIRE_CUDA=1` in the
/// environment only a GPU will do.
///
/// # Panics
/// If a GPU is required and cannot be opened, or the kernels do not compile.
pub fn each_device(mut test: impl FnMut(&mut Device)) {
    each_cpu(&mut test);
    each_gpu(&mut test);
}

/// [`each_device`] without CUDA: for ops that have no kernel yet.
pub fn each_cpu(mut test: impl FnMut(&mut Device)) {
    test(&mut Device::cpu(1));
    test(&mut Device::cpu(3));
}

/// [`each_device`] without the CPU.
///
/// # Panics
/// As `each_device`.
pub fn each_gpu(mut test: impl FnMut(&mut Device)) {
    match kind() {
        Kind::None => {}
        Kind::Gpu => with_gpu(&mut test),
        Kind::StandIn(stand_in) => {
            for schedule in Schedule::ALL {
                stand_in.behave(Behaviour { schedule, ..Behaviour::default() });
                with_gpu(&mut test);
            }
        }
    }
}

/// Runs `test` on this test thread's GPU, which stays open: modules are loaded once. If the test
/// panics the GPU goes, whatever state it was in.
fn with_gpu(test: &mut impl FnMut(&mut Device)) {
    thread_local! {
        static GPU: RefCell<Option<Device>> = const { RefCell::new(None) };
    }
    let open = || Device::open(Choice::Cuda(0), 0).expect("the GPU that was there just now");
    let mut gpu = GPU.take().unwrap_or_else(open);
    test(&mut gpu);
    GPU.set(Some(gpu));
}

/// What there is for CUDA.
enum Kind {
    Gpu,
    StandIn(&'static StandIn),
    None,
}

fn kind() -> &'static Kind {
    static KIND: OnceLock<Kind> = OnceLock::new();
    KIND.get_or_init(|| {
        let Err(error) = Device::open(Choice::Cuda(0), 0) else { return Kind::Gpu };
        let required = std::env::var_os("ALEXNET_REQUIRE_CUDA").is_some_and(|set| set == "1");
        assert!(!required, "ALEXNET_REQUIRE_CUDA=1, but {error}");
        match cuda_on_cpu::load() {
            Ok(stand_in) => Kind::StandIn(stand_in),
            Err(why) if why.contains("g++ did not start") => {
                eprintln!("SKIPPED on CUDA: {error}; and no stand-in: {why}");
                Kind::None
            }
            Err(why) => panic!("the stand-in for CUDA: {why}"),
        }
    })
}

/// A GPU of one's own, opened anew: the first CUDA GPU, or its stand-in, behaving as it comes.
/// Where there is neither, `None`.
///
/// # Panics
/// As [`each_device`].
pub fn own_gpu() -> Option<Device> {
    match kind() {
        Kind::None => return None,
        Kind::Gpu => {}
        Kind::StandIn(stand_in) => stand_in.behave(Behaviour::default()),
    }
    Some(Device::open(Choice::Cuda(0), 0).expect("the GPU that was there just now"))
}

/// The stand-in, if it is what [`each_gpu`] runs on: for tests that have it fail.
pub fn stand_in_in_use() -> Option<&'static StandIn> {
    match kind() {
        Kind::StandIn(stand_in) => Some(stand_in),
        Kind::Gpu | Kind::None => None,
    }
}

/// Asserts that `run(threads)` gives the same bits for 1, 2, 3 and 8 threads.
///
/// # Panics
/// If it does not.
#[track_caller]
pub fn same_bits_for_threads(run: impl Fn(usize) -> Vec<f32>) {
    let alone = run(1);
    for threads in [2, 3, 8] {
        bits_equal(&run(threads), &alone, &format!("{threads} threads against 1"));
    }
}

/// Asserts that `run(gpu)` gives the same bits in whatever order a GPU's blocks and threads come.
///
/// # Panics
/// If it does not; and as [`each_device`].
#[track_caller]
pub fn same_bits_on_gpus(mut run: impl FnMut(&mut Device) -> Vec<f32>) {
    let mut first: Option<Vec<f32>> = None;
    each_gpu(|device| {
        let made = run(device);
        match &first {
            None => first = Some(made),
            Some(first) => bits_equal(&made, first, "another order"),
        }
    });
}
