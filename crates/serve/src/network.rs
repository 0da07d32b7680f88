//! The inference thread and its queue.

use crate::answer::{Explained, Inference, Wanted, WantedPicture, answer, find_class};
use crate::error::{Error, Result};
use crate::explain::{Explanations, Method};
use crate::index::Index;
use crate::replies::Refusal;
use augment::Image;
use data::inspect::inspect;
use data::{Batch, ReadBuffer, decode};
use evaluate::Evaluate;
use evaluate::predictions::top;
use hyper::StatusCode;
use inference::{Model, Predictor, Views};
use layers::Row;
use report::picture::to_png;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use tokio::sync::oneshot;

/// Maximum number of waiting images; further ones are refused.
const WAITING: usize = 8;

/// What is asked about an image.
pub enum Question {
    /// A line of JSON.
    Json(Wanted),
    /// A PNG file.
    Picture(WantedPicture),
}

struct InferenceRequest {
    bytes: Vec<u8>,
    question: Question,
    pixels: usize,
    reply: oneshot::Sender<std::result::Result<Vec<u8>, Refusal>>,
}

/// The queue of the inference thread.
pub struct Queue {
    requests: SyncSender<InferenceRequest>,
    busy: Arc<AtomicUsize>,
}

impl Queue {
    /// The number of requests that wait or are being answered.
    pub fn busy(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.busy)
    }

    /// Classifies or explains an image file of at most `pixels` pixels; returns a line of JSON, or a
    /// PNG file.
    ///
    /// # Errors
    /// 503 if too many images wait, 422 if the file is not a usable image, 400 if there is no such
    /// class, 501 if the network has no such explanation, 500 if the device fails.
    pub async fn ask(
        &self,
        bytes: Vec<u8>,
        question: Question,
        pixels: usize,
    ) -> std::result::Result<Vec<u8>, Refusal> {
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting::new(&self.busy);
        self.requests.try_send(InferenceRequest { bytes, question, pixels, reply }).map_err(
            |_| {
                let text = format!("{WAITING} images wait already: try again in a moment");
                Refusal(StatusCode::SERVICE_UNAVAILABLE, text)
            },
        )?;
        let answer = answer.await;
        drop(waiting);
        let stopped =
            || Refusal(StatusCode::INTERNAL_SERVER_ERROR, "the network has stopped".into());
        answer.map_err(|_| stopped())?
    }
}

/// Counts a request until it is answered or dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Waiting<'_> {
    fn new(busy: &AtomicUsize) -> Waiting<'_> {
        busy.fetch_add(1, Ordering::SeqCst);
        Waiting(busy)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The names of the rows with feature maps.
pub fn convolutions(model: &Model) -> Vec<String> {
    let rows = model.weights.about.model.rows.iter();
    let names = rows.filter_map(|row| match row {
        Row::Conv(conv) => Some(conv.name.clone()),
        Row::Local(local) => Some(local.name.clone()),
        _ => None,
    });
    names.collect()
}

/// The explanations of a server, or why there are none.
pub type MaybeExplanations = std::result::Result<Explanations, String>;

/// Starts the thread with `predictor`, planned for one image; `maps` are names of rows.
///
/// # Errors
/// If the thread cannot be started.
pub fn start(
    (predictor, explanations): (Predictor, MaybeExplanations),
    model: Arc<Model>,
    index: Arc<Index>,
    maps: Vec<String>,
) -> Result<(Queue, JoinHandle<()>)> {
    let (requests, queue) = sync_channel(WAITING);
    let work = move || {
        predictor.enter(|predictor| {
            InferenceWorker::new((predictor, explanations), model, index, maps).work(queue)
        })
    };
    let thread = Builder::new().name("network".into()).spawn(work);
    let thread = thread.map_err(Error::system("start a thread"))?;
    Ok((Queue { requests, busy: Arc::default() }, thread))
}

