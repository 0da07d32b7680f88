//! A trained network that can be used from any thread: one inference thread computes the waiting
//! requests together.

use crate::device::Placement;
use crate::features::layer;
use crate::model::{Model, Views};
use crate::predictor::Predictor;
use crate::{Error, Result};
use augment::Image;
use data::{ReadBuffer, decode};
use evaluate::{BatchShape, Evaluate};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, JoinHandle};

/// Options of a [`Classifier`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The device.
    pub placement: Placement,
    /// Maximum number of images computed together; their memory is allocated when more than one
    /// waits for the first time.
    pub batch: usize,
    /// The crops of an image.
    pub views: Views,
}

impl Default for Options {
    fn default() -> Options {
        Options { placement: Placement::default(), batch: 16, views: Views::Centre }
    }
}

/// A trained network that threads can share; their images are computed together.
///
/// An image's probabilities do not depend on the other images of a batch. They may differ in the
/// last digits between a single image and a batch, as sums have another order.
#[derive(Debug)]
pub struct Classifier {
    model: Arc<Model>,
    titles: Arc<[String]>,
    requests: Option<Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

/// The probabilities of an image's classes.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// In the order of [`Model::classes`].
    pub probabilities: Vec<f32>,
    titles: Arc<[String]>,
}

/// A class and its probability.
#[derive(Clone, Debug, PartialEq)]
pub struct Guess {
    /// Its index.
    pub class: usize,
    /// Its title for display.
    pub title: String,
    /// From 0 to 1.
    pub probability: f32,
}

impl Prediction {
    /// The most probable classes, the most probable first.
    pub fn top(&self, count: usize) -> Vec<Guess> {
        let best = evaluate::predictions::top(&self.probabilities, count).into_iter();
        let guess = |(class, probability): (u32, f32)| {
            let class = class as usize;
            Guess { class, title: self.titles[class].clone(), probability }
        };
        best.map(guess).collect()
    }
}

impl Classifier {
    /// Opens a run's folder, a weights file or a checkpoint, or a file of PyTorch, safetensors, Caffe
    /// or ONNX with the parameters of a built-in model, on the best available device.
    ///
    /// # Errors
    /// [`Error::Weights`] if there is no network that can be read; [`Error::Device`].
    pub fn open(path: impl AsRef<Path>) -> Result<Classifier> {
        Classifier::open_with(path, &Options::default())
    }

