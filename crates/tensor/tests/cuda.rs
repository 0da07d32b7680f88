//! The CUDA device on the stand-in for libcuda: what it does, and what it says when the driver does
//! not do its part.

use alexnet_tensor::{
    Choice, DType, Device, Error, Grid, Image, Planner, Precision, Recording, Result,
};
use alexnet_tensor::{Shape, Slot};
use cuda_on_cpu::{Behaviour, StandIn};

/// A kernel of the project's, found by its name; the stand-in looks only at an image's beginning.
static IMAGE: Image = Image { op: "dropout", bytes: b"\x50\xed\x55\xba and no more" };

/// The stand-in, if there is g++.
fn stand_in() -> Option<&'static StandIn> {
    match cuda_on_cpu::load() {
        Ok(stand_in) => {
            stand_in.behave(Behaviour::default());
            Some(stand_in)
        }
        Err(why) => {
            assert!(why.contains("g++ did not start"), "{why}");
            eprintln!("SKIPPED: {why}");
            None
        }
    }
}

fn open() -> Result<Device> {
    Device::open(Choice::Cuda(0), 0)
}

/// A plan with x and y.
fn planned(n: usize) -> (Planner, [Slot; 2]) {
    let mut planner = Planner::new();
    let slots = [0; 2].map(|_| planner.claim(DType::F32, Shape::from([n])));
    (planner, slots)
}

/// y = factor x, by a kernel.
fn scale(device: &mut Device, factor: f32, x: Slot, y: Slot) -> Result<()> {
    scale_by(device, &IMAGE, factor, x, y)
}

fn scale_by(
    device: &mut Device,
    image: &'static Image,
    factor: f32,
    x: Slot,
    y: Slot,
) -> Result<()> {
    let Device::Cuda(cuda) = device else { unreachable!("a GPU was opened") };
    let n = x.len() as u64;
    let [x, y] = cuda.addresses([x, y]);
    let grid = Grid::over(n.div_ceil(4) as usize);
    // SAFETY: dropout_scale's parameters in their order; both slots hold n floats.
    unsafe { cuda.launch(image, "dropout_scale", grid, &[&factor, &x, &y, &n]) }
}

#[test]
fn what_goes_up_comes_down_and_memory_starts_at_zero() {
    let Some(_) = stand_in() else { return };
    // More than the ring of pinned pieces holds, so that pieces are filled again.
    let n = 5_000_003;
    let (planner, [x, y]) = planned(n);
    let mut device = open().unwrap();
    device.reserve(planner.total()).unwrap();
    let mut values: Vec<f32> = (0..n).map(|i| i as f32).collect();
    device.upload(x, &values).unwrap();
    let kept = values.clone();
    values.fill(0.0); // the upload may still be on its way
    assert_eq!(device.download::<f32>(y).unwrap(), vec![0.0; n]);
    assert_eq!(device.download::<f32>(x).unwrap(), kept);
    device.upload(x, &[7.0f32]).unwrap();
    assert_eq!(device.download::<f32>(x).unwrap()[..2], [7.0, 1.0]);
    device.poison(y).unwrap();
    assert!(device.download::<f32>(y).unwrap().iter().all(|value| value.is_nan()));
}

