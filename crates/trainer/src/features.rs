//! `alexnet features`: writes layers' outputs.

use crate::cli::{FeaturesArgs, PartArg};
use crate::console;
use crate::fault::{Fault, Result};
use crate::output;
use crate::trained::{Trained, report_bad};
use data::{Loader, Source};
use inference::features::{Contents, VectorFormat, Writer, layer, walk};
use inference::{Predictor, Views};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use terminal::progress::{self, Reading};
use terminal::signals;

/// Runs the command.
///
/// # Errors
/// Exit codes 2, 3, 4, 6, 7 as `alexnet --help` lists them; 3 also if some of several images could
/// not be read, after the file is written.
pub fn features(args: &FeaturesArgs) -> Result<u8> {
    let format = match output::ending(&args.out, &["safetensors", "npy", "npz", "csv"])? {
        "safetensors" => VectorFormat::Safetensors,
        "npy" => VectorFormat::Npy,
        "npz" => VectorFormat::Npz,
        _ => VectorFormat::Csv,
    };
    let names = distinct(&args.layers)?;
    format.check(&args.out, &names)?;
    let trained = Trained::chosen(&args.using)?;
    let mut observer = progress::observer(args.output.progress);
    let typed = (!args.images.is_empty()).then_some(&args.images);
    let files = typed.map(|typed| trained.files(typed, &mut |text| observer.note(text)));
    let files = files.transpose()?;
    let images = files.as_ref().map_or(usize::MAX, |files| files.len());
    let machine = &args.using.machine;
    let plan = Views::Centre.plan(args.using.batch_size.min(images), trained.crop());
    let mut say = |text: &str| observer.note(text);
    let predictor = trained.predictor(plan.rows, &names, machine, &mut say)?;
    let rows = rows(&predictor, &trained, &names)?;
    let described = |&row: &usize| (predictor.output_name(row).to_string(), predictor.layer(row).1);
    let layers: Vec<(String, Vec<usize>)> = rows.iter().map(described).collect();
    let stop = signals::listen()?;
    let source: Arc<dyn Source> = match &files {
        Some(files) => files.clone(),
        None => labelled(args, &trained)?,
    };
    let contents = Contents {
        source: &*source,
        labelled: files.is_none(),
        folder: folder(&args.images),
        layers: layers.clone(),
        layout: args.layout.into(),
        model: &trained.weights.about.model.name,
    };
    let mut out = Writer::create(&args.out, format, contents)?;
    let mut loader = Loader::new(source.clone(), plan, machine.workers.unwrap_or(0), 0);
    let is_bad = |at| files.as_ref().is_some_and(|files| files.bad().contains_key(&at));
    let mut written = Ok(());
    let finished = predictor.enter(|mut predictor| {
        let mut watch = |done, of| observer.progress("features", done, of);
        walk(&mut predictor, &mut loader, &rows, &stop, &mut watch, &mut |sample, outputs| {
            if written.is_ok() {
                written = out.push(sample, outputs.filter(|_| !is_bad(sample)));
            }
        })
    })?;
    drop(observer);
    written?;
    if !finished {
        return Ok(signals::exit_code(stop.requested().expect("a walk ends early when asked to")));
    }
    if let Some(files) = &files {
        files.remarks().iter().for_each(console::note);
    }
    let bad: Vec<data::Error> = match &files {
        Some(files) => files.bad().values().cloned().collect(),
        None => loader.bad().values().cloned().collect(),
    };
    finish(args, out, &bad, source.len(), &layers).map(|()| 0)
}

/// Completes the file, prints what was written, and reports the images that could not be read.
///
/// # Errors
/// Exit code 7; 3 if images could not be read. If none could, there is no file.
fn finish(
    args: &FeaturesArgs,
    out: Writer<'_>,
    bad: &[data::Error],
    images: usize,
    layers: &[(String, Vec<usize>)],
) -> Result<()> {
    if bad.len() == images {
        return report_bad(bad, images, "");
    }
    out.finish()?;
    print(args, images, layers)?;
    report_bad(bad, images, "; their values are NaN")
}

/// The names of layers, each once.
///
/// # Errors
/// Exit code 2 if one is named twice.
fn distinct(layers: &[String]) -> Result<Vec<&str>> {
    let mut names: Vec<&str> = Vec::new();
    for layer in layers {
        if names.contains(&layer.as_str()) {
            return Err(Fault::usage(format!("--layer: `{layer}` is named twice")));
        }
        names.push(layer);
    }
    Ok(names)
}

/// The folder relative to which images are named: the only argument, if it is one.
fn folder(arguments: &[PathBuf]) -> Option<&Path> {
    match arguments {
        [only] if only.is_dir() => Some(only),
        _ => None,
    }
}

/// The images of a data set.
///
/// # Errors
/// As [`Trained::images`].
fn labelled(args: &FeaturesArgs, trained: &Trained) -> Result<Arc<dyn Source>> {
    let reading = Reading::new(args.output.progress);
    let workers = args.using.machine.workers.unwrap_or(0);
    let images = trained.images(args.data.as_deref(), workers, &reading)?;
    let is_test = args.of.unwrap_or_default() == PartArg::Test;
    Ok(if is_test { images.test } else { images.train })
}

/// The planned rows of the layers called `names`; if there are none, of the default one.
fn rows(predictor: &Predictor, trained: &Trained, names: &[&str]) -> Result<Vec<usize>> {
    let spec = &trained.weights.about.model;
    if names.is_empty() {
        return Ok(vec![layer(predictor, spec, None)?]);
    }
    let rows = names.iter().map(|name| layer(predictor, spec, Some(name)));
    Ok(rows.collect::<inference::Result<_>>()?)
}

/// Prints what was written.
fn print(args: &FeaturesArgs, images: usize, layers: &[(String, Vec<usize>)]) -> Result<()> {
    let layout = inference::features::Layout::from(args.layout);
    let path = args.out.display();
    if args.output.json {
        let layers = layers
            .iter()
            .map(|(name, shape)| json!({ "name": name, "shape": layout.shape(shape) }));
        let layers: Vec<_> = layers.collect();
        return console::println(json!({
            "file": path.to_string(), "images": images, "layers": layers, "layout": layout.name()
        }));
    }
    for (name, shape) in layers {
        let length: usize = shape.iter().product();
        let shape = shape_text(&layout.shape(shape));
        console::println(format_args!(
            "{path}: {images} images x {length} values, layer {name} ({shape})"
        ))?;
    }
    Ok(())
}

fn shape_text(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ")
}
