//! The stand-in reports every planted error in every schedule, and nothing for correct kernels.

use alexnet_cuda_on_cpu::{Behaviour, Schedule, Sources, StandIn};
use std::ffi::{CString, c_void};
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::sync::OnceLock;

type Raw = *mut c_void;

/// The stand-in with the planted kernels; `None` and a message without g++.
fn stand_in() -> Option<&'static StandIn> {
    static LOADED: OnceLock<Option<StandIn>> = OnceLock::new();
    let load = || {
        if std::process::Command::new("g++").arg("--version").output().is_err() {
            eprintln!("SKIPPED: the stand-in for CUDA cannot be built without g++");
            return None;
        }
        let kernels: PathBuf =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernels/planted.cu");
        let sources = Sources { kernels: vec![kernels], ..Sources::default() };
        Some(StandIn::open(&sources.build().unwrap()).unwrap())
    };
    LOADED.get_or_init(load).as_ref()
}

macro_rules! call {
    ($driver:expr, $name:literal ( $($argument:expr),* ) as fn($($kind:ty),*)) => {{
        // SAFETY: the driver has this signature, and the arguments outlive the call.
        unsafe {
            let function = $driver
                .library()
                .get::<unsafe extern "C" fn($($kind),*) -> i32>($name.to_bytes_with_nul())
                .unwrap();
            function($($argument),*)
        }
    }};
}

/// A context for this thread, usable even if a kernel failed in the previous one.
fn open(driver: &StandIn) {
    let mut context: Raw = null_mut();
    call!(driver, c"cuDevicePrimaryCtxRetain"(&mut context, 0) as fn(*mut Raw, i32));
    call!(driver, c"cuCtxSetCurrent"(context) as fn(Raw));
}

/// Device memory with these values.
fn upload<T>(driver: &StandIn, values: &[T]) -> u64 {
    let (mut address, bytes) = (0u64, size_of_val(values));
    open(driver);
    assert_eq!(0, call!(driver, c"cuMemAlloc_v2"(&mut address, bytes) as fn(*mut u64, usize)));
    let from = values.as_ptr().cast();
    let copy = call!(
        driver,
        c"cuMemcpyHtoDAsync_v2"(address, from, bytes, null_mut())
            as fn(u64, *const c_void, usize, Raw)
    );
    assert_eq!(copy, 0);
    address
}

fn download(driver: &StandIn, address: u64, len: usize) -> Vec<f32> {
    let mut values = vec![0.0f32; len];
    let copy = call!(
        driver,
        c"cuMemcpyDtoHAsync_v2"(values.as_mut_ptr().cast(), address, 4 * len, null_mut())
            as fn(*mut c_void, u64, usize, Raw)
    );
    assert_eq!(copy, 0);
    values
}

/// A fatbin without entries.
const EMPTY_FATBIN: [u8; 16] = [0x50, 0xed, 0x55, 0xba, 1, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A kernel, not loaded yet.
fn function(driver: &StandIn, kernel: &str) -> Raw {
    open(driver);
    let (mut module, mut function): (Raw, Raw) = (null_mut(), null_mut());
    let image = EMPTY_FATBIN.as_ptr().cast();
    call!(driver, c"cuModuleLoadData"(&mut module, image) as fn(*mut Raw, *const c_void));
    let name = CString::new(kernel).unwrap();
    let found = call!(
        driver,
        c"cuModuleGetFunction"(&mut function, module, name.as_ptr())
            as fn(*mut Raw, Raw, *const std::ffi::c_char)
    );
    assert_eq!(found, 0, "{kernel}");
    function
}

/// Enqueues a launch; returns the driver's code.
fn start(
    driver: &StandIn,
    function: Raw,
    [blocks, threads]: [u32; 2],
    stream: Raw,
    args: &[u64],
) -> i32 {
    let mut pointers: Vec<*const u64> = args.iter().map(std::ptr::from_ref).collect();
    call!(
        driver,
        c"cuLaunchKernel"(
            function,
            blocks,
            1,
            1,
            threads,
            1,
            1,
            0,
            stream,
            pointers.as_mut_ptr().cast(),
            null_mut()
        ) as fn(Raw, u32, u32, u32, u32, u32, u32, u32, Raw, *mut Raw, Raw)
    )
}

/// Launches `kernel` and waits; returns its error, or an empty string.
fn launch(driver: &StandIn, kernel: &str, blocks: u32, threads: u32, args: &[u64]) -> String {
    let none = null_mut();
    let function = function(driver, kernel);
    assert_eq!(start(driver, function, [blocks, threads], none, args), 0);
    match call!(driver, c"cuStreamSynchronize"(none) as fn(Raw)) {
        0 => String::new(),
        code => {
            assert_eq!(code, 719, "the error of a kernel that failed");
            driver.last_failure()
        }
    }
}

/// Runs `test` once for each schedule.
fn in_every_schedule(test: impl Fn(&StandIn)) {
    let Some(driver) = stand_in() else { return };
    for schedule in Schedule::ALL.into_iter().chain((1..6).map(Schedule::Shuffled)) {
        driver.behave(Behaviour { schedule, ..Behaviour::default() });
        test(driver);
    }
}

fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i * i % 31) as f32).collect()
}

