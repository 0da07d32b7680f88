//! The learning-rate range test: a short training run with a rising rate.
//!
//! "Run your model for several epochs while letting the learning rate increase [..] Next, plot the
//! accuracy versus learning rate" (L. N. Smith, Cyclical Learning Rates for Training Neural
//! Networks, 2015, section 3.3). As in fastai and PyTorch Lightning the rate rises exponentially,
//! once a step, and the training loss is plotted.

use super::batch_memory::BatchMemory;
use super::job::Job;
use crate::executor::{Executor, StepRequest};
use crate::schedule::Setting;
use crate::{Error, Result};
use evaluate::Stop;
use evaluate::next_batch;
use evaluate::observe::{Observer, StepReport};
use std::time::Instant;

/// A range test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RangeTest {
    /// The rate of the first step.
    pub min: f64,
    /// The rate of the last step.
    pub max: f64,
    /// The number of steps, one batch each.
    pub steps: usize,
    /// The weight of earlier losses in the running mean, 0 to below 1.
    pub smoothing: f64,
    /// The test ends once the smoothed loss is this many times the lowest so far.
    pub divergence: f64,
}

impl Default for RangeTest {
    fn default() -> RangeTest {
        RangeTest { min: 1e-7, max: 1.0, steps: 100, smoothing: 0.9, divergence: 4.0 }
    }
}

/// A step of a range test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RangePoint {
    /// The recipe's learning rate in this step.
    pub rate: f64,
    /// The mean loss of its batch, before the update.
    pub loss: f64,
    /// The running mean of the losses up to this one.
    pub smoothed: f64,
}

/// Why a range test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeEnd {
    /// All steps are done.
    Finished,
    /// The loss has diverged: it is several times its lowest value, or not finite.
    Diverged,
    /// A signal or the observer requested it.
    Stopped,
}

/// The result of a range test.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeCurve {
    /// The steps.
    pub points: Vec<RangePoint>,
    /// Why it ended.
    pub end: RangeEnd,
}

/// Fewer steps show no curve.
const LEAST_STEPS: usize = 10;
const MOST_STEPS: usize = 1_000_000;

impl RangeTest {
    /// Whether its numbers make sense.
    ///
    /// # Errors
    /// [`Error::Recipe`] with the first that does not.
    pub fn check(&self) -> Result<()> {
        let &RangeTest { min, max, steps, smoothing, divergence } = self;
        let problem = if !(min > 0.0 && min.is_finite()) {
            format!("the lowest learning rate is {min}; it must be above 0")
        } else if !(max > min && max <= 1e30) {
            format!("the highest learning rate is {max}; it must be above the lowest, {min}")
        } else if !(LEAST_STEPS..=MOST_STEPS).contains(&steps) {
            format!(
                "the number of steps is {steps}; it must be at least {LEAST_STEPS} and at most {MOST_STEPS}"
            )
        } else if !(0.0..1.0).contains(&smoothing) {
            format!("the smoothing is {smoothing}; it must be at least 0 and below 1")
        } else if divergence.is_nan() || divergence <= 1.0 {
            format!("the divergence is {divergence}; it must be above 1")
        } else {
            return Ok(());
        };
        Err(Error::Recipe(problem))
    }

    /// The rate of a step, counted from 0: `min * (max / min)^(step / (steps - 1))`.
    pub fn rate(&self, step: usize) -> f64 {
        self.min * (self.max / self.min).powf(step as f64 / (self.steps - 1) as f64)
    }

    /// Runs the test on a job's training images. The job's schedule and number of epochs have no
    /// effect; nothing is validated or written. `executor` has the initial parameters
    /// ([`Job::start`]) and is dropped at the end.
    ///
    /// # Errors
    /// As of [`check`](Self::check); errors of images and devices. A loss or a norm of
    /// gradients that is not finite is no error but ends the test.
    pub fn run(
        &self,
        job: &Job,
        executor: Box<dyn Executor>,
        observer: &mut dyn Observer,
        stop: &Stop,
    ) -> Result<RangeCurve> {
        self.check()?;
        let mut curve = None;
        executor.enter(Box::new(|mut executor| {
            curve = Some(self.steps(job, &mut *executor, observer, stop));
        }));
        curve.expect("`enter` has run it")
    }

    fn steps(
        &self,
        job: &Job,
        executor: &mut dyn Executor,
        observer: &mut dyn Observer,
        stop: &Stop,
    ) -> Result<RangeCurve> {
        let (part, mean) = (executor.batch_shape().part, job.mean_of(None));
        let mut images = job.training_loader(part, &mean, &mut BatchMemory::of(executor));
        images.set_color(job.color_shift(true));
        let mut recipe = job.recipe.clone();
        let mut points: Vec<RangePoint> = Vec::with_capacity(self.steps);
        let (began, mut waited, mut mean, mut lowest) = (Instant::now(), 0.0, 0.0, f64::INFINITY);
        let ended = |points, end| Ok(RangeCurve { points, end });
        for step in 0..self.steps {
            let asked = Instant::now();
            let Some(mut batch) = next_batch(&mut images, observer, stop)? else {
                return ended(points, RangeEnd::Stopped);
            };
            waited += asked.elapsed().as_secs_f64();
            recipe.rate = self.rate(step);
            executor.set_rates(&recipe, &Setting::everywhere(1.0))?;
            let done = executor.train(&mut batch, StepRequest::plain(step as u64 + 1));
            let score = match done {
                Ok(done) => done.tally.score(),
                Err(Error::Diverged { .. } | Error::NotFinite { .. }) => {
                    return ended(points, RangeEnd::Diverged);
                }
                Err(error) => return Err(error),
            };
            mean = self.smoothing * mean + (1.0 - self.smoothing) * score.loss;
            let smoothed = mean / (1.0 - self.smoothing.powi(step as i32 + 1));
            points.push(RangePoint { rate: recipe.rate, loss: score.loss, smoothed });
            if smoothed > self.divergence * lowest {
                return ended(points, RangeEnd::Diverged);
            }
            lowest = lowest.min(smoothed);
            let (seconds, count) = (began.elapsed().as_secs_f64().max(1e-9), step + 1);
            let report = StepReport {
                step: count as u64,
                steps: self.steps as u64,
                epoch: 1,
                epochs: 1,
                loss: smoothed,
                top1_error: score.top1_error,
                rate: recipe.rate,
                images_per_s: (count * recipe.batch) as f64 / seconds,
                data_wait: waited / seconds,
                eta_s: seconds / count as f64 * (self.steps - count) as f64,
            };
            if observer.step(&report).is_break() || stop.requested().is_some() {
                return ended(points, RangeEnd::Stopped);
            }
        }
        ended(points, RangeEnd::Finished)
    }
}

