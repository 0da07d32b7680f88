//! Runs a test body on every device.

use crate::{bits_equal, is_long};
use cuda_on_cpu::{Behaviour, Schedule, StandIn};
use std::cell::{Cell, RefCell};
use std::sync::OnceLock;
use tensor::{Choice, Device};

/// Runs `test` on every device.
///
/// First the CPU with one thread and with three. Then the first CUDA GPU; without a GPU its
/// stand-in on the CPU, once for each order of threads in [`Schedule::ALL`]. Without g++ there is
/// no stand-in; this is reported on standard error. `ALEXNET_REQUIRE_CUDA=1` in the environment
/// requires a GPU.
///
/// # Panics
/// If a GPU is required and cannot be opened, or the kernels do not compile.
pub fn each_device(mut test: impl FnMut(&mut Device)) {
    each_cpu(&mut test);
    each_gpu(&mut test);
}

/// [`each_device`] without CUDA: for ops without a kernel.
pub fn each_cpu(mut test: impl FnMut(&mut Device)) {
    test(&mut Device::cpu(1));
    test(&mut Device::cpu(3));
}

/// [`each_device`] without the CPU. Long runs report at the end of each test how often it was
/// called: of a property test, the number of geometries.
///
/// # Panics
/// As `each_device`.
pub fn each_gpu(mut test: impl FnMut(&mut Device)) {
    CALLS.with(|calls| calls.0.set(calls.0.get() + 1));
    match cuda_device() {
        CudaDevice::None => {}
        CudaDevice::Gpu => with_gpu(&mut test),
        CudaDevice::StandIn(stand_in) => {
            for schedule in Schedule::ALL {
                stand_in.behave(Behaviour { schedule, ..Behaviour::default() });
                with_gpu(&mut test);
            }
        }
    }
}

thread_local! {
    static CALLS: Calls = const { Calls(Cell::new(0)) };
}

/// How often a test has called [`each_gpu`]; reported when the test's thread ends.
struct Calls(Cell<u32>);

impl Drop for Calls {
    fn drop(&mut self) {
        if is_long() {
            let thread = std::thread::current();
            let (test, calls) = (thread.name().unwrap_or("a test"), self.0.get());
            match cuda_device() {
                CudaDevice::None => {}
                CudaDevice::Gpu => eprintln!("{test}: {calls} cases on a GPU"),
                CudaDevice::StandIn(_) => {
                    let schedules = Schedule::ALL.len();
                    eprintln!("{test}: {calls} cases x {schedules} schedules on the stand-in");
                }
            }
        }
    }
}

/// Runs `test` on this test thread's GPU, which stays open so that modules are loaded once. If the
/// test panics, the GPU is dropped.
fn with_gpu(test: &mut impl FnMut(&mut Device)) {
    thread_local! {
        static GPU: RefCell<Option<Device>> = const { RefCell::new(None) };
    }
    let open = || Device::open(Choice::Cuda(0), 0).expect("a GPU that was opened before");
    let mut gpu = GPU.take().unwrap_or_else(open);
    test(&mut gpu);
    GPU.set(Some(gpu));
}

/// What CUDA tests run on.
enum CudaDevice {
    Gpu,
    StandIn(&'static StandIn),
    None,
}

fn cuda_device() -> &'static CudaDevice {
    static DEVICE: OnceLock<CudaDevice> = OnceLock::new();
    DEVICE.get_or_init(|| {
        let Err(error) = Device::open(Choice::Cuda(0), 0) else { return CudaDevice::Gpu };
        let required = std::env::var_os("ALEXNET_REQUIRE_CUDA").is_some_and(|set| set == "1");
        assert!(!required, "ALEXNET_REQUIRE_CUDA=1, but {error}");
        match cuda_on_cpu::load() {
            Ok(stand_in) => CudaDevice::StandIn(stand_in),
            Err(why) if why.contains("g++ did not start") => {
                eprintln!("SKIPPED on CUDA: {error}; and no stand-in: {why}");
                CudaDevice::None
            }
            Err(why) => panic!("the stand-in for CUDA: {why}"),
        }
    })
}

/// A newly opened GPU: the first CUDA GPU, or its stand-in with default behaviour. `None` if there
/// is neither.
///
/// # Panics
/// As [`each_device`].
pub fn own_gpu() -> Option<Device> {
    match cuda_device() {
        CudaDevice::None => return None,
        CudaDevice::Gpu => {}
        CudaDevice::StandIn(stand_in) => stand_in.behave(Behaviour::default()),
    }
    Some(Device::open(Choice::Cuda(0), 0).expect("a GPU that was opened before"))
}

/// The stand-in, if [`each_gpu`] runs on it: for tests that make it fail.
pub fn stand_in_in_use() -> Option<&'static StandIn> {
    match cuda_device() {
        CudaDevice::StandIn(stand_in) => Some(stand_in),
        CudaDevice::Gpu | CudaDevice::None => None,
    }
}

/// Asserts that `run(threads)` is bit-identical for 1, 2, 3 and 8 threads.
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

/// Asserts that `run(gpu)` is bit-identical for any order of a GPU's blocks and threads.
///
/// # Panics
/// If it does not; and as [`each_device`].
#[track_caller]
pub fn same_bits_on_gpus(mut run: impl FnMut(&mut Device) -> Vec<f32>) {
    let mut first: Option<Vec<f32>> = None;
    each_gpu(|device| {
        let result = run(device);
        match &first {
            None => first = Some(result),
            Some(first) => bits_equal(&result, first, "another order"),
        }
    });
}
