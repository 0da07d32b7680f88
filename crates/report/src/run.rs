//! What is known of a run.

use crate::curves::Curves;
use crate::figures::{Guess, Neighbours};
use crate::{Confusion, Diagram};
use augment::Image;
use evaluate::predictions::Predictions;
use serde_json::Value;

/// Everything about a run that is there; what is not is said.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// What to call it: its folder's name.
    pub name: String,
    /// Its `run.json`.
    pub status: Value,
    /// Its measurements.
    pub curves: Curves,
    /// Its network, row by row, and what the rows come to.
    pub model: Option<Model>,
    /// Its `config.toml`.
    pub config: Option<String>,
    /// Its `env.json`.
    pub environment: Option<String>,
    /// How it was tested for this page.
    pub tested: Option<Tested>,
    /// The first layer's kernels, drawn, and a sentence on them.
    pub kernels: Option<(Image, String)>,
    /// Test images and what they were taken for.
    pub guesses: Vec<Guess>,
    /// The test images it was most wrong about.
    pub mistakes: Vec<Guess>,
    /// Test images and the training images most like them, and a sentence on them.
    pub neighbours: Vec<Neighbours>,
    /// What cannot be shown, and why: sentences.
    pub missing: Vec<String>,
}

/// A network as a table.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// What it is called.
    pub name: String,
    /// Its picture.
    pub diagram: Diagram,
    /// Its rows.
    pub rows: Vec<ModelRow>,
}

/// A row of a network.
#[derive(Clone, Debug, Default)]
pub struct ModelRow {
    /// `conv1`.
    pub name: String,
    /// What it does.
    pub summary: String,
    /// The shape of its output.
    pub output: String,
    /// Weights and biases.
    pub parameters: usize,
    /// Multiply-accumulates an image.
    pub macs: usize,
}

/// How a network was tested.
#[derive(Clone, Debug, Default)]
pub struct Tested {
    /// On what, in words.
    pub on: String,
    /// Mean loss.
    pub loss: f64,
    /// Top-1 error, a share.
    pub top1_error: f64,
    /// Top-5 error, a share.
    pub top5_error: f64,
    /// By class.
    pub classes: Vec<ClassRow>,
    /// Which were taken for which.
    pub confusion: Confusion,
}

/// How a class's images fared.
#[derive(Clone, Debug, Default)]
pub struct ClassRow {
    /// The class.
    pub name: String,
    /// How many images.
    pub images: u64,
    /// Share not recognised.
    pub top1_error: f64,
    /// Share whose class is not among the five most probable.
    pub top5_error: f64,
    /// Of the images taken for this class, the share that are of it.
    pub precision: f64,
}

impl Tested {
    /// On one centre view of each image. `titles` are the classes' names as people are shown them;
    /// `is_part` says that only some of the test images were looked at.
    pub fn of(titles: &[String], said: &Predictions, is_part: bool) -> Tested {
        let score = said.score();
        let all = if is_part { ", spread over all" } else { "" };
        let rows = titles.iter().zip(said.by_class()).map(|(name, class)| ClassRow {
            name: name.clone(),
            images: class.score.images,
            top1_error: class.score.top1_error,
            top5_error: class.score.top5_error,
            precision: class.precision,
        });
        Tested {
            on: format!("{} test images{all}, one centre view each", score.images),
            loss: score.loss,
            top1_error: score.top1_error,
            top5_error: score.top5_error,
            classes: rows.collect(),
            confusion: Confusion::of(titles, said),
        }
    }
}
