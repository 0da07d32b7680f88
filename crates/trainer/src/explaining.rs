//! `alexnet explain`: what a prediction depends on, and what kernels respond to.

mod kernels;

use crate::cli::{ExplainArgs, PartArg};
use crate::console;
use crate::fault::{Fault, Result};
use crate::neighbours::named;
use crate::output;
use crate::trained::{Trained, placement};
use augment::Image;
use data::{ReadBuffer, Source, spread_over_classes};
use evaluate::Stop;
use evaluate::observe::Observer;
use inference::explain::{Explainer, Occlusion, occlusion};
use inference::neighbours::Selection;
use inference::{Model, Predictor};
use layers::nearest;
use report::explain::{Explained, gradient, heat, page, signed};
use report::palette;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use terminal::progress::{self, Reading};
use terminal::signals;

/// Occlusion needs no larger batches.
const MAX_BATCH: usize = 64;

/// Runs the command.
///
/// # Errors
/// Exit codes 2, 3, 4, 6, 7 as `alexnet --help` lists them; 3 also if some of several images could
/// not be read, after the others.
pub fn explain(args: &ExplainArgs) -> Result<u8> {
    let trained = Trained::chosen(&args.using)?;
    let stop = signals::listen()?;
    let mut observer = progress::observer(args.output.progress);
    if !args.kernels.is_empty() {
        return kernels::explain(args, &trained, observer, &stop);
    }
    let class = args.class.as_deref().map(|name| class_of(&trained, name)).transpose()?;
    let (images, failed) = select(args, &trained)?;
    let mut explaining = Explaining::open(args, &trained, class, &mut *observer)?;
    let titles = trained.titles();
    let mut explained = Vec::new();
    for at in 0..images.len() {
        let square = read_square(&trained, &images, at)?;
        let truth = args.images.is_empty().then(|| titles[images.label(at) as usize].clone());
        let name = images.name(at);
        let what = (&square, name.as_str(), truth);
        let Some(found) = explaining.explain(what, &titles, &mut *observer, &stop)? else {
            drop(observer);
            return Ok(signals::exit_code(stop.requested().expect("it ends early when asked to")));
        };
        explained.push(found);
    }
    let layer = explaining.layer;
    drop(observer);
    let written = write(&args.out, &explained)?;
    let notes = notes(&trained, layer.as_deref());
    let index = args.out.join("index.html");
    output::write(&index, page("Explanations", &notes, &explained).as_bytes())?;
    for (one, files) in explained.iter().zip(&written) {
        let (class, probability) = &one.class;
        let json = || {
            json!({ "image": one.name, "class": class, "probability": probability,
                "truth": one.truth, "files": files })
        };
        let text = || format!("{}: {class} {:.1} %\n", one.name, 100.0 * probability);
        console::result(args.output.json, json, text)?;
    }
    if !args.output.json {
        console::println(format_args!("written: {}", index.display()))?;
    }
    Ok(if failed { 3 } else { 0 })
}

/// Sentences about the pictures.
fn notes(trained: &Trained, layer: Option<&str>) -> Vec<String> {
    let mut notes = vec![format!("The network is {}.", trained.path.display())];
    notes.extend(layer.map(|layer| {
        format!("Grad-CAM: the maps of {layer}, weighted by the mean gradients of the class score.")
    }));
    notes.push(
        "Saliency: the gradient of the class score by guided backpropagation; grey is zero."
            .to_string(),
    );
    notes.push(
        "Occlusion: red where the class is less probable if a square of the mean colour covers the \
         image, blue where it is more probable."
            .to_string(),
    );
    notes
}

/// The images to explain, and whether some could not be read.
fn select(args: &ExplainArgs, trained: &Trained) -> Result<(Selection, bool)> {
    if !args.images.is_empty() {
        let (source, failed) = named(&args.images, trained)?;
        let indices = (0..source.len()).collect();
        return Ok((Selection { source, indices }, failed));
    }
    let source = searched(args, trained)?;
    let indices = spread_over_classes(&*source, args.count.max(1));
    Ok((Selection { source, indices }, false))
}

/// The images of the data set that are shown or searched.
fn searched(args: &ExplainArgs, trained: &Trained) -> Result<Arc<dyn Source>> {
    let reading = Reading::new(args.output.progress);
    let workers = args.using.machine.workers.unwrap_or(0);
    let images = trained.images(args.data.as_deref(), workers, &reading)?;
    Ok(match args.of {
        PartArg::Train => images.train,
        PartArg::Test => images.test,
    })
}

/// The class of an id or a name.
///
/// # Errors
/// Exit code 2 if there is none.
fn class_of(trained: &Trained, typed: &str) -> Result<usize> {
    let titles = trained.titles();
    let names = trained.classes().iter().chain(&titles).map(String::as_str);
    let by_id = trained.classes().iter().position(|id| id == typed);
    by_id.or_else(|| titles.iter().position(|title| title == typed)).ok_or_else(|| {
        let hint = nearest(typed, names).map(|name| format!("; did you mean `{name}`?"));
        let hint = hint.unwrap_or_default();
        Fault::usage(format!("--class: the network has no class `{typed}`{hint}"))
    })
}

/// The network in the two forms that explanations need.
struct Explaining<'a> {
    model: &'a Model,
    explainer: Explainer,
    predictor: Predictor,
    class: Option<usize>,
    /// The layer of Grad-CAM; `None` if the network has no convolution.
    layer: Option<String>,
    squares: Occlusion,
}