/// What comes next travels beside the work, after what reads what came before and before what
/// reads itself; copies as late as they may be, and as early.
#[test]
fn an_upload_ahead_waits_for_readers_only() {
    let Some(stand_in) = stand_in() else { return };
    let n = 270_000; // more than a piece
    let mut planner = Planner::new();
    let [x, y, z] = [0; 3].map(|_| planner.claim(DType::F32, Shape::from([n])));
    for early_copies in [false, true] {
        stand_in.behave(Behaviour { early_copies, ..Behaviour::default() });
        let mut device = open().unwrap();
        device.reserve(planner.total()).unwrap();
        let mut recording = Recording::default();
        for round in 1..4 {
            device.upload_ahead(x, &vec![round as f32; n]).unwrap();
            device.upload_ahead(x, &[0.5f32]).unwrap(); // of the same group, in order
            device.replay(&mut recording, |device| scale(device, 2.0, x, y)).unwrap();
            device.mark_read().unwrap();
            scale(&mut device, 3.0, y, z).unwrap(); // work that does not need x any more
            if round == 3 {
                // Overtakes what comes after the mark, and that only.
                device.upload_ahead(x, &[9.0f32]).unwrap();
            }
            let z = device.download::<f32>(z).unwrap();
            assert_eq!((z[0], z[n - 1]), (3.0, 6.0 * round as f32));
        }
        assert_eq!(device.download::<f32>(x).unwrap()[..2], [9.0, 3.0]);
        // Without a mark it overtakes nothing.
        scale(&mut device, 2.0, x, y).unwrap();
        device.upload_ahead(x, &[7.0f32]).unwrap();
        assert_eq!(device.download::<f32>(y).unwrap()[0], 18.0);
        // A mark in the wrong place is seen, if copies are early.
        device.mark_read().unwrap();
        scale(&mut device, 2.0, x, y).unwrap();
        device.upload_ahead(x, &[1.0f32]).unwrap();
        let y = device.download::<f32>(y).unwrap()[0];
        assert_eq!(y, if early_copies { 2.0 } else { 14.0 });
    }
}

/// The GPU copies from a pinned buffer by itself, before the bytes change or are freed; copies as
/// late as they may be, and as early.
#[test]
fn a_pinned_buffer_is_copied_before_it_changes() {
    let Some(stand_in) = stand_in() else { return };
    let n = 3 << 20; // more than a piece of the ring
    let mut planner = Planner::new();
    let [x, y] = [0; 2].map(|_| planner.claim(DType::U8, Shape::from([n])));
    for early_copies in [false, true] {
        stand_in.behave(Behaviour { early_copies, ..Behaviour::default() });
        let mut device = open().unwrap();
        device.reserve(planner.total()).unwrap();
        let mut buffer = device.pinned(n).unwrap().unwrap();
        assert!(buffer.iter().all(|&byte| byte == 0));
        for round in 1..4 {
            buffer.fill(round);
            device.upload_ahead(x, &buffer).unwrap();
            buffer.fill(99); // waits for the copy
            device.upload_ahead(y, &buffer[5..]).unwrap();
            device.mark_read().unwrap();
            assert_eq!(device.download::<u8>(x).unwrap(), vec![round; n]);
            assert_eq!(device.download::<u8>(y).unwrap()[..n - 5], vec![99; n - 5]);
        }
        device.upload_ahead(x, &buffer).unwrap();
        drop(buffer); // likewise
        assert_eq!(device.download::<u8>(x).unwrap(), vec![99; n]);
        let kept = device.pinned(n).unwrap();
        device.upload_ahead(x, kept.as_ref().unwrap()).unwrap();
        drop(device); // a buffer may outlive its GPU
        assert!(kept.unwrap().iter().all(|&byte| byte == 0));
    }
    let device = open().unwrap();
    stand_in.behave(Behaviour { failing_allocation: Some(1), ..Behaviour::default() });
    let refused = device.pinned(n).unwrap_err().to_string();
    assert!(refused.starts_with("pinning host memory"), "{refused}");
    assert!(Device::cpu(1).pinned(n).unwrap().is_none());
}

/// A mark is of the memory that it was made in: what is uploaded ahead into fresh memory comes
/// after the zeros that fill it.
#[test]
fn a_mark_does_not_outlive_the_memory() {
    let Some(stand_in) = stand_in() else { return };
    let (planner, [x, _]) = planned(10);
    for early_copies in [false, true] {
        stand_in.behave(Behaviour { early_copies, ..Behaviour::default() });
        let mut device = open().unwrap();
        device.reserve(planner.total()).unwrap();
        device.mark_read().unwrap();
        device.reserve(planner.total()).unwrap();
        device.upload_ahead(x, &[7.0f32; 10]).unwrap();
        assert_eq!(device.download::<f32>(x).unwrap(), [7.0; 10]);
    }
}

