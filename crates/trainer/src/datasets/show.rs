//! `alexnet data show`: a sheet of what a network sees while it learns.

use crate::cli::{ShowArgs, TrainArgs};
use crate::console;
use crate::describe::find_model;
use crate::fault::{Fault, Result};
use crate::settings::Settings;
use augment::Image;
use data::{Batch, IGNORED, Loader, Options, Statistics};
use report::sheet::{self, Labelled};
use std::fs;
use terminal::progress::Reading;
use train::recipe::Mean;

/// So many images tell the colours' components well enough for a look.
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
    let labelling = settings.labelling.clone();
    let options = Options { memory_limit: 0, exif, labelling, ..Options::with_side(side) };
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
    let mean = colors.as_ref().map(|colors| (recipe.input.mean, colors, side));
    let seen: Vec<Labelled> = (0..batch.images)
        .filter(|&row| batch.labels[row] != IGNORED)
        .map(|row| {
            let label = &set.train.classes()[batch.labels[row] as usize];
            (seen(&batch, row, crop, mean), label.as_str())
        })
        .collect();
    let sheet = sheet::of(&seen, columns);
    fs::write(&args.out, report::picture::to_png(&sheet)).map_err(|error| Fault {
        code: 7,
        message: format!("{}: cannot write: {error}", args.out.display()),
    })?;
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

/// A row of a batch after its reflection and its colour shift; the mean, which the network does
/// without, is left in.
fn seen(
    batch: &Batch,
    row: usize,
    (height, width): (usize, usize),
    mean: Option<(Mean, &Statistics, usize)>,
) -> Image {
    let bytes = height * width * 3;
    let mut image = Image { height, width, pixels: batch.pixels[row * bytes..][..bytes].to_vec() };
    let [top, left, mirrored] = batch.views[row].map(|n| n as usize);
    if let Some((kind, colors, side)) = mean {
        let [gain, shift @ ..] = batch.tints[row];
        for (at, pixel) in image.pixels.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let (y, x) = (top + at / width, left + at % width);
            for channel in 0..3 {
                let mean = match kind {
                    Mean::Image => colors.mean[(y * side + x) * 3 + channel],
                    Mean::Color => colors.color[channel],
                };
                let value = (f32::from(pixel[channel]) - mean) * gain + shift[channel] + mean;
                pixel[channel] = value.round().clamp(0.0, 255.0) as u8;
            }
        }
    }
    if mirrored == 1 {
        augment::mirror(&mut image.pixels, width);
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pixel_is_shifted_about_its_mean_and_mirrored() {
        let batch = Batch {
            pixels: [vec![9; 6], vec![10, 20, 30, 100, 200, 250]].concat(),
            views: vec![[0; 3], [1, 1, 1]],
            tints: vec![[1.0, 0.0, 0.0, 0.0], [0.5, 1.0, -40.0, 200.0]],
            labels: vec![0; 2],
            images: 2,
            ..Batch::default()
        };
        let mut colors = Statistics {
            mean: vec![0.0; 27],
            color: [50.0, 60.0, 70.0],
            variances: [0.0; 3],
            components: [[0.0; 3]; 3],
            images: 1,
        };
        let plain = seen(&batch, 1, (1, 2), None);
        assert_eq!(plain.pixels, [100, 200, 250, 10, 20, 30]);
        // By hand: (100 - 50) / 2 + 1 + 50 = 76, (200 - 60) / 2 - 40 + 60 = 90, and so on.
        let with_color = seen(&batch, 1, (1, 2), Some((Mean::Color, &colors, 3)));
        assert_eq!(with_color.pixels, [76, 90, 255, 31, 0, 250]);
        // Rows and columns 1 and 1, 1 and 2 of a mean image of 3 x 3.
        colors.mean[12..18].copy_from_slice(&[2.0, 4.0, 6.0, 20.0, 40.0, 60.0]);
        let with_image = seen(&batch, 1, (1, 2), Some((Mean::Image, &colors, 3)));
        assert_eq!(with_image.pixels, [61, 80, 255, 7, 0, 218]);
    }
}
