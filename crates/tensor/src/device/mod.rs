//! Devices: the CPU and CUDA GPUs. Every op matches on them once.

#[cfg(feature = "ndarray")]
mod arrays;
mod cpu;
mod cuda;

pub use cpu::{Cpu, FreeMemory, Lent, Pool, Vectors, amx, free_memory};
pub use cuda::{Address, Argument, Cuda, Grid, Image, Lap, Operand, PinnedBuffer, Recording};
pub use cuda::{cublaslt, cudnn, nccl, tune};

use crate::{Bf16, DType, Element, Error, Precision, Result, Slot};
use std::str::FromStr;

/// A device with its memory. Every op matches on it once.
#[allow(clippy::large_enum_variant)] // there is one of it, and it is lent, not moved
#[derive(Debug)]
pub enum Device {
    /// The host's processor.
    Cpu(Cpu),
    /// An NVIDIA GPU.
    Cuda(Cuda),
}

/// The properties of a device that planning depends on: they decide the scratch memory of ops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The host's processor, in f32.
    Cpu {
        /// How many of its threads compute.
        threads: usize,
    },
    /// The host's processor, in bf16: forward-only networks store values in bf16, too.
    CpuBf16 {
        /// How many of its threads compute.
        threads: usize,
    },
    /// An NVIDIA GPU, any.
    Cuda,
}

/// A device as the user names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The best there is.
    #[default]
    Auto,
    /// The host's processor.
    Cpu,
    /// The NVIDIA GPU with this number.
    Cuda(usize),
}

impl FromStr for Choice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Choice> {
        match text {
            "auto" => Ok(Choice::Auto),
            "cpu" => Ok(Choice::Cpu),
            "cuda" => Ok(Choice::Cuda(0)),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|number| number.parse().ok())
                .map(Choice::Cuda)
                .ok_or_else(|| Error::UnknownDevice(text.to_string())),
        }
    }
}

impl Device {
    /// Opens a device; `threads` is for the CPU (0: one for each core).
    ///
    /// # Errors
    /// [`Error::DeviceUnavailable`] if a chosen GPU cannot be used.
    pub fn open(choice: Choice, threads: usize) -> Result<Device> {
        match choice {
            Choice::Auto => Ok(Device::best(threads).0),
            Choice::Cpu => Ok(Device::cpu(threads)),
            Choice::Cuda(number) => Cuda::open(number).map(Device::Cuda),
        }
    }

    /// The first GPU, or else the CPU and the reason why there is no GPU.
    pub fn best(threads: usize) -> (Device, Option<Error>) {
        match Cuda::open(0) {
            Ok(cuda) => (Device::Cuda(cuda), None),
            Err(why) => (Device::cpu(threads), Some(why)),
        }
    }

    /// The host's processor with `threads` threads (0: one for each core).
    pub fn cpu(threads: usize) -> Device {
        Device::Cpu(Cpu::new(threads))
    }

    /// Whether `bytes` of memory could be reserved now, instead of what is reserved.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if there is no room.
    pub fn check_room(&self, bytes: usize) -> Result<()> {
        match self {
            Device::Cpu(cpu) => cpu.check_room(bytes),
            Device::Cuda(cuda) => cuda.check_room(bytes),
        }
    }

    /// Allocates `bytes` of zeroed memory, which replaces memory reserved before. Then only slots of
    /// one planner can be used, that of the first slot: `bytes` is its [total](crate::Planner::total).
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if there is no room.
    pub fn reserve(&mut self, bytes: usize) -> Result<()> {
        match self {
            Device::Cpu(cpu) => cpu.reserve(bytes),
            Device::Cuda(cuda) => cuda.reserve(bytes),
        }
    }

    /// Copies host data into a slot. If there are fewer elements than in the slot, the rest of it
    /// is unchanged. The host data may be changed as soon as this returns.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the GPU fails, now or in earlier work.
    ///
    /// # Panics
    /// If the slot is smaller, of another type or of another planner.
    pub fn upload<T: Element>(&mut self, slot: Slot, host: &[T]) -> Result<()> {
        match self {
            Device::Cpu(cpu) => {
                cpu.slice_mut::<T>(slot)[..host.len()].copy_from_slice(host);
                Ok(())
            }
            Device::Cuda(cuda) => cuda.upload(slot, host),
        }
    }