#[test]
fn correct_kernels_pass() {
    let values = numbers(128);
    in_every_schedule(|driver| {
        let (x, y) = (upload(driver, &values), upload(driver, &values));
        assert_eq!(launch(driver, "reversed", 2, 64, &[x, y]), "");
        let reversed: Vec<f32> =
            values.chunks(64).flat_map(|block| block.iter().rev().copied()).collect();
        assert_eq!(download(driver, y, 128), reversed);
        assert_eq!(launch(driver, "tiles_summed", 1, 64, &[x, y, 2]), "");
        assert_eq!(download(driver, y, 64), vec![values.iter().sum::<f32>(); 64]);
        assert_eq!(launch(driver, "warp_sums", 2, 64, &[x, y]), "");
        let sums: Vec<f32> = values.chunks(32).map(|warp| warp.iter().sum()).collect();
        assert_eq!(download(driver, y, 4), sums);
    });
}

#[test]
fn a_missing_barrier_is_reported() {
    in_every_schedule(|driver| {
        let (x, y) = (upload(driver, &numbers(128)), upload(driver, &numbers(128)));
        for (kernel, args) in [
            ("reversed_without_barrier", &[x, y][..]),
            ("tiles_summed_without_barrier", &[x, y, 2]),
        ] {
            let failure = launch(driver, kernel, 1, 64, args);
            assert!(failure.contains("no barrier lies between"), "{kernel}: {failure:?}");
        }
    });
}

#[test]
fn an_off_by_one_access_is_reported() {
    in_every_schedule(|driver| {
        // One allocation, like a device's arena: only `lend_only` marks the end of y.
        let base = upload(driver, &numbers(512));
        let (x, y) = (base, base + 1024);
        driver.lend_only(&[(x, 400), (y, 400)]);
        assert_eq!(launch(driver, "incremented", 2, 64, &[x, y, 100]), "");
        let failure = launch(driver, "incremented_off_by_one", 2, 64, &[x, y, 100]);
        let expected = "block (1,0,0) thread (36,0,0) writes 4 bytes past the end of an operand";
        assert!(failure.ends_with(expected), "{failure:?}");
    });
}

#[test]
fn an_access_outside_device_memory_is_reported() {
    in_every_schedule(|driver| {
        let (x, y) = (upload(driver, &numbers(100)), upload(driver, &numbers(100)));
        let failure = launch(driver, "incremented", 4, 64, &[x, y, 2000]);
        assert!(failure.contains("outside all device memory"), "{failure:?}");
    });
}

#[test]
fn a_misaligned_wide_access_is_reported() {
    in_every_schedule(|driver| {
        let (x, y) = (upload(driver, &numbers(100)), upload(driver, &numbers(100)));
        let failure = launch(driver, "incremented_in_fours", 1, 64, &[x, y, 100]);
        assert!(failure.contains("is not a multiple of 16"), "{failure:?}");
        assert!(failure.contains("planted.cu:"), "{failure:?}");
    });
}

