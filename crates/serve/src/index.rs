//! Features of the training images, computed in the background and searchable before complete.

use data::{Loader, Source};
use evaluate::{Evaluate, Stop};
use inference::features::{layer, walk};
use inference::neighbours::{Near, Selection, among, distance, insert};
use inference::{Model, Predictor, Views};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

/// The training and test images of a network.
#[derive(Debug)]
pub struct Images {
    /// Training images: neighbours are searched here.
    pub train: Arc<dyn Source>,
    /// Test images: the page shows them.
    pub test: Arc<dyn Source>,
}

/// Features of training images, with their progress.
pub struct Index {
    images: OnceLock<Images>,
    contents: RwLock<Contents>,
}

#[derive(Default)]
struct Contents {
    state: State,
    source: Option<Arc<dyn Source>>,
    /// Images processed, and in total.
    done: usize,
    of: usize,
    /// The images that could be read, and their concatenated features.
    samples: Vec<usize>,
    vectors: Vec<f32>,
}

#[derive(Default)]
enum State {
    /// No neighbours are wanted.
    #[default]
    Off,
    /// The data set is being opened.
    Opening,
    /// Features are being computed.
    Making,
    /// All features are available.
    Ready,
    /// It failed, with the reason.
    Failed(String),
}

impl Index {
    /// An empty index for `among` images.
    pub fn new(among: usize) -> Index {
        let state = if among == 0 { State::Off } else { State::Opening };
        Index {
            images: OnceLock::new(),
            contents: RwLock::new(Contents { state, ..Contents::default() }),
        }
    }

    fn contents(&self) -> RwLockReadGuard<'_, Contents> {
        self.contents.read().expect("no writer panics")
    }

    fn change(&self, how: impl FnOnce(&mut Contents)) {
        how(&mut self.contents.write().expect("no writer panics"));
    }

    /// The run's images, once they are open.
    pub fn images(&self) -> Option<&Images> {
        self.images.get()
    }

    /// The reason why there are no images or features, if it failed.
    pub fn failure(&self) -> Option<String> {
        match &self.contents().state {
            State::Failed(why) => Some(why.clone()),
            _ => None,
        }
    }

    /// Its state and progress as JSON.
    pub fn status(&self) -> Value {
        let contents = self.contents();
        let state = match &contents.state {
            State::Off => "off",
            State::Opening => "opening",
            State::Making => "making",
            State::Ready => "ready",
            State::Failed(_) => "failed",
        };
        let mut status = json!({ "state": state, "done": contents.done, "of": contents.of });
        if let State::Failed(why) = &contents.state {
            status["why"] = why.clone().into();
        }
        status
    }

    /// The nearest of the images indexed so far, the nearest first, each with its source.
    pub fn nearest(&self, point: &[f32], count: usize) -> Vec<(Arc<dyn Source>, Near)> {
        let contents = self.contents();
        let Some(source) = contents.source.as_ref().filter(|_| !point.is_empty()) else {
            return Vec::new();
        };
        let mut nearest = Vec::new();
        for (&sample, vector) in
            contents.samples.iter().zip(contents.vectors.chunks_exact(point.len()))
        {
            insert(&mut nearest, Near { sample, distance: distance(point, vector) }, count);
        }
        nearest.into_iter().map(|near| (Arc::clone(source), near)).collect()
    }
}

/// Builds an index in a thread.
pub struct IndexBuilder {
    pub index: Arc<Index>,
    pub model: Arc<Model>,
    /// Maximum number of images; 0: only opens the images.
    pub among: usize,
    /// Threads that read them; 0: one per core.
    pub workers: usize,
    /// The number of pending requests, which have priority.
    pub busy: Arc<AtomicUsize>,
    pub stop: Stop,
}

impl IndexBuilder {
    /// Starts a thread that opens the images and, with `predictor`, computes their features. `note`
    /// receives a message when it ends.
    pub fn start(
        self,
        predictor: Option<Predictor>,
        images: impl FnOnce() -> Result<Images, String> + Send + 'static,
        mut note: impl FnMut(&str) + Send + 'static,
    ) {
        std::thread::spawn(move || match self.open(images, predictor) {
            Ok(None) => {}
            Ok(Some(of)) => note(&format!("neighbours are searched among {of} training images")),
            Err(why) => {
                let what = if self.among == 0 { "no images of its run" } else { "no neighbours" };
                note(&format!("{what}: {why}"));
                self.index.change(|contents| contents.state = State::Failed(why));
            }
        });
    }