    /// An [`upload`](Self::upload) that overlaps with the GPU's work. It waits for work enqueued
    /// before [`mark_read`](Self::mark_read), but not for work enqueued since, which must not touch
    /// the slot. Later work waits for it. On the CPU it is an `upload`.
    ///
    /// # Errors
    /// As `upload`.
    ///
    /// # Panics
    /// As `upload`.
    pub fn upload_ahead<T: Element>(&mut self, slot: Slot, host: &[T]) -> Result<()> {
        match self {
            Device::Cpu(_) => self.upload(slot, host),
            Device::Cuda(cuda) => cuda.upload_ahead(slot, host),
        }
    }

    /// [`Cuda::pinned`]; `None` on a CPU.
    ///
    /// # Errors
    /// As there.
    pub fn pinned(&self, bytes: usize) -> Result<Option<PinnedBuffer>> {
        match self {
            Device::Cpu(_) => Ok(None),
            Device::Cuda(cuda) => cuda.pinned(bytes).map(Some),
        }
    }

    /// Marks the point in the GPU's work after which the slots of early uploads have been read. The
    /// next group of [`upload_ahead`](Self::upload_ahead) waits only for this point; a group
    /// without a mark waits for all work.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the GPU fails.
    pub fn mark_read(&mut self) -> Result<()> {
        match self {
            Device::Cpu(_) => Ok(()),
            Device::Cuda(cuda) => cuda.mark_read(),
        }
    }

    /// Waits for all work, and copies a slot's first elements into host memory, as many as fit.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the GPU fails, now or in earlier work.
    ///
    /// # Panics
    /// If the slot is smaller, of another type or of another planner.
    pub fn download_into<T: Element>(&self, slot: Slot, host: &mut [T]) -> Result<()> {
        match self {
            Device::Cpu(cpu) => {
                host.copy_from_slice(&cpu.slice::<T>(slot)[..host.len()]);
                Ok(())
            }
            Device::Cuda(cuda) => cuda.download_into(slot, host),
        }
    }

    /// A slot's elements as a new vector.
    ///
    /// # Errors
    /// As [`download_into`](Self::download_into).
    pub fn download<T: Element>(&self, slot: Slot) -> Result<Vec<T>> {
        let mut host = vec![T::zeroed(); slot.len()];
        self.download_into(slot, &mut host)?;
        Ok(host)
    }

    /// Fills a slot of f32 or bf16 with NaN, so that reading it by mistake is noticed.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the GPU fails.
    pub fn poison(&mut self, slot: Slot) -> Result<()> {
        match self {
            Device::Cpu(cpu) => {
                match slot.dtype() {
                    DType::Bf16 => cpu.slice_mut::<Bf16>(slot).fill(Bf16::MAX),
                    _ => cpu.slice_mut::<f32>(slot).fill(f32::NAN),
                }
                Ok(())
            }
            Device::Cuda(cuda) => cuda.poison(slot),
        }
    }

    /// Checks that this device supports `work`, without running it: on a GPU every kernel is loaded
    /// and its arguments are checked. Memory need not be reserved. The CPU supports everything.
    ///
    /// # Errors
    /// [`Error::NoKernel`] if an op is not implemented for this device; [`Error::Gpu`].
    pub fn rehearse(&mut self, work: impl FnOnce(&mut Device) -> Result<()>) -> Result<()> {
        self.count_launches(work).map(drop)
    }

    /// As [`rehearse`](Self::rehearse), and returns the number of launches: of kernels and of
    /// library calls that compute. 0 on a CPU.
    ///
    /// # Errors
    /// As there.
    pub fn count_launches(
        &mut self,
        work: impl FnOnce(&mut Device) -> Result<()>,
    ) -> Result<usize> {
        let Device::Cuda(cuda) = self else { return Ok(0) };
        cuda.begin_rehearsal();
        let done = work(self);
        let launches = self.gpu().end_rehearsal();
        done.map(|()| launches)
    }

    /// Runs `work`, which must enqueue the same operations every time; changing values are read
    /// from slots. On a GPU the first call records it into `recording` (a CUDA graph), and later
    /// calls replay it. It must not upload or download.
    ///
    /// # Errors
    /// As [`rehearse`](Self::rehearse).
    pub fn replay(
        &mut self,
        recording: &mut Recording,
        mut work: impl FnMut(&mut Device) -> Result<()>,
    ) -> Result<()> {
        match self {
            Device::Cuda(cuda) if cuda.records() => {
                if cuda.replay(recording)? {
                    return Ok(());
                }
            }
            Device::Cpu(_) | Device::Cuda(_) => return work(self),
        }
        self.rehearse(&mut work)?; // loads kernels, which is impossible while recording
        self.gpu().begin_recording()?;
        let done = work(self);
        let recorded = self.gpu().end_recording();
        done?;
        *recording = recorded?;
        self.gpu().replay(recording).map(|_| ())
    }

