//! What can go wrong between a plan and a device.

/// A device that is not there, or has no room.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text after `--device` names no device.
    #[error("`{0}` names no device: use auto, cpu, cuda or cuda:N")]
    UnknownDevice(String),

    /// The text after `--precision` names none.
    #[error("`{0}` names no precision: use f32, tf32 or bf16")]
    UnknownPrecision(String),

    /// The device exists in this program's words but cannot be opened here.
    #[error("{device} cannot be used: {reason} (--device cpu needs no GPU)")]
    DeviceUnavailable {
        /// As the user would write it.
        device: String,
        /// ChosenBy, and what to do.
        reason: String,
    },

    /// The device multiplies in other numbers.
    #[error("{device} cannot multiply in {precision}: {reason}; use --precision f32, or a GPU")]
    NoPrecision {
        /// As the user would write it.
        device: String,
        /// What was asked for.
        precision: crate::Precision,
        /// What is missing.
        reason: String,
    },

    /// The plan does not fit.
    #[error(
        "{device}: {needed} of memory are needed and {free} are free{limit}: use a smaller batch",
        needed = mebibytes(*.needed),
        free = mebibytes(*.free),
        limit = group.as_deref().map_or_else(String::new, |group| format!(
            " (the limit of control group {})", group.display()))
    )]
    OutOfMemory {
        /// As the user would write it.
        device: String,
        /// Bytes the plan takes.
        needed: usize,
        /// Bytes the device has left.
        free: usize,
        /// The folder of the control group whose limit that is, if it is one's.
        group: Option<std::path::PathBuf>,
    },

    /// An op has no form for this device.
    #[error("`{op}` has no CUDA kernel yet: use --device cpu")]
    NoKernel {
        /// The op.
        op: &'static str,
    },

    /// The library that joins GPUs is missing, too old or of no use here.
    #[error("NCCL cannot be used: {0}")]
    Nccl(String),

    /// The library that multiplies matrices is missing, too old or of no use here.
    #[error("cuBLASLt cannot be used: {0} (--vendor none needs no library)")]
    CublasLt(String),

    /// The library that convolves is missing, too old, or fails.
    #[error("cuDNN cannot be used: {0} (--vendor none needs no library)")]
    Cudnn(String),

    /// A text is not the name of an algorithm.
    #[error("`{0}` is not an algorithm: these are own/TILE/SLICES, cublaslt/N and cudnn/N")]
    UnknownAlgorithm(String),

    /// The algorithm that was chosen for an operation is not available.
    #[error(
        "`{algorithm}` is not available for {operation} here: it was chosen for another GPU or \
         library"
    )]
    NoAlgorithm {
        /// Its name.
        algorithm: String,
        /// The operation.
        operation: String,
    },

    /// A GPU that this one waits for does not do its part.
    #[error("another rank's GPU has not answered for {seconds} s: all ranks stop")]
    Unanswered {
        /// How long it was waited for.
        seconds: f64,
    },

    /// A GPU, or its driver, failed at run time.
    #[error("{what} failed on the GPU: {reason}")]
    Gpu {
        /// A kernel, a copy, a recorded step.
        what: String,
        /// What the driver says.
        reason: String,
    },
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

fn mebibytes(bytes: usize) -> String {
    format!("{:.0} MiB", bytes as f64 / (1 << 20) as f64)
}
