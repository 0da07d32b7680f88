//! `alexnet find-lr`: the learning-rate range test.

use crate::cli::FindLrArgs;
use crate::console;
use crate::devices;
use crate::fault::{Fault, Result};
use crate::output;
use crate::ranks::{self, Ranks};
use crate::training::{Ready, Saved, begin_with, open_images, resolve_all};
use evaluate::Stop;
use evaluate::observe::Observer;
use report::plot::{Plot, Series, Stroke, XAxis, to_svg_file};
use serde_json::{Value, json};
use std::path::Path;
use terminal::chart::Chart;
use terminal::progress::{self, Reading};
use terminal::signals;
use train::run::{RangeCurve, RangeEnd, RangePoint, RangeTest};

/// Files that the curve can be written to.
const ENDINGS: [&str; 3] = ["svg", "csv", "json"];
/// The steps that a suggestion needs at least.
const LEAST_POINTS: usize = 10;

/// Runs the command.
///
/// # Errors
/// Every exit code that `alexnet --help` lists.
pub fn find_lr(args: &FindLrArgs) -> Result<u8> {
    ranks::check_alone()?;
    let &FindLrArgs { min, max, steps, smoothing, .. } = args;
    let test = RangeTest { min, max, steps, smoothing, ..RangeTest::default() };
    test.check().map_err(named_flags)?;
    if let Some(file) = &args.to {
        output::ending(file, &ENDINGS)?;
    }
    let stop = Stop::new();
    let Some(curve) = run(args, &test, &stop)? else {
        return Ok(stop.requested().map_or(0, signals::exit_code));
    };
    if let Some(file) = &args.to {
        write(file, &curve)?;
    }
    console::result(args.output.json, || to_json(&curve), || to_text(&curve))?;
    Ok(0)
}

/// The curve; `None` if the test was stopped.
fn run(args: &FindLrArgs, test: &RangeTest, stop: &Stop) -> Result<Option<RangeCurve>> {
    let (mut settings, spec) = resolve_all(&args.as_train(), Saved::default())?;
    // Nothing is validated.
    (settings.recipe.early_stopping, settings.recipe.ema) = (None, None);
    let note = devices::resolve_precision(&mut settings, (None, None))?;
    let choices = devices::choices(&settings)?;
    let gpus = devices::open_gpus(&choices, settings.threads)?;
    let mut observer = progress::observer(args.output.progress);
    let reading = Reading::new(args.output.progress);
    begin_with(note, &settings, &mut *observer);
    let images = open_images(&settings, &spec, &reading)?;
    let mut say = |text: &str| observer.note(text);
    let spec = devices::resolve_spec(spec, &settings, choices.len(), false, &mut say)?;
    let watchers: (&Reading, &mut dyn Observer) = (&reading, &mut *observer);
    let mut ready = Ready::new(&settings, spec, &images, watchers, ((0, 1), false))?;
    drop(gpus); // the test has opened its own
    ready.tune(&mut Ranks::default(), None, &mut *observer)?;
    signals::listen_with(stop)?;
    let (job, executor) = ready.open()?;
    let curve = test.run(&job, executor, &mut *observer, stop)?;
    if curve.end == RangeEnd::Stopped {
        return Ok(None);
    }
    if curve.points.len() < LEAST_POINTS {
        let (done, rate) = (curve.points.len(), test.rate(curve.points.len()));
        return Err(Fault::new(
            5,
            format!(
                "the loss diverged after {done} steps, at a learning rate of {}: lower --min",
                short(rate)
            ),
        ));
    }
    Ok(Some(curve))
}

/// Three digits of a learning rate, as they can be typed.
fn short(rate: f64) -> String {
    format!("{rate:.2e}")
}

/// Names the flag of a wrong number.
fn named_flags(error: train::Error) -> Fault {
    let message = error.to_string();
    let flags = [
        ("the lowest", "--min"),
        ("the highest", "--max"),
        ("the number of steps", "--steps"),
        ("the smoothing", "--smoothing"),
    ];
    let flag = flags.iter().find(|(start, _)| message.starts_with(start));
    Fault::usage(flag.map_or(message.clone(), |(_, flag)| format!("{flag}: {message}")))
}

