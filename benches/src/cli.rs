//! What was typed, and what is meant.

mod command;

pub use command::command;

use alexnet_benches::Form;
use alexnet_benches::Mode;
use alexnet_benches::epoch::Loading;
use alexnet_benches::results::Work;
use clap::{Parser, ValueEnum};
use std::path::PathBuf;
use tensor::Precision;

/// Times ops and steps, against the machine's peaks and against PyTorch.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", after_help = AFTER, max_term_width = 100)]
pub struct Cli {
    /// Built-in models
    #[arg(long, num_args = 1.., default_values = ["alexnet", "torchvision"], value_name = "NAME")]
    pub model: Vec<String>,
    /// Images a step; 128, and with --peer also testing's 1 and 64
    #[arg(long, num_args = 1.., value_name = "N", value_parser = positive)]
    batch: Vec<usize>,
    /// Whole steps, or testing alone
    #[arg(long, num_args = 1.., value_enum)]
    mode: Vec<What>,
    /// Times every number is taken at least; the median is shown
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = positive)]
    pub rounds: usize,
    /// Threads that compute; 0: one for each core
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub threads: usize,
    /// In which numbers convolutions and fully connected layers multiply, PyTorch's too: f32, or
    /// bf16 on a processor with AMX
    #[arg(long, default_value = "f32", value_name = "PRECISION", conflicts_with = "epoch")]
    pub precision: Precision,
    /// Only measure the machine's peaks, and how near to them tiles come
    #[arg(long)]
    pub peaks: bool,

    /// Count a training step's floor on this GPU, without one; at 128 and 1024 images
    #[arg(long, value_enum, value_name = "GPU",
          conflicts_with_all = ["peer", "peaks", "epoch", "baseline", "save"])]
    pub floor: Option<Gpu>,

    /// Take everything in turn with PyTorch
    #[arg(long, value_enum, help_heading = "Against PyTorch")]
    pub peer: Option<PeerKind>,
    /// The Python that has PyTorch
    #[arg(long, default_value = "python3", value_name = "FILE", help_heading = "Against PyTorch")]
    pub python: PathBuf,
    /// How PyTorch runs; all three in training, eager in testing and beside the floor; eager
    /// and channels-last for epochs
    #[arg(long, num_args = 1.., value_enum, help_heading = "Against PyTorch")]
    form: Vec<FormName>,
    /// Which of the tables; all
    #[arg(long, num_args = 1.., value_enum, help_heading = "Against PyTorch", requires = "peer")]
    table: Vec<TableName>,

    /// Epochs with loading and augmentation of this model instead, in turn with PyTorch
    #[arg(long, value_name = "MODEL", value_parser = ["cifar-18pct"], requires = "data",
          conflicts_with_all = ["peer", "peaks"], help_heading = "Epochs")]
    pub epoch: Option<String>,
    /// CIFAR-10 as image files: DIR/train has a folder for each class
    #[arg(long, value_name = "DIR", help_heading = "Epochs")]
    pub data: Option<PathBuf>,
    /// Images an epoch, spread evenly over the set
    #[arg(long, default_value_t = 50_000, value_name = "N", value_parser = positive,
          help_heading = "Epochs")]
    pub images: usize,
    /// Threads, and PyTorch's processes, that load
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = positive,
          help_heading = "Epochs")]
    pub workers: usize,
    /// Decode the files anew in each epoch, or keep their pixels
    #[arg(long, num_args = 1.., value_enum, default_values = ["files", "memory"],
          help_heading = "Epochs")]
    loading: Vec<LoadingName>,

    /// Put the tables into BENCHMARKS.md, too
    #[arg(long, help_heading = "Keeping and comparing")]
    pub write: bool,
    /// Keep the numbers in a file, for --baseline
    #[arg(long, value_name = "FILE", help_heading = "Keeping and comparing")]
    pub save: Option<PathBuf>,
    /// Compare with what an earlier run kept there
    #[arg(long, value_name = "FILE", help_heading = "Keeping and comparing")]
    pub baseline: Option<PathBuf>,
    /// How much slower than the baseline is let pass
    #[arg(long, default_value = "5%", value_name = "PERCENT", value_parser = percent,
          requires = "baseline", help_heading = "Keeping and comparing")]
    pub regression: f64,

    /// Make a few training steps and print the most bytes that the process has held
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
  cargo xtask bench --floor h200                          what a step takes there at least
  cargo xtask bench --save before.json                    ... and after a change:
  cargo xtask bench --baseline before.json --regression 5%
  cargo xtask bench --peer torch --python venv/bin/python --write
  cargo xtask bench --peer torch --python venv/bin/python --table steps --mode infer --batch 1 64
  cargo xtask bench --epoch cifar-18pct --data DIR --python venv/bin/python
  cargo xtask bench --loader --data DIR --peer torch      the data path; --loader --help: its flags
  cargo xtask bench --scaling                             1 to 512 H200s, on paper
  cargo xtask bench criterion conv2                       criterion's statistics of the same ops