/// State of the inference thread.
struct InferenceWorker {
    predictor: Predictor,
    explanations: MaybeExplanations,
    model: Arc<Model>,
    index: Arc<Index>,
    /// Planned rows with feature maps, each with the name of its layer; ascending.
    maps: Vec<(usize, String)>,
    /// The planned row in which distances are measured.
    hidden: Option<usize>,
    buffer: ReadBuffer,
}

impl InferenceWorker {
    fn new(
        (predictor, explanations): (Predictor, MaybeExplanations),
        model: Arc<Model>,
        index: Arc<Index>,
        names: Vec<String>,
    ) -> InferenceWorker {
        let row = |name: String| Some((predictor.find_activated(&name)?, name));
        let maps = names.into_iter().filter_map(row).collect();
        let hidden = predictor.last_hidden_layer();
        let buffer = ReadBuffer::default();
        InferenceWorker { maps, hidden, predictor, explanations, model, index, buffer }
    }

    fn work(mut self, queue: Receiver<InferenceRequest>) {
        while let Ok(request) = queue.recv() {
            if request.reply.is_closed() {
                continue; // the client has disconnected
            }
            let InferenceRequest { bytes, question, pixels, reply } = request;
            let is_wanted = || !reply.is_closed();
            let said = match question {
                Question::Json(wanted) => {
                    self.infer((bytes, pixels), &wanted, &is_wanted).map(|outcome| {
                        let json = answer(&self.model, &self.index, &outcome, &wanted);
                        (json.to_string() + "\n").into_bytes()
                    })
                }
                Question::Picture(wanted) => self.picture((bytes, pixels), &wanted, &is_wanted),
            };
            let _ = reply.send(said);
        }
    }

    /// The square that is cut from an image file, its format, and its height and width.
    fn read(
        &mut self,
        (bytes, pixels): (Vec<u8>, usize),
    ) -> std::result::Result<(Image, String, (usize, usize)), Refusal> {
        let no_image = |text: String| Refusal(StatusCode::UNPROCESSABLE_ENTITY, text);
        let side = self.model.side();
        let facts = inspect(&bytes).ok();
        if let Some(facts) = &facts
            && facts.height.saturating_mul(facts.width) > pixels
        {
            let (width, height, most) = (facts.width, facts.height, pixels / 1_000_000);
            let text = format!("{width} x {height} is more than {most} megapixels");
            return Err(no_image(text));
        }
        self.buffer.file = bytes;
        let read = decode::square(side, self.model.exif(), &mut self.buffer);
        let square = |(pixels, _): (&[u8], _)| {
            let pixels = pixels.to_vec();
            Image { height: side, width: side, pixels }
        };
        let read = read.map(square);
        self.buffer = ReadBuffer::default(); // frees the memory of a large image
        let square = read.map_err(|reason| no_image(reason.to_string()))?;
        let facts = facts.ok_or_else(|| no_image("its header cannot be read".into()))?;
        Ok((square, facts.format.to_string(), (facts.height, facts.width)))
    }

