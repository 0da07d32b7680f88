//! Where a run runs: for its folder's `env.json`, and for comparing runs later.

use serde_json::{Value, json};
use std::{fs, slice};
use tensor::{Choice, Device, Precision};
use train::Result;

/// What computes.
pub struct Machine {
    /// `cpu`, the card, or several with commas between them.
    pub name: String,
    /// Threads that compute, over all of them.
    pub threads: usize,
    /// In which numbers it multiplies.
    pub precision: Precision,
}

/// Program, compiler, processor and threads.
pub fn environment(machine: &Machine, data: Value) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "commit": option_env!("ALEXNET_COMMIT"),
        "rustc": option_env!("ALEXNET_RUSTC"),
        "opt_level": env!("ALEXNET_OPT_LEVEL"),
        "debug_assertions": cfg!(debug_assertions),
        "os": std::env::consts::OS,
        "arch": std::env::consts::ARCH,
        "cpu": processor(),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "threads": machine.threads,
        "device": machine.name,
        "precision": machine.precision.name(),
        "command": std::env::args().collect::<Vec<_>>(),
        "data": data,
    })
}

/// `cpu`, or the card; and whose libraries multiply on it, if some do.
pub fn name(device: &Device) -> String {
    let Device::Cuda(cuda) = device else { return "cpu".to_string() };
    let mut name = cuda.name();
    if let Some(library) = cuda.cublaslt() {
        name += &format!(", cuBLASLt {}", library.version());
    }
    if let Some(library) = cuda.cudnn() {
        name += &format!(", cuDNN {}", library.version());
    }
    name
}

/// What `--precision` says.
///
/// # Errors
/// [`tensor::Error::UnknownPrecision`].
pub fn precision(typed: Option<&str>) -> tensor::Result<Option<Precision>> {
    typed.map(str::parse).transpose()
}

/// Has devices that share the work multiply in the numbers that were asked for, or in the finest
/// that any of them would choose; `say` hears of a card that has no tensor cores for them.
///
/// # Errors
/// [`tensor::Error::NoPrecision`] if one is a CPU and f32 was not asked for.
pub fn set_precision(
    devices: &mut [Device],
    wanted: Option<Precision>,
    say: &mut dyn FnMut(&str),
) -> tensor::Result<()> {
    let is_one_s = |precision: &Precision| {
        devices.iter().any(|device| device.fastest_precision() == *precision)
    };
    let wanted = wanted.or_else(|| Precision::ALL.into_iter().find(is_one_s)).unwrap_or_default();
    for device in devices {
        let has = device.set_precision(wanted)?;
        if has != wanted {
            let name = name(device);
            say(&format!("{name}, has no tensor cores for {wanted}: it multiplies in {has}"));
        }
    }
    Ok(())
}

/// How many of `threads` threads (0: one for each core) each device has: the CPUs share them, and
/// what is over goes to the first, which has the classifier.
pub fn share_threads(threads: usize, choices: &[Choice]) -> Vec<usize> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if threads == 0 { cores() } else { threads };
    let hosts = choices.iter().filter(|choice| !matches!(choice, Choice::Cuda(_))).count();
    let mut host = 0;
    let mut share = |choice: &Choice| match choice {
        Choice::Cuda(_) => 1,
        Choice::Auto | Choice::Cpu => {
            host += 1;
            (threads / hosts + usize::from(host <= threads % hosts)).max(1)
        }
    };
    choices.iter().map(&mut share).collect()
}

/// Opens the device that the user chose and plans on it: under `auto` on the first card if there is
/// one and it can run the plan, else on the CPU, which `say` is told. It multiplies as
/// [`set_precision`] says.
///
/// # Errors
/// What keeps the chosen device from running the plan.
pub fn open<P>(
    choice: Choice,
    (threads, precision): (usize, Option<Precision>),
    plan: impl Fn(&Device) -> Result<P>,
    check: impl Fn(&P, &mut Device) -> Result<()>,
    say: &mut dyn FnMut(&str),
) -> Result<(Device, P)> {
    let (mut device, mut why_not) = match choice {
        Choice::Auto => Device::best(threads),
        Choice::Cpu | Choice::Cuda(_) => (Device::open(choice, threads)?, None),
    };
    set_precision(slice::from_mut(&mut device), precision, say)?;
    let mut planned = plan(&device)?;
    match check(&planned, &mut device) {
        Ok(()) => {}
        Err(train::Error::Device(error))
            if choice == Choice::Auto && matches!(device, Device::Cuda(_)) =>
        {
            why_not = Some(error);
            device = Device::cpu(threads);
            set_precision(slice::from_mut(&mut device), precision, say)?;
            planned = plan(&device)?;
            check(&planned, &mut device)?;
        }
        Err(error) => return Err(error),
    }
    if let Some(why_not) = why_not {
        say(&format!("computing on the CPU: {why_not}"));
    }
    Ok((device, planned))
}

/// The processor's name, where the system tells it.
pub fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_that_share_work_multiply_alike() {
        let said = |card: Option<Device>, wanted| {
            let mut devices: Vec<Device> = card.into_iter().chain([Device::cpu(1)]).collect();
            let set = set_precision(&mut devices, wanted, &mut |text| panic!("{text}"));
            set.map(|()| devices[0].precision())
        };
        assert_eq!(said(None, None).unwrap(), Precision::F32);
        assert!(said(None, Some(Precision::Tf32)).is_err());
        let Some(card) = testkit::own_card() else { return };
        assert_eq!(said(Some(card), None).unwrap(), Precision::F32, "as the CPU does");
    }

    #[test]
    fn a_card_of_its_own_uses_its_tensor_cores() {
        for (capability, expected) in [((7, 5), Precision::F32), ((9, 0), Precision::Tf32)] {
            let Some(_) = testkit::own_card() else { return };
            let Some(stand_in) = testkit::stand_in_in_use() else { return };
            stand_in.behave(cuda_on_cpu::Behaviour { capability, ..Default::default() });
            let mut heard = Vec::new();
            for wanted in [None, Some(Precision::Tf32)] {
                let plan = |_: &Device| Ok(());
                let check = |_: &(), _: &mut Device| Ok(());
                let mut say = |text: &str| heard.push(text.to_string());
                let (device, ()) =
                    open(Choice::Cuda(0), (0, wanted), plan, check, &mut say).unwrap();
                assert_eq!(device.precision(), expected);
            }
            assert_eq!(heard.len(), usize::from(expected == Precision::F32), "{heard:?}");
        }
    }

    #[test]
    fn processors_share_the_threads() {
        use Choice::{Cpu, Cuda};
        assert_eq!(share_threads(5, &[Cpu, Cpu]), [3, 2]);
        assert_eq!(share_threads(1, &[Cpu, Cpu]), [1, 1]);
        assert_eq!(share_threads(4, &[Cuda(0), Cpu]), [1, 4]);
    }
}
