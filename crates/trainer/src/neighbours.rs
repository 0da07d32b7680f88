//! `alexnet neighbours`: similar images by their features, as in the paper's Figure 4.

use crate::cli::{MachineArgs, NeighboursArgs};
use crate::console;
use crate::fault::{Fault, Result};
use crate::output;
use crate::trained::Trained;
use data::unlabelled::UnlabelledImages;
use data::{Source, spread_over_classes};
use inference::features::layer;
use inference::neighbours::{Near, Search, Selection, among, class_of};
use report::figures::{Neighbour, Neighbours, draw_neighbours};
use report::palette;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use terminal::progress::{self, Reading};
use terminal::signals;

/// Runs the command.
///
/// # Errors
/// Exit codes 2, 3, 4, 6, 7 as `alexnet --help` lists them.
pub fn neighbours(args: &NeighboursArgs) -> Result<u8> {
    output::ending(&args.out, &["png"])?;
    let trained = Trained::chosen(&args.using)?;
    let machine = &args.using.machine;
    let mut observer = progress::observer(args.output.progress);
    let mut say = |text: &str| observer.note(text);
    let layer = args.layer.as_deref();
    let search = search(&trained, args.using.batch_size, layer, machine, &mut say)?;
    let stop = signals::listen()?;
    let reading = Reading::new(args.output.progress);
    let workers = machine.workers.unwrap_or(0);
    let images = trained.images(args.data.as_deref(), workers, &reading)?;
    let among = among(&images.train, args.among);
    let files = !args.images.is_empty();
    let (queries, failed) = if files {
        let (pictures, failed) = named(&args.images, &trained)?;
        let indices = (0..pictures.len()).collect();
        (Selection { source: pictures, indices }, failed)
    } else {
        let indices = spread_over_classes(&*images.test, args.queries.max(1));
        (Selection { source: images.test.clone(), indices }, false)
    };
    let (count, observed) = (args.top.max(1), &mut *observer);
    let found = search.run(queries.clone(), &among, count, &stop, observed)?;
    drop(observer);
    let Some(found) = found else {
        return Ok(signals::exit_code(stop.requested().expect("it ends early when asked to")));
    };
    for (query, nearest) in found.iter().enumerate() {
        let (name, class) = (queries.name(query), (!files).then(|| class_of(&queries, query)));
        print_neighbours(args, &name, class, nearest, &*among)?;
    }
    let drawn = pictures(&trained, &queries, &*among, &found, !files)?;
    let drawn = draw_neighbours(&drawn);
    output::write(&args.out, &palette::to_png(&drawn, palette::MAX_COLORS))?;
    console::note_palette(args.palette);
    if !args.output.json {
        console::println(format_args!("written: {}", args.out.display()))?;
    }
    Ok(if failed { 3 } else { 0 })
}

/// Opens image files and reports those that cannot be read; also returns whether there are any.
///
/// # Errors
/// Exit code 3 if none can be read.
pub fn named(files: &[PathBuf], trained: &Trained) -> Result<(Arc<UnlabelledImages>, bool)> {
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

/// Prints the result of one query.
fn print_neighbours(
    args: &NeighboursArgs,
    name: &str,
    class: Option<&str>,
    nearest: &[Near],
    from: &dyn Source,
) -> Result<()> {
    if args.output.json {
        let rows = nearest.iter().map(|near| {
            json!({ "image": near.sample, "name": from.name(near.sample),
                "class": class_of(from, near.sample), "distance": near.distance })
        });
        let rows: Vec<_> = rows.collect();
        return console::println(json!({ "query": name, "class": class, "nearest": rows }));
    }
    let mut text =
        format!("{name}{}\n", class.map_or(String::new(), |class| format!(" ({class})")));
    for near in nearest {
        let (class, name) = (class_of(from, near.sample), from.name(near.sample));
        text += &format!("  {:>9.3}  {class}  {name}\n", near.distance);
    }
    console::print(text)
}

/// A search by distances in a layer, by default the last before the classifier. `say` as in
/// [`Trained::predictor`].
///
/// # Errors
/// Exit codes 1, 2, 4 and 6.
pub fn search(
    trained: &Trained,
    images: usize,
    name: Option<&str>,
    machine: &MachineArgs,
    say: &mut dyn FnMut(&str),
) -> Result<Search> {
    let names: Vec<&str> = name.into_iter().collect();
    let predictor = trained.predictor(images.max(1), &names, machine, say)?;
    let row = layer(&predictor, &trained.weights.about.model, name)?;
    let workers = machine.workers.unwrap_or(0);
    Ok(Search { predictor, row, crop: trained.crop(), workers })
}

/// Neighbours with their images; queries are labelled by class, or by file name.
///
/// # Errors
/// Exit code 3 if an image can no longer be read.
pub fn pictures(
    trained: &Trained,
    queries: &Selection,
    from: &dyn Source,
    found: &[Vec<Near>],
    labelled: bool,
) -> Result<Vec<Neighbours>> {
    let titles = trained.titles();
    let title = |source: &dyn Source, sample: usize| titles[source.label(sample) as usize].clone();
    let drawn = found.iter().enumerate().map(|(query, nearest)| {
        let near = nearest.iter().map(|near| {
            let label = title(from, near.sample);
            let image = trained.read_centre(from, near.sample)?;
            Ok(Neighbour { image, label, distance: near.distance })
        });
        let name = || {
            std::path::Path::new(&queries.name(query))
                .file_name()
                .map_or_else(String::new, |name| name.to_string_lossy().to_string())
        };
        let label = if labelled { title(queries, query) } else { name() };
        Ok(Neighbours {
            image: trained.read_centre(queries, query)?,
            label,
            nearest: near.collect::<Result<_>>()?,
        })
    });
    drawn.collect()
}
