//! Command-line arguments.

mod command;
mod peer;

pub use command::command;
pub use peer::{Opponent, PeerKind};

use alexnet_benches::epoch::Loading;
use alexnet_benches::results::Workload;
use alexnet_benches::{PeerMode, StepMode};
use clap::{Parser, ValueEnum};
use std::path::PathBuf;
use tensor::Precision;

/// Times ops and steps, and compares them with the machine's peak rates and with PyTorch.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", after_help = AFTER, max_term_width = 100)]
pub struct Cli {
    /// Built-in models
    #[arg(long, num_args = 1.., default_values = ["alexnet", "torchvision"], value_name = "NAME")]
    pub model: Vec<String>,
    /// Batch sizes [default: 128; with --peer torch also inference at 1 and 64; with the other peers
    /// inference at 1, 8 and 64]
    #[arg(long, num_args = 1.., value_name = "N", value_parser = positive)]
    batch: Vec<usize>,
    /// Training steps or inference [default: train]
    #[arg(long, num_args = 1.., value_enum)]
    mode: Vec<StepMode>,
    /// Smallest number of repetitions; the median is shown
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = positive)]
    pub rounds: usize,
    /// Compute threads; 0: one per core
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub threads: usize,
    /// Number format of the products in convolutions and linear layers, in PyTorch too: f32, or
    /// bf16 on a processor with AMX
    #[arg(long, default_value = "f32", value_name = "PRECISION", conflicts_with = "epoch")]
    pub precision: Precision,
    /// Only measure the machine's peak rates and those of the matrix tiles
    #[arg(long)]
    pub peaks: bool,

    /// Compute lower bounds of a training step on this GPU, without using one [batch default: 128
    /// 1024]
    #[arg(long, value_enum, value_name = "GPU",
          conflicts_with_all = ["peer", "peaks", "epoch", "baseline", "save"])]
    pub floor: Option<GpuName>,

    /// Measure this program alternately; the models go to OpenVINO and ONNX Runtime as ONNX
    #[arg(long, value_enum, help_heading = "Against other programs")]
    pub peer: Option<PeerKind>,
    /// Python with the peer's package
    #[arg(
        long,
        default_value = "python3",
        value_name = "FILE",
        help_heading = "Against other programs"
    )]
    pub python: PathBuf,
    /// How PyTorch runs [default: all three in training, eager in inference and for the floor,
    /// eager and channels-last for epochs]
    #[arg(long, num_args = 1.., value_enum, help_heading = "Against other programs")]
    form: Vec<PeerMode>,
    /// Tables [default: all; OpenVINO and ONNX Runtime have only `steps`]
    #[arg(long, num_args = 1.., value_enum, help_heading = "Against other programs",
          requires = "peer")]
    table: Vec<TableName>,

    /// Instead, time epochs of this model with loading and augmentation, alternately with PyTorch
    #[arg(long, value_name = "MODEL", value_parser = ["cifar-18pct"], requires = "data",
          conflicts_with_all = ["peer", "peaks"], help_heading = "Epochs")]
    pub epoch: Option<String>,
    /// CIFAR-10 as image files: DIR/train has a folder for each class
    #[arg(long, value_name = "DIR", help_heading = "Epochs")]
    pub data: Option<PathBuf>,
    /// Images per epoch, spread evenly over the data set
    #[arg(long, default_value_t = 50_000, value_name = "N", value_parser = positive,
          help_heading = "Epochs")]
    pub images: usize,
    /// Loader threads, or loader processes in PyTorch
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = positive,
          help_heading = "Epochs")]
    pub workers: usize,
    /// Decode the files in every epoch, or keep their pixels in memory
    #[arg(long, num_args = 1.., value_enum, default_values = ["files", "memory"],
          help_heading = "Epochs")]
    pub loading: Vec<Loading>,

    /// Also write the tables into BENCHMARKS.md
    #[arg(long, help_heading = "Keeping and comparing")]
    pub write: bool,
    /// Save the results to a file for --baseline
    #[arg(long, value_name = "FILE", help_heading = "Keeping and comparing")]
    pub save: Option<PathBuf>,
    /// Compare with the saved results of an earlier run
    #[arg(long, value_name = "FILE", help_heading = "Keeping and comparing")]
    pub baseline: Option<PathBuf>,
    /// Allowed slowdown relative to the baseline
    #[arg(long, default_value = "5%", value_name = "PERCENT", value_parser = percent,
          requires = "baseline", help_heading = "Keeping and comparing")]
    pub regression: f64,

    /// Run a few training steps and print the process's peak memory in bytes
    #[arg(long, hide = true)]
    pub peak_memory: bool,
}

