//! What can go wrong between a plan and a device.

/// A device that is not there, or has no room.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text after `--device` names no device.
    #[error("`{0}` names no device: use auto, cpu, cuda or cuda:N")]
    UnknownDevice(String),

    /// The device exists in this program's words but cannot be opened here.
    #[error("{device} cannot be used: {reason}")]
    DeviceUnavailable {
        /// As the user would write it.
        device: String,
        /// Why, and what to do.
        reason: String,
    },

    /// The plan does not fit.
    #[error("{needed} of memory are needed and {free} are free: use a smaller batch",
        needed = mebibytes(*.needed), free = mebibytes(*.free))]
    OutOfMemory {
        /// Bytes the plan takes.
        needed: usize,
        /// Bytes the device has left.
        free: usize,
    },
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

fn mebibytes(bytes: usize) -> String {
    format!("{:.0} MiB", bytes as f64 / (1 << 20) as f64)
}
