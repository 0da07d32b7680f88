//! Running means over the last steps.

use evaluate::{Score, Tally};
use serde::{Deserialize, Serialize};

/// Exponentially decaying sums over steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recent {
    tally: Tally,
    seconds: f64,
    wait: f64,
    steps: f64,
}

impl Recent {
    const KEEP: f64 = 0.95;

    pub(crate) fn add(&mut self, step: Tally, seconds: f64, wait: f64) {
        let fade = |sum: &mut f64, term: f64| *sum = *sum * Self::KEEP + term;
        fade(&mut self.tally.loss, step.loss);
        fade(&mut self.tally.top1_errors, step.top1_errors);
        fade(&mut self.tally.images, step.images);
        fade(&mut self.seconds, seconds);
        fade(&mut self.wait, wait);
        fade(&mut self.steps, 1.0);
    }

    pub(crate) fn score(&self) -> Score {
        self.tally.score()
    }

    pub(crate) fn images_per_s(&self) -> f64 {
        self.tally.images / self.seconds.max(1e-9)
    }

    pub(crate) fn data_wait(&self) -> f64 {
        self.wait / self.seconds.max(1e-9)
    }

    pub(crate) fn seconds_a_step(&self) -> f64 {
        self.seconds / self.steps.max(1e-9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recent_follows_a_change() {
        let mut recent = Recent::default();
        let step =
            |loss: f64| Tally { loss: 8.0 * loss, top1_errors: 4.0, top5_errors: 0.0, images: 8.0 };
        (0..100).for_each(|_| recent.add(step(2.0), 0.5, 0.1));
        assert!((recent.score().loss - 2.0).abs() < 1e-9);
        assert!((recent.images_per_s() - 16.0).abs() < 1e-9);
        assert!((recent.data_wait() - 0.2).abs() < 1e-9);
        assert!((recent.seconds_a_step() - 0.5).abs() < 1e-9);
        (0..100).for_each(|_| recent.add(step(1.0), 0.5, 0.1));
        assert!((recent.score().loss - 1.0).abs() < 0.01);
    }
}
