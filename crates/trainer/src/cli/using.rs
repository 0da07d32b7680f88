//! Arguments of the commands that use a trained network.

use super::layout::LayoutArg;
use super::{ExifArg, ImportArgs, MachineArgs, NetworkArgs, OutputArgs};
use clap::{Args, ValueEnum};
use inference::Views;
use std::path::PathBuf;
use terminal::progress::Progress;

pub(super) const EVAL_EXAMPLES: &str = "\
Examples:
  alexnet eval                                  the newest run in runs/
  alexnet eval --run runs/2026-11-24T08-30-05Z-alexnet-64-3fa9
  alexnet eval --weights weights.safetensors --data imagenet --views ten --json
  alexnet eval --run RUN --predictions predictions.csv --confusion confusion.png
  alexnet eval --run RUN --metrics metrics.csv --reliability reliability.svg
  alexnet eval --ensemble RUN1 RUN2 RUN3 --search-weights
  alexnet eval --run RUN --data imagenet --views ten --submission classification.txt";

pub(super) const PREDICT_EXAMPLES: &str = "\
Examples:
  alexnet predict cat.jpg                       with the newest run in runs/
  alexnet predict photos/*.jpg --run RUN --top 3 --views ten
  alexnet predict photos --out predictions.csv  a whole folder, with a progress bar
  alexnet predict 'photos/**/*.png' --out predictions.jsonl --top 1
  alexnet predict cat.jpg --json                one line of JSON per image";

pub(super) const FEATURES_EXAMPLES: &str = "\
Examples:
  alexnet features --out relu7.npy              the test images of the newest run, layer relu7
  alexnet features --run RUN --of train --out train.safetensors
  alexnet features photos --layer conv5,relu5,fc7 --out features.npz
  alexnet features photos --layer pool5 --layout nchw --out pool5.npy

A layer's name means its own output: conv5 is the convolution before its ReLU, relu5 after it; fc7
and relu7 likewise. (Formerly conv5 and fc7 were written after their ReLU.) The default is the last
layer before the classifier, after its ReLU.