    /// Whether this is a [rehearsal](Self::rehearse), in which nothing is computed.
    pub fn is_rehearsing(&self) -> bool {
        match self {
            Device::Cpu(_) => false,
            Device::Cuda(cuda) => cuda.is_rehearsing(),
        }
    }

    /// The GPU; only for devices that are one.
    fn gpu(&mut self) -> &mut Cuda {
        match self {
            Device::Cuda(cuda) => cuda,
            Device::Cpu(_) => unreachable!("only a GPU records"),
        }
    }

    /// Runs `work` on the device's threads, so that ops need no hand-over between threads. Wrap a
    /// whole loop in it: a step inside allocates nothing.
    pub fn enter<T: Send>(&mut self, work: impl FnOnce(&mut Device) -> T + Send) -> T {
        Device::enter_with(self, |device| device, work)
    }

    /// [`enter`](Self::enter) for a value that owns the device.
    pub fn enter_with<O: Send, T: Send>(
        owner: O,
        device: impl FnOnce(&O) -> &Device,
        work: impl FnOnce(O) -> T + Send,
    ) -> T {
        match device(&owner) {
            Device::Cpu(cpu) => {
                let pool = cpu.pool().clone();
                pool.install(|| work(owner))
            }
            Device::Cuda(_) => work(owner),
        }
    }

    /// The target for planning.
    pub fn target(&self) -> Target {
        match self {
            Device::Cpu(cpu) => {
                let threads = self.threads();
                match cpu.precision() {
                    Precision::Bf16 => Target::CpuBf16 { threads },
                    Precision::F32 | Precision::Tf32 => Target::Cpu { threads },
                }
            }
            Device::Cuda(_) => Target::Cuda,
        }
    }

    /// The precision of convolutions and fully connected layers.
    pub fn precision(&self) -> Precision {
        match self {
            Device::Cpu(cpu) => cpu.precision(),
            Device::Cuda(cuda) => cuda.precision(),
        }
    }

    /// The default precision: f32 on a CPU, [`Cuda::fastest_precision`] on a GPU.
    pub fn fastest_precision(&self) -> Precision {
        match self {
            Device::Cpu(_) => Precision::F32,
            Device::Cuda(cuda) => cuda.fastest_precision(),
        }
    }

    /// Sets the precision ([`Cuda::set_precision`], [`Cpu::set_precision`]) and returns the new
    /// one.
    ///
    /// # Errors
    /// [`Error::NoPrecision`] if a CPU does not support it.
    pub fn set_precision(&mut self, wanted: Precision) -> Result<Precision> {
        match self {
            Device::Cuda(cuda) => Ok(cuda.set_precision(wanted)),
            Device::Cpu(cpu) => cpu.set_precision(wanted).map(|()| wanted),
        }
    }

    /// How many host threads compute.
    pub fn threads(&self) -> usize {
        match self {
            Device::Cpu(cpu) => cpu.pool().threads(),
            Device::Cuda(_) => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_multiplies_in_f32_and_with_amx_in_bf16() {
        let mut cpu = Device::cpu(1);
        assert_eq!((cpu.fastest_precision(), cpu.precision()), (Precision::F32, Precision::F32));
        let message = cpu.set_precision(Precision::Tf32).unwrap_err().to_string();
        let refused = "cpu cannot multiply in tf32: processors multiply in f32 and bf16; use";
        assert!(message.contains(refused), "{message}");
        match amx() {
            Ok(()) => {
                assert_eq!(cpu.set_precision(Precision::Bf16).unwrap(), Precision::Bf16);
                assert_eq!(cpu.target(), Target::CpuBf16 { threads: 1 });
            }
            Err(why) => {
                let message = cpu.set_precision(Precision::Bf16).unwrap_err().to_string();
                assert!(message.contains(why) && message.contains("use f32"), "{message}");
            }
        }
        assert_eq!(cpu.set_precision(Precision::F32).unwrap(), Precision::F32);
        assert_eq!(cpu.target(), Target::Cpu { threads: 1 });
    }

    #[test]
    fn reads_the_users_words() {
        assert_eq!("cuda".parse::<Choice>().unwrap(), Choice::Cuda(0));
        assert_eq!("cuda:3".parse::<Choice>().unwrap(), Choice::Cuda(3));
        for wrong in ["gpu", "cuda:", "cuda:x", ""] {
            let message = wrong.parse::<Choice>().unwrap_err().to_string();
            assert!(message.contains("auto, cpu, cuda or cuda:N"), "{message}");
        }
    }
}
