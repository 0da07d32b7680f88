//! The data of a run for its page.

use crate::curves::Curves;
use crate::explain::Explained;
use crate::figures::{Guess, Neighbours};
use crate::{Confusion, Diagram};
use augment::Image;
use evaluate::predictions::{PrecisionRecall, Predictions, Quality};
use serde_json::Value;

/// The available data of a run; what is missing is listed.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Its folder's name.
    pub name: String,
    /// Its `run.json`.
    pub status: Value,
    /// Its measurements.
    pub curves: Curves,
    /// Its network.
    pub model: Option<Model>,
    /// The number of its network's classes.
    pub classes: Option<usize>,
    /// Its `config.toml`.
    pub config: Option<String>,
    /// Its `env.json`.
    pub environment: Option<String>,
    /// The results of a test for this page.
    pub tested: Option<TestSummary>,
    /// The first layer's kernels, drawn, with a caption.
    pub kernels: Option<(Image, String)>,
    /// Test images with their predictions.
    pub guesses: Vec<Guess>,
    /// The test images with the lowest probability of their class.
    pub mistakes: Vec<Guess>,
    /// Test images with the nearest training images.
    pub neighbours: Vec<Neighbours>,
    /// Test images with explanations of their predictions.
    pub explained: Vec<Explained>,
    /// Messages about data that cannot be shown.
    pub missing: Vec<String>,
}

/// A network as a table.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// Its diagram.
    pub diagram: Diagram,
    /// Its rows.
    pub rows: Vec<ModelRow>,
}

/// A row of a network.
#[derive(Clone, Debug, Default)]
pub struct ModelRow {
    /// `conv1`.
    pub name: String,
    /// Its options in short.
    pub summary: String,
    /// The shape of its output.
    pub output: String,
    /// Trainable values.
    pub parameters: usize,
    /// Multiply-accumulates per image.
    pub macs: usize,
}

/// The results of a test.
#[derive(Clone, Debug, Default)]
pub struct TestSummary {
    /// A description of the test images.
    pub on: String,
    /// Mean loss.
    pub loss: f64,
    /// Top-1 error, a share.
    pub top1_error: f64,
    /// Top-5 error, a share; `None` if there are at most five classes.
    pub top5_error: Option<f64>,
    /// Results by class.
    pub classes: Vec<ClassRow>,
    /// Precision, recall, calibration and the like.
    pub quality: Quality,
    /// The confusion matrix.
    pub confusion: Confusion,
}

/// The results for one class.
#[derive(Clone, Debug, Default)]
pub struct ClassRow {
    /// The class.
    pub name: String,
    /// Number of images.
    pub images: u64,
    /// Top-1 error, a share.
    pub top1_error: f64,
    /// Top-5 error, a share; `None` if there are at most five classes.
    pub top5_error: Option<f64>,
    /// Precision, recall and F1.
    pub rates: PrecisionRecall,
}

impl TestSummary {
    /// The results of predictions for one centre view of each image. `titles` are the classes'
    /// titles for display; `is_part` if only a part of the test images was used.
    pub fn of(titles: &[String], predictions: &Predictions, is_part: bool) -> TestSummary {
        let score = predictions.score();
        let all = if is_part { ", spread over all" } else { "" };
        let rows = titles.iter().zip(predictions.by_class()).map(|(name, class)| ClassRow {
            name: name.clone(),
            images: class.score.images,
            top1_error: class.score.top1_error,
            top5_error: class.score.top5_error,
            rates: class.rates,
        });
        TestSummary {
            on: format!("{} test images{all}, one centre view each", score.images),
            loss: score.loss,
            top1_error: score.top1_error,
            top5_error: score.top5_error,
            classes: rows.collect(),
            quality: predictions.quality(),
            confusion: Confusion::of(titles, predictions),
        }
    }
}
