//! `alexnet neighbours`: images that look alike to a network, as in the paper's Figure 4.

use crate::cli::{MachineArgs, NeighboursArgs};
use crate::console;
use crate::fault::Result;
use crate::features::{layer, named, walk};
use crate::progress::{self, Reading};
use crate::trained::{Trained, plan_of, spread};
use crate::{output, signals};
use data::{Loader, Source, Subset};
use report::figures::{Neighbour, Neighbours, draw_neighbours};
use serde_json::json;
use std::sync::Arc;
use train::Stop;
use train::inference::Predictor;
use train::observe::Observer;

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
    let mut search = Search::new(&trained, args.using.batch_size, machine, &mut say)?;
    search.row = layer(&search.predictor, &trained, args.layer.as_deref())?;
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
        let asked = spread(&*images.test, args.queries.max(1));
        (images.test.clone(), asked, false)
    };
    let found = search.run(&queries, &asked, &among, args.top.max(1), &stop, &mut *observer)?;
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

/// Some of a set's images, spread over all.
pub fn among(train: &Arc<dyn Source>, count: Option<usize>) -> Arc<dyn Source> {
    match count {
        Some(count) if count < train.len() => Arc::new(Subset::spread(train.clone(), count.max(1))),
        _ => train.clone(),
    }
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

/// The name of an image's class.
pub fn class_of(source: &dyn Source, sample: usize) -> &str {
    &source.classes()[source.label(sample) as usize]
}

/// An image near another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Near {
    /// Its place in the source.
    pub sample: usize,
    /// Euclidean distance.
    pub distance: f32,
}

/// A network looking for images that look alike to it.
pub struct Search {
    predictor: Predictor,
    row: usize,
    images: usize,
    crop: (usize, usize),
    workers: usize,
}

impl Search {
    /// Distances in the last layer before the classifier. `say` as [`Trained::predictor`] has it.
    ///
    /// # Errors
    /// Exit codes 1, 2, 4 and 6.
    pub fn new(
        trained: &Trained,
        images: usize,
        machine: &MachineArgs,
        say: &mut dyn FnMut(&str),
    ) -> Result<Search> {
        let images = images.max(1);
        let predictor = trained.predictor(images, machine, say)?;
        let row = layer(&predictor, trained, None)?;
        let workers = machine.workers.unwrap_or(0);
        Ok(Search { predictor, row, images, crop: trained.crop(), workers })
    }

    /// For each image `asked` of `queries` the `count` nearest of `among`, the nearest first; all
    /// of `among` are compared, one after another, and only the nearest kept. `None` if a signal
    /// came first.
    ///
    /// # Errors
    /// If images cannot be read or the device fails.
    pub fn run(
        self,
        queries: &Arc<dyn Source>,
        asked: &[usize],
        among: &Arc<dyn Source>,
        count: usize,
        stop: &Stop,
        observer: &mut dyn Observer,
    ) -> Result<Option<Vec<Vec<Near>>>> {
        let plan = plan_of(Default::default(), self.images, self.crop);
        let few: Arc<dyn Source> =
            Arc::new(Chosen { source: queries.clone(), asked: asked.to_vec() });
        let mut first = Loader::new(few, plan, self.workers, 0);
        let mut second = Loader::new(among.clone(), plan, self.workers, 0);
        let row = self.row;
        let found = self.predictor.enter(|mut predictor| -> Result<_> {
            let mut points: Vec<Vec<f32>> = Vec::new();
            let mut keep = |_: usize, vector: Option<&[f32]>| {
                points.push(vector.map(<[f32]>::to_vec).unwrap_or_default());
            };
            let mut done = walk(&mut predictor, &mut first, row, stop, &mut |_, _| (), &mut keep)?;
            let mut found = vec![Vec::new(); points.len()];
            let mut watch = |done, of| observer.seen("search", done, of);
            let mut compare = |sample: usize, vector: Option<&[f32]>| {
                let Some(vector) = vector else { return };
                for (point, nearest) in points.iter().zip(&mut found) {
                    let distance = distance(point, vector);
                    insert(nearest, Near { sample, distance }, count);
                }
            };
            done = done && walk(&mut predictor, &mut second, row, stop, &mut watch, &mut compare)?;
            Ok(done.then_some(found))
        })?;
        Ok(found)
    }
}

/// Euclidean, in f64: fc7 has thousands of terms.
pub fn distance(a: &[f32], b: &[f32]) -> f32 {
    let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
    a.iter().zip(b).map(square).sum::<f64>().sqrt() as f32
}

/// Keeps the nearest, the nearest first; of equals the one that came first.
pub fn insert(nearest: &mut Vec<Near>, new: Near, count: usize) {
    let at = nearest.partition_point(|old| old.distance <= new.distance);
    if at < count {
        nearest.insert(at, new);
        nearest.truncate(count);
    }
}

/// Some images of a source, in an order of their own.
pub struct Chosen {
    /// Where from.
    pub source: Arc<dyn Source>,
    /// Which.
    pub asked: Vec<usize>,
}

impl Source for Chosen {
    fn classes(&self) -> &[String] {
        self.source.classes()
    }

    fn size(&self) -> (usize, usize) {
        self.source.size()
    }

    fn len(&self) -> usize {
        self.asked.len()
    }

    fn label(&self, index: usize) -> u32 {
        self.source.label(self.asked[index])
    }

    fn name(&self, index: usize) -> String {
        self.source.name(self.asked[index])
    }

    fn read<'a>(
        &'a self,
        index: usize,
        buffer: &'a mut data::ReadBuffer,
    ) -> data::Result<&'a [u8]> {
        self.source.read(self.asked[index], buffer)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_are_kept_in_order() {
        let mut nearest = Vec::new();
        for (sample, distance) in [3.0, 1.0, 2.0, 1.0, 0.5].into_iter().enumerate() {
            insert(&mut nearest, Near { sample, distance }, 3);
        }
        assert_eq!(nearest.iter().map(|near| near.sample).collect::<Vec<_>>(), [4, 1, 3]);
        assert_eq!(distance(&[1.0, 2.0], &[4.0, 6.0]), 5.0);
    }
}
