//! How the learning rate changes from step to step: pure functions of a position in the run and a
//! small state.

mod curve;
mod warmup;

pub use curve::{Anneal, Per};
pub use warmup::Warmup;

use crate::pattern::fits;
use curve::Course;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A learning-rate schedule. Epochs are counted from one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// A constant learning rate.
    Constant {},
    /// Multiplied by `factor` once each of these epochs is over.
    Steps {
        /// The epochs after which the rate is multiplied.
        after: Vec<u32>,
        /// The factor of each drop.
        factor: f64,
    },
    /// Multiplied by `factor` when the validation error stops improving, `drops` times at most: "we
    /// divided the learning rate by 10 when the validation error rate stopped improving [..]
    /// reduced three times prior to termination" (section 5 of the paper).
    Plateau {
        /// The factor of each drop.
        factor: f64,
        /// The maximum number of drops.
        drops: u32,
        /// Epochs without improvement before a drop.
        patience: u32,
        /// An error this much lower is an improvement; errors lie between 0 and 1.
        threshold: f64,
    },
    /// Set by hand, epoch by epoch, as the 2012 runs were.
    Phases {
        /// In order of epochs; the last one that has begun applies.
        phases: Vec<Phase>,
    },
    /// Half a cosine from the recipe's rate to `end`: PyTorch's `CosineAnnealingLR`.
    Cosine {
        /// The rate after the last step, in multiples of the recipe's.
        #[serde(default)]
        end: f64,
        /// When the rate changes.
        #[serde(default)]
        per: Per,
    },
    /// A straight line from `start` to `end`: PyTorch's `LinearLR`.
    Linear {
        /// The first rate, in multiples of the recipe's.
        #[serde(default = "curve::one")]
        start: f64,
        /// The rate after the last step, likewise.
        #[serde(default)]
        end: f64,
        /// When the rate changes.
        #[serde(default)]
        per: Per,
    },
    /// Up from `start` to the recipe's rate, then down to `end`: PyTorch's `OneCycleLR` (Smith and
    /// Topin 2017, arXiv 1708.07120).
    #[serde(rename_all = "kebab-case")]
    OneCycle {
        /// The share of the steps in which the rate rises: `pct_start`.
        #[serde(default = "curve::rise")]
        rise: f64,
        /// The first rate, in multiples of the recipe's: `1 / div_factor`.
        #[serde(default = "curve::cycle_start")]
        start: f64,
        /// The last rate, likewise: `1 / (div_factor final_div_factor)`.
        #[serde(default = "curve::cycle_end")]
        end: f64,
        /// The form of both ways.
        #[serde(default)]
        anneal: Anneal,
        /// The least and the greatest momentum, which falls as the rate rises; without it the
        /// momentum is constant.
        #[serde(default, skip_serializing_if = "Option::is_none", alias = "cycle_momentum")]
        cycle_momentum: Option<[f64; 2]>,
        /// When the rate changes.
        #[serde(default)]
        per: Per,
    },
    /// Multiplied by `factor` once an epoch, or evenly in its steps: PyTorch's `ExponentialLR`.
    Exponential {
        /// The factor of an epoch: `gamma`.
        factor: f64,
        /// When the rate changes.
        #[serde(default)]
        per: Per,
    },
    /// From the recipe's rate to `end` as a power of what is left of the run: PyTorch's
    /// `PolynomialLR`.
    Polynomial {
        /// The power.
        #[serde(default = "curve::one")]
        power: f64,
        /// The rate after the last step, in multiples of the recipe's.
        #[serde(default)]
        end: f64,
        /// When the rate changes.
        #[serde(default)]
        per: Per,
    },
}

/// A position in a run: the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its epoch, counted from one.
    pub epoch: u32,
    /// The steps of this epoch before it.
    pub batch: usize,
    /// The steps of an epoch.
    pub batches: usize,
}

impl Position {
    /// The steps of the run before it.
    fn steps(self) -> f64 {
        let batches = self.batches.max(1) as u64;
        (u64::from(self.epoch.saturating_sub(1)) * batches + self.batch as u64) as f64
    }
}

/// The setting from an epoch on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Its first epoch.
    pub from: u32,
    /// Multiples of the recipe's rate.
    pub rate: f64,
    /// Whether the colour shift is on.
    #[serde(default = "yes")]
    pub color: bool,
    /// Layers with a rate of their own, in multiples of the recipe's; 0 freezes them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub layers: BTreeMap<String, f64>,
}