    fn infer(
        &mut self,
        file: (Vec<u8>, usize),
        wanted: &Wanted,
        is_wanted: &dyn Fn() -> bool,
    ) -> std::result::Result<Inference, Refusal> {
        let class = self.class(wanted.class.as_deref())?;
        let (square, format, size) = self.read(file)?;
        let seen = self.model.centre(&square.pixels, (square.height, square.width));
        let batch = self.model.batch(&[&square], Views::Centre, 1);
        let (probabilities, outputs) = self.outputs(&batch, wanted.maps).map_err(failed)?;
        let mut outcome = Inference {
            format,
            size,
            seen,
            probabilities,
            layer: String::new(),
            vector: Vec::new(),
            maps: Vec::new(),
            explained: None,
        };
        for (row, values) in outputs {
            let (name, shape) = self.predictor.layer(row);
            if self.hidden == Some(row) {
                (outcome.layer, outcome.vector) = (name.to_string(), values.clone());
            }
            if let (Some((_, name)), &[height, width, channels]) =
                (self.maps.iter().find(|(at, _)| *at == row), &shape[..])
                && wanted.maps
            {
                outcome.maps.push((name.clone(), [height, width, channels], values));
            }
        }
        if wanted.explain {
            let class = class.unwrap_or_else(|| most_probable(&outcome.probabilities));
            let mut explained = Explained { class, layer: None, pictures: Vec::new() };
            for method in Method::ALL {
                if let Some(picture) = self.explain(&square, class, method, is_wanted)? {
                    explained.pictures.push((method, picture));
                }
            }
            let explanations = self.explanations.as_ref();
            explained.layer = explanations.ok().and_then(|explanations| explanations.layer.clone());
            outcome.explained = Some(explained);
        }
        Ok(outcome)
    }

    /// A picture that explains a class, as a PNG file.
    fn picture(
        &mut self,
        file: (Vec<u8>, usize),
        wanted: &WantedPicture,
        is_wanted: &dyn Fn() -> bool,
    ) -> std::result::Result<Vec<u8>, Refusal> {
        let class = self.class(wanted.class.as_deref())?;
        let (square, ..) = self.read(file)?;
        let class = match class {
            Some(class) => class,
            None => {
                let batch = self.model.batch(&[&square], Views::Centre, 1);
                most_probable(&self.outputs(&batch, false).map_err(failed)?.0)
            }
        };
        let picture = self.explain(&square, class, wanted.method, is_wanted)?;
        let picture = picture.ok_or_else(|| {
            let name = wanted.method.name();
            no_explanation(&format!("{name} needs a convolution, and the network has none"))
        })?;
        Ok(to_png(&picture))
    }

    /// The class of this name.
    fn class(&self, name: Option<&str>) -> std::result::Result<Option<usize>, Refusal> {
        let class = name.map(|name| find_class(&self.model, name)).transpose();
        class.map_err(|text| Refusal(StatusCode::BAD_REQUEST, text))
    }

    /// The picture that explains a class; `None` if the network has none of this kind, or the client
    /// has disconnected.
    fn explain(
        &mut self,
        square: &Image,
        class: usize,
        method: Method,
        is_wanted: &dyn Fn() -> bool,
    ) -> std::result::Result<Option<Image>, Refusal> {
        let explanations = self.explanations.as_mut().map_err(|reason| no_explanation(reason))?;
        let (predictor, model) = (&mut self.predictor, &*self.model);
        let picture = explanations.picture(predictor, model, (square, class), method, is_wanted);
        picture.map_err(failed)
    }

    /// Probabilities, and the outputs of the rows with feature maps and of the hidden layer.
    fn outputs(&mut self, batch: &Batch, with_maps: bool) -> inference::Result<Outputs> {
        let maps = self.maps.iter().filter(|_| with_maps).map(|(row, _)| *row);
        let rows: Vec<usize> = maps.chain(self.hidden).collect();
        let mut outputs = Vec::new();
        self.predictor.test_with_activations(batch, &rows, &mut |row, values| {
            outputs.push((row, values.to_vec()));
        })?;
        let mut probabilities = vec![0.0; self.model.classes().len()];
        self.predictor.probabilities(&mut probabilities)?;
        Ok((probabilities, outputs))
    }
}

type Outputs = (Vec<f32>, Vec<(usize, Vec<f32>)>);

fn failed(error: inference::Error) -> Refusal {
    Refusal(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot compute: {error}"))
}

fn no_explanation(reason: &str) -> Refusal {
    Refusal(StatusCode::NOT_IMPLEMENTED, format!("no explanations: {reason}"))
}

fn most_probable(probabilities: &[f32]) -> usize {
    top(probabilities, 1).first().map_or(0, |(class, _)| *class as usize)
}
