//! `alexnet data show`: a sheet of what a network sees while it learns.

use super::unread;
use crate::cli::{SetupArgs, ShowArgs, TrainArgs};
use crate::console;
use crate::fault::{Fault, Result};
use crate::model_file::find_model;
use crate::settings::Settings;
use data::{Batch, IGNORED, Loader, LoaderPlan};
use report::sheet::{self, Labelled, StoredMean};
use std::fs;
use terminal::progress::Reading;
use train::recipe::Mean;

/// Images measured for the colour components: enough for a picture.
const STATISTICS: usize = 2000;

/// Runs the command.
///
/// # Errors
/// Exit code 2 for a model or recipe that is not there, 3 for data that cannot be read, 7 if the
/// file cannot be written.
pub fn show(args: &ShowArgs) -> Result<()> {
    let setup = SetupArgs {
        model: args.model.clone(),
        recipe: args.recipe.clone(),
        data: Some(args.data.clone()),
        exif: args.exif,
        seed: Some(args.seed),
        labelling: args.labelling.clone(),
        set: args.set.clone(),
        ..SetupArgs::default()
    };
    let typed = TrainArgs { setup, ..TrainArgs::default() };
    let settings = Settings::resolve(&typed)?;
    let [height, width, _] = find_model(&settings.model)?.input;
    let (recipe, crop) = (&settings.recipe, (height, width));
    let side = recipe.side(height, width);
    if side < height.max(width) {
        return Err(Fault::usage(format!(
            "crops of {height} x {width} cannot be taken from images of {side} x {side}: raise \
             recipe.input.side"
        )));
    }
    let reading = Reading::new(args.progress);
    let exif = match args.exif {
        Some(_) => recipe.input.exif,
        None => data::stored_exif(&settings.data)?.unwrap_or(recipe.input.exif),
    };
    let options = unread(side, 0, exif, settings.labelling.clone());
    let set = data::open(&settings.data, &options, &|_, _| ())?;
    set.notes.iter().for_each(console::note);
    let erases = recipe.augment.erases_with_mean();
    let shifts = recipe.augment.color > 0.0 || erases;
    let count = STATISTICS.min(set.train.len());
    let colors = || reading.measure("images measured", &set.train, 0, count);
    let colors = shifts.then(colors).transpose()?;

    let (rows, columns) = (args.rows as usize, args.columns as usize);
    let plan = recipe.augment.plan(rows * columns, crop, settings.seed);
    let plan = LoaderPlan { sampling: recipe.sampling.into(), ..plan };
    let mean_bytes = colors.as_ref().filter(|_| erases).map(|colors| {
        let mean = match recipe.input.mean {
            Mean::Image => &colors.mean[..],
            Mean::Color => &colors.color[..],
        };
        data::mean_bytes(mean, set.train.size())
    });
    let mut loader = Loader::with_mean(set.train.clone(), plan, mean_bytes, 0, 1);
    loader.set_color(colors.as_ref().and_then(|colors| recipe.augment.color_shift(colors)));
    let batch = loader.next_batch()?.expect("training never ends");
    let mean = colors.as_ref().map(|colors| StoredMean { kind: recipe.input.mean, colors, side });
    let labels: Vec<String> =
        (0..batch.images).map(|row| label_of(&batch, row, set.train.classes())).collect();
    let seen: Vec<Labelled> = (0..batch.images)
        .filter(|&row| batch.labels[row] != IGNORED)
        .map(|row| (sheet::network_input(&batch, row, crop, mean), labels[row].as_str()))
        .collect();
    let sheet = sheet::of(&seen, columns);
    fs::write(&args.out, report::picture::to_png(&sheet))
        .map_err(|error| Fault::new(7, format!("{}: cannot write: {error}", args.out.display())))?;
    console::println(format_args!(
        "{}: {} images of {height} x {width} as {} sees them with recipe {} ({} x {} pixels)",
        args.out.display(),
        seen.len(),
        settings.model,
        recipe.base,
        sheet.height,
        sheet.width,
    ))?;
    Ok(())
}

/// The class of a row; of a mixed image both, with the first's weight: `cat 70 %, dog`.
fn label_of(batch: &Batch, row: usize, classes: &[String]) -> String {
    let name = |label: u32| classes.get(label as usize).map_or("", String::as_str);
    let own = name(batch.labels[row]);
    match batch.mix {
        Some(mix) => {
            let percent = (100.0 * mix.label).round();
            format!("{own} {percent} %, {}", name(batch.other_labels[row]))
        }
        None => own.to_string(),
    }
}
