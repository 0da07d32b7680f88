//! Inspects the network of an experiment: saturated units, linear probes, sampled dropout masks.

use crate::cli::MachineArgs;
use crate::fault::Result;
use crate::images::Images;
use crate::trained::{Trained, placement};
use data::{Loader, Source, Subset};
use evaluate::{Evaluate, Observer, Stop};
use experiments::{Finding, Inspection};
use inference::Views;
use inference::features::{layer, walk};
use inference::probe::{self, Labelled};
use layers::{Row, Spec};
use std::sync::Arc;

/// Images at a time.
const BATCH: usize = 50;
/// Test images whose responses are looked at for saturation.
const RESPONSES: usize = 500;
/// The seed of dropout masks.
const MASKS: u64 = 1;

/// A trained network and its images.
pub struct Inspector<'a> {
    pub trained: &'a Trained,
    pub images: &'a Images,
    pub machine: &'a MachineArgs,
    pub stop: &'a Stop,
}

/// `None` if a stop was requested before the end.
type Findings = Result<Option<Vec<Finding>>>;

impl Inspector<'_> {
    /// What is asked for.
    ///
    /// # Errors
    /// Exit codes 1, 2, 3, 4 and 6.
    pub fn inspect(&self, inspection: Inspection, observer: &mut dyn Observer) -> Findings {
        match inspection {
            Inspection::Gradients => self.saturation(observer),
            Inspection::Probes { train, test, width } => {
                self.probes((train, test), width, observer)
            }
            Inspection::DropoutAverage { images, masks } => {
                self.dropout_average(images, masks, observer)
            }
        }
    }

    /// The share of saturated units of each layer with weights, in the non-linearity above it.
    fn saturation(&self, observer: &mut dyn Observer) -> Findings {
        let units = units(&self.trained.weights.about.model)?;
        let names: Vec<&str> = units.iter().map(|unit| unit.output.as_str()).collect();
        let mut counts = vec![(0u64, 0u64); units.len()];
        let done = self.outputs(
            (&self.images.test, RESPONSES, "responses"),
            &names,
            observer,
            &mut |_, outputs| {
                for ((unit, values), count) in units.iter().zip(outputs).zip(&mut counts) {
                    let saturated = values.iter().filter(|value| unit.is_saturated(**value));
                    *count = (count.0 + saturated.count() as u64, count.1 + values.len() as u64);
                }
            },
        )?;
        let found = units.iter().zip(&counts).map(|(unit, &(saturated, all))| Finding {
            name: unit.layer.clone(),
            values: vec![saturated as f64 / all.max(1) as f64],
        });
        Ok(done.then(|| found.collect()))
    }

    /// The error of a linear classifier on each layer's output.
    fn probes(
        &self,
        (train, test): (usize, usize),
        width: usize,
        observer: &mut dyn Observer,
    ) -> Findings {
        let spec = &self.trained.weights.about.model;
        let names = probed(spec)?;
        let shapes: Vec<Vec<usize>> = {
            let rows = spec.describe()?;
            let shape = |name: &String| rows.iter().find(|row| row.name == *name);
            let dims = |name| shape(name).map_or_else(Vec::new, |row| row.output.dims().to_vec());
            names.iter().map(dims).collect()
        };
        let mut sets = Vec::new();
        for (source, count, what) in
            [(&self.images.train, train, "features"), (&self.images.test, test, "test features")]
        {
            let mut set = vec![Labelled::default(); names.len()];
            let layers: Vec<&str> = names.iter().map(String::as_str).collect();
            let few = Subset::spread(source.clone(), count);
            let mut add = |sample: usize, outputs: &[&[f32]]| {
                for ((layer, values), shape) in set.iter_mut().zip(outputs).zip(&shapes) {
                    let features = probe::pooled(values, shape, width);
                    layer.width = features.len();
                    layer.values.extend(features);
                    layer.labels.push(few.label(sample));
                }
            };
            if !self.outputs((source, count, what), &layers, observer, &mut add)? {
                return Ok(None);
            }
            sets.push(set);
        }
        let classes = self.trained.classes().len();
        let mut found = Vec::new();
        for (at, name) in names.into_iter().enumerate() {
            if self.stop.requested().is_some() {
                return Ok(None);
            }
            let error = probe::error_of(&sets[0][at], &sets[1][at], classes);
            found.push(Finding { name, values: vec![error] });
        }
        Ok(Some(found))
    }

    /// Calls `each` with the outputs of layers for `count` images of a source; false if a stop was
    /// requested before the end.
    fn outputs(
        &self,
        (source, count, what): (&Arc<dyn Source>, usize, &str),
        layers: &[&str],
        observer: &mut dyn Observer,
        each: &mut (dyn FnMut(usize, &[&[f32]]) + Send),
    ) -> Result<bool> {
        let mut predictor = self.trained.predictor(BATCH, layers, self.machine, &mut |_| ())?;
        let spec = &self.trained.weights.about.model;
        let rows = layers.iter().map(|name| layer(&predictor, spec, Some(name)));
        let rows = rows.collect::<inference::Result<Vec<usize>>>()?;
        let few = Arc::new(Subset::spread(source.clone(), count));
        let plan = Views::Centre.plan(BATCH, self.trained.crop());
        let mut loader = Loader::new(few, plan, self.machine.workers.unwrap_or(0), 0);
        let mut watch = |done, of| observer.progress(what, done, of);
        let mut some = |sample: usize, outputs: Option<&[&[f32]]>| {
            if let Some(outputs) = outputs {
                each(sample, outputs);
            }
        };
        Ok(walk(&mut predictor, &mut loader, &rows, self.stop, &mut watch, &mut some)?)
    }

    /// The mean probabilities of 1, 10, 100, ... masks beside the halved network's.
    fn dropout_average(&self, images: usize, masks: u32, observer: &mut dyn Observer) -> Findings {
        let below = self.trained.below_dropout()?;
        let mut say = |text: &str| observer.note(text);
        let mut predictor = self.trained.predictor_for_layers(
            BATCH,
            placement(self.machine)?,
            &[&below],
            &mut say,
        )?;
        let few = Arc::new(Subset::spread(self.images.test.clone(), images));
        let (total, classes) = (few.len() as u64, self.trained.classes().len());
        let plan = Views::Centre.plan(BATCH, self.trained.crop());
        let mut loader = Loader::new(few, plan, self.machine.workers.unwrap_or(0), 0);
        let counts: Vec<u32> =
            (0..).map(|power| 10u32.pow(power)).take_while(|&n| n <= masks).collect();
        let mut sums = vec![Sums::default(); counts.len() + 1];
        let mut done = 0;
        loader.start_at(0, 0);
        while let Some(mut batch) = loader.next_batch()? {
            if self.stop.requested().is_some() {
                return Ok(None);
            }
            let mut halved = vec![0.0f32; BATCH * classes];
            predictor.test(&mut batch)?;
            predictor.probabilities(&mut halved)?;
            let labels = batch.labels[..batch.images].to_vec();
            let mut means = Means::new(halved.len(), classes);
            let mut add = |mask: u32, probabilities: &[f32]| {
                means.add(probabilities);
                if let Some(at) = counts.iter().position(|&count| count == mask + 1) {
                    sums[at + 1].add(&labels, &halved, &means);
                }
            };
            predictor.sample_dropout(&batch, (MASKS, 0..masks), &below, &mut add)?;
            sums[0].add(&labels, &halved, &Means::of(&halved, classes));
            done += batch.images as u64;
            observer.progress("masks", done, total);
        }
        let names = std::iter::once(0).chain(counts).map(|count| count.to_string());
        let found = names.zip(&sums).map(|(name, sums)| Finding { name, values: sums.values() });
        Ok(Some(found.collect()))
    }
}