fn smoothed(curve: &RangeCurve) -> Vec<(f64, f64)> {
    curve.points.iter().map(|point| (point.rate, point.smoothed)).collect()
}

fn to_text(curve: &RangeCurve) -> String {
    let points = smoothed(curve);
    let before_minimum = curve.minimum().map_or(0.0, |lowest| {
        let before = curve.points.iter().take_while(|point| point.rate <= lowest.rate);
        before.map(|point| point.smoothed).fold(0.0, f64::max)
    });
    let chart = Chart {
        points: &points,
        top: 1.05 * before_minimum,
        mark: curve.steepest(),
        size: (points.len().clamp(16, 64), 14),
    };
    let steps = curve.points.len();
    let mut text = format!("running mean of the loss over the learning rate, {steps} steps\n");
    text += &chart.to_text();
    text += match curve.end {
        RangeEnd::Diverged => "ended early: the loss diverged\n",
        RangeEnd::Finished | RangeEnd::Stopped => "",
    };
    if curve.falls_to_the_end() {
        text += "the loss still falls at the highest rate: raise --max to see where it diverges\n";
    }
    if let Some(rate) = curve.steepest() {
        let rate = short(rate);
        text += &format!("steepest descent   --lr {rate:<9} where the loss falls fastest\n");
    } else {
        text +=
            "the loss never falls: raise --max or --steps, or check the images with --overfit\n";
    }
    if let Some(rate) = curve.tenth_of_minimum() {
        let rate = short(rate);
        text +=
            &format!("minimum / 10       --lr {rate:<9} a tenth of the rate of the lowest loss\n");
    }
    text
}

fn to_json(curve: &RangeCurve) -> Value {
    let point = |point: &RangePoint| json!([point.rate, point.loss, point.smoothed]);
    json!({
        "steepest": curve.steepest(),
        "minimum_tenth": curve.tenth_of_minimum(),
        "diverged": curve.end == RangeEnd::Diverged,
        "columns": ["rate", "loss", "smoothed"],
        "points": curve.points.iter().map(point).collect::<Vec<_>>(),
    })
}

fn write(file: &Path, curve: &RangeCurve) -> Result<()> {
    let text = match output::ending(file, &ENDINGS)? {
        "svg" => to_svg_file(&plot(curve)),
        "csv" => {
            let line = |p: &RangePoint| format!("{},{},{}\n", p.rate, p.loss, p.smoothed);
            "rate,loss,smoothed\n".to_string() + &curve.points.iter().map(line).collect::<String>()
        }
        _ => to_json(curve).to_string() + "\n",
    };
    output::write(file, text.as_bytes())?;
    console::note(format_args!("written: {}", file.display()));
    Ok(())
}

fn plot(curve: &RangeCurve) -> Plot {
    let losses = curve.points.iter().map(|point| (point.rate, point.loss)).collect();
    let mean =
        Series { points: smoothed(curve), label: "running mean".into(), ..Series::default() };
    let each = Series { points: losses, stroke: Stroke::Faint, ..Series::default() };
    let suggestions = [(curve.steepest(), "steepest"), (curve.tenth_of_minimum(), "minimum / 10")];
    let first = curve.points.first().map_or(0.0, |point| point.rate);
    let marks = suggestions.into_iter().filter_map(|(rate, name)| {
        let rate = rate.filter(|&rate| rate >= first)?;
        Some((rate, format!("{name}: {}", short(rate))))
    });
    Plot {
        title: "Learning-rate range test".into(),
        description: "The training loss while the learning rate rises.".into(),
        x_label: "learning rate".into(),
        y_label: "loss".into(),
        x_axis: XAxis::Logarithmic,
        lines: vec![each, mean],
        marks: marks.collect(),
        ..Plot::default()
    }
}
