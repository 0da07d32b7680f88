//! The inference thread and its queue.

use crate::answer::{Inference, Wanted, answer};
use crate::error::{Error, Result};
use crate::index::Index;
use crate::replies::Refusal;
use augment::Image;
use data::inspect::inspect;
use data::{Batch, ReadBuffer, decode};
use evaluate::Evaluate;
use hyper::StatusCode;
use inference::{Model, Predictor, Views};
use layers::Row;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use tokio::sync::oneshot;

/// Maximum number of waiting images; further ones are refused.
const WAITING: usize = 8;

struct InferenceRequest {
    bytes: Vec<u8>,
    wanted: Wanted,
    pixels: usize,
    reply: oneshot::Sender<std::result::Result<String, Refusal>>,
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

    /// Classifies an image file of at most `pixels` pixels; returns a line of JSON.
    ///
    /// # Errors
    /// 503 if too many images wait, 422 if the file is not a usable image, 500 if the device fails.
    pub async fn ask(
        &self,
        bytes: Vec<u8>,
        wanted: Wanted,
        pixels: usize,
    ) -> std::result::Result<String, Refusal> {
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting::new(&self.busy);
        self.requests.try_send(InferenceRequest { bytes, wanted, pixels, reply }).map_err(
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

/// Starts the thread with `predictor`, planned for one image; `maps` are names of rows.
///
/// # Errors
/// If the thread cannot be started.
pub fn start(
    predictor: Predictor,
    model: Arc<Model>,
    index: Arc<Index>,
    maps: Vec<String>,
) -> Result<(Queue, JoinHandle<()>)> {
    let (requests, queue) = sync_channel(WAITING);
    let work = move || {
        predictor.enter(|predictor| InferenceWorker::new(predictor, model, index, maps).work(queue))
    };
    let thread = Builder::new().name("network".into()).spawn(work);
    let thread = thread.map_err(Error::system("start a thread"))?;
    Ok((Queue { requests, busy: Arc::default() }, thread))
}

/// State of the inference thread.
struct InferenceWorker {
    predictor: Predictor,
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
        predictor: Predictor,
        model: Arc<Model>,
        index: Arc<Index>,
        names: Vec<String>,
    ) -> InferenceWorker {
        let row = |name: String| Some((predictor.find_activated(&name)?, name));
        let maps = names.into_iter().filter_map(row).collect();
        let hidden = predictor.last_hidden_layer();
        InferenceWorker { maps, hidden, predictor, model, index, buffer: ReadBuffer::default() }
    }

    fn work(mut self, queue: Receiver<InferenceRequest>) {
        while let Ok(request) = queue.recv() {
            if request.reply.is_closed() {
                continue; // the client has disconnected
            }
            let said =
                self.infer(request.bytes, request.pixels, request.wanted.maps).map(|outcome| {
                    answer(&self.model, &self.index, &outcome, &request.wanted).to_string() + "\n"
                });
            let _ = request.reply.send(said);
        }
    }

    fn infer(
        &mut self,
        bytes: Vec<u8>,
        pixels: usize,
        with_maps: bool,
    ) -> std::result::Result<Inference, Refusal> {
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

        let seen = self.model.centre(&square.pixels, (side, side));
        let batch = self.model.batch(&[&square], Views::Centre, 1);
        let (probabilities, outputs) = self.outputs(&batch, with_maps).map_err(|error| {
            Refusal(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot compute: {error}"))
        })?;
        let mut outcome = Inference {
            format: facts.format.to_string(),
            size: (facts.height, facts.width),
            seen,
            probabilities,
            layer: String::new(),
            vector: Vec::new(),
            maps: Vec::new(),
        };
        for (row, values) in outputs {
            let (name, shape) = self.predictor.layer(row);
            if self.hidden == Some(row) {
                (outcome.layer, outcome.vector) = (name.to_string(), values.clone());
            }
            if let (Some((_, name)), &[height, width, channels]) =
                (self.maps.iter().find(|(at, _)| *at == row), &shape[..])
                && with_maps
            {
                outcome.maps.push((name.clone(), [height, width, channels], values));
            }
        }
        Ok(outcome)
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