/// The means of several predictions for a batch.
struct Means {
    classes: usize,
    count: f64,
    sums: Vec<f64>,
    logs: Vec<f64>,
}

impl Means {
    fn new(len: usize, classes: usize) -> Means {
        Means { classes, count: 0.0, sums: vec![0.0; len], logs: vec![0.0; len] }
    }

    fn of(probabilities: &[f32], classes: usize) -> Means {
        let mut means = Means::new(probabilities.len(), classes);
        means.add(probabilities);
        means
    }

    fn add(&mut self, probabilities: &[f32]) {
        self.count += 1.0;
        for ((sum, log), &p) in self.sums.iter_mut().zip(&mut self.logs).zip(probabilities) {
            *sum += f64::from(p);
            *log += f64::from(p).max(f64::MIN_POSITIVE).ln();
        }
    }

    /// The arithmetic mean for an image.
    fn arithmetic(&self, image: usize) -> Vec<f64> {
        let row = &self.sums[image * self.classes..][..self.classes];
        row.iter().map(|sum| sum / self.count).collect()
    }

    /// The geometric mean for an image, normalised to a sum of one.
    fn geometric(&self, image: usize) -> Vec<f64> {
        let row = &self.logs[image * self.classes..][..self.classes];
        let powers: Vec<f64> = row.iter().map(|log| (log / self.count).exp()).collect();
        let sum: f64 = powers.iter().sum();
        powers.into_iter().map(|power| power / sum.max(f64::MIN_POSITIVE)).collect()
    }
}