impl RangeCurve {
    /// The points that suggestions are made from: without the first tenth, where the running mean
    /// has few terms.
    fn settled(&self) -> &[RangePoint] {
        &self.points[self.points.len() / 10..]
    }

    /// The rate at which the smoothed loss falls fastest: where its slope over the logarithm of the
    /// rate, `(s[i+1] - s[i-1]) / (ln r[i+1] - ln r[i-1])`, is lowest, as suggested by PyTorch
    /// Lightning; only up to the lowest loss, as losses beyond it jump. `None` if the loss never
    /// falls.
    pub fn steepest(&self) -> Option<f64> {
        let end = self.minimum()?.rate;
        let slopes = self.settled().windows(3).filter(|three| three[1].rate <= end).map(|three| {
            let [before, at, after] = three else { unreachable!("windows of three") };
            let slope = (after.smoothed - before.smoothed) / (after.rate.ln() - before.rate.ln());
            (at.rate, slope)
        });
        let lowest = slopes.min_by(|a, b| a.1.total_cmp(&b.1));
        lowest.filter(|(_, slope)| *slope < 0.0).map(|(rate, _)| rate)
    }

    /// The point with the lowest smoothed loss.
    pub fn minimum(&self) -> Option<&RangePoint> {
        self.settled().iter().min_by(|a, b| a.smoothed.total_cmp(&b.smoothed))
    }

    /// A tenth of the rate with the lowest smoothed loss, as suggested by fastai.
    pub fn tenth_of_minimum(&self) -> Option<f64> {
        self.minimum().map(|point| point.rate / 10.0)
    }

    /// Whether the loss was still falling at the highest rate.
    pub fn falls_to_the_end(&self) -> bool {
        let is_last = |lowest: &RangePoint| self.points.last() == Some(lowest);
        self.end == RangeEnd::Finished && self.minimum().is_some_and(is_last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A curve with given smoothed losses over rates 1, 10, 100, ...
    fn curve(smoothed: &[f64]) -> RangeCurve {
        let points = smoothed.iter().enumerate().map(|(idx, &smoothed)| RangePoint {
            rate: 10f64.powi(idx as i32),
            loss: smoothed,
            smoothed,
        });
        RangeCurve { points: points.collect(), end: RangeEnd::Finished }
    }

    #[test]
    fn suggestions_are_the_steepest_descent_and_a_tenth_of_the_minimum() {
        let losses = [2.3, 2.3, 2.2, 2.0, 1.5, 1.2, 1.1, 1.3, 2.0, 4.0];
        let found = curve(&losses);
        // Central differences: -0.35 at index 3, -0.4 at 4, -0.2 at 5.
        assert_eq!(found.steepest(), Some(1e4));
        assert_eq!(found.tenth_of_minimum(), Some(1e5));
        assert!(!found.falls_to_the_end());
        assert!(curve(&[3.0, 2.0, 1.0]).falls_to_the_end());
        let rising = curve(&[1.0, 1.1, 1.2, 1.3, 1.4]);
        assert_eq!((rising.steepest(), rising.tenth_of_minimum()), (None, Some(0.1)));
        let nothing = curve(&[]);
        assert_eq!((nothing.steepest(), nothing.tenth_of_minimum()), (None, None));
    }

    #[test]
    fn rates_rise_by_the_same_factor_and_wrong_numbers_are_named() {
        let test = RangeTest { min: 1e-4, max: 1e2, steps: 13, ..RangeTest::default() };
        test.check().unwrap();
        assert_eq!(test.rate(0), 1e-4);
        assert!((test.rate(12) / 1e2 - 1.0).abs() < 1e-12);
        assert!((test.rate(6) / 1e-1 - 1.0).abs() < 1e-12);
        type Change = fn(&mut RangeTest);
        let wrong: [(Change, &str); 7] = [
            (|test| test.min = 0.0, "the lowest learning rate is 0; it must be above 0"),
            (|test| test.min = f64::NAN, "the lowest learning rate is NaN"),
            (|test| test.max = 1e-5, "the highest learning rate is 0.00001; it must be above"),
            (|test| test.max = f64::INFINITY, "the highest learning rate is inf"),
            (|test| test.steps = 3, "the number of steps is 3; it must be at least 10"),
            (|test| test.smoothing = 1.0, "the smoothing is 1; it must be"),
            (|test| test.divergence = f64::NAN, "the divergence is NaN; it must be above 1"),
        ];
        for (change, expected) in wrong {
            let mut test = test;
            change(&mut test);
            let said = test.check().unwrap_err().to_string();
            assert!(said.starts_with(expected), "{said}");
        }
    }
}
