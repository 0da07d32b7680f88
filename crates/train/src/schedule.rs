//! How the learning rate changes from epoch to epoch: pure functions of a small state.

use crate::pattern::fits;
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

/// The setting of one epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting<'a> {
    /// Multiples of the recipe's rate.
    pub rate: f64,
    /// Whether the colour shift is on.
    pub color: bool,
    layers: Option<&'a BTreeMap<String, f64>>,
}

impl Setting<'_> {
    /// The same multiple of the recipe's rate for all layers.
    pub fn everywhere(rate: f64) -> Setting<'static> {
        Setting { rate, color: true, layers: None }
    }

    /// Multiples of the recipe's rate for a layer.
    pub fn factor(&self, layer: &str) -> f64 {
        let mut own = self.layers.into_iter().flatten();
        own.find(|(pattern, _)| fits(pattern, layer)).map_or(self.rate, |(_, &factor)| factor)
    }
}

impl Schedule {
    /// The setting of an epoch, counted from one.
    pub fn setting(&self, state: &ScheduleState, epoch: u32) -> Setting<'_> {
        let everywhere = |rate| Setting { rate, color: true, layers: None };
        match self {
            Schedule::Constant {} => everywhere(1.0),
            Schedule::Steps { after, factor } => {
                let passed = after.iter().filter(|&&last| epoch > last).count();
                everywhere(factor.powi(passed as i32))
            }
            Schedule::Plateau { factor, .. } => everywhere(factor.powi(state.drops as i32)),
            Schedule::Phases { phases } => match phases.iter().rfind(|phase| phase.from <= epoch) {
                None => everywhere(1.0),
                Some(phase) => {
                    Setting { rate: phase.rate, color: phase.color, layers: Some(&phase.layers) }
                }
            },
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
        epochs
            .into_iter()
            .map(|e| round(schedule.setting(&ScheduleState::default(), e).rate))
            .collect()
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
        assert!((schedule.setting(&state, 12).rate - 0.01).abs() < 1e-12);
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
        let late = schedule.setting(&state, 9);
        assert_eq!((late.factor("conv1"), late.factor("conv2"), late.color), (0.0, 0.1, false));
        assert!(schedule.setting(&state, 4).color);
    }

    #[test]
    fn state_survives_text() {
        let state = ScheduleState { drops: 2, best: Some(0.25), stale: 1 };
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<ScheduleState>(&text).unwrap(), state);
    }
}
