//! What TensorBoard shows besides scalars: hyper-parameters, an image of the first layer's kernels,
//! and histograms of weights. Field numbers are those of tensorboard/compat/proto/summary.proto and
//! tensorboard/plugins/hparams/plugin_data.proto.

use super::TrackedRun;
use crate::fault::Result;
use crate::output;
use crate::trained::WEIGHTS;
use report::{kernels, picture};
use std::path::PathBuf;
use train::events::{Message, beginning, summarised};
use train::folder::RunState;
use weights::Weights;

/// The file in a run's folder, beside the one that training writes.
const FILE: &str = "events.out.tfevents.track";
/// The buckets of a histogram.
const BUCKETS: usize = 60;

/// Writes the file; returns its path.
///
/// # Errors
/// Exit codes 4 and 7.
pub(super) fn write(run: &TrackedRun) -> Result<PathBuf> {
    let mut file = beginning(run.began);
    let ended = run.began + run.seconds();
    file.extend(summarised(run.began, 0, &session_start(run)));
    let mut steps = weights::run::list(&run.folder)?;
    steps.reverse();
    for (step, path) in steps {
        if let Ok(weights) = Weights::read(&path) {
            file.extend(summarised(ended, step, &pictures(&weights)));
        }
    }
    let last = run.folder.join(WEIGHTS);
    if crate::run_file::exists(&last)? {
        let weights = Weights::read(&last)?;
        file.extend(summarised(ended, run.status.step, &pictures(&weights)));
    }
    if run.status.status != RunState::Running {
        file.extend(summarised(ended, run.status.step, &session_end(run, ended)));
    }
    let path = run.folder.join(FILE);
    output::write(&path, &file)?;
    Ok(path)
}

/// The kernels of the first layer and histograms of all parameters.
fn pictures(weights: &Weights) -> Message {
    let mut summary = Message::default();
    if let Some((image, _)) = kernels::first_layer(weights) {
        let mut picture = Message::default();
        picture.whole(1, image.height as u64);
        picture.whole(2, image.width as u64);
        picture.whole(3, 3); // red, green and blue
        picture.bytes(4, &picture::to_png(&image));
        summary.message(1, &value("kernels", 4, &picture));
    }
    for (name, tensor) in &weights.parameters {
        if let Some(histogram) = histogram(&tensor.values) {
            summary.message(1, &value(&format!("weights/{name}"), 5, &histogram));
        }
    }
    summary
}

/// A summary's value: its tag, and a message in one of its fields.
fn value(tag: &str, field: u8, contents: &Message) -> Message {
    let mut value = Message::default();
    value.bytes(1, tag.as_bytes());
    value.message(field, contents);
    value
}

/// A `HistogramProto`; `None` without finite values.
fn histogram(values: &[f32]) -> Option<Message> {
    let finite = || values.iter().copied().filter(|value| value.is_finite()).map(f64::from);
    let (low, high) =
        finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    if low > high {
        return None;
    }
    let width = ((high - low) / BUCKETS as f64).max(1e-12);
    let limits: Vec<f64> = (1..=BUCKETS).map(|at| low + width * at as f64).collect();
    let (mut counts, mut sums) = (vec![0.0; BUCKETS], [0.0; 3]);
    for value in finite() {
        counts[(((value - low) / width) as usize).min(BUCKETS - 1)] += 1.0;
        sums = [sums[0] + 1.0, sums[1] + value, sums[2] + value * value];
    }
    let mut histogram = Message::default();
    for (field, number) in [(1, low), (2, high), (3, sums[0]), (4, sums[1]), (5, sums[2])] {
        histogram.double(field, number);
    }
    histogram.doubles(6, &limits);
    histogram.doubles(7, &counts);
    Some(histogram)
}

/// The settings as hyper-parameters: numbers, truth values and texts.
fn session_start(run: &TrackedRun) -> Message {
    let mut start = Message::default();
    for (name, text) in &run.settings {
        let mut setting = Message::default();
        match (text.parse::<f64>(), text.as_str()) {
            (Ok(number), _) => setting.double(2, number),
            (_, "true") => setting.whole(4, 1),
            (_, "false") => setting.whole(4, 0),
            (_, text) => setting.bytes(3, text.as_bytes()),
        }
        let mut entry = Message::default();
        entry.bytes(1, name.as_bytes());
        entry.message(2, &setting);
        start.message(1, &entry);
    }
    start.bytes(4, run.name.as_bytes());
    start.double(5, run.began);
    hyper_parameters("_hparams_/session_start_info", 3, &start)
}

fn session_end(run: &TrackedRun, seconds: f64) -> Message {
    let mut end = Message::default();
    end.whole(1, if run.status.status == RunState::Failed { 2 } else { 1 });
    end.double(2, seconds);
    hyper_parameters("_hparams_/session_end_info", 4, &end)
}

/// A summary for the plugin `hparams`: its data are metadata of an empty tensor.
fn hyper_parameters(tag: &str, field: u8, contents: &Message) -> Message {
    let (mut data, mut plugin, mut metadata) =
        (Message::default(), Message::default(), Message::default());
    data.message(field, contents);
    plugin.bytes(1, b"hparams");
    plugin.message(2, &data);
    metadata.message(1, &plugin);
    let (mut shape, mut tensor) = (Message::default(), Message::default());
    shape.message(2, &Message::default()); // a dimension of no extent
    tensor.whole(1, 1); // DT_FLOAT
    tensor.message(2, &shape);
    let mut value = value(tag, 8, &tensor);
    value.message(9, &metadata);
    let mut summary = Message::default();
    summary.message(1, &value);
    summary
}
