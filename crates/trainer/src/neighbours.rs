//! `alexnet neighbours`: images that look alike to a network, as in the paper's Figure 4.

use crate::cli::{MachineArgs, NeighboursArgs};
use crate::console;
use crate::fault::Result;
use crate::features::named;
use crate::output;
use crate::trained::Trained;
use data::{Source, spread_over_classes};
use inference::features::layer;
use inference::neighbours::{Near, Search, among, class_of};
use report::figures::{Neighbour, Neighbours, draw_neighbours};
use serde_json::json;
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
    let mut search = search(&trained, args.using.batch_size, machine, &mut say)?;
    search.row = layer(&search.predictor, &trained.weights.about.model, args.layer.as_deref())?;
    let stop = signals::listen()?;
    let reading = Reading::new(args.output.progress);
    let workers = machine.workers.unwrap_or(0);
    let images = trained.images(args.data.as_deref(), workers, &reading)?;
    let among = among(&images.train, args.among);
    let files = !args.images.is_empty();
    let (queries, asked, failed): (Arc<dyn Source>, Vec<usize>, bool) = if files {
        let (pictures, failed) = named(&args.images, &trained)?;
        let all = (0..pictures.len()).collect();
        (pictures, all, failed)
    } else {
        let asked = spread_over_classes(&*images.test, args.queries.max(1));
        (images.test.clone(), asked, false)
    };
    let found = search.run((&queries, &asked), &among, args.top.max(1), &stop, &mut *observer)?;
    drop(observer);
    let Some(found) = found else {
        return Ok(signals::exit_code(stop.requested().expect("it ends early when asked to")));
    };
    for (query, nearest) in asked.iter().zip(&found) {
        let (name, class) = (queries.name(*query), (!files).then(|| class_of(&*queries, *query)));
        tell(args, &name, class, nearest, &*among)?;
    }
    let drawn = pictures(&trained, (&*queries, &asked), &*among, &found, !files)?;
    let drawn = draw_neighbours(&drawn);
    output::write(&args.out, &report::palette::png_of(&drawn, args.palette.map(usize::from)))?;
    if !args.output.json {
        console::println(format_args!("written: {}", args.out.display()))?;
    }
    Ok(if failed { 3 } else { 0 })
}

/// One query's result.
fn tell(
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

/// A search with distances in the last layer before the classifier. `say` as
/// [`Trained::predictor`] has it.
///
/// # Errors
/// Exit codes 1, 2, 4 and 6.
pub fn search(
    trained: &Trained,
    images: usize,
    machine: &MachineArgs,
    say: &mut dyn FnMut(&str),
) -> Result<Search> {
    let predictor = trained.predictor(images.max(1), machine, say)?;
    let row = layer(&predictor, &trained.weights.about.model, None)?;
    let workers = machine.workers.unwrap_or(0);
    Ok(Search { predictor, row, crop: trained.crop(), workers })
}

/// What was found, as pictures; queries have their class under them, or their file's name.
///
/// # Errors
/// Exit code 3 if an image cannot be read any more.
pub fn pictures(
    trained: &Trained,
    (queries, asked): (&dyn Source, &[usize]),
    from: &dyn Source,
    found: &[Vec<Near>],
    labelled: bool,
) -> Result<Vec<Neighbours>> {
    let titles = trained.titles();
    let title = |source: &dyn Source, sample: usize| titles[source.label(sample) as usize].clone();
    let drawn = asked.iter().zip(found).map(|(&query, nearest)| {
        let near = nearest.iter().map(|near| {
            let label = title(from, near.sample);
            let image = trained.seen(from, near.sample)?;
            Ok(Neighbour { image, label, distance: near.distance })
        });
        let name = || {
            std::path::Path::new(&queries.name(query))
                .file_name()
                .map_or_else(String::new, |name| name.to_string_lossy().to_string())
        };
        let label = if labelled { title(queries, query) } else { name() };
        Ok(Neighbours {
            image: trained.seen(queries, query)?,
            label,
            nearest: near.collect::<Result<_>>()?,
        })
    });
    drawn.collect()
}
