//! Whole steps, ours and PyTorch's in turn.

use crate::peer::Peer;
use crate::step::Step;
use crate::{milliseconds, rest};

/// Milliseconds of ours and theirs, round by round.
pub type Times = (Vec<f64>, Vec<f64>);

/// The most rounds that short steps are given.
const MOST: usize = 50;

/// Steps shorter than this, in milliseconds, are made several at a time.
const SHORT: f64 = 100.0;
/// So many, of which the first is not counted: it wakes threads and finds caches cold.
const RUN: usize = 6;

/// Makes `rounds` steps of each in turn, so that both meet the machine in the same mood; more where
/// ours are short, up to a second of them.
///
/// # Errors
/// If PyTorch ends.
pub fn in_turn(step: &mut Step, peer: &mut Peer, rounds: usize) -> Result<Times, String> {
    step.run();
    peer.run(1)?;
    rest();
    let run = if milliseconds(|| step.run()) < SHORT { RUN } else { 1 };
    let uncounted = usize::from(run > 1);
    rest();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    while !enough(&ours, rounds) {
        let times = (0..run).map(|_| milliseconds(|| step.run()));
        ours.extend(times.skip(uncounted));
        // Its threads fall asleep while ours work.
        theirs.extend(peer.run(run)?.into_iter().skip(uncounted));
        rest();
    }
    Ok((ours, theirs))
}

/// Milliseconds of `rounds` of our steps, after a first that is not counted; more of short ones.
pub fn alone(step: &mut Step, rounds: usize) -> Vec<f64> {
    step.run();
    let mut times = Vec::new();
    while !enough(&times, rounds) {
        times.push(milliseconds(|| step.run()));
    }
    times
}

fn enough(times: &[f64], rounds: usize) -> bool {
    const SECOND: f64 = 1000.0;
    let long = times.iter().sum::<f64>() >= SECOND || times.len() >= MOST;
    times.len() >= rounds && (long || rounds == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_steps_are_made_more_often() {
        assert!(!enough(&[], 1) && enough(&[1.0], 1));
        assert!(!enough(&[600.0; 2], 3) && enough(&[600.0; 3], 3));
        assert!(!enough(&[40.0; 5], 5) && !enough(&[40.0; 24], 5) && enough(&[40.0; 25], 5));
        assert!(enough(&[0.001; MOST], 5) && !enough(&[0.001; MOST], MOST + 1));
    }
}