#[test]
fn a_profile_names_every_launch() {
    let Some(_) = stand_in() else { return };
    let (planner, [x, y]) = planned(10);
    let mut device = open().unwrap();
    device.reserve(planner.total()).unwrap();
    let cuda =
        |device: &mut Device,
         what: fn(&mut alexnet_tensor::Cuda) -> Result<Vec<alexnet_tensor::Lap>>| {
            let Device::Cuda(cuda) = device else { unreachable!() };
            what(cuda).unwrap()
        };
    cuda(&mut device, |cuda| cuda.begin_profile().map(|()| Vec::new()));
    for _ in 0..2 {
        // Not recorded meanwhile: a replay has no launches to time.
        device.replay(&mut Recording::default(), |device| scale(device, 2.0, x, y)).unwrap();
    }
    let laps = cuda(&mut device, alexnet_tensor::Cuda::end_profile);
    assert_eq!(laps.len(), 2);
    assert!(laps.iter().all(|lap| lap.kernel == "dropout_scale" && lap.ms >= 0.0), "{laps:?}");
    assert!(cuda(&mut device, alexnet_tensor::Cuda::end_profile).is_empty());
}

#[test]
fn an_old_gpu_multiplies_in_f32_and_another_precision_is_recorded_anew() {
    let Some(stand_in) = stand_in() else { return };
    let gpu = |capability| {
        stand_in.behave(Behaviour { capability, ..Behaviour::default() });
        open().unwrap()
    };
    let (f32, tf32) = (Precision::F32, Precision::Tf32);
    for (capability, fastest) in [((7, 5), f32), ((8, 0), tf32), ((11, 0), f32), ((12, 0), tf32)] {
        let mut device = gpu(capability);
        let Device::Cuda(cuda) = &mut device else { unreachable!("a GPU was opened") };
        assert_eq!((cuda.precision(), cuda.fastest_precision()), (Precision::F32, fastest));
        let has_it = fastest != Precision::F32;
        let bf16 = if has_it { Precision::Bf16 } else { Precision::F32 };
        assert_eq!(cuda.set_precision(Precision::Bf16), bf16);
        assert_eq!(device.precision(), bf16);
    }
    let mut device = gpu((8, 0));
    let (planner, [x, y]) = planned(5);
    device.reserve(planner.total()).unwrap();
    let (mut recording, mut calls) = (Recording::default(), 0);
    for precision in [Precision::F32, Precision::F32, Precision::Tf32, Precision::Tf32] {
        if let Device::Cuda(cuda) = &mut device {
            cuda.set_precision(precision);
        }
        let work = |device: &mut Device| {
            calls += 1;
            scale(device, 2.0, x, y)
        };
        device.replay(&mut recording, work).unwrap();
    }
    assert_eq!(calls, 4, "rehearsed and recorded, twice");
}

#[test]
fn a_replay_does_what_was_recorded_with_what_lies_in_the_slots_now() {
    let Some(stand_in) = stand_in() else { return };
    let (planner, [x, y]) = planned(10);
    let mut device = open().unwrap();
    device.reserve(planner.total()).unwrap();
    let mut recording = Recording::default();
    let mut calls = 0;
    for round in 0..4 {
        device.upload(x, &[round as f32; 10]).unwrap();
        let work = |device: &mut Device| {
            calls += 1;
            scale(device, 2.0, x, y)?;
            scale(device, 3.0, y, x)
        };
        device.replay(&mut recording, work).unwrap();
        assert_eq!(device.download::<f32>(x).unwrap(), [6.0 * round as f32; 10]);
    }
    assert_eq!(calls, 2, "rehearsed and recorded, then replayed");
    assert_eq!(stand_in.counts()[1], 6, "two launches recorded, four graphs launched");
    // Elsewhere in memory the recording is out of date, and is made anew.
    device.reserve(planner.total()).unwrap();
    device.upload(x, &[1.0f32; 10]).unwrap();
    device.replay(&mut recording, |device| scale(device, 5.0, x, y)).unwrap();
    assert_eq!(device.download::<f32>(y).unwrap(), [5.0; 10]);
}

