//! The training images' vectors, made in the background; they can be searched before all are there.

use data::{Loader, Source};
use evaluate::{Evaluate, Stop};
use inference::features::{layer, walk};
use inference::neighbours::{Near, Selection, among, distance, insert};
use inference::{Model, Predictor, Views};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

/// The images that a network learned from, and those that it was tested on.
pub struct Images {
    /// What it learned from: neighbours are looked for here.
    pub train: Arc<dyn Source>,
    /// What it was tested on: the page shows them.
    pub test: Arc<dyn Source>,
}

/// Vectors of training images, and how far they are.
pub struct Index {
    images: OnceLock<Images>,
    shelf: RwLock<Shelf>,
}

#[derive(Default)]
struct Shelf {
    state: State,
    source: Option<Arc<dyn Source>>,
    /// Images looked at, of those that will be.
    done: usize,
    of: usize,
    /// Those of them that could be read, and their vectors, one after another.
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
    /// Images are being looked at.
    Making,
    /// All is there.
    Ready,
    /// It cannot be had, and why.
    Failed(String),
}

impl Index {
    /// For so many images; none yet.
    pub fn new(among: usize) -> Index {
        let state = if among == 0 { State::Off } else { State::Opening };
        Index { images: OnceLock::new(), shelf: RwLock::new(Shelf { state, ..Shelf::default() }) }
    }

    fn shelf(&self) -> RwLockReadGuard<'_, Shelf> {
        self.shelf.read().expect("nothing fails while it writes")
    }

    fn change(&self, how: impl FnOnce(&mut Shelf)) {
        how(&mut self.shelf.write().expect("nothing fails while it writes"));
    }

    /// The run's images, once they are open.
    pub fn images(&self) -> Option<&Images> {
        self.images.get()
    }

    /// Why there are no images or no vectors, if that is certain.
    pub fn failure(&self) -> Option<String> {
        match &self.shelf().state {
            State::Failed(why) => Some(why.clone()),
            _ => None,
        }
    }

    /// How far it is, for programs.
    pub fn standing(&self) -> Value {
        let shelf = self.shelf();
        let state = match &shelf.state {
            State::Off => "off",
            State::Opening => "opening",
            State::Making => "making",
            State::Ready => "ready",
            State::Failed(_) => "failed",
        };
        let mut standing = json!({ "state": state, "done": shelf.done, "of": shelf.of });
        if let State::Failed(why) = &shelf.state {
            standing["why"] = why.clone().into();
        }
        standing
    }

    /// The nearest of the images looked at so far, the nearest first, each with its source.
    pub fn nearest(&self, point: &[f32], count: usize) -> Vec<(Arc<dyn Source>, Near)> {
        let shelf = self.shelf();
        let Some(source) = shelf.source.as_ref().filter(|_| !point.is_empty()) else {
            return Vec::new();
        };
        let mut nearest = Vec::new();
        for (&sample, vector) in shelf.samples.iter().zip(shelf.vectors.chunks_exact(point.len())) {
            insert(&mut nearest, Near { sample, distance: distance(point, vector) }, count);
        }
        nearest.into_iter().map(|near| (Arc::clone(source), near)).collect()
    }
}

/// What the thread needs that makes an index.
pub struct Making {
    pub index: Arc<Index>,
    pub model: Arc<Model>,
    /// So many images at most; 0: only the images are opened.
    pub among: usize,
    /// Threads that read them; 0: one for each core.
    pub workers: usize,
    /// How many requests are at hand: they go first.
    pub busy: Arc<AtomicUsize>,
    pub stop: Stop,
}

