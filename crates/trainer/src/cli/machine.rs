//! Arguments on devices and output that commands share.

use clap::Args;
use terminal::progress::Progress;

/// Where to compute.
#[derive(Clone, Debug, Default, Args)]
pub struct MachineArgs {
    /// auto, cpu, cuda or cuda:N; to train on several, all of them: cpu,cpu [default: auto]
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Precision of convolutions and fully connected layers: f32, on a GPU tf32 or bf16, on a CPU
    /// with AMX bf16 [default: f32; tf32 on a GPU with tensor cores for it]
    #[arg(long, value_name = "PRECISION")]
    pub precision: Option<String>,
    /// Compute threads; 0: one per core [default: 0]
    #[arg(long, value_name = "N", value_parser = crate::limits::threads)]
    pub threads: Option<usize>,
    /// Threads that decode images; 0: one per core [default: 0]
    #[arg(long, value_name = "N", value_parser = crate::limits::workers)]
    pub workers: Option<usize>,
}

/// What to show.
#[derive(Debug, Default, Args)]
pub struct OutputArgs {
    /// How progress is shown (on stderr; json: on stdout)
    #[arg(long, value_enum, default_value = "auto", value_name = "HOW")]
    pub progress: Progress,
    /// Print the result as one line of JSON on stdout
    #[arg(long)]
    pub json: bool,
}