Values are 32-bit floats. Outputs of convolutions, pooling and the like keep their shape: [images,
height, width, channels], or with --layout nchw [images, channels, height, width]; .csv has them in
this order in one row. Names and order of the images are stored in every format:
  .safetensors  features (of several layers: a tensor by each layer's name), labels; the metadata
                has names, layers, layout and model
  .npz          an array by each layer's name, labels, names
  .npy          one layer; labels in NAME.labels.npy, names in NAME.names.txt
  .csv          columns image, name, class, f0, f1, ...; of several layers: conv5_f0, ...
Images of a folder are named relative to it. Values of images that cannot be read are NaN; the exit
code is then 3.";

pub(super) const NEIGHBOURS_EXAMPLES: &str = "\
Examples:
  alexnet neighbours                            some test images, and neighbours.png
  alexnet neighbours cat.jpg dog.jpg --run RUN --top 6 --out near.png
  alexnet neighbours cat.jpg --among 20000 --json";

pub(super) const REPORT_EXAMPLES: &str = "\
Examples:
  alexnet report                                the newest run in runs/
  alexnet report runs/2026-11-24T08-30-05Z-alexnet-64-3fa9
  alexnet report RUN1 RUN2 -o compared.html     several runs side by side
  alexnet report RUN --pictures docs            also write the figures as separate files";

pub(super) const SERVE_HELP: &str = "\
Examples:
  alexnet serve                                 the newest run in runs/
  alexnet serve RUN --listen 127.0.0.1:9000
  curl --data-binary @cat.jpg http://127.0.0.1:8080/predict
  curl --data-binary @cat.jpg 'http://127.0.0.1:8080/predict?top=3&neighbours=6&maps=yes'
  curl -F file=@cat.jpg -F file=@dog.png http://127.0.0.1:8080/predict
  curl --data-binary @cat.jpg 'http://127.0.0.1:8080/explain?method=saliency' > saliency.png

The page and other programs use the same interface, with responses in JSON:
  GET  /about          the model, its input and classes, the progress of the neighbour index
  GET  /health         {\"status\": \"ok\"}, for monitoring
  POST /predict        body: an image file of at most 32 MiB and 64 megapixels; or a form with up
                       to 32 files: the response to several is a list
         top=N         number of classes with their probabilities [default: 5]
         neighbours=N  number of nearest training images [default: 0]
         maps=yes      feature maps of every convolution, as pictures
         pictures=yes  the network's input and the neighbours, as pictures
         explain=yes   what the most probable class depends on, as pictures: Grad-CAM, guided
                       saliency, occlusion
         class=NAME    explain this class instead
  POST /explain        body: an image file; the response is a PNG file
         method=NAME   grad-cam, saliency or occlusion [default: grad-cam]
         class=NAME    the class [default: the most probable]
  GET  /test-images/N  the run's Nth test image, counted from 0
Pictures are data URIs (data:image/png;base64,...). Errors have a status of 400 or more and
{\"error\": \"message\"}; 503: try again.

By default only this machine can connect; --listen changes that. There is no password. Ctrl-C ends
the server with exit code 130.";

/// `alexnet eval`.
#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("what").args(["run", "weights", "ensemble"]),
    group = clap::ArgGroup::new("seen").args(["views", "ten_crop", "multiview"]),
)]
pub struct EvalArgs {
    /// A run's folder: its weights, or without weights its newest checkpoint; and its data unless
    /// --data is given [default: the newest in runs/ that has weights or a checkpoint]
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// A weights file of this program, PyTorch, safetensors, Caffe, ONNX or NumPy; `torchvision` is the
    /// file that torchvision has downloaded
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Options for weights files of other programs.
    #[command(flatten)]
    pub import: ImportArgs,
    /// Average the probabilities of several runs' networks, tested on the first one's data
    #[arg(long, value_name = "RUN", num_args = 1..)]
    pub ensemble: Vec<PathBuf>,
    /// Search weights of the ensemble's networks that minimise the error on every other test image
    /// (the 2012 source's search); the other images show how well they generalise
    #[arg(long, requires = "ensemble")]
    pub search_weights: bool,
    /// As in `train`
    #[arg(long, value_name = "shapes|DIR")]
    pub data: Option<String>,
    /// Whether to apply the EXIF orientation of image files [default: as in training]
    #[arg(long, value_enum, value_name = "HOW")]
    pub exif: Option<ExifArg>,
    /// The crops of each image that are classified [default: centre]
    #[arg(long, value_enum, value_name = "WHICH")]
    pub views: Option<ViewsArg>,
    /// The same as --views ten
    #[arg(long)]
    pub ten_crop: bool,
    /// The same as --views nine
    #[arg(long)]
    pub multiview: bool,
    /// Write every image's probabilities: .csv, or .jsonl
    #[arg(long, value_name = "FILE")]
    pub predictions: Option<PathBuf>,
    /// Write ILSVRC's submission format: per image a line with its five most probable labels,
    /// counted from 1
    #[arg(long, value_name = "FILE")]
    pub submission: Option<PathBuf>,
    /// Write the confusion matrix: .csv, .json, .svg or .png
    #[arg(long, value_name = "FILE")]
    pub confusion: Option<PathBuf>,
    /// Write errors, precision, recall, F1 and ROC AUC (of at most 100 classes) by class: .csv or
    /// .json
    #[arg(long, value_name = "FILE")]
    pub per_class: Option<PathBuf>,
    /// Write precision, recall, F1 (macro and weighted means), balanced accuracy, ROC AUC and
    /// calibration error: .csv or .json
    #[arg(long, value_name = "FILE")]
    pub metrics: Option<PathBuf>,
    /// Write the reliability diagram, accuracy by confidence: .svg, .csv or .json
    #[arg(long, value_name = "FILE")]
    pub reliability: Option<PathBuf>,
    /// Batch size
    #[arg(long, value_name = "N", default_value = "128",
        value_parser = crate::limits::batch)]
    pub batch_size: usize,
    /// Where to compute.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// What to show.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// The crops of an image that are classified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ViewsArg {
    /// The centre
    #[default]
    Centre,
    /// The four corners, the centre, and their mirror images: section 4.1 of the paper
    Ten,
    /// A grid of three by three, not mirrored: the 2012 source's test for CIFAR
    Nine,
}