impl<'a> Explaining<'a> {
    fn open(
        args: &ExplainArgs,
        trained: &'a Trained,
        class: Option<usize>,
        observer: &mut dyn Observer,
    ) -> Result<Explaining<'a>> {
        let (model, machine) = (&trained.model, &args.using.machine);
        let rows = args.using.batch_size.min(MAX_BATCH);
        let mut say = |text: &str| observer.note(text);
        let predictor = trained.predictor(rows, &[], machine, &mut say)?;
        let explainer = model.explainer(placement(machine)?, &mut |_| ())?; // it has been said
        let layer = args.layer.as_deref().or(explainer.last_convolution()).map(str::to_string);
        let mut squares = Occlusion::of(model.crop());
        if let Some(side) = args.square {
            squares = Occlusion { side: side as usize, stride: (side as usize / 2).max(1) };
        }
        squares.stride = args.stride.map_or(squares.stride, |stride| stride as usize);
        Ok(Explaining { model, explainer, predictor, class, layer, squares })
    }

    /// Explains one image; `None` if a stop was requested.
    fn explain(
        &mut self,
        (square, name, truth): (&Image, &str, Option<String>),
        titles: &[String],
        observer: &mut dyn Observer,
        stop: &Stop,
    ) -> Result<Option<Explained>> {
        let layer = self.layer.as_deref();
        let found = by_gradients(&mut self.explainer, self.model, square, self.class, layer)?;
        let ByGradients { class, probability, image, mut pictures } = found;
        let what = format!("occlusion of {}", file_name(name));
        let mut watch = |done: usize, all: usize| {
            observer.progress(&what, done as u64, all as u64);
            stop.requested().is_none()
        };
        let (predictor, squares) = (&mut self.predictor, self.squares);
        let map = occlusion(predictor, self.model, square, class, squares, &mut watch)?;
        let Some(map) = map else { return Ok(None) };
        pictures.push(("Occlusion".to_string(), signed(&image, &map.values)));
        let class = (titles[class].clone(), probability);
        Ok(Some(Explained { name: name.to_string(), class, truth, pictures }))
    }
}

/// What the gradients of a class score show.
pub struct ByGradients {
    /// The class and its probability.
    pub class: usize,
    pub probability: f32,
    /// The network's input.
    pub image: Image,
    /// The input and what explains it, with titles.
    pub pictures: Vec<(String, Image)>,
}

/// Explains `class`, or the predicted one, by Grad-CAM of `layer`, if there is one, and by guided
/// backpropagation.
///
/// # Errors
/// Exit codes 1, and 2 if the layer is none of the network's or has no maps.
pub fn by_gradients(
    explainer: &mut Explainer,
    model: &Model,
    square: &Image,
    class: Option<usize>,
    layer: Option<&str>,
) -> Result<ByGradients> {
    let (height, width) = model.crop();
    let image = model.centre(&square.pixels, (square.height, square.width));
    let probabilities = softmax(&explainer.scores(square)?);
    let best = (0..probabilities.len()).reduce(|best, class| {
        if probabilities[class] > probabilities[best] { class } else { best }
    });
    let class = class.or(best).unwrap_or_default();
    let mut pictures = vec![("Image".to_string(), image.clone())];
    if let Some(layer) = layer {
        let map = explainer.grad_cam(square, class, layer)?.resized(height, width);
        pictures.push(("Grad-CAM".to_string(), heat(&image, &map.values)));
    }
    let saliency = explainer.saliency(square, class, true)?;
    pictures.push(("Saliency".to_string(), gradient(&saliency, height, width)));
    Ok(ByGradients { class, probability: probabilities[class], image, pictures })
}

/// An image of a source as a [square](Model::square).
///
/// # Errors
/// Exit code 3 if it cannot be read.
pub fn read_square(model: &Model, source: &dyn Source, at: usize) -> Result<Image> {
    let mut buffer = ReadBuffer::default();
    let (height, width) = source.size();
    let pixels = source.read(at, &mut buffer)?.to_vec();
    Ok(model.square(&Image { height, width, pixels })?)
}

fn softmax(scores: &[f32]) -> Vec<f32> {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = scores.iter().map(|&score| f64::from(score - most).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| (power / sum) as f32).collect()
}

/// Writes every picture as a file; returns the paths of each image's.
fn write(folder: &Path, explained: &[Explained]) -> Result<Vec<Vec<PathBuf>>> {
    output::make_folder(folder)?;
    let mut all = Vec::new();
    for (number, one) in explained.iter().enumerate() {
        let stem = Path::new(&one.name).file_stem().map(|stem| stem.to_string_lossy());
        let stem = plain(&stem.unwrap_or_default());
        let mut files = Vec::new();
        for (title, picture) in &one.pictures {
            let path = folder.join(format!("{}-{stem}-{}.png", number + 1, title.to_lowercase()));
            output::write(&path, &palette::to_png(picture, palette::MAX_COLORS))?;
            files.push(path);
        }
        all.push(files);
    }
    Ok(all)
}

fn file_name(name: &str) -> String {
    let file = Path::new(name).file_name();
    file.map_or_else(|| name.to_string(), |file| file.to_string_lossy().to_string())
}

/// A name of letters, digits, dashes and underscores, at most 40.
fn plain(name: &str) -> String {
    let plain = |letter: char| if letter.is_alphanumeric() || letter == '_' { letter } else { '-' };
    name.chars().take(40).map(plain).collect()
}
