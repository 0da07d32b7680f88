//! Errors of commands, with exit codes.

use std::fmt::Display;

/// A message for the user and an exit code.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// As listed in `alexnet --help`.
    pub code: u8,
    /// One message, without a final full stop or line break.
    pub message: String,
}

/// A result with a [`Fault`].
pub type Result<T> = std::result::Result<T, Fault>;

impl Fault {
    /// A message with its exit code.
    pub fn new(code: u8, message: impl Display) -> Fault {
        Fault { code, message: message.to_string() }
    }

    /// Wrong usage or configuration.
    pub fn usage(message: impl Display) -> Fault {
        Fault::new(2, message)
    }

    /// Adds the rank of one of several processes to the message; rank 0 stands for the run.
    pub fn of_rank(self, rank: usize) -> Fault {
        match rank {
            0 => self,
            rank => Fault { message: format!("rank {rank}: {}", self.message), ..self },
        }
    }

    /// Adds the file or the part of the work in which it arose.
    pub fn inside(self, place: impl Display) -> Fault {
        Fault { message: format!("{place}: {}", self.message), ..self }
    }

    /// Whether it is that of a device without enough free memory.
    pub fn is_out_of_memory(&self) -> bool {
        self.message.contains("of memory are needed and")
    }

    /// Failure at run time.
    pub fn failure(message: impl Display) -> Fault {
        Fault::new(1, message)
    }
}

impl From<train::Error> for Fault {
    fn from(error: train::Error) -> Fault {
        use train::Error as E;
        let code = match &error {
            E::Network(_) | E::Recipe(_) | E::RunFolder { .. } | E::Resume { .. } => 2,
            E::Device(tensor::Error::UnknownDevice(_) | tensor::Error::UnknownPrecision(_)) => 2,
            E::Device(
                tensor::Error::DeviceUnavailable { .. }
                | tensor::Error::NoKernel { .. }
                | tensor::Error::NoPrecision { .. }
                | tensor::Error::CublasLt(_)
                | tensor::Error::Cudnn(_)
                | tensor::Error::NoAlgorithm { .. }
                | tensor::Error::Nccl(_),
            ) => 6,
            E::Device(tensor::Error::OutOfMemory { device, .. }) if device != "cpu" => 6,
            E::Device(_) | E::Step { .. } | E::Executor(_) => 1,
            E::Data(data::Error::Write { .. }) | E::File(_) => 7,
            E::Data(data::Error::Pattern { .. }) => 2,
            E::Data(_) => 3,
            E::Weights(weights::Error::NotFinite { .. }) => 5,
            E::Weights(weights::Error::Export { .. }) => 2,
            E::Weights(weights::Error::ExportDiffers { .. }) => 1,
            E::Weights(weights::Error::File(_)) => 7,
            E::Weights(_) | E::Checkpoint { .. } => 4,
            E::Diverged { .. } | E::NotFinite { .. } => 5,
            _ => 1,
        };
        Fault::new(code, format!("{error}{}", flags(&error)))
    }
}

/// Remedies in messages of the libraries, and the flags for them.
const FLAGS: [(&str, &str); 22] = [
    ("recipe.batch", "--batch-size"),
    ("recipe.shards", "--micro-shards"),
    ("fewer micro-shards", "--micro-shards"),
    ("recipe.epochs", "--epochs"),
    ("recipe.early-stopping", "--early-stopping"),
    ("hold out every tenth training image", "--hold-out 10"),
    ("recipe.rate", "--lr"),
    ("learning rate", "--lr"),
    ("data parallelism", "--parallel data"),
    ("name the layers to copy", "--init-layers"),
    ("choose another folder, resume", "--run, --resume"),
    ("resume the run from", "--resume"),
    ("by default a run writes its first", "--every"),
    ("a table of labels", "--labels FILE.csv"),
    ("tables of labels", "--labels FILE.csv"),
    ("name the table", "--labels FILE"),
    ("column of images", "--image-column NAME"),
    ("column of labels", "--label-column NAME"),
    ("label-from", "--label-from REGEX"),
    ("labelling options", "--help lists them"),
    ("EXIF mode", "--exif"),
    ("open a folder of images", "--data"),
];

/// The flags for the remedies that an error names, in parentheses.
fn flags(error: &train::Error) -> String {
    use tensor::Error as E;
    use train::Error::{Device, Step};
    let message = error.to_string().to_lowercase();
    let named = FLAGS.iter().filter(|(remedy, _)| message.contains(&remedy.to_lowercase()));
    let mut flags: Vec<&str> = named.map(|(_, flag)| *flag).collect();
    flags.extend(match error {
        Device(E::DeviceUnavailable { .. } | E::NoKernel { .. }) => {
            Some("--device cpu needs no GPU")
        }
        Device(E::NoPrecision { .. }) => Some("--precision f32"),
        Device(E::CublasLt(_) | E::Cudnn(_)) => Some("--vendor none needs no library"),
        Step { .. } => Some("--resume"),
        _ => None,
    });
    let mut distinct = Vec::new();
    flags.retain(|flag| {
        !distinct.contains(flag) && {
            distinct.push(*flag);
            true
        }
    });
    if flags.is_empty() { String::new() } else { format!(" ({})", flags.join(", ")) }
}

/// Errors with the exit code and the flags of the `train::Error` that they convert to.
macro_rules! from_training_errors {
    ($($error:ty),*) => {
        $(impl From<$error> for Fault {
            fn from(error: $error) -> Fault {
                train::Error::from(error).into()
            }
        })*
    };
}
from_training_errors!(
    data::Error,
    files::Error,
    layers::SpecError,
    parallel::Error,
    tensor::Error,
    weights::Error
);

impl From<inference::Error> for Fault {
    fn from(error: inference::Error) -> Fault {
        use inference::Error as E;
        match error {
            E::Weights(error) => error.into(),
            E::File(error) => error.into(),
            E::Network(error) => error.into(),
            E::Data(error) => error.into(),
            E::Device(error) => error.into(),
            E::Layer(error) => Fault::usage(format!("--layer: {error}")),
            error @ E::Sizes { .. } => Fault::new(3, error),
            error @ (E::NoHiddenLayer { .. } | E::Format { .. }) => Fault::usage(error),
            error @ (E::NoMaps { .. } | E::NoExplanation { .. }) => Fault::usage(error),
            error => Fault::failure(error),
        }
    }
}

impl From<serve::Error> for Fault {
    fn from(error: serve::Error) -> Fault {
        use serve::Error as E;
        match error {
            E::Inference(error) => error.into(),
            E::Address { .. } => Fault::usage(format!("--listen {error}")),
            E::Listen { .. } => {
                Fault::failure(format!("--listen {error}; without --listen a free port is found"))
            }
            E::Ports { .. } => Fault::failure(format!("{error}; name another with --listen")),
            error => Fault::failure(error),
        }
    }
}

impl From<terminal::Error> for Fault {
    fn from(error: terminal::Error) -> Fault {
        Fault::new(if matches!(error, terminal::Error::Output(_)) { 7 } else { 1 }, error)
    }
}

impl From<report::Error> for Fault {
    fn from(error: report::Error) -> Fault {
        match error {
            error @ report::Error::Read { .. } => Fault::new(4, error),
            error => Fault::usage(error),
        }
    }
}