A row is slower than the baseline if its median has grown by more than --regression and the middle
halves of both runs' values lie apart. On another machine, only ratios to PyTorch are compared.

Exit codes:
  0  done; nothing is slower
  1  something could not be measured, read, written or compared
  2  a wrong command line
  3  a row is slower than the baseline by more than --regression";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    Train,
    Infer,
}

impl What {
    pub fn name(self) -> &'static str {
        match self {
            What::Train => "train",
            What::Infer => "infer",
        }
    }

    /// What a network is planned for.
    pub fn plans(self) -> Mode {
        match self {
            What::Train => Mode::Train,
            What::Infer => Mode::Infer,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Gpu {
    H200,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PeerKind {
    Torch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TableName {
    /// Whole steps
    Steps,
    /// Every part of a step
    Floor,
    /// Peaks of training processes
    Memory,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormName {
    Eager,
    ChannelsLast,
    Compiled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LoadingName {
    Files,
    Memory,
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if n > 0 => Ok(n),
        _ => Err("expected a whole number of at least 1".to_string()),
    }
}

/// `5%`, or `5`: a share of 0.05.
fn percent(text: &str) -> Result<f64, String> {
    match text.strip_suffix('%').unwrap_or(text).trim().parse::<f64>() {
        Ok(percent) if percent.is_finite() && percent >= 0.0 => Ok(percent / 100.0),
        _ => Err("expected a percentage of at least 0, such as 5%".to_string()),
    }
}

impl Cli {
    /// What steps are made: without PyTorch training steps of 128 images; with it, unless something
    /// is asked for, testing's of 1 and 64, too.
    pub fn units(&self) -> Vec<(What, usize)> {
        if self.peer.is_some() && self.mode.is_empty() && self.batch.is_empty() {
            return vec![(What::Train, 128), (What::Infer, 1), (What::Infer, 64)];
        }
        let modes = if self.mode.is_empty() { &[What::Train][..] } else { &self.mode };
        let batches = if self.batch.is_empty() { &[128][..] } else { &self.batch };
        let each = |&mode: &What| batches.iter().map(move |&batch| (mode, batch));
        modes.iter().flat_map(each).collect()
    }

    /// Batches that a floor is counted at.
    pub fn floor_batches(&self) -> &[usize] {
        if self.batch.is_empty() { &[128, 1024] } else { &self.batch }
    }

    /// The steps that are taken apart; beside PyTorch those of training.
    pub fn floor_units(&self) -> Vec<(What, usize)> {
        let mut units = self.units();
        units.retain(|unit| self.peer.is_none() || unit.0 == What::Train);
        units
    }

    /// The name of a table of a step's parts.
    pub fn floor_title(&self, model: &str, (mode, batch): (What, usize)) -> String {
        let mode = if mode == What::Train { "" } else { " infer" };
        self.with_precision(format!("floor {model}{mode} {batch}"))
    }

    /// Batches of the training steps among them.
    pub fn training_batches(&self) -> impl Iterator<Item = usize> {
        self.units().into_iter().filter(|unit| unit.0 == What::Train).map(|unit| unit.1)
    }

    /// How PyTorch runs in a mode.
    pub fn forms(&self, mode: What) -> Vec<Form> {
        let asked = self.form.iter().map(|form| match form {
            FormName::Eager => Form::Eager,
            FormName::ChannelsLast => Form::ChannelsLast,
            FormName::Compiled => Form::Compiled,
        });
        match (self.form.is_empty(), mode) {
            (false, _) => asked.collect(),
            (true, What::Train) => Form::ALL.to_vec(),
            (true, What::Infer) => vec![Form::Eager],
        }
    }

    /// How PyTorch runs epochs: as it comes, and as it has proved fastest on small images.
    pub fn epoch_forms(&self) -> Vec<Form> {
        if self.form.is_empty() {
            vec![Form::Eager, Form::ChannelsLast]
        } else {
            self.forms(What::Train)
        }
    }

    /// How PyTorch runs where it runs once: the first form that is asked for, or eager.
    pub fn form(&self) -> Form {
        self.forms(What::Infer)[0]
    }

    /// How epochs are fed.
    pub fn loadings(&self) -> Vec<Loading> {
        let loading = |name: &LoadingName| match name {
            LoadingName::Files => Loading::Files,
            LoadingName::Memory => Loading::Memory,
        };
        self.loading.iter().map(loading).collect()
    }

    /// Whether a table is asked for; without PyTorch there is the floor alone.
    pub fn wants(&self, table: TableName) -> bool {
        if self.epoch.is_some() || self.floor.is_some() {
            return false;
        }
        match self.peer {
            None => table == TableName::Floor,
            Some(PeerKind::Torch) => self.table.is_empty() || self.table.contains(&table),
        }
    }

    /// A mode in results: with the precision, if that is not f32.
    pub fn mode_name(&self, mode: What) -> String {
        self.with_precision(mode.name().to_string())
    }

    fn with_precision(&self, name: String) -> String {
        match self.precision {
            Precision::F32 => name,
            precision => format!("{name} {precision}"),
        }
    }

    /// What will be measured.
    pub fn works(&self) -> Vec<Work> {
        let work = |model: &str, mode: &str, batch| Work {
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
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn with_pytorch_testing_is_measured_too() {
        assert_eq!(cli("").units(), [(What::Train, 128)]);
        let units = [(What::Train, 128), (What::Infer, 1), (What::Infer, 64)];
        assert_eq!(cli("--peer torch").units(), units);
        let asked = cli("--peer torch --mode infer --batch 1 64");
        assert_eq!(asked.units(), units[1..]);
        assert_eq!(cli("--peer torch").forms(What::Train).len(), 3);
        assert_eq!(cli("--peer torch").forms(What::Infer), [Form::Eager]);
        assert_eq!(cli("--form channels-last").forms(What::Train), [Form::ChannelsLast]);
        let works: Vec<String> = asked.works().iter().map(Work::to_string).collect();
        assert_eq!(works[..2], ["alexnet infer, batch 1", "alexnet infer, batch 64"]);
        let reduced = cli("--precision bf16 --model alexnet").works();
        assert_eq!(reduced[0].to_string(), "alexnet train bf16, batch 128");
    }

    #[test]
    fn every_table_of_parts_has_a_name_of_its_own() {
        assert_eq!(cli("--peer torch").floor_units(), [(What::Train, 128)]);
        let alone = cli("--mode train infer --batch 1");
        let titles = alone.floor_units().into_iter().map(|unit| alone.floor_title("vgg11", unit));
        assert_eq!(titles.collect::<Vec<_>>(), ["floor vgg11 1", "floor vgg11 infer 1"]);
        let reduced = cli("--precision bf16").floor_title("alexnet", (What::Train, 128));
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
    fn percentages() {
        assert_eq!(percent("5%"), Ok(0.05));
        assert_eq!(percent("2.5"), Ok(0.025));
        assert!(percent("five").is_err() && percent("NaN").is_err() && percent("-1%").is_err());
    }
}