    /// Opens it with options.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(path: impl AsRef<Path>, options: &Options) -> Result<Classifier> {
        Classifier::of(Model::open(path.as_ref(), &mut |_| ())?, options)
    }

    /// Makes a classifier of an opened model.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn of(model: Model, options: &Options) -> Result<Classifier> {
        let model = Arc::new(model);
        let titles: Arc<[String]> = model.titles().into();
        let mut engine = Engine::open(Arc::clone(&model), *options)?;
        let (requests, queue) = channel();
        let work = move || engine.work(&queue);
        let thread = Builder::new().name("inference".into()).spawn(work);
        let thread =
            thread.map_err(|error| Error::Ended(format!("it cannot be started: {error}")))?;
        Ok(Classifier { model, titles, requests: Some(requests), thread: Some(thread) })
    }

    /// The weights with their metadata.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Classifies an image of any size.
    ///
    /// # Errors
    /// [`Error::Pixels`] if it is not a valid image; [`Error::Device`].
    pub fn predict(&self, image: &Image) -> Result<Prediction> {
        self.predict_all(std::slice::from_ref(image)).map(|mut all| all.remove(0))
    }

    /// Classifies an image file, decoded as in training.
    ///
    /// # Errors
    /// [`Error::Data`] if it cannot be read; [`Error::Device`].
    pub fn predict_file(&self, path: impl AsRef<Path>) -> Result<Prediction> {
        let (mut buffer, square) = (ReadBuffer::default(), self.model.centre_square());
        let path = PathBuf::from(path.as_ref());
        decode::read_square(&path, square, self.model.exif(), &mut buffer)?;
        let outputs =
            self.request(vec![std::mem::take(&mut buffer.image)], Wanted::Probabilities)?;
        Ok(self.prediction(outputs).remove(0))
    }

    /// Classifies images of any size.
    ///
    /// # Errors
    /// As [`predict`](Self::predict).
    pub fn predict_all(&self, images: &[Image]) -> Result<Vec<Prediction>> {
        let squares = images.iter().map(|image| self.model.square(image)).collect::<Result<_>>()?;
        Ok(self.prediction(self.request(squares, Wanted::Probabilities)?))
    }

    /// The output of a layer for the centre crop of an image, row by row, channels last. `conv5` is
    /// the convolution before its ReLU, `relu5` after it. By default of the last layer before the
    /// classifier: `relu7` in the paper's network.
    ///
    /// The first request for a layer into which a later one is otherwise fused, such as `conv5`,
    /// opens the network a second time.
    ///
    /// # Errors
    /// [`Error::Layer`], [`Error::NoHiddenLayer`], [`Error::Pixels`], [`Error::Device`].
    pub fn features(&self, layer: Option<&str>, image: &Image) -> Result<Vec<f32>> {
        let wanted = match layer {
            Some(name) => Wanted::Layer(name.to_string()),
            None => Wanted::LastHidden,
        };
        Ok(self.request(vec![self.model.square(image)?], wanted)?.remove(0))
    }

    /// Sends a request to the inference thread; returns one vector per image.
    fn request(&self, squares: Vec<Image>, wanted: Wanted) -> Result<Vec<Vec<f32>>> {
        if squares.is_empty() {
            return Ok(Vec::new());
        }
        let ended = || Error::Ended("open it again".to_string());
        let (reply, answer) = sync_channel(1);
        let requests = self.requests.as_ref().ok_or_else(ended)?;
        requests.send(Request { squares, wanted, reply }).map_err(|_| ended())?;
        answer.recv().map_err(|_| ended())?
    }

    fn prediction(&self, outputs: Vec<Vec<f32>>) -> Vec<Prediction> {
        let one = |probabilities| Prediction { probabilities, titles: Arc::clone(&self.titles) };
        outputs.into_iter().map(one).collect()
    }
}

impl Drop for Classifier {
    fn drop(&mut self) {
        self.requests = None; // closes the channel, which ends the thread
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic has already been printed
        }
    }
}

/// Images, as squares from which crops are taken.
struct Request {
    squares: Vec<Image>,
    wanted: Wanted,
    reply: SyncSender<Result<Vec<Vec<f32>>>>,
}

/// The requested outputs of the network.
enum Wanted {
    Probabilities,
    Layer(String),
    LastHidden,
}

/// State of the inference thread: the network for one image and, once needed, for several, and with
/// every layer's own output.
struct Engine {
    model: Arc<Model>,
    options: Options,
    one: Predictor,
    many: Option<Predictor>,
    apart: Option<Predictor>,
}

impl Engine {
    fn open(model: Arc<Model>, options: Options) -> Result<Engine> {
        let views = options.views.of((model.side(), model.side()), model.crop()).len();
        let one = model.predictor(views, options.placement, &mut |_| ())?;
        Ok(Engine { model, options, one, many: None, apart: None })
    }

    fn work(&mut self, queue: &Receiver<Request>) {
        while let Ok(first) = queue.recv() {
            let mut waiting = vec![first];
            waiting.extend(queue.try_iter());
            let mut plain = Vec::new();
            for request in waiting {
                let features = match &request.wanted {
                    Wanted::Probabilities => {
                        plain.push(request);
                        continue;
                    }
                    Wanted::Layer(name) => self.features(&request.squares, Some(name)),
                    Wanted::LastHidden => self.features(&request.squares, None),
                };
                let _ = request.reply.send(features); // the caller may be gone
            }
            self.classify(plain);
        }
    }