impl From<ViewsArg> for Views {
    fn from(views: ViewsArg) -> Views {
        match views {
            ViewsArg::Centre => Views::Centre,
            ViewsArg::Ten => Views::Ten,
            ViewsArg::Nine => Views::Nine,
        }
    }
}

/// Which network, and where to compute.
#[derive(Debug, Args)]
pub struct UsingArgs {
    /// Which network.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// Whether to apply the EXIF orientation of image files [default: as in training]
    #[arg(long, value_enum, value_name = "HOW")]
    pub exif: Option<ExifArg>,
    /// Batch size
    #[arg(long, value_name = "N", default_value = "64",
        value_parser = crate::limits::batch)]
    pub batch_size: usize,
    /// Where to compute.
    #[command(flatten)]
    pub machine: MachineArgs,
}

/// `alexnet predict`.
#[derive(Debug, Args)]
pub struct PredictArgs {
    /// Image files; folders, with all image files at any depth; or patterns such as
    /// 'photos/**/*.jpg'. Files of a folder or pattern are in natural order: img2 before img10
    #[arg(value_name = "IMG|DIR|GLOB", required = true)]
    pub images: Vec<PathBuf>,
    /// Number of classes to show, the most probable first
    #[arg(long, value_name = "N", default_value = "5")]
    pub top: usize,
    /// The crops of each image that are classified
    #[arg(long, value_enum, value_name = "WHICH", default_value = "centre")]
    pub views: ViewsArg,
    /// Print one line of JSON per image
    #[arg(long)]
    pub json: bool,
    /// Write one row per image to this file instead: .csv (columns image, class_1, probability_1,
    /// class_2, ...) or .jsonl (as --json); or also draw the images with bars: .png
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// How progress is shown (on stderr; json: on stdout)
    #[arg(long, value_enum, default_value = "auto", value_name = "HOW")]
    pub progress: Progress,
    /// Which network.
    #[command(flatten)]
    pub using: UsingArgs,
}

/// `alexnet features`.
#[derive(Debug, Args)]
pub struct FeaturesArgs {
    /// Image files, folders with images, or patterns such as 'photos/**/*.jpg', instead of a data
    /// set
    #[arg(value_name = "IMG|DIR|GLOB", conflicts_with_all = ["data", "of"])]
    pub images: Vec<PathBuf>,
    /// Output file: .safetensors, .npz, .npy (one layer) or .csv
    #[arg(long, short, value_name = "FILE")]
    pub out: PathBuf,
    /// The layers, by their names in `describe` [default: the last before the classifier]
    #[arg(long = "layer", value_name = "NAME,...", value_delimiter = ',')]
    pub layers: Vec<String>,
    /// The order of the values of feature maps
    #[arg(long, value_enum, value_name = "ORDER", default_value = "nhwc")]
    pub layout: LayoutArg,
    /// As in `train` [default: the run's]
    #[arg(long, value_name = "shapes|DIR")]
    pub data: Option<String>,
    /// The part of the data set [default: test]
    #[arg(long, value_enum, value_name = "PART")]
    pub of: Option<PartArg>,
    /// Which network.
    #[command(flatten)]
    pub using: UsingArgs,
    /// What to show.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A part of a data set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PartArg {
    /// The training images
    Train,
    /// The test images
    #[default]
    Test,
}

