//! Opening the device that was chosen, or the best there is.

use std::slice;
use tensor::{Choice, Device, Error, Precision, Result};

/// Which device computes, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Which; by default the first GPU if there is one and the network fits, else the CPU.
    pub device: Choice,
    /// Threads of a CPU; 0 means one for each core.
    pub threads: usize,
    /// In which numbers it multiplies; by default the fastest that the device chooses by itself.
    pub precision: Option<Precision>,
}

/// Opens the device and plans on it: under `auto` on the first GPU if there is one and it can run
/// the plan, else on the CPU, and `say` gets the reason.
///
/// # Errors
/// What keeps the chosen device from running the plan.
pub fn open<P, E: From<Error>>(
    placement: Placement,
    plan: impl Fn(&Device) -> std::result::Result<P, E>,
    check: impl Fn(&P, &mut Device) -> Result<()>,
    say: &mut dyn FnMut(&str),
) -> std::result::Result<(Device, P), E> {
    let Placement { device: choice, threads, precision } = placement;
    let (mut device, mut why_not) = match choice {
        Choice::Auto => Device::best(threads),
        Choice::Cpu | Choice::Cuda(_) => (Device::open(choice, threads)?, None),
    };
    set_precision(slice::from_mut(&mut device), precision, say)?;
    let mut planned = plan(&device)?;
    match check(&planned, &mut device) {
        Ok(()) => {}
        Err(error) if choice == Choice::Auto && matches!(device, Device::Cuda(_)) => {
            why_not = Some(error);
            device = Device::cpu(threads);
            set_precision(slice::from_mut(&mut device), precision, say)?;
            planned = plan(&device)?;
            check(&planned, &mut device)?;
        }
        Err(error) => return Err(error.into()),
    }
    if let Some(why_not) = why_not {
        say(&format!("computing on the CPU: {why_not}"));
    }
    Ok((device, planned))
}

/// Has devices that share the work multiply in the numbers that were asked for, or in the finest
/// that any of them would choose; `say` gets a line about a GPU that has no tensor cores for them.
///
/// # Errors
/// [`Error::NoPrecision`] if one is a CPU that cannot.
pub fn set_precision(
    devices: &mut [Device],
    wanted: Option<Precision>,
    say: &mut dyn FnMut(&str),
) -> Result<()> {
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

/// `cpu`, or the GPU; and whose libraries multiply on it, if some do.
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
    fn devices_that_share_work_multiply_alike() {
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
    fn a_gpu_of_its_own_uses_its_tensor_cores() {
        for (capability, expected) in [((7, 5), Precision::F32), ((9, 0), Precision::Tf32)] {
            let Some(_) = testkit::own_gpu() else { return };
            let Some(stand_in) = testkit::stand_in_in_use() else { return };
            stand_in.behave(cuda_on_cpu::Behaviour { capability, ..Default::default() });
            let mut heard = Vec::new();
            for wanted in [None, Some(Precision::Tf32)] {
                let plan = |_: &Device| Ok::<(), Error>(());
                let check = |_: &(), _: &mut Device| Ok(());
                let mut say = |text: &str| heard.push(text.to_string());
                let device = Choice::Cuda(0);
                let placement = Placement { device, threads: 0, precision: wanted };
                let (device, ()) = open(placement, plan, check, &mut say).unwrap();
                assert_eq!(device.precision(), expected);
            }
            assert_eq!(heard.len(), usize::from(expected == Precision::F32), "{heard:?}");
        }
    }
}
