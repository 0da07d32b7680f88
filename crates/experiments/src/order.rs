//! Which run comes next, and whether all are done.

use crate::measured::Measured;
use crate::protocol::{Arm, Measure, Protocol};
use std::collections::BTreeMap;

/// Whether all runs are done and none diverged: a network that did is not asked with the others.
pub fn is_whole(page: &Protocol, seeds: u64, done: &[Measured]) -> bool {
    next(page, seeds, done).is_none() && done.iter().all(|run| run.diverged.is_none())
}

/// A run to be made.
#[derive(Debug, PartialEq)]
pub struct Next {
    /// Its arm's place in the protocol.
    pub arm: usize,
    /// Names every draw.
    pub seed: u64,
    /// Epochs after which another arm of its group was there.
    pub most_epochs: Option<u32>,
}

/// The run that follows those that are done: all arms with the first seed, then with the second.
/// Where the fastest of a group counts, only that goes on to the second.
pub fn next(page: &Protocol, seeds: u64, done: &[Measured]) -> Option<Next> {
    let is_done =
        |arm: usize, seed| done.iter().any(|d| d.arm == page.arms[arm].name && d.seed == seed);
    let fastest = fastest(page, done);
    for seed in 0..seeds {
        for (arm, Arm { name, group, .. }) in page.arms.iter().enumerate() {
            let best = fastest.get(group);
            let most_epochs = match page.measure {
                Measure::EpochsTo(_) if seed == 0 => best.map(|(_, epochs)| epochs.ceil() as u32),
                Measure::EpochsTo(_) if best.is_none_or(|(best, _)| best != name) => continue,
                _ => None,
            };
            if !is_done(arm, seed) {
                return Some(Next { arm, seed, most_epochs });
            }
        }
    }
    None
}

/// Of each group, the arm that got there soonest with the first seed, and its epochs.
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
    fn arms_take_turns() {
        let page = crate::find("overlap").unwrap();
        let mut done = Vec::new();
        let mut order = Vec::new();
        while let Some(Next { arm, seed, most_epochs: None }) = next(&page, 2, &done) {
            order.push((arm, seed));
            done.push(measured(&page.arms[arm].name, seed, None));
        }
        assert_eq!(order, [(0, 0), (1, 0), (0, 1), (1, 1)]);
    }

    #[test]
    fn a_network_that_diverged_is_not_asked_with_the_others() {
        let page = crate::find("ensemble").unwrap();
        let mut done: Vec<Measured> =
            (0..2).map(|seed| measured(&page.arms[0].name, seed, None)).collect();
        assert!(is_whole(&page, 2, &done) && !is_whole(&page, 3, &done));
        done[1].diverged = Some("the loss is NaN".to_string());
        assert!(next(&page, 2, &done).is_none() && !is_whole(&page, 2, &done));
    }

    #[test]
    fn only_the_fastest_of_a_group_goes_on_and_none_is_waited_for_longer() {
        let page = crate::find("fig1").unwrap();
        let mut done: Vec<Measured> = Vec::new();
        let (mut order, mut most) = (Vec::new(), Vec::new());
        while let Some(Next { arm, seed, most_epochs }) = next(&page, 2, &done) {
            order.push((arm, seed));
            most.push(most_epochs);
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