#[test]
fn a_rehearsal_needs_no_memory_and_finds_what_is_missing() {
    let Some(stand_in) = stand_in() else { return };
    let (_, [x, y]) = planned(10);
    let mut device = open().unwrap();
    device.rehearse(|device| scale(device, 2.0, x, y)).unwrap();
    let missing = |device: &mut Device| match device {
        Device::Cuda(cuda) => cuda.lacks("conv"),
        Device::Cpu(_) => Ok(()),
    };
    let error = device.rehearse(missing).unwrap_err();
    assert_eq!(error.to_string(), "`conv` has no CUDA kernel yet: use the CPU");
    let unknown = |device: &mut Device| {
        let Device::Cuda(cuda) = device else { unreachable!() };
        // SAFETY: there is no such kernel.
        unsafe { cuda.launch(&IMAGE, "no_such_kernel", Grid::over(1), &[]) }
    };
    let error = device.rehearse(unknown).unwrap_err().to_string();
    assert!(error.starts_with("no_such_kernel failed on the GPU: "), "{error}");
    assert!(error.contains("CUDA_ERROR_NOT_FOUND"), "{error}");
    assert_eq!(stand_in.counts()[1], 0, "nothing was launched");
}

#[test]
#[should_panic(expected = "dropout_scale takes arguments of [4, 8, 8, 8] bytes and was given")]
fn an_argument_of_the_wrong_size_is_refused() {
    let Some(_) = stand_in() else {
        panic!("dropout_scale takes arguments of [4, 8, 8, 8] bytes and was given none: skipped")
    };
    let (_, [x, y]) = planned(10);
    let mut device = open().unwrap();
    let _ = device.rehearse(|device| {
        let Device::Cuda(cuda) = device else { unreachable!() };
        let [x, y] = cuda.addresses([x, y]);
        let n = 10u32; // the kernel takes 64 bits
        // SAFETY: a rehearsal launches nothing.
        unsafe { cuda.launch(&IMAGE, "dropout_scale", Grid::over(1), &[&2.0f32, &x, &y, &n]) }
    });
}

#[test]
fn a_gpu_that_cannot_be_used_says_why_in_a_sentence() {
    let Some(stand_in) = stand_in() else { return };
    let why = |behaviour: Behaviour, number| {
        stand_in.behave(behaviour);
        Device::open(Choice::Cuda(number), 0).unwrap_err().to_string()
    };
    let none = why(Behaviour { devices: 0, ..Behaviour::default() }, 0);
    assert!(none.starts_with("cuda:0 cannot be used: "), "{none}");
    let old = why(Behaviour { driver_version: 11_080, ..Behaviour::default() }, 0);
    assert_eq!(
        old,
        "cuda:0 cannot be used: the NVIDIA driver is made for CUDA 11.8, and this program needs \
         12.0: update it to 525 or newer"
    );
    let beyond = why(Behaviour { devices: 2, ..Behaviour::default() }, 5);
    assert_eq!(beyond, "cuda:5 cannot be used: there are 2 GPUs, numbered from 0");
    stand_in.behave(Behaviour { devices: 0, ..Behaviour::default() });
    let (device, why_not) = Device::best(1);
    assert!(matches!(device, Device::Cpu(_)) && why_not.is_some());
}

/// A fatbin with an empty entry: PTX (1) or machine code (2).
const fn fatbin(kind: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    [bytes[0], bytes[1], bytes[2], bytes[3]] = *b"\x50\xed\x55\xba";
    (bytes[4], bytes[6], bytes[8]) = (1, 16, 16); // version, size of the header, and of the rest
    (bytes[16], bytes[20]) = (kind, 16);
    bytes
}

/// A driver of CUDA 12 rejects machine code of CUDA 13; the PTX behind it is loaded.
#[test]
fn a_driver_of_cuda_12_runs_the_ptx() {
    static BOTH: [[u8; 32]; 2] = [fatbin(2), fatbin(1)];
    static IMAGE: Image = Image { op: "dropout", bytes: BOTH.as_flattened() };
    static NEW_ONLY: Image = Image { op: "dropout", bytes: &BOTH[0] };
    let Some(stand_in) = stand_in() else { return };
    let (planner, [x, y]) = planned(10);
    for driver_version in [12_000, 12_080, 13_000] {
        stand_in.behave(Behaviour { driver_version, ..Behaviour::default() });
        let mut device = open().unwrap();
        device.reserve(planner.total()).unwrap();
        device.upload(x, &[1.0f32; 10]).unwrap();
        let scaled = |device: &mut Device| scale_by(device, &IMAGE, 2.0, x, y);
        device.replay(&mut Recording::default(), scaled).unwrap();
        assert_eq!(device.download::<f32>(y).unwrap(), [2.0; 10], "{driver_version}");
    }
    stand_in.behave(Behaviour { driver_version: 12_080, ..Behaviour::default() });
    let mut device = open().unwrap();
    device.reserve(planner.total()).unwrap();
    let error = scale_by(&mut device, &NEW_ONLY, 2.0, x, y).unwrap_err().to_string();
    assert!(error.starts_with("loading the kernels of `dropout` failed"), "{error}");
    assert!(error.contains("CUDA_ERROR_INVALID_IMAGE"), "{error}");
    assert!(error.ends_with("made for CUDA 12.8: update it to 580 or newer"), "{error}");
}