fn yes() -> bool {
    true
}

/// The state of a schedule between epochs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScheduleState {
    /// How often the rate has been lowered.
    pub drops: u32,
    /// The lowest validation error so far.
    pub best: Option<f64>,
    /// Epochs since it last improved.
    pub stale: u32,
}

/// The setting of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting<'a> {
    /// Multiples of the recipe's rate.
    pub rate: f64,
    /// The momentum, where the schedule changes it.
    pub momentum: Option<f64>,
    /// Whether the colour shift is on.
    pub color: bool,
    /// The epoch, counted from one.
    pub epoch: u32,
    /// The factor of warm-up in `rate`.
    warmup: f64,
    layers: Option<&'a BTreeMap<String, f64>>,
}

impl Setting<'_> {
    /// The same multiple of the recipe's rate for all layers, in the first epoch.
    pub fn everywhere(rate: f64) -> Setting<'static> {
        Setting { rate, momentum: None, color: true, epoch: 1, warmup: 1.0, layers: None }
    }

    /// The factor of warm-up; 1 after it.
    pub fn warmup(&self) -> f64 {
        self.warmup
    }

    /// Multiples of the recipe's rate for a layer.
    pub fn factor(&self, layer: &str) -> f64 {
        let mut own = self.layers.into_iter().flatten();
        let own = own.find(|(pattern, _)| fits(pattern, layer));
        own.map_or(self.rate, |(_, &factor)| factor * self.warmup)
    }
}

