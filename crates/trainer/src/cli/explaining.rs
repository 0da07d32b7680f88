//! Arguments of `alexnet explain`.

use super::{OutputArgs, PartArg, UsingArgs};
use clap::Args;
use std::path::PathBuf;

pub(super) const HELP: &str = "\
Examples:
  alexnet explain                               some test images of the newest run in runs/
  alexnet explain cat.jpg dog.jpg --run RUN --out explained
  alexnet explain cat.jpg --class dog           why not a dog?
  alexnet explain --kernel conv3:17 --kernel conv5:3 --of train

Of each image, and of the predicted class or --class:
  Grad-CAM     what the last convolution saw of the class (Selvaraju et al. 2017)
  saliency     the gradient of the score by guided backpropagation (Springenberg et al. 2015)
  occlusion    how much less probable the class is where a square covers the image: red, or more
               probable: blue (Zeiler and Fergus 2014)

With --kernel the images to which kernels of a layer respond most, and the patches that they see
there. The folder OUT gets a picture of each and index.html with all of them.";

/// `alexnet explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Image files [default: some of the test images]
    #[arg(value_name = "IMG", conflicts_with = "kernels")]
    pub images: Vec<PathBuf>,
    /// The class to explain, by its id or name [default: the predicted class of each image]
    #[arg(long, value_name = "CLASS", conflicts_with = "kernels")]
    pub class: Option<String>,
    /// The layer of Grad-CAM [default: the last convolution, after its ReLU]
    #[arg(long, value_name = "NAME", conflicts_with = "kernels")]
    pub layer: Option<String>,
    /// Side of the covering square in pixels [default: a seventh of the image]
    #[arg(long, value_name = "PIXELS", conflicts_with = "kernels",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub square: Option<u32>,
    /// Distance between squares in pixels [default: half a square]
    #[arg(long, value_name = "PIXELS", conflicts_with = "kernels",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub stride: Option<u32>,
    /// A kernel, as the layer and its number from 0 on; relu3:17 is the same after the ReLU
    #[arg(long = "kernel", value_name = "LAYER:N")]
    pub kernels: Vec<String>,
    /// Number of test images, or of images for each kernel
    #[arg(long, value_name = "N", default_value = "9")]
    pub count: usize,
    /// The images that are searched for a kernel, or shown
    #[arg(long, value_enum, default_value = "test", value_name = "PART")]
    pub of: PartArg,
    /// Search among N images, evenly spaced [default: all]
    #[arg(long, value_name = "N")]
    pub among: Option<usize>,
    /// As in `train` [default: the run's]
    #[arg(long, value_name = "shapes|DIR")]
    pub data: Option<String>,
    /// Folder for the pictures and index.html
    #[arg(long, short, value_name = "DIR", default_value = "explained")]
    pub out: PathBuf,
    /// Which network.
    #[command(flatten)]
    pub using: UsingArgs,
    /// What to show.
    #[command(flatten)]
    pub output: OutputArgs,
}
