//! The rates on which the expected times of our kernels are based.

use crate::Verdict;
use crate::budget::Budget;
use crate::cli::Cli;
use crate::gpu;
use alexnet_benches::assumed_rate;
use alexnet_benches::ledger::Table;
use kernels::gemm::peaks::{Peak, PeakRun};
use std::time::Instant;
use tensor::{DType, Planner, Precision, Shape};

/// Sixteen blocks on each multiprocessor of an H200.
const BLOCKS: usize = 16 * 132;
/// Floats of 16 MiB: more than first-level caches hold, and less than second-level caches do.
const FLOATS: usize = 4 << 20;
/// Seconds of a measurement, of which the fastest of three counts.
const SECONDS: f64 = 0.02;

/// Runs the section.
pub fn run(cli: &Cli, budget: &Budget) -> Result<Verdict, String> {
    let with_bf16 = gpu::open_in(Precision::Bf16)?;
    let mut peaks = Peak::ALL.to_vec();
    if with_bf16.is_none() {
        peaks.retain(|&peak| peak != Peak::TensorCores);
    }
    let mut device = with_bf16.map_or_else(gpu::open, Ok)?;
    let (blocks, floats) = if cli.small { (2, 4096) } else { (BLOCKS, FLOATS) };
    let mut planner = Planner::new();
    let x = planner.claim(DType::F32, Shape::from([floats]));
    let y = planner.claim(DType::F32, PeakRun::sums(blocks));
    let message = |error: tensor::Error| error.to_string();
    device.reserve(planner.total()).map_err(message)?;
    println!(
        "Each alone, in kernels that do nothing else. \"Expected\" is the rate of an H200 in the \
         computed times of BENCHMARKS.md.\n"
    );
    let mut table = Table::new(&["what"], &["measured T/s", "expected T/s", "ratio"]);
    for peak in peaks {
        budget.log(&format!("peaks: {}", peak.name()));
        let mut seconds = |turns: u32| {
            let began = Instant::now();
            PeakRun { x, y, turns }.launch(gpu::cuda(&mut device), peak).map_err(message)?;
            gpu::wait(&device)?;
            Ok::<f64, String>(began.elapsed().as_secs_f64())
        };
        let mut turns = if cli.small { 2 } else { 256 };
        seconds(turns)?; // loads the kernel
        if !cli.small {
            let scale = SECONDS / seconds(turns)?.max(1e-6);
            turns = (f64::from(turns) * scale).clamp(1.0, f64::from(1 << 20)) as u32;
        }
        let fastest = (0..3).try_fold(f64::INFINITY, |least, _| Ok(seconds(turns)?.min(least)));
        let fastest: Result<f64, String> = fastest;
        let rate = PeakRun { x, y, turns }.amount(peak) / fastest?;
        let unit = if peak == Peak::TensorCores { "FLOP" } else { "B" };
        let assumed = assumed_rate(peak);
        table.push([
            format!("{} ({unit})", peak.name()),
            format!("{:.2}", rate / 1e12),
            format!("{:.2}", assumed / 1e12),
            format!("{:.2}", rate / assumed),
        ]);
    }
    println!("{}", table.render());
    Ok(Verdict::Passed)
}