impl Schedule {
    /// The setting at a position in a run of `epochs` epochs that begins with `warmup`. A curve
    /// begins after the warm-up and ends with the run; epochs of other schedules are counted from
    /// the run's beginning.
    pub fn setting(
        &self,
        state: &ScheduleState,
        at: Position,
        epochs: u32,
        warmup: Option<Warmup>,
    ) -> Setting<'_> {
        let epoch = at.epoch;
        let plain = |rate| Setting { epoch, ..Setting::everywhere(rate) };
        let course = Course::new(self.per(), at, epochs, warmup);
        let mut setting = match self {
            Schedule::Constant {} => plain(1.0),
            Schedule::Steps { after, factor } => {
                let passed = after.iter().filter(|&&last| epoch > last).count();
                plain(factor.powi(passed as i32))
            }
            Schedule::Plateau { factor, .. } => plain(factor.powi(state.drops as i32)),
            Schedule::Phases { phases } => match phases.iter().rfind(|phase| phase.from <= epoch) {
                None => plain(1.0),
                Some(Phase { rate, color, layers, .. }) => {
                    Setting { color: *color, layers: Some(layers), ..plain(*rate) }
                }
            },
            Schedule::Cosine { end, .. } => plain(course.cosine(*end)),
            Schedule::Linear { start, end, .. } => plain(course.linear(*start, *end)),
            Schedule::OneCycle { rise, start, end, anneal, cycle_momentum, .. } => {
                let momentum = cycle_momentum
                    .map(|[low, high]| course.cycle(*rise, *anneal, [high, low, high]));
                let rate = course.cycle(*rise, *anneal, [*start, 1.0, *end]);
                Setting { momentum, ..plain(rate) }
            }
            Schedule::Exponential { factor, .. } => plain(course.exponential(*factor)),
            Schedule::Polynomial { power, end, .. } => plain(course.polynomial(*power, *end)),
        };
        if let Some(factor) = course.warmup {
            setting.rate *= factor;
            setting.warmup = factor;
        }
        setting
    }

    /// When the rate of a curve changes; of other schedules, when warm-up changes theirs.
    pub(crate) fn per(&self) -> Per {
        match self {
            Schedule::Constant {}
            | Schedule::Steps { .. }
            | Schedule::Plateau { .. }
            | Schedule::Phases { .. } => Per::Step,
            Schedule::Cosine { per, .. }
            | Schedule::Linear { per, .. }
            | Schedule::OneCycle { per, .. }
            | Schedule::Exponential { per, .. }
            | Schedule::Polynomial { per, .. } => *per,
        }
    }

    /// Whether rates depend on the number of epochs of the run.
    pub fn spans_all_epochs(&self) -> bool {
        matches!(
            self,
            Schedule::Cosine { .. }
                | Schedule::Linear { .. }
                | Schedule::OneCycle { .. }
                | Schedule::Polynomial { .. }
        )
    }

    /// The schedule in words: `constant`, `x 0.1 after epochs [30, 60]`, `cosine to 0`.
    pub fn summary(&self) -> String {
        let per = match self.per() {
            Per::Step => "",
            Per::Epoch => ", per epoch",
        };
        match self {
            Schedule::Constant {} => "constant".to_string(),
            Schedule::Steps { after, factor } => format!("x {factor} after epochs {after:?}"),
            Schedule::Plateau { factor, drops, .. } => {
                format!("x {factor} when the validation error stops improving, {drops} times")
            }
            Schedule::Phases { phases } => format!("{} phases", phases.len()),
            Schedule::Cosine { end, .. } => format!("cosine to x {end}{per}"),
            Schedule::Linear { start, end, .. } => format!("linear from x {start} to x {end}{per}"),
            Schedule::OneCycle { rise, start, end, .. } => {
                format!("one cycle from x {start} up in {rise} of the steps, to x {end}{per}")
            }
            Schedule::Exponential { factor, .. } => format!("x {factor} each epoch{per}"),
            Schedule::Polynomial { power, end, .. } => {
                format!("polynomial of power {power} to x {end}{per}")
            }
        }
    }

    /// The state after an epoch with this validation error (a share between 0 and 1).
    pub fn remember(&self, state: ScheduleState, error: f64) -> ScheduleState {
        let (patience, most, threshold) = match self {
            Schedule::Plateau { patience, drops, threshold, .. } => (*patience, *drops, *threshold),
            _ => (u32::MAX, 0, 0.0),
        };
        if state.best.is_none_or(|best| error < best - threshold) {
            // The first error, or a better one.
            return ScheduleState { best: Some(error), stale: 0, ..state };
        }
        let stale = state.stale + 1;
        if stale >= patience && state.drops < most {
            ScheduleState { drops: state.drops + 1, stale: 0, ..state }
        } else {
            ScheduleState { stale, ..state }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(schedule: &Schedule, epochs: impl IntoIterator<Item = u32>) -> Vec<f64> {
        let round = |rate: f64| (rate * 1e9).round() / 1e9;
        epochs.into_iter().map(|e| round(at(schedule, &ScheduleState::default(), e).rate)).collect()
    }

    fn at<'a>(schedule: &'a Schedule, state: &ScheduleState, epoch: u32) -> Setting<'a> {
        schedule.setting(state, Position { epoch, batch: 0, batches: 4 }, 1000, None)
    }

    #[test]
    fn steps_fall_after_their_epochs() {
        let schedule = Schedule::Steps { after: vec![2, 4], factor: 0.1 };
        assert_eq!(rates(&schedule, 1..=6), [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]);
        assert_eq!(rates(&Schedule::Constant {}, [1, 1000]), [1.0, 1.0]);
    }

    #[test]
    fn a_plateau_is_seen_after_its_patience_and_only_so_often() {
        let schedule = Schedule::Plateau { factor: 0.1, drops: 2, patience: 2, threshold: 0.01 };
        let errors = [0.9, 0.5, 0.495, 0.5, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.3];
        let mut state = ScheduleState::default();
        let drops: Vec<u32> = errors
            .iter()
            .map(|&error| {
                state = schedule.remember(state, error);
                state.drops
            })
            .collect();
        // 0.495 is no improvement on 0.5 by the threshold; two stale epochs drop it once, then
        // again.
        assert_eq!(drops, [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2]);
        assert_eq!(state.best, Some(0.3));
        assert!((at(&schedule, &state, 12).rate - 0.01).abs() < 1e-12);
    }

    #[test]
    fn phases_hold_until_the_next_and_may_freeze_a_layer() {
        let phase = |from, rate| Phase { from, rate, color: true, layers: BTreeMap::new() };
        let frozen = Phase {
            layers: BTreeMap::from([("conv1".to_string(), 0.0)]),
            color: false,
            ..phase(5, 0.1)
        };
        let schedule = Schedule::Phases { phases: vec![phase(3, 0.5), frozen] };
        assert_eq!(rates(&schedule, 1..=6), [1.0, 1.0, 0.5, 0.5, 0.1, 0.1]);
        let state = ScheduleState::default();
        let late = at(&schedule, &state, 9);
        assert_eq!((late.factor("conv1"), late.factor("conv2"), late.color), (0.0, 0.1, false));
        assert!(at(&schedule, &state, 4).color);
    }

    #[test]
    fn state_survives_text() {
        let state = ScheduleState { drops: 2, best: Some(0.25), stale: 1 };
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<ScheduleState>(&text).unwrap(), state);
    }
}