const AFTER: &str = "\
Examples:
  cargo xtask bench                                       every row of alexnet and torchvision
  cargo xtask bench --model cifar-18pct --batch 64
  cargo xtask bench --mode infer --batch 1                one image forward, row by row
  cargo xtask bench --precision bf16                      training steps on AMX
  cargo xtask bench --peaks                               multiply-adds and bytes a second
  cargo xtask bench --floor h200                          lower bounds of a step on an H200
  cargo xtask bench --save before.json                    ... and after a change:
  cargo xtask bench --baseline before.json --regression 5%
  cargo xtask bench --peer torch --python venv/bin/python --write
  cargo xtask bench --peer torch --python venv/bin/python --table steps --mode infer --batch 1 64
  cargo xtask bench --peer openvino --python target/python/bin/python      inference, also bf16
  cargo xtask bench --epoch cifar-18pct --data DIR --python venv/bin/python
  cargo xtask bench --loader --data DIR --peer torch      the data path (see --loader --help)
  cargo xtask bench --scaling                             computed times on 1 to 512 H200s
  cargo xtask bench criterion conv2                       criterion's statistics of the same ops

A row is slower than the baseline if its median has grown by more than --regression and the
interquartile ranges of both runs do not overlap. Between machines, only ratios to PyTorch are
compared.

Exit codes:
  0  success; nothing is slower
  1  a measurement, a file or the comparison failed
  2  invalid command line
  3  a row is slower than the baseline by more than --regression";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GpuName {
    H200,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TableName {
    /// Whole steps
    Steps,
    /// The parts of a step with their lower bounds
    Floor,
    /// Peak memory of training processes
    Memory,
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if n > 0 => Ok(n),
        _ => Err("expected a whole number of at least 1".to_string()),
    }
}

/// `5%` or `5` as 0.05.
fn percent(text: &str) -> Result<f64, String> {
    match text.strip_suffix('%').unwrap_or(text).trim().parse::<f64>() {
        Ok(percent) if percent.is_finite() && percent >= 0.0 => Ok(percent / 100.0),
        _ => Err("expected a percentage of at least 0, such as 5%".to_string()),
    }
}

impl Cli {
    /// Modes and batch sizes of the steps: by default training steps of 128 images; with PyTorch
    /// also inference of 1 and 64 images; with other programs inference of 1, 8 and 64.
    pub fn units(&self) -> Vec<(StepMode, usize)> {
        if self.engine().is_some() {
            let batches = if self.batch.is_empty() { &[1, 8, 64][..] } else { &self.batch };
            return batches.iter().map(|&batch| (StepMode::Infer, batch)).collect();
        }
        if self.peer.is_some() && self.mode.is_empty() && self.batch.is_empty() {
            return vec![(StepMode::Train, 128), (StepMode::Infer, 1), (StepMode::Infer, 64)];
        }
        let modes = if self.mode.is_empty() { &[StepMode::Train][..] } else { &self.mode };
        let batches = if self.batch.is_empty() { &[128][..] } else { &self.batch };
        let each = |&mode: &StepMode| batches.iter().map(move |&batch| (mode, batch));
        modes.iter().flat_map(each).collect()
    }

    /// Batch sizes of the computed lower bounds.
    pub fn floor_batches(&self) -> &[usize] {
        if self.batch.is_empty() { &[128, 1024] } else { &self.batch }
    }

    /// The steps to measure part by part; with PyTorch only training.
    pub fn floor_units(&self) -> Vec<(StepMode, usize)> {
        let mut units = self.units();
        units.retain(|unit| self.peer.is_none() || unit.0 == StepMode::Train);
        units
    }

    /// The name of a table of a step's parts.
    pub fn floor_title(&self, model: &str, mode: StepMode, batch: usize) -> String {
        let mode = if mode == StepMode::Train { "" } else { " infer" };
        self.with_precision(format!("floor {model}{mode} {batch}"))
    }

    /// Batch sizes of the training steps.
    pub fn training_batches(&self) -> impl Iterator<Item = usize> {
        self.units().into_iter().filter(|unit| unit.0 == StepMode::Train).map(|unit| unit.1)
    }

    /// How PyTorch runs steps of a mode.
    pub fn forms(&self, mode: StepMode) -> Vec<PeerMode> {
        match (self.form.is_empty(), mode) {
            (false, _) => self.form.clone(),
            (true, StepMode::Train) => PeerMode::ALL.to_vec(),
            (true, StepMode::Infer) => vec![PeerMode::Eager],
        }
    }

    /// How PyTorch runs epochs: by default eagerly, and with channels last, its fastest on small
    /// images.
    pub fn epoch_forms(&self) -> Vec<PeerMode> {
        if self.form.is_empty() {
            vec![PeerMode::Eager, PeerMode::ChannelsLast]
        } else {
            self.forms(StepMode::Train)
        }
    }

    /// How PyTorch runs where it runs in one mode: the first that was selected, or eager.
    pub fn form(&self) -> PeerMode {
        self.forms(StepMode::Infer)[0]
    }