impl Making {
    /// Opens the images in a thread, and with `predictor` looks at those that will be compared.
    /// `note` gets a line when it ends.
    pub fn start(
        self,
        predictor: Option<Predictor>,
        images: impl FnOnce() -> Result<Images, String> + Send + 'static,
        mut note: impl FnMut(&str) + Send + 'static,
    ) {
        std::thread::spawn(move || match self.open(images, predictor) {
            Ok(None) => {}
            Ok(Some(of)) => note(&format!("neighbours are found among {of} training images")),
            Err(why) => {
                let what = if self.among == 0 { "no images of its run" } else { "no neighbours" };
                note(&format!("{what}: {why}"));
                self.index.change(|shelf| shelf.state = State::Failed(why));
            }
        });
    }

    /// How many images were looked at, if all were.
    fn open(
        &self,
        images: impl FnOnce() -> Result<Images, String>,
        predictor: Option<Predictor>,
    ) -> Result<Option<usize>, String> {
        let images = images()?;
        let images = self.index.images.get_or_init(|| images);
        let Some(predictor) = predictor else { return Ok(None) };
        self.look(images, predictor).map_err(|error| error.to_string())
    }

    fn look(&self, images: &Images, predictor: Predictor) -> inference::Result<Option<usize>> {
        let Making { index, model, among: count, workers, busy, stop } = self;
        let row = layer(&predictor, &model.weights.about.model, None)?;
        let length: usize = predictor.layer(row).1.iter().product();
        let source = among(&images.train, Some(*count));
        let indices = scattered(source.len());
        let of = indices.len();
        let source: Arc<dyn Source> = Arc::new(Selection { source, indices });
        index.change(|shelf| {
            shelf.vectors.reserve_exact(of * length);
            (shelf.source, shelf.of, shelf.state) = (Some(source.clone()), of, State::Making);
        });
        let plan = Views::Centre.plan(predictor.batch_shape().images, model.crop());
        let mut loader = Loader::new(source, plan, *workers, 0);
        let whole = predictor.enter(|mut predictor| {
            let mut watch = |done: u64, _: u64| {
                index.change(|shelf| shelf.done = done as usize);
                give_way(busy, stop);
            };
            walk(&mut predictor, &mut loader, row, stop, &mut watch, &mut |sample, vector| {
                let Some(vector) = vector else { return };
                index.change(|shelf| {
                    shelf.samples.push(sample);
                    shelf.vectors.extend_from_slice(vector);
                });
            })
        })?;
        if whole {
            index.change(|shelf| shelf.state = State::Ready);
        }
        Ok(whole.then_some(of))
    }
}

/// Lets requests go first, but not for ever.
fn give_way(busy: &AtomicUsize, stop: &Stop) {
    let began = Instant::now();
    while busy.load(Ordering::SeqCst) > 0
        && began.elapsed() < Duration::from_secs(1)
        && stop.requested().is_none()
    {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// All places in an order in which any beginning is spread over all: steps of about the golden
/// section of their number.
fn scattered(count: usize) -> Vec<usize> {
    let common = |mut a: usize, mut b: usize| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let golden = (count as f64 * 0.618_034) as usize;
    let stride = (golden.max(1)..).find(|&stride| common(stride, count.max(1)) == 1);
    let stride = stride.expect("one more than a multiple has nothing in common with it");
    (0..count).map(|place| place * stride % count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_beginning_is_spread_over_all() {
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
    fn the_nearest_so_far_are_found() {
        let index = Index::new(3);
        assert!(index.nearest(&[0.0, 0.0], 2).is_empty());
        assert_eq!(index.standing()["state"], "opening");
        index.change(|shelf| {
            shelf.source = Some(Arc::new(data::Fake::new(9, 4, 3)));
            shelf.samples = vec![5, 1, 8];
            shelf.vectors = vec![3.0, 4.0, 0.0, 1.0, 9.0, 9.0];
        });
        let found = index.nearest(&[0.0, 0.0], 2);
        let found: Vec<(usize, f32)> =
            found.iter().map(|(_, near)| (near.sample, near.distance)).collect();
        assert_eq!(found, [(1, 1.0), (5, 5.0)]);
        assert!(index.nearest(&[], 2).is_empty());
    }
}
