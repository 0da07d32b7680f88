//! `alexnet features`: writes a layer's outputs.

use crate::cli::{FeaturesArgs, PartArg};
use crate::console;
use crate::fault::{Fault, Result};
use crate::output;
use crate::trained::Trained;
use data::unlabelled::UnlabelledImages;
use data::{Loader, Source};
use inference::Views;
use inference::features::{VectorFormat, Writer, layer, walk};
use std::sync::Arc;
use terminal::progress::{self, Reading};
use terminal::signals;

/// Runs the command.
///
/// # Errors
/// Exit codes 2, 3, 4, 6, 7 as `alexnet --help` lists them.
pub fn features(args: &FeaturesArgs) -> Result<u8> {
    let format = match output::ending(&args.out, &["safetensors", "npy", "csv"])? {
        "safetensors" => VectorFormat::Safetensors,
        "npy" => VectorFormat::Npy,
        _ => VectorFormat::Csv,
    };
    let trained = Trained::chosen(&args.using)?;
    let machine = &args.using.machine;
    let plan = Views::Centre.plan(args.using.batch_size, trained.crop());
    let mut observer = progress::observer(args.output.progress);
    let predictor = trained.predictor(plan.rows, machine, &mut |text| observer.note(text))?;
    let row = layer(&predictor, &trained.weights.about.model, args.layer.as_deref())?;
    let (name, shape) = predictor.layer(row);
    let (name, length) = (name.to_string(), shape.iter().product());
    let stop = signals::listen()?;
    let (source, labelled, failed) = images(args, &trained)?;
    let mut out = Writer::create(&args.out, format, &*source, length, labelled)?;
    let mut loader = Loader::new(source.clone(), plan, machine.workers.unwrap_or(0), 0);
    let mut written = Ok(());
    let finished = predictor.enter(|mut predictor| {
        let mut watch = |done, of| observer.progress("features", done, of);
        walk(&mut predictor, &mut loader, row, &stop, &mut watch, &mut |sample, vector| {
            if written.is_ok() {
                written = out.push(sample, vector);
            }
        })
    })?;
    drop(observer);
    written?;
    if !finished {
        return Ok(signals::exit_code(stop.requested().expect("a walk ends early when asked to")));
    }
    out.finish()?;
    let (images, path) = (source.len(), args.out.display());
    console::println(format_args!(
        "{path}: {images} images x {length} values, layer {name} ({})",
        shape_text(&shape)
    ))?;
    Ok(if failed { 3 } else { 0 })
}

/// The images, whether they have classes, and whether some could not be read.
fn images(args: &FeaturesArgs, trained: &Trained) -> Result<(Arc<dyn Source>, bool, bool)> {
    if args.images.is_empty() {
        let reading = Reading::new(args.output.progress);
        let workers = args.using.machine.workers.unwrap_or(0);
        let images = trained.images(args.data.as_deref(), workers, &reading)?;
        let test = args.of.unwrap_or_default() == PartArg::Test;
        return Ok((if test { images.test } else { images.train }, true, false));
    }
    let (pictures, failed) = named(&args.images, trained)?;
    Ok((pictures, false, failed))
}

/// Opens image files and reports those that cannot be read; also returns whether there are any.
///
/// # Errors
/// Exit code 3 if none can be read.
pub fn named(
    files: &[std::path::PathBuf],
    trained: &Trained,
) -> Result<(Arc<UnlabelledImages>, bool)> {
    let (pictures, bad) =
        UnlabelledImages::read(files, trained.centre_square(), trained.exif(), trained.classes());
    if pictures.is_empty() {
        let first =
            bad.first().map_or_else(|| "no image was named".to_string(), ToString::to_string);
        return Err(Fault::new(3, first));
    }
    bad.iter().for_each(|error| console::note(format_args!("alexnet: {error}")));
    pictures.remarks().iter().for_each(console::note);
    Ok((Arc::new(pictures), !bad.is_empty()))
}

fn shape_text(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ")
}