/// Sums over images: in the order of the inspection's columns.
#[derive(Clone, Debug, Default)]
struct Sums {
    images: f64,
    wrong: f64,
    distance: f64,
    geometric: f64,
    same: f64,
}

impl Sums {
    fn add(&mut self, labels: &[u32], halved: &[f32], means: &Means) {
        for (image, &label) in labels.iter().enumerate() {
            let halved = &halved[image * means.classes..][..means.classes];
            let halved: Vec<f64> = halved.iter().map(|&p| f64::from(p)).collect();
            let mean = means.arithmetic(image);
            self.images += 1.0;
            self.wrong += f64::from(u8::from(best(&mean) != label as usize));
            self.same += f64::from(u8::from(best(&mean) == best(&halved)));
            self.distance += distance(&halved, &mean);
            self.geometric += distance(&halved, &means.geometric(image));
        }
    }

    fn values(&self) -> Vec<f64> {
        let sums = [self.wrong, self.distance, self.geometric, self.same];
        sums.map(|sum| sum / self.images.max(1.0)).to_vec()
    }
}

/// Total variation.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f64>() / 2.0
}

fn best(row: &[f64]) -> usize {
    (1..row.len()).fold(0, |best, at| if row[at] > row[best] { at } else { best })
}

/// The non-linearity above a layer with weights.
struct Unit {
    layer: String,
    /// The name of its own output.
    output: String,
    row: Row,
}

impl Unit {
    /// Whether the derivative is below a tenth of its largest; of a ReLU, zero.
    fn is_saturated(&self, output: f32) -> bool {
        match &self.row {
            Row::Tanh(tanh) => 1.0 - (output / tanh.outer).powi(2) < 0.1,
            Row::Logistic(_) => 4.0 * output * (1.0 - output) < 0.1,
            _ => output <= 0.0,
        }
    }
}

/// The first non-linearity above each layer with weights.
fn units(spec: &Spec) -> Result<Vec<Unit>> {
    let (mut units, mut last) = (Vec::new(), None);
    for (row, info) in spec.rows.iter().zip(spec.describe()?) {
        match row {
            Row::Conv(_) | Row::Local(_) | Row::Linear(_) => last = Some(info.name),
            Row::Relu(_) | Row::Tanh(_) | Row::Logistic(_) => {
                let (output, row) = (info.name, row.clone());
                units.extend(last.take().map(|layer| Unit { layer, output, row }));
            }
            _ => {}
        }
    }
    Ok(units)
}

/// The layers that are probed: non-linearities and pooling, and the last.
fn probed(spec: &Spec) -> Result<Vec<String>> {
    let last = spec.rows.len().saturating_sub(1);
    let names = spec.rows.iter().zip(spec.describe()?).enumerate();
    let names = names.filter_map(|(at, (row, info))| {
        let is_probed =
            matches!(row, Row::Relu(_) | Row::Tanh(_) | Row::Logistic(_) | Row::Pool(_));
        (is_probed || at == last).then_some(info.name)
    });
    Ok(names.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_distances() {
        let mut means = Means::of(&[0.5, 0.5, 1.0, 0.0], 2);
        means.add(&[0.9, 0.1, 1.0, 0.0]);
        let near = |a: &[f64], b: [f64; 2]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(near(&means.arithmetic(0), [0.7, 0.3]));
        // The roots of 0.45 and 0.05 are as 3 and 1.
        assert!(near(&means.geometric(0), [0.75, 0.25]));
        let mut sums = Sums::default();
        sums.add(&[1, 0], &[0.5, 0.5, 1.0, 0.0], &means);
        let values = sums.values();
        assert!((values[0] - 0.5).abs() < 1e-6 && (values[1] - 0.1).abs() < 1e-6, "{values:?}");
        assert!((values[2] - 0.125).abs() < 1e-6 && values[3] == 1.0, "{values:?}");
    }

    #[test]
    fn saturated_units_are_found_above_their_layers() {
        let spec = Spec::image("net", 8, 8, 3).conv("conv1", 4, layers::window(3));
        let spec = spec.pool(layers::window(2).stride(2)).tanh().linear("fc2", 4).logistic();
        let spec = spec.linear("fc3", 2);
        let units = units(&spec).unwrap();
        assert_eq!(
            units.iter().map(|unit| unit.layer.as_str()).collect::<Vec<_>>(),
            ["conv1", "fc2"]
        );
        assert!(units[0].is_saturated(-0.97) && !units[0].is_saturated(0.9));
        assert!(units[1].is_saturated(0.99) && !units[1].is_saturated(0.5));
        assert_eq!(probed(&spec).unwrap().len(), 4);
    }
}
