//! The order of runs, and whether all are done.

use crate::measured::Measured;
use crate::protocol::{Arm, Measure, Protocol};
use std::collections::BTreeMap;

/// Whether all runs are done and none diverged; a diverged network is not part of an ensemble.
pub fn is_whole(page: &Protocol, seeds: u64, done: &[Measured]) -> bool {
    next(page, seeds, done).is_none() && done.iter().all(|run| run.diverged.is_none())
}

/// The next run.
#[derive(Debug, PartialEq)]
pub struct Next {
    /// Index of its arm in the protocol.
    pub arm: usize,
    /// The seed of all random draws.
    pub seed: u64,
    /// Limit of epochs: those that the fastest arm of its group needed.
    pub max_epochs: Option<u32>,
}

/// The run after those that are done: all arms with the first seed, then with the second. With
/// [`Measure::EpochsTo`] only the fastest arm of each group continues with the second.
pub fn next(page: &Protocol, seeds: u64, done: &[Measured]) -> Option<Next> {
    let is_done =
        |arm: usize, seed| done.iter().any(|d| d.arm == page.arms[arm].name && d.seed == seed);
    let fastest = fastest(page, done);
    for seed in 0..seeds {
        for (arm, Arm { name, group, .. }) in page.arms.iter().enumerate() {
            let best = fastest.get(group);
            let max_epochs = match page.measure {
                Measure::EpochsTo(_) if seed == 0 => best.map(|(_, epochs)| epochs.ceil() as u32),
                Measure::EpochsTo(_) if best.is_none_or(|(best, _)| best != name) => continue,
                _ => None,
            };
            if !is_done(arm, seed) {
                return Some(Next { arm, seed, max_epochs });
            }
        }
    }
    None
}

/// For each group, the arm that needed the fewest epochs with the first seed, and their number.
pub fn fastest(page: &Protocol, done: &[Measured]) -> BTreeMap<&'static str, (String, f64)> {
    let mut best: BTreeMap<&'static str, (String, f64)> = BTreeMap::new();
    for arm in &page.arms {
        let of_arm = done.iter().find(|d| d.arm == arm.name && d.seed == 0);
        let Some(epochs) = of_arm.and_then(|measured| measured.reached) else { continue };
        if best.get(arm.group).is_none_or(|(_, least)| epochs < *least) {
            best.insert(arm.group, (arm.name.clone(), epochs));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(arm: &str, seed: u64, reached: Option<f64>) -> Measured {
        Measured { arm: arm.to_string(), seed, reached, ..Measured::default() }
    }

    #[test]
    fn all_arms_run_with_one_seed_before_the_next() {
        let page = crate::find("overlap").unwrap();
        let mut done = Vec::new();
        let mut order = Vec::new();
        while let Some(Next { arm, seed, max_epochs: None }) = next(&page, 2, &done) {
            order.push((arm, seed));
            done.push(measured(&page.arms[arm].name, seed, None));
        }
        assert_eq!(order, [(0, 0), (1, 0), (0, 1), (1, 1)]);
    }

    #[test]
    fn a_diverged_network_excludes_an_ensemble() {
        let page = crate::find("ensemble").unwrap();
        let mut done: Vec<Measured> =
            (0..2).map(|seed| measured(&page.arms[0].name, seed, None)).collect();
        assert!(is_whole(&page, 2, &done) && !is_whole(&page, 3, &done));
        done[1].diverged = Some("the loss is NaN".to_string());
        assert!(next(&page, 2, &done).is_none() && !is_whole(&page, 2, &done));
    }

    #[test]
    fn only_the_fastest_of_a_group_continues_and_slower_arms_are_cut_off() {
        let page = crate::find("fig1").unwrap();
        let mut done: Vec<Measured> = Vec::new();
        let (mut order, mut most) = (Vec::new(), Vec::new());
        while let Some(Next { arm, seed, max_epochs }) = next(&page, 2, &done) {
            order.push((arm, seed));
            most.push(max_epochs);
            // ReLU: 6.25 epochs with the second rate; tanh: 30 with its last.
            let reached = match arm {
                0 => Some(7.5),
                1 => Some(6.25),
                8 => Some(30.0),
                _ => None,
            };
            done.push(measured(&page.arms[arm].name, seed, reached));
        }
        let first: Vec<_> = (0..9).map(|arm| (arm, 0)).collect();
        assert_eq!((&order[..9], &order[9..]), (&first[..], &[(1, 1), (8, 1)][..]));
        assert_eq!(most[..4], [None, Some(8), Some(7), Some(7)]);
        assert!(most[4..].iter().all(Option::is_none));
    }
}
