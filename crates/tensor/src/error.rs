//! Errors of devices.

/// A device that is missing, fails, or has too little memory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text is not the name of a device.
    #[error("`{0}` names no device: use auto, cpu, cuda or cuda:N")]
    UnknownDevice(String),

    /// A text is not the name of a precision.
    #[error("`{0}` names no precision: use f32, tf32 or bf16")]
    UnknownPrecision(String),

    /// The device cannot be opened here.
    #[error("{device} cannot be used: {reason}")]
    DeviceUnavailable {
        /// Its name.
        device: String,
        /// The reason, and what to do.
        reason: String,
    },

    /// The device does not support a precision.
    #[error("{device} cannot multiply in {precision}: {reason}; use f32, or a GPU")]
    NoPrecision {
        /// Its name.
        device: String,
        /// The precision.
        precision: crate::Precision,
        /// The reason.
        reason: String,
    },

    /// There is not enough memory.
    #[error(
        "{device}: {needed} of memory are needed and {free} are free{limit}: use a smaller batch",
        needed = mebibytes(*.needed),
        free = mebibytes(*.free),
        limit = group.as_deref().map_or_else(String::new, |group| format!(
            " (the limit of control group {})", group.display()))
    )]
    OutOfMemory {
        /// The device's name.
        device: String,
        /// Bytes that are needed.
        needed: usize,
        /// Bytes that are free.
        free: usize,
        /// The folder of the control group, if its limit decides.
        group: Option<std::path::PathBuf>,
    },

    /// An op is not implemented for GPUs.
    #[error("`{op}` has no CUDA kernel yet: use the CPU")]
    NoKernel {
        /// The op.
        op: &'static str,
    },

    /// NCCL is missing, too old or unusable.
    #[error("NCCL cannot be used: {0}")]
    Nccl(String),

    /// cuBLASLt is missing, too old or unusable.
    #[error("cuBLASLt cannot be used: {0}")]
    CublasLt(String),

    /// cuDNN is missing, too old or unusable.
    #[error("cuDNN cannot be used: {0}")]
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

    /// A call that does not fit the plan, or comes before what it needs.
    #[error("{0}")]
    Misuse(String),

    /// A timeout while waiting for another rank's GPU.
    #[error("another rank's GPU has not answered for {seconds} s: all ranks stop")]
    Unanswered {
        /// The timeout.
        seconds: f64,
    },

    /// An array does not have the shape of the slot.
    #[error(
        "an array of {array:?} does not fit a slot of {slot:?}; values are channels-last: \
         [images, height, width, channels]"
    )]
    ArrayShape {
        /// The extents of the array.
        array: Vec<usize>,
        /// The shape of the slot.
        slot: crate::Shape,
    },

    /// A GPU, or its driver, failed at run time.
    #[error("{what} failed on the GPU: {reason}")]
    Gpu {
        /// A kernel, a copy, or a recorded step.
        what: String,
        /// The driver's error.
        reason: String,
    },
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

fn mebibytes(bytes: usize) -> String {
    format!("{:.0} MiB", bytes as f64 / (1 << 20) as f64)
}
