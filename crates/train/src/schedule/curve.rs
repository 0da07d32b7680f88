//! Learning rates that follow a curve from the first step to the last, as PyTorch's schedulers.

use super::{Position, Warmup};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// When a rate changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Per {
    /// Before every step.
    #[default]
    Step,
    /// Before every epoch.
    Epoch,
}

/// The form of a way from one value to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Anneal {
    /// Half a cosine.
    #[default]
    Cosine,
    /// A straight line.
    Linear,
}

pub(super) fn one() -> f64 {
    1.0
}

/// `pct_start` of PyTorch's `OneCycleLR`.
pub(super) fn rise() -> f64 {
    0.3
}

/// One divided by its `div_factor`.
pub(super) fn cycle_start() -> f64 {
    1.0 / 25.0
}

/// That divided by its `final_div_factor`.
pub(super) fn cycle_end() -> f64 {
    cycle_start() / 1e4
}

/// A position on a curve, counted in steps or in epochs.
pub(super) struct Course {
    /// Steps or epochs since the curve's beginning, after the warm-up.
    at: f64,
    /// Those of the whole curve.
    total: f64,
    /// Those of an epoch.
    per_epoch: f64,
    /// During warm-up its factor.
    pub(super) warmup: Option<f64>,
}

impl Course {
    pub(super) fn new(per: Per, at: Position, epochs: u32, warmup: Option<Warmup>) -> Course {
        let batches = at.batches.max(1) as f64;
        let (now, per_epoch) = match per {
            Per::Step => (at.steps(), batches),
            Per::Epoch => (f64::from(at.epoch.saturating_sub(1)), 1.0),
        };
        let length = warmup.map_or(0.0, |warmup| warmup.length(per, batches));
        Course {
            at: (now - length).max(0.0),
            total: f64::from(epochs) * per_epoch - length,
            per_epoch,
            warmup: warmup.and_then(|warmup| warmup.factor(now, length)),
        }
    }

    /// The share of the curve that is over, at most 1. A curve that would begin after the run has
    /// not begun.
    fn share(&self) -> f64 {
        if self.total > 0.0 { (self.at / self.total).min(1.0) } else { 0.0 }
    }

    pub(super) fn cosine(&self, end: f64) -> f64 {
        between(Anneal::Cosine, 1.0, end, self.share())
    }

    pub(super) fn linear(&self, start: f64, end: f64) -> f64 {
        between(Anneal::Linear, start, end, self.share())
    }

    pub(super) fn polynomial(&self, power: f64, end: f64) -> f64 {
        end + (1.0 - end) * (1.0 - self.share()).powf(power)
    }

    pub(super) fn exponential(&self, factor: f64) -> f64 {
        factor.powf(self.at / self.per_epoch)
    }

    /// From the first of three values to the second in the share `rise` of the run, then to the
    /// third, which the last step has. PyTorch's `OneCycleLR` takes one step off both ways, too.
    pub(super) fn cycle(&self, rise: f64, anneal: Anneal, [start, top, end]: [f64; 3]) -> f64 {
        let (first, last) = (rise * self.total - 1.0, self.total - 1.0);
        let share = |from: f64, to: f64| {
            if to > from { ((self.at - from) / (to - from)).clamp(0.0, 1.0) } else { 1.0 }
        };
        if self.at <= first {
            between(anneal, start, top, share(0.0, first))
        } else {
            between(anneal, top, end, share(first, last))
        }
    }
}

/// The value after a share of the way from `start` to `end`.
fn between(anneal: Anneal, start: f64, end: f64, share: f64) -> f64 {
    match anneal {
        Anneal::Cosine => end + (start - end) * (1.0 + (PI * share).cos()) / 2.0,
        Anneal::Linear => start + (end - start) * share,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Schedule, ScheduleState};

    fn rates(schedule: &Schedule, epochs: u32, batches: usize) -> Vec<f64> {
        let steps = (1..=epochs).flat_map(|epoch| (0..batches).map(move |batch| (epoch, batch)));
        let state = ScheduleState::default();
        let at = |(epoch, batch)| Position { epoch, batch, batches };
        steps.map(|step| schedule.setting(&state, at(step), epochs, None).rate).collect()
    }

    /// By hand.
    #[test]
    fn curves_begin_and_end_where_they_should() {
        let parse = |text: &str| toml::from_str::<Schedule>(text).unwrap();
        let close = |found: Vec<f64>, expected: &[f64]| {
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-12, "{found} {expected}");
            }
        };
        close(
            rates(&parse("kind = 'cosine'"), 2, 2),
            &[1.0, 0.5 + 0.125f64.sqrt(), 0.5, 0.5 - 0.125f64.sqrt()],
        );
        close(rates(&parse("kind = 'cosine'\nper = 'epoch'"), 2, 2), &[1.0, 1.0, 0.5, 0.5]);
        close(rates(&parse("kind = 'linear'\nend = 0.2"), 1, 4), &[1.0, 0.8, 0.6, 0.4]);
        close(rates(&parse("kind = 'polynomial'\npower = 2"), 1, 4), &[1.0, 0.5625, 0.25, 0.0625]);
        close(rates(&parse("kind = 'exponential'\nfactor = 0.25"), 2, 2), &[1.0, 0.5, 0.25, 0.125]);
        let cycle = "kind = 'one-cycle'\nrise = 0.5\nstart = 0.5\nend = 0\nanneal = 'linear'";
        close(rates(&parse(cycle), 3, 2), &[0.5, 0.75, 1.0, 2.0 / 3.0, 1.0 / 3.0, 0.0]);
    }

    /// Runs of one step, and of fewer steps than the warm-up.
    #[test]
    fn short_runs_have_finite_rates() {
        let kinds = ["cosine", "linear", "one-cycle", "polynomial", "exponential\nfactor = 0.9"];
        for kind in kinds.map(|kind| format!("kind = '{kind}").replacen('\n', "'\n", 1)) {
            let kind = if kind.contains('\n') { kind } else { format!("{kind}'") };
            let schedule: Schedule = toml::from_str(&kind).unwrap();
            for warmup in [None, Some(Warmup { epochs: None, steps: Some(9), start: 0.1 })] {
                let at = Position { epoch: 1, batch: 0, batches: 1 };
                let setting = schedule.setting(&ScheduleState::default(), at, 1, warmup);
                let rate = setting.rate;
                assert!(0.0 < rate && rate <= 1.0, "{kind} {warmup:?}: {rate}");
            }
        }
    }
}
