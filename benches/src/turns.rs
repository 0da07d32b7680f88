//! Whole steps, alternately ours and PyTorch's.

use crate::peer::Peer;
use crate::step::Step;
use crate::{milliseconds, rest};

/// Milliseconds of our and PyTorch's steps.
pub type Times = (Vec<f64>, Vec<f64>);

/// The largest number of rounds.
const MAX_ROUNDS: usize = 50;

/// Steps shorter than this, in milliseconds, run several at a time.
const SHORT: f64 = 100.0;
/// The number of them; the first is not counted, because threads sleep and caches are cold.
const RUN: usize = 6;

/// Runs `rounds` steps of each alternately, so that changes of the machine's speed affect both;
/// more if our steps are short, up to a second of them.
///
/// # Errors
/// If PyTorch ends.
pub fn alternate(step: &mut Step, peer: &mut Peer, rounds: usize) -> Result<Times, String> {
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
        // PyTorch's threads sleep while ours work, so its first step is not counted either.
        theirs.extend(peer.run(run)?.into_iter().skip(uncounted));
        rest();
    }
    Ok((ours, theirs))
}

/// Milliseconds of `rounds` of our steps, after a warm-up; more of short ones.
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
    let long = times.iter().sum::<f64>() >= SECOND || times.len() >= MAX_ROUNDS;
    times.len() >= rounds && (long || rounds == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_steps_run_more_often() {
        assert!(!enough(&[], 1) && enough(&[1.0], 1));
        assert!(!enough(&[600.0; 2], 3) && enough(&[600.0; 3], 3));
        assert!(!enough(&[40.0; 5], 5) && !enough(&[40.0; 24], 5) && enough(&[40.0; 25], 5));
        assert!(enough(&[0.001; MAX_ROUNDS], 5) && !enough(&[0.001; MAX_ROUNDS], MAX_ROUNDS + 1));
    }
}