    /// Whether a table is selected; without PyTorch only `floor` is.
    pub fn wants(&self, table: TableName) -> bool {
        if self.epoch.is_some() || self.floor.is_some() {
            return false;
        }
        match self.peer {
            None => table == TableName::Floor,
            Some(PeerKind::Torch) => self.table.is_empty() || self.table.contains(&table),
            Some(_) => table == TableName::Steps,
        }
    }

    /// The name of a mode in results, with the precision if it is not f32.
    pub fn mode_name(&self, mode: StepMode) -> String {
        self.with_precision(mode.name().to_string())
    }

    fn with_precision(&self, name: String) -> String {
        match self.precision {
            Precision::F32 => name,
            precision => format!("{name} {precision}"),
        }
    }

    /// The workloads of this run.
    pub fn workloads(&self) -> Vec<Workload> {
        let work = |model: &str, mode: &str, batch| Workload {
            model: model.to_string(),
            mode: mode.to_string(),
            batch,
        };
        if let Some(model) = &self.epoch {
            return vec![work(model, "epoch", self.units()[0].1)];
        }
        let units = self.units();
        let models = self.model.iter();
        models
            .flat_map(|model| units.iter().map(move |&(mode, batch)| (model, mode, batch)))
            .map(|(model, mode, batch)| work(model, &self.mode_name(mode), batch))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cli(line: &str) -> Cli {
        Cli::try_parse_from(format!("bench {line}").split_whitespace()).unwrap()
    }

    #[test]
    fn the_command_line_is_valid() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn with_pytorch_inference_is_measured_too() {
        assert_eq!(cli("").units(), [(StepMode::Train, 128)]);
        let units = [(StepMode::Train, 128), (StepMode::Infer, 1), (StepMode::Infer, 64)];
        assert_eq!(cli("--peer torch").units(), units);
        let asked = cli("--peer torch --mode infer --batch 1 64");
        assert_eq!(asked.units(), units[1..]);
        assert_eq!(cli("--peer torch").forms(StepMode::Train).len(), 3);
        assert_eq!(cli("--peer torch").forms(StepMode::Infer), [PeerMode::Eager]);
        assert_eq!(cli("--form channels-last").forms(StepMode::Train), [PeerMode::ChannelsLast]);
        let workloads: Vec<String> = asked.workloads().iter().map(Workload::to_string).collect();
        assert_eq!(workloads[..2], ["alexnet infer, batch 1", "alexnet infer, batch 64"]);
        let reduced = cli("--precision bf16 --model alexnet").workloads();
        assert_eq!(reduced[0].to_string(), "alexnet train bf16, batch 128");
    }

    #[test]
    fn tables_of_parts_have_distinct_names() {
        assert_eq!(cli("--peer torch").floor_units(), [(StepMode::Train, 128)]);
        let alone = cli("--mode train infer --batch 1");
        let titles = alone
            .floor_units()
            .into_iter()
            .map(|(mode, batch)| alone.floor_title("vgg11", mode, batch));
        assert_eq!(titles.collect::<Vec<_>>(), ["floor vgg11 1", "floor vgg11 infer 1"]);
        let reduced = cli("--precision bf16").floor_title("alexnet", StepMode::Train, 128);
        assert_eq!(reduced, "floor alexnet 128 bf16");
    }

    #[test]
    fn tables_are_chosen() {
        assert!(cli("").wants(TableName::Floor) && !cli("").wants(TableName::Steps));
        assert!(cli("--peer torch").wants(TableName::Memory));
        let one = cli("--peer torch --table steps");
        assert!(one.wants(TableName::Steps) && !one.wants(TableName::Floor));
        let refused = |line: &str| {
            Cli::try_parse_from(format!("bench {line}").split_whitespace()).unwrap_err().exit_code()
        };
        assert_eq!(refused("--table steps"), 2);
        assert_eq!(refused("--epoch cifar-18pct"), 2);
        assert_eq!(refused("--baseline a --regression -1%"), 2);
        assert_eq!(refused("--regression 5%"), 2);
    }

    #[test]
    fn other_programs_are_compared_in_inference() {
        let openvino = cli("--peer openvino");
        assert_eq!(openvino.units(), [1, 8, 64].map(|batch| (StepMode::Infer, batch)));
        assert!(openvino.wants(TableName::Steps) && !openvino.wants(TableName::Memory));
        let names = openvino.opponents(StepMode::Infer).into_iter().map(Opponent::name);
        assert_eq!(names.collect::<Vec<_>>(), ["openvino"]);
        assert_eq!(openvino.check(), Ok(()));
        for line in ["--mode train", "--form eager", "--table memory"] {
            let refused = cli(&format!("--peer onnxruntime {line}")).check().unwrap_err();
            assert!(refused.contains("ONNX Runtime"), "{refused}");
        }
    }

    #[test]
    fn percentages() {
        assert_eq!(percent("5%"), Ok(0.05));
        assert_eq!(percent("2.5"), Ok(0.025));
        assert!(percent("five").is_err() && percent("NaN").is_err() && percent("-1%").is_err());
    }
}