    /// Computes the images of all requests together.
    fn classify(&mut self, requests: Vec<Request>) {
        let squares: Vec<&Image> = requests.iter().flat_map(|request| &request.squares).collect();
        let batch = self.options.batch.max(1);
        let mut all = Vec::new();
        let mut failed = None;
        for squares in squares.chunks(if squares.len() > 1 { batch } else { 1 }) {
            match self.probabilities(squares) {
                Ok(rows) => all.extend(rows),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let mut all = all.into_iter();
        for Request { squares, reply, .. } in requests {
            let own: Vec<_> = all.by_ref().take(squares.len()).collect();
            let answer = match (own.len() == squares.len(), failed.take()) {
                (true, still) => {
                    failed = still;
                    Ok(own)
                }
                (false, Some(error)) => Err(error),
                (false, None) => Err(Error::Ended("it failed for another image".to_string())),
            };
            let _ = reply.send(answer);
        }
    }

    /// The network for one image, or for several.
    fn predictor(&mut self, images: usize) -> Result<&mut Predictor> {
        if images == 1 {
            return Ok(&mut self.one);
        }
        if self.many.is_none() {
            let rows = self.options.batch * self.one.batch_shape().images;
            let placement = self.options.placement;
            self.many = Some(self.model.predictor(rows, placement, &mut |_| ())?);
        }
        Ok(self.many.as_mut().expect("made above"))
    }

    fn probabilities(&mut self, squares: &[&Image]) -> Result<Vec<Vec<f32>>> {
        let (model, views) = (Arc::clone(&self.model), self.options.views);
        let predictor = self.predictor(squares.len())?;
        let BatchShape { images: rows, classes, .. } = predictor.batch_shape();
        predictor.test_on(&model.batch(squares, views, rows))?;
        let mut room = vec![0.0; rows * classes];
        predictor.probabilities(&mut room)?;
        let views = views.of((model.side(), model.side()), model.crop()).len();
        let mean = |of_views: &[f32]| {
            let at = |class: usize| of_views.iter().skip(class).step_by(classes);
            let mean = |class| at(class).map(|&p| f64::from(p) / views as f64).sum::<f64>() as f32;
            (0..classes).map(mean).collect()
        };
        Ok(room.chunks_exact(views * classes).take(squares.len()).map(mean).collect())
    }

    /// The network for one image, in which every layer has its own output.
    fn with_all_layers(&mut self) -> Result<&mut Predictor> {
        if self.apart.is_none() {
            let described = self.model.weights.about.model.describe()?;
            let names: Vec<&str> = described.iter().map(|row| row.name.as_str()).collect();
            let (rows, placement) = (self.one.batch_shape().images, self.options.placement);
            let opened = self.model.predictor_for_layers(rows, placement, &names, &mut |_| ())?;
            self.apart = Some(opened);
        }
        Ok(self.apart.as_mut().expect("made above"))
    }

    fn features(&mut self, squares: &[Image], name: Option<&str>) -> Result<Vec<Vec<f32>>> {
        let model = Arc::clone(&self.model);
        let spec = &model.weights.about.model;
        let (predictor, row) = match layer(&self.one, spec, name) {
            Err(Error::NotKept { .. }) => {
                let predictor = self.with_all_layers()?;
                let row = layer(predictor, spec, name)?;
                (predictor, row)
            }
            found => (&mut self.one, found?),
        };
        let (rows, length) =
            (predictor.batch_shape().images, predictor.layer(row).1.iter().product());
        let mut vectors = Vec::new();
        for square in squares {
            let batch = model.batch(&[square], Views::Centre, rows);
            predictor.activations(&batch, &[row], &mut |_, outputs: &[f32]| {
                vectors.push(outputs[..length].to_vec());
            })?;
        }
        Ok(vectors)
    }
}