#[test]
fn a_gpu_without_room_says_what_is_needed_and_what_is_free() {
    let Some(stand_in) = stand_in() else { return };
    let mut device = open().unwrap();
    let error = device.reserve(1 << 40).unwrap_err().to_string();
    assert!(error.contains("1048576 MiB of memory are needed and "), "{error}");
    assert!(error.starts_with("cuda:0: ") && error.ends_with("use a smaller batch"), "{error}");
    device.reserve(1 << 20).unwrap(); // what fits, still does
    assert_eq!(stand_in.counts()[0], 3, "twice pinned memory and the GPU's, each once");
}

/// Every allocation in its turn: pinned memory for uploads and for those ahead, the GPU's, the
/// recording.
#[test]
fn any_allocation_may_fail() {
    let Some(stand_in) = stand_in() else { return };
    let (planner, [x, y]) = planned(10);
    for failing in 1.. {
        stand_in.behave(Behaviour { failing_allocation: Some(failing), ..Behaviour::default() });
        let run = || -> Result<Vec<f32>> {
            let mut device = open()?;
            device.reserve(planner.total())?;
            device.upload(x, &[1.0f32; 10])?;
            device.replay(&mut Recording::default(), |device| scale(device, 2.0, x, y))?;
            device.download(y)
        };
        match run() {
            Ok(values) => {
                assert_eq!(values, [2.0; 10]);
                assert_eq!(failing, 5, "four were refused in turn");
                return;
            }
            Err(error) => assert!(
                matches!(&error, Error::OutOfMemory { .. })
                    || error.to_string().contains("CUDA_ERROR_OUT_OF_MEMORY"),
                "{error}"
            ),
        }
    }
}

#[test]
fn any_launch_may_fail_and_is_named() {
    let Some(stand_in) = stand_in() else { return };
    let (planner, [x, y]) = planned(10);
    for failing in 1..=3 {
        stand_in.behave(Behaviour { failing_launch: Some(failing), ..Behaviour::default() });
        let mut device = open().unwrap();
        device.reserve(planner.total()).unwrap();
        let error = (0..3).find_map(|_| scale(&mut device, 2.0, x, y).err()).unwrap().to_string();
        assert!(error.starts_with("dropout_scale failed on the GPU: "), "{error}");
        // A GPU that has failed says so again, and gives back no numbers.
        assert!(device.download::<f32>(y).is_err());
    }
}

/// A kernel failure is reported at the next synchronisation.
#[test]
fn a_kernel_that_fails_later_is_reported() {
    let Some(stand_in) = stand_in() else { return };
    let (planner, [x, y]) = planned(64);
    let mut device = open().unwrap();
    device.reserve(planner.total()).unwrap();
    let Device::Cuda(cuda) = &device else { unreachable!() };
    let (address, bytes) = (cuda.address(x).get(), x.range().len());
    stand_in.lend_only(&[(address, bytes)]);
    scale(&mut device, 2.0, x, y).unwrap(); // y was not lent
    let error = device.download::<f32>(x).unwrap_err().to_string();
    assert!(error.contains("CUDA_ERROR_LAUNCH_FAILED"), "{error}");
    let failure = stand_in.last_failure();
    assert!(failure.starts_with("dropout_scale: block (0,0,0)"), "{failure}");
    assert!(failure.contains("past the end of an operand"), "{failure}");
}
