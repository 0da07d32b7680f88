//! Similar images by the distance of their features (section 6.1 of the paper, figure 4).

use crate::Result;
use crate::features::walk;
use crate::model::Views;
use crate::predictor::Predictor;
use data::{Loader, Source, Subset};
use evaluate::{Evaluate, Observer, Stop};
use std::sync::Arc;

/// An image and its distance from another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Near {
    /// Its index in the source.
    pub sample: usize,
    /// Euclidean distance.
    pub distance: f32,
}

/// Euclidean distance, summed in f64 as fc7 has thousands of terms.
pub fn distance(a: &[f32], b: &[f32]) -> f32 {
    let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
    a.iter().zip(b).map(square).sum::<f64>().sqrt() as f32
}

/// Inserts an image into the `count` nearest, sorted by distance; of equals the earlier first.
pub fn insert(nearest: &mut Vec<Near>, new: Near, count: usize) {
    let at = nearest.partition_point(|old| old.distance <= new.distance);
    if at < count {
        nearest.insert(at, new);
        nearest.truncate(count);
    }
}

/// `count` images of a set, evenly spaced; all if it has fewer or `count` is `None`. At least one.
pub fn among(set: &Arc<dyn Source>, count: Option<usize>) -> Arc<dyn Source> {
    match count {
        Some(count) if count < set.len() => Arc::new(Subset::spread(set.clone(), count.max(1))),
        _ => set.clone(),
    }
}

/// The name of an image's class.
///
/// # Panics
/// If there is no such image.
pub fn class_of(source: &dyn Source, sample: usize) -> &str {
    &source.classes()[source.label(sample) as usize]
}

/// A search among the images of a data set.
#[derive(Debug)]
pub struct Search {
    /// The network.
    pub predictor: Predictor,
    /// The planned row in which distances are measured.
    pub row: usize,
    /// Height and width of the network's input.
    pub crop: (usize, usize),
    /// Threads that read images; 0 means one per core.
    pub workers: usize,
}

impl Search {
    /// For each image of `queries`, finds the `count` nearest images of `among`, the nearest first,
    /// by comparing all of them. `None` if a stop was requested before the end.
    ///
    /// # Errors
    /// If images cannot be read or the device fails.
    pub fn run(
        self,
        queries: Selection,
        among: &Arc<dyn Source>,
        count: usize,
        stop: &Stop,
        observer: &mut dyn Observer,
    ) -> Result<Option<Vec<Vec<Near>>>> {
        let images = self.predictor.batch_shape().images;
        let plan = Views::Centre.plan(images, self.crop);
        let mut first = Loader::new(Arc::new(queries), plan, self.workers, 0);
        let mut second = Loader::new(among.clone(), plan, self.workers, 0);
        let row = self.row;
        self.predictor.enter(|mut predictor| {
            let mut points: Vec<Vec<f32>> = Vec::new();
            let mut keep = |_: usize, outputs: Option<&[&[f32]]>| {
                points.push(outputs.map(<[&[f32]]>::concat).unwrap_or_default());
            };
            let rows = &[row];
            let mut done = walk(&mut predictor, &mut first, rows, stop, &mut |_, _| (), &mut keep)?;
            let mut found = vec![Vec::new(); points.len()];
            let mut watch = |done, of| observer.progress("search", done, of);
            let mut compare = |sample: usize, outputs: Option<&[&[f32]]>| {
                let Some(&[vector]) = outputs else { return };
                for (point, nearest) in points.iter().zip(&mut found) {
                    let distance = distance(point, vector);
                    insert(nearest, Near { sample, distance }, count);
                }
            };
            done = done && walk(&mut predictor, &mut second, rows, stop, &mut watch, &mut compare)?;
            Ok(done.then_some(found))
        })
    }
}

/// Some images of a source, in any order.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The source.
    pub source: Arc<dyn Source>,
    /// The images' indices in it.
    pub indices: Vec<usize>,
}

impl Source for Selection {
    fn classes(&self) -> &[String] {
        self.source.classes()
    }

    fn size(&self) -> (usize, usize) {
        self.source.size()
    }

    fn len(&self) -> usize {
        self.indices.len()
    }

    fn label(&self, index: usize) -> u32 {
        self.source.label(self.indices[index])
    }

    fn name(&self, index: usize) -> String {
        self.source.name(self.indices[index])
    }

    fn read<'a>(
        &'a self,
        index: usize,
        buffer: &'a mut data::ReadBuffer,
    ) -> data::Result<&'a [u8]> {
        self.source.read(self.indices[index], buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subset_is_evenly_spaced_and_keeps_its_classes() {
        let set: Arc<dyn Source> = Arc::new(data::Fake::new(12, 4, 3));
        for (count, len) in [(None, 12), (Some(12), 12), (Some(99), 12), (Some(4), 4), (Some(0), 1)]
        {
            assert_eq!(among(&set, count).len(), len, "{count:?}");
        }
        let some = among(&set, Some(4));
        let place = |at: usize| (0..12).find(|&place| set.name(place) == some.name(at)).unwrap();
        let places: Vec<usize> = (0..4).map(place).collect();
        assert!(places.windows(2).all(|two| two[0] + 1 < two[1]), "{places:?}");
        for at in 0..4 {
            assert_eq!(class_of(&*some, at), class_of(&*set, place(at)));
        }
    }

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