#[test]
fn barriers_that_some_threads_miss_are_reported() {
    in_every_schedule(|driver| {
        let y = upload(driver, &numbers(64));
        let failure = launch(driver, "divergent_barrier", 1, 64, &[y]);
        assert!(failure.contains("while others wait at line"), "{failure:?}");
        let failure = launch(driver, "barrier_of_half_a_warp", 1, 32, &[y]);
        assert!(failure.contains("has ended") || failure.contains("for ever"), "{failure:?}");
    });
}

#[test]
fn an_index_outside_a_shared_array_is_reported() {
    in_every_schedule(|driver| {
        let y = upload(driver, &numbers(64));
        let failure = launch(driver, "shared_index_outside", 1, 64, &[y]);
        assert!(failure.contains("is outside its array"), "{failure:?}");
    });
}

#[test]
fn a_tensor_core_product_is_right_and_a_missing_wait_is_reported() {
    let bf16 = |values: &[f32]| -> Vec<u16> {
        values.iter().map(|value| (value.to_bits() >> 16) as u16).collect() // small whole numbers
    };
    let (a, b) = (numbers(256), numbers(512)[256..].to_vec());
    let product: Vec<f32> =
        (0..256).map(|e| (0..16).map(|k| a[e / 16 * 16 + k] * b[k * 16 + e % 16]).sum()).collect();
    in_every_schedule(|driver| {
        let (a, b) = (upload(driver, &bf16(&a)), upload(driver, &bf16(&b)));
        let y = upload(driver, &[0.0f32; 256]);
        assert_eq!(launch(driver, "tensor_core_product", 1, 32, &[a, b, y, 1]), "");
        assert_eq!(download(driver, y, 256), product);
        let failure = launch(driver, "tensor_core_product", 1, 32, &[a, b, y, 0]);
        assert!(failure.contains("has not waited for it"), "{failure:?}");
    });
}

#[test]
fn asynchronous_copies_without_wait_or_barrier_are_reported() {
    let values = numbers(64);
    in_every_schedule(|driver| {
        let (x, y) = (upload(driver, &values), upload(driver, &values));
        assert_eq!(launch(driver, "copied", 1, 64, &[x, y]), "");
        let reversed: Vec<f32> = values.iter().rev().copied().collect();
        assert_eq!(download(driver, y, 64), reversed);
        // What is filled with zeros is not read.
        let few = upload(driver, &values[..16]);
        assert_eq!(launch(driver, "copied_or_zero", 1, 64, &[few, y, 16]), "");
        assert_eq!(download(driver, y, 64), [&values[..16], &[0.0; 48]].concat());
        assert!(!launch(driver, "copied_or_zero", 1, 64, &[few, y, 17]).is_empty());
        for kernel in ["copied_without_wait", "copied_with_barrier_before_wait"] {
            let failure = launch(driver, kernel, 1, 64, &[x, y]);
            let found = ["has not waited for it", "no barrier lies between"];
            assert!(found.iter().any(|text| failure.contains(text)), "{kernel}: {failure:?}");
        }
    });
}

#[test]
fn misaligned_asynchronous_copies_are_reported() {
    in_every_schedule(|driver| {
        let x = upload(driver, &numbers(64));
        let copied =
            |from, to, bytes| launch(driver, "copied_misaligned", 1, 64, &[x, from, to, bytes]);
        assert_eq!(copied(4, 8, 16), "");
        assert_eq!(copied(1, 3, 4), "");
        for (failure, wrong) in [
            (copied(1, 0, 16), "copies 16 bytes from"),
            (copied(0, 2, 16), "copies 16 bytes to"),
            (copied(1, 0, 8), "copies 8 bytes from"),
            (copied(0, 0, 12), "copies 12 bytes at once"),
        ] {
            assert!(failure.contains(wrong), "{wrong}: {failure:?}");
        }
    });
}

