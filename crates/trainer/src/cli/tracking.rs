//! Arguments of `track`.

use clap::Args;
use std::path::PathBuf;

pub(super) const HELP: &str = "\
Examples:
  alexnet track runs/first --mlflow mlruns      then: mlflow ui --backend-store-uri mlruns
  alexnet track runs/* --tensorboard            then: tensorboard --logdir runs
  alexnet track runs/a runs/b --mlflow /shared/mlruns --experiment digits

MLflow's local file store gets the settings as parameters, all logged values as metrics, and the
run's small files as artifacts; MLflow 3 opens it with MLFLOW_ALLOW_FILE_STORE=true. TensorBoard,
which shows a run's scalars from the beginning, also gets the settings as hyper-parameters, the
first layer's kernels as an image, and histograms of the weights at each checkpoint that the run has
kept: in events.out.tfevents.track in the run's folder. The command can be repeated, also while a
run goes on: what it wrote before is replaced.";

/// `alexnet track`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("to").args(["mlflow", "tensorboard"]).required(true)
    .multiple(true))]
pub struct TrackArgs {
    /// Folders of runs
    #[arg(value_name = "RUN", required = true)]
    pub runs: Vec<PathBuf>,
    /// Write the runs into this folder, MLflow's local file store; it is made if need be
    #[arg(long, value_name = "DIR")]
    pub mlflow: Option<PathBuf>,
    /// The name of MLflow's experiment
    #[arg(long, value_name = "NAME", default_value = "alexnet", requires = "mlflow")]
    pub experiment: String,
    /// Add hyper-parameters, kernels and histograms to each run's folder for TensorBoard
    #[arg(long)]
    pub tensorboard: bool,
}