    /// Returns the number of indexed images, if complete.
    fn open(
        &self,
        images: impl FnOnce() -> Result<Images, String>,
        predictor: Option<Predictor>,
    ) -> Result<Option<usize>, String> {
        let images = images()?;
        let images = self.index.images.get_or_init(|| images);
        let Some(predictor) = predictor else { return Ok(None) };
        self.build(images, predictor).map_err(|error| error.to_string())
    }

    fn build(&self, images: &Images, predictor: Predictor) -> inference::Result<Option<usize>> {
        let IndexBuilder { index, model, among: count, workers, busy, stop } = self;
        let row = layer(&predictor, &model.weights.about.model, None)?;
        let length: usize = predictor.layer(row).1.iter().product();
        let source = among(&images.train, Some(*count));
        let indices = scattered(source.len());
        let of = indices.len();
        let source: Arc<dyn Source> = Arc::new(Selection { source, indices });
        index.change(|contents| {
            contents.vectors.reserve_exact(of * length);
            (contents.source, contents.of, contents.state) =
                (Some(source.clone()), of, State::Making);
        });
        let plan = Views::Centre.plan(predictor.batch_shape().images, model.crop());
        let mut loader = Loader::new(source, plan, *workers, 0);
        let whole = predictor.enter(|mut predictor| {
            let mut watch = |done: u64, _: u64| {
                index.change(|contents| contents.done = done as usize);
                wait_for_requests(busy, stop);
            };
            walk(&mut predictor, &mut loader, &[row], stop, &mut watch, &mut |sample, outputs| {
                let Some(&[vector]) = outputs else { return };
                index.change(|contents| {
                    contents.samples.push(sample);
                    contents.vectors.extend_from_slice(vector);
                });
            })
        })?;
        if whole {
            index.change(|contents| contents.state = State::Ready);
        }
        Ok(whole.then_some(of))
    }
}

/// Lets pending requests go first, for at most a second.
fn wait_for_requests(busy: &AtomicUsize, stop: &Stop) {
    let began = Instant::now();
    while busy.load(Ordering::SeqCst) > 0
        && began.elapsed() < Duration::from_secs(1)
        && stop.requested().is_none()
    {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// All indices in an order whose prefixes are spread evenly: in steps of about the golden section
/// of `count`.
fn scattered(count: usize) -> Vec<usize> {
    let common = |mut a: usize, mut b: usize| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let golden = (count as f64 * 0.618_034) as usize;
    let stride = (golden.max(1)..).find(|&stride| common(stride, count.max(1)) == 1);
    let stride = stride.expect("a multiple of count plus one has no common factor with it");
    (0..count).map(|place| place * stride % count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_is_spread_evenly() {
        for count in [0, 1, 2, 3, 10, 1000, 1024] {
            let mut order = scattered(count);
            if count >= 1000 {
                let low = order[..100].iter().filter(|&&place| place < count / 2).count();
                assert!((45..=55).contains(&low), "{low} of the first hundred");
            }
            order.sort_unstable();
            assert!(order.iter().copied().eq(0..count), "{count}");
        }
    }

    #[test]
    fn neighbours_are_found_in_a_partial_index() {
        let index = Index::new(3);
        assert!(index.nearest(&[0.0, 0.0], 2).is_empty());
        assert_eq!(index.status()["state"], "opening");
        index.change(|contents| {
            contents.source = Some(Arc::new(data::Fake::new(9, 4, 3)));
            contents.samples = vec![5, 1, 8];
            contents.vectors = vec![3.0, 4.0, 0.0, 1.0, 9.0, 9.0];
        });
        let found = index.nearest(&[0.0, 0.0], 2);
        let found: Vec<(usize, f32)> =
            found.iter().map(|(_, near)| (near.sample, near.distance)).collect();
        assert_eq!(found, [(1, 1.0), (5, 5.0)]);
        assert!(index.nearest(&[], 2).is_empty());
    }
}