/// A kernel that does not wait for the event after an upload on another stream reads old values,
/// and so does an upload whose pinned bytes are overwritten before that event.
#[test]
fn uploads_that_are_not_waited_for_are_seen() {
    let Some(driver) = stand_in() else { return };
    let (old, new) = (numbers(64), vec![77.0f32; 64]);
    for (early_copies, waits, overwrites) in [
        (false, true, false),
        (true, true, false),
        (false, false, false),
        (false, true, true),
        (true, true, true),
    ] {
        driver.behave(Behaviour { early_copies, ..Behaviour::default() });
        let (x, y) = (upload(driver, &old), upload(driver, &old));
        assert_eq!(0, call!(driver, c"cuStreamSynchronize"(null_mut()) as fn(Raw)));
        let function = function(driver, "reversed");
        let mut streams: [Raw; 2] = [null_mut(); 2];
        for stream in &mut streams {
            assert_eq!(0, call!(driver, c"cuStreamCreate"(stream, 1) as fn(*mut Raw, u32)));
        }
        let ([work, copies], mut event, mut pinned): (_, Raw, Raw) =
            (streams, null_mut(), null_mut());
        let bytes = 4 * new.len();
        call!(driver, c"cuEventCreate"(&mut event, 2) as fn(*mut Raw, u32));
        call!(driver, c"cuMemHostAlloc"(&mut pinned, bytes, 1) as fn(*mut Raw, usize, u32));
        // SAFETY: memory of so many bytes, which is no longer used below once it is freed.
        let host = unsafe { std::slice::from_raw_parts_mut(pinned.cast::<f32>(), new.len()) };
        host.copy_from_slice(&new);
        let copied = call!(
            driver,
            c"cuMemcpyHtoDAsync_v2"(x, pinned, bytes, copies) as fn(u64, Raw, usize, Raw)
        );
        assert_eq!(copied, 0);
        call!(driver, c"cuEventRecord"(event, copies) as fn(Raw, Raw));
        if overwrites {
            host.fill(5.0);
        }
        if waits {
            call!(driver, c"cuStreamWaitEvent"(work, event, 0) as fn(Raw, Raw, u32));
        }
        assert_eq!(start(driver, function, [1, 64], work, &[x, y]), 0);
        assert_eq!(0, call!(driver, c"cuStreamSynchronize"(work) as fn(Raw)));
        let read = download(driver, y, 64);
        let expected = match (early_copies, waits, overwrites) {
            (_, false, _) => old.iter().rev().copied().collect(),
            (false, true, true) => vec![5.0; 64],
            _ => new.clone(),
        };
        assert_eq!(read, expected, "early {early_copies}, waits {waits}, overwrites {overwrites}");
        for stream in streams {
            call!(driver, c"cuStreamDestroy_v2"(stream) as fn(Raw));
        }
        call!(driver, c"cuEventDestroy_v2"(event) as fn(Raw));
        call!(driver, c"cuMemFreeHost"(pinned) as fn(Raw));
    }
}

/// Drivers load a function at its first launch, or earlier by cuFuncLoad; a capture forbids it.
#[test]
fn a_captured_launch_of_an_unloaded_function_is_refused() {
    const CAPTURE_UNSUPPORTED: i32 = 900;
    let Some(driver) = stand_in() else { return };
    for (driver_version, loads, result) in
        [(13_000, false, CAPTURE_UNSUPPORTED), (13_000, true, 0), (12_000, false, 0)]
    {
        driver.behave(Behaviour { driver_version, ..Behaviour::default() });
        let (x, y) = (upload(driver, &numbers(64)), upload(driver, &numbers(64)));
        let function = function(driver, "reversed");
        if loads {
            assert_eq!(0, call!(driver, c"cuFuncLoad"(function) as fn(Raw)));
        }
        let (mut stream, mut graph): (Raw, Raw) = (null_mut(), null_mut());
        call!(driver, c"cuStreamCreate"(&mut stream, 1) as fn(*mut Raw, u32));
        call!(driver, c"cuStreamBeginCapture_v2"(stream, 0) as fn(Raw, i32));
        assert_eq!(start(driver, function, [1, 64], stream, &[x, y]), result, "{driver_version}");
        call!(driver, c"cuStreamEndCapture"(stream, &mut graph) as fn(Raw, *mut Raw));
        call!(driver, c"cuGraphDestroy"(graph) as fn(Raw));
        call!(driver, c"cuStreamDestroy_v2"(stream) as fn(Raw));
    }
}