/// `alexnet neighbours`.
#[derive(Debug, Args)]
pub struct NeighboursArgs {
    /// Query images [default: some of the test images]
    #[arg(value_name = "IMG")]
    pub images: Vec<PathBuf>,
    /// Neighbours per query
    #[arg(long, value_name = "N", default_value = "6")]
    pub top: usize,
    /// Number of test images as queries, if no files are given
    #[arg(long, value_name = "N", default_value = "5")]
    pub queries: usize,
    /// Search among N training images, evenly spaced [default: all]
    #[arg(long, value_name = "N")]
    pub among: Option<usize>,
    /// As in `train` [default: the run's]
    #[arg(long, value_name = "shapes|DIR")]
    pub data: Option<String>,
    /// The layer in which distances are measured; conv5 is before its ReLU, relu5 after it [default:
    /// the last before the classifier, relu7 in the paper]
    #[arg(long, value_name = "NAME")]
    pub layer: Option<String>,
    /// Output file of the picture
    #[arg(long, short, value_name = "FILE.png", default_value = "neighbours.png")]
    pub out: PathBuf,
    /// Has no effect: the picture always has at most 256 colours
    #[arg(long, value_name = "N", hide = true, value_parser = clap::value_parser!(u16).range(2..=256))]
    pub palette: Option<u16>,
    /// Which network.
    #[command(flatten)]
    pub using: UsingArgs,
    /// What to show.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `alexnet serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// A run's folder [default: the newest in runs/ that has weights or a
    /// checkpoint]
    #[arg(value_name = "RUN", conflicts_with = "weights")]
    pub run: Option<PathBuf>,
    /// A weights file of this program, PyTorch, safetensors, Caffe, ONNX or NumPy; `torchvision` is the
    /// file that torchvision has downloaded
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Options for weights files of other programs.
    #[command(flatten)]
    pub import: ImportArgs,
    /// Address to listen on; port 0: any free port [default: 127.0.0.1:8080, or the next free port]
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<String>,
    /// As in `train` [default: the run's]
    #[arg(long, value_name = "shapes|DIR")]
    pub data: Option<String>,
    /// Whether to apply the EXIF orientation of image files [default: as in training]
    #[arg(long, value_enum, value_name = "HOW")]
    pub exif: Option<ExifArg>,
    /// Search neighbours among at most N training images, evenly spaced; 0: no neighbours
    #[arg(long, value_name = "N", default_value = "20000")]
    pub among: usize,
    /// Explain no predictions; this saves the memory of two copies of the parameters
    #[arg(long)]
    pub no_explanations: bool,
    /// Time limit for receiving a request
    #[arg(long, value_name = "SECONDS", default_value = "30",
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub patience: u64,
    /// Where to compute.
    #[command(flatten)]
    pub machine: MachineArgs,
}

/// `alexnet report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Folders of runs, or weights files, for which --data says which images [default: the newest
    /// in runs/ that has weights or a checkpoint]
    #[arg(value_name = "RUN|FILE")]
    pub runs: Vec<PathBuf>,
    /// Options for weights files of other programs.
    #[command(flatten)]
    pub import: ImportArgs,
    /// Output file of the page
    #[arg(long, short, value_name = "FILE", default_value = "report.html")]
    pub out: PathBuf,
    /// Also write the first run's figures into this folder
    #[arg(long, value_name = "DIR")]
    pub pictures: Option<PathBuf>,
    /// Has no effect: pictures always have at most 256 colours
    #[arg(long, value_name = "N", hide = true, requires = "pictures",
        value_parser = clap::value_parser!(u16).range(2..=256))]
    pub palette: Option<u16>,
    /// Test on at most N images, evenly spaced
    #[arg(long, value_name = "N", default_value = "10000")]
    pub images: usize,
    /// Search neighbours among at most N training images, evenly spaced
    #[arg(long, value_name = "N", default_value = "20000")]
    pub among: usize,
    /// As in `train` [default: each run's]
    #[arg(long, value_name = "shapes|DIR")]
    pub data: Option<String>,
    /// Batch size
    #[arg(long, value_name = "N", default_value = "64",
        value_parser = crate::limits::batch)]
    pub batch_size: usize,
    /// Where to compute.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// How progress is shown (on stderr)
    #[arg(long, value_enum, default_value = "auto", value_name = "HOW")]
    pub progress: Progress,
}
