//! Opens the requested device, or the best one available.

use std::path::Path;
use std::slice;
use tensor::{Choice, Device, Error, Precision, Result};

/// The device, its threads and its precision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// The device; by default the first GPU if there is one and the network fits, else the CPU.
    pub device: Choice,
    /// Threads of a CPU; 0 means one per core.
    pub threads: usize,
    /// Precision of products; by default the device's fastest.
    pub precision: Option<Precision>,
}

/// Opens the device and plans on it: under `auto` on the first GPU if it can run the plan, else on
/// the CPU; `log` receives the reason, unless the machine has no GPU.
///
/// # Errors
/// The reason why the requested device cannot run the plan.
pub fn open<P, E: From<Error>>(
    placement: Placement,
    plan: impl Fn(&Device) -> std::result::Result<P, E>,
    check: impl Fn(&P, &mut Device) -> Result<()>,
    log: &mut dyn FnMut(&str),
) -> std::result::Result<(Device, P), E> {
    let Placement { device: choice, threads, precision } = placement;
    let (mut device, mut why_not) = match choice {
        Choice::Auto => Device::best(threads),
        Choice::Cpu | Choice::Cuda(_) => (Device::open(choice, threads)?, None),
    };
    set_precision(slice::from_mut(&mut device), precision, log)?;
    let mut planned = plan(&device)?;
    match check(&planned, &mut device) {
        Ok(()) => {}
        Err(error) if choice == Choice::Auto && matches!(device, Device::Cuda(_)) => {
            why_not = Some(error);
            device = Device::cpu(threads);
            set_precision(slice::from_mut(&mut device), precision, log)?;
            planned = plan(&device)?;
            check(&planned, &mut device)?;
        }
        Err(error) => return Err(error.into()),
    }
    if let Some(why_not) = why_not.filter(|why_not| !is_absent(why_not)) {
        log(&format!("computing on the CPU: {why_not}"));
    }
    Ok((device, planned))
}

/// Whether a GPU cannot be used because this machine has none, which is no reason for a message.
fn is_absent(why_not: &Error) -> bool {
    let Error::DeviceUnavailable { reason, .. } = why_not else { return false };
    let has_driver = || Path::new("/proc/driver/nvidia/version").exists();
    match reason.as_str() {
        "there is no NVIDIA GPU" => true,
        _ => reason.ends_with("(there is no libcuda)") && !has_driver(),
    }
}

/// Sets the precision of devices that share the work: the requested one, or the most exact of the
/// devices' defaults. `log` receives a line about a GPU without tensor cores for it.
///
/// # Errors
/// [`Error::NoPrecision`] if one is a CPU that cannot.
pub fn set_precision(
    devices: &mut [Device],
    wanted: Option<Precision>,
    log: &mut dyn FnMut(&str),
) -> Result<()> {
    let is_default = |precision: &Precision| {
        devices.iter().any(|device| device.fastest_precision() == *precision)
    };
    let wanted = wanted.or_else(|| Precision::ALL.into_iter().find(is_default)).unwrap_or_default();
    for device in devices {
        let has = device.set_precision(wanted)?;
        if has != wanted {
            let name = name(device);
            log(&format!("{name} has no tensor cores for {wanted}: it computes in {has}"));
        }
    }
    Ok(())
}

/// `cpu` or the GPU's name, with the vendor libraries in use.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_that_share_work_have_the_same_precision() {
        let said = |gpu: Option<Device>, wanted| {
            let mut devices: Vec<Device> = gpu.into_iter().chain([Device::cpu(1)]).collect();
            let set = set_precision(&mut devices, wanted, &mut |text| panic!("{text}"));
            set.map(|()| devices[0].precision())
        };
        assert_eq!(said(None, None).unwrap(), Precision::F32);
        assert!(said(None, Some(Precision::Tf32)).is_err());
        let Some(gpu) = testkit::own_gpu() else { return };
        assert_eq!(said(Some(gpu), None).unwrap(), Precision::F32, "as the CPU does");
    }

    #[test]
    fn a_single_gpu_uses_its_tensor_cores() {
        for (capability, expected) in [((7, 5), Precision::F32), ((9, 0), Precision::Tf32)] {
            let Some(_) = testkit::own_gpu() else { return };
            let Some(stand_in) = testkit::stand_in_in_use() else { return };
            stand_in.behave(cuda_on_cpu::Behaviour { capability, ..Default::default() });
            let mut logged = Vec::new();
            for wanted in [None, Some(Precision::Tf32)] {
                let plan = |_: &Device| Ok::<(), Error>(());
                let check = |_: &(), _: &mut Device| Ok(());
                let mut log = |text: &str| logged.push(text.to_string());
                let device = Choice::Cuda(0);
                let placement = Placement { device, threads: 0, precision: wanted };
                let (device, ()) = open(placement, plan, check, &mut log).unwrap();
                assert_eq!(device.precision(), expected);
            }
            assert_eq!(logged.len(), usize::from(expected == Precision::F32), "{logged:?}");
        }
    }
}
