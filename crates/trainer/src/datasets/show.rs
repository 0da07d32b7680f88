//! `alexnet data show`: a sheet of what a network sees while it learns.

use super::unread;
use crate::cli::{ShowArgs, TrainArgs};
use crate::console;
use crate::fault::{Fault, Result};
use crate::model_file::find_model;
use crate::settings::Settings;
use data::{IGNORED, Loader};
use report::sheet::{self, Labelled, StoredMean};
use std::fs;
use terminal::progress::Reading;

/// Images measured for the colour components: enough for a picture.
const STATISTICS: usize = 2000;

/// Runs the command.
///
/// # Errors
/// Exit code 2 for a model or recipe that is not there, 3 for data that cannot be read, 7 if the
/// file cannot be written.
pub fn show(args: &ShowArgs) -> Result<()> {
    let typed = TrainArgs {
        model: args.model.clone(),
        recipe: args.recipe.clone(),
        data: Some(args.data.clone()),
        exif: args.exif,
        seed: Some(args.seed),
        labelling: args.labelling.clone(),
        set: args.set.clone(),
        ..TrainArgs::default()
    };
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
    let shifts = recipe.augment.color > 0.0;
    let count = STATISTICS.min(set.train.len());
    let colors = || reading.measure("images measured", &set.train, 0, count);
    let colors = shifts.then(colors).transpose()?;

    let (rows, columns) = (args.rows as usize, args.columns as usize);
    let plan = recipe.augment.plan(rows * columns, crop, settings.seed);
    let mut loader = Loader::new(set.train.clone(), plan, 0, 1);
    loader.set_color(colors.as_ref().and_then(|colors| recipe.augment.color_shift(colors)));
    let batch = loader.next_batch()?.expect("training never ends");
    let mean = colors.as_ref().map(|colors| StoredMean { kind: recipe.input.mean, colors, side });
    let seen: Vec<Labelled> = (0..batch.images)
        .filter(|&row| batch.labels[row] != IGNORED)
        .map(|row| {
            let label = &set.train.classes()[batch.labels[row] as usize];
            (sheet::network_input(&batch, row, crop, mean), label.as_str())
        })
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
