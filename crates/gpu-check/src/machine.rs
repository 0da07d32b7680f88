//! The driver, clocks and toolkit of this machine.

use crate::Verdict;
use crate::budget::{self, Budget, ExitReason};
use crate::cli::Cli;
use std::process::Command;

/// What `nvidia-smi` is asked.
const QUERY: &str = "--query-gpu=name,driver_version,clocks.sm,clocks.max.sm,clocks.mem,\
    power.limit,temperature.gpu,persistence_mode,mig.mode.current";

/// Runs the section: what is missing here is no failure.
pub fn run(cli: &Cli, budget: &Budget) -> Result<Verdict, String> {
    if let Ok(tensor::Device::Cuda(cuda)) = &crate::gpu::open() {
        println!("* {}, driver for CUDA {}", cuda.name(), cuda.driver());
    }
    let mut commands = vec![
        ("nvidia-smi", vec![QUERY, "--format=csv,noheader"]),
        ("nvcc", vec!["--version"]),
        ("ncu", vec!["--version"]),
    ];
    let python = cli.python.as_ref().map(|path| path.to_string_lossy().into_owned());
    let versions = "import torch; print(torch.__version__, torch.version.cuda, \
                    torch.backends.cudnn.version())";
    if let Some(python) = &python {
        commands.push((python, vec!["-c", versions]));
    }
    for (program, arguments) in commands {
        let mut command = Command::new(program);
        command.args(arguments);
        let text = match budget::run(command, budget.left(), |_| {}) {
            Ok((ExitReason::Code(0), _, text)) => {
                text.trim().lines().last().unwrap_or_default().to_string()
            }
            Ok((exit, ..)) => format!("no answer ({exit:?})"),
            Err(_) => "not installed".to_string(),
        };
        println!("* {program}: {text}");
    }
    Ok(Verdict::Passed)
}
