//! The machines that run a step: a closed set, matched where an op begins.

mod cpu;
mod cuda;

pub use cpu::{Cpu, Lent, Pool};
pub use cuda::Cuda;

use crate::{Element, Error, Result, Slot};
use std::str::FromStr;

/// A machine with its memory. Every op matches on it once.
#[derive(Debug)]
pub enum Device {
    /// The host's processor.
    Cpu(Cpu),
    /// An NVIDIA card.
    Cuda(Cuda),
}

/// A device as the user names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The best there is.
    Auto,
    /// The host's processor.
    Cpu,
    /// The NVIDIA card with this number.
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
    /// Opens what the user chose; `threads` is for the CPU (0: one for each core).
    ///
    /// # Errors
    /// [`Error::DeviceUnavailable`] if a card is asked for and cannot be used.
    pub fn open(choice: Choice, threads: usize) -> Result<Device> {
        match choice {
            Choice::Auto | Choice::Cpu => Ok(Device::cpu(threads)),
            Choice::Cuda(number) => Cuda::open(number).map(Device::Cuda),
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
            Device::Cuda(cuda) => cuda.not_yet(),
        }
    }

    /// Takes `bytes` of memory, zeroed, once. Everything stored before is gone.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if there is no room.
    pub fn reserve(&mut self, bytes: usize) -> Result<()> {
        match self {
            Device::Cpu(cpu) => cpu.reserve(bytes),
            Device::Cuda(cuda) => cuda.not_yet(),
        }
    }

    /// Copies host data into a slot. The host may hold fewer elements than the slot: the rest
    /// stays.
    ///
    /// # Panics
    /// If the slot is of another type or smaller.
    pub fn upload<T: Element>(&mut self, slot: Slot, host: &[T]) {
        match self {
            Device::Cpu(cpu) => cpu.slice_mut::<T>(slot)[..host.len()].copy_from_slice(host),
            Device::Cuda(cuda) => cuda.not_yet(),
        }
    }

    /// Copies a slot's first elements into host memory, as many as the host has room for.
    ///
    /// # Panics
    /// If the slot is of another type or smaller.
    pub fn download_into<T: Element>(&self, slot: Slot, host: &mut [T]) {
        match self {
            Device::Cpu(cpu) => host.copy_from_slice(&cpu.slice::<T>(slot)[..host.len()]),
            Device::Cuda(cuda) => cuda.not_yet(),
        }
    }

    /// A slot's elements as a new vector.
    pub fn download<T: Element>(&self, slot: Slot) -> Vec<T> {
        let mut host = vec![T::zeroed(); slot.len()];
        self.download_into(slot, &mut host);
        host
    }

    /// Fills a slot whose value nobody may read any more with NaN, so that a mistake shows. Floats
    /// only.
    pub fn poison(&mut self, slot: Slot) {
        match self {
            Device::Cpu(cpu) => cpu.slice_mut::<f32>(slot).fill(f32::NAN),
            Device::Cuda(cuda) => cuda.not_yet(),
        }
    }

    /// Runs `work` where the device's threads are, so that the ops inside start without a
    /// hand-over. Wrap a whole loop in it: a step inside allocates nothing.
    pub fn enter<T: Send>(&mut self, work: impl FnOnce(&mut Device) -> T + Send) -> T {
        match self {
            Device::Cpu(cpu) => {
                let pool = cpu.pool().clone();
                pool.install(|| work(self))
            }
            Device::Cuda(_) => work(self),
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
    fn reads_the_users_words() {
        assert_eq!("cuda".parse::<Choice>().unwrap(), Choice::Cuda(0));
        assert_eq!("cuda:3".parse::<Choice>().unwrap(), Choice::Cuda(3));
        for wrong in ["gpu", "cuda:", "cuda:x", ""] {
            let message = wrong.parse::<Choice>().unwrap_err().to_string();
            assert!(message.contains("auto, cpu, cuda or cuda:N"), "{message}");
        }
    }

    #[test]
    fn a_card_is_not_there_yet() {
        let error = Device::open(Choice::Cuda(1), 0).unwrap_err().to_string();
        assert!(error.starts_with("cuda:1 cannot be used"), "{error}");
    }
}
