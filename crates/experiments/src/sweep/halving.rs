//! Successive halving.

/// A round of successive halving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rung {
    /// How many trials it has: the best of the rung before.
    pub trials: usize,
    /// The epochs after which they are compared.
    pub epochs: u32,
}

/// The rungs of a bracket of Hyperband: the last one has `epochs` epochs, each one before a share
/// `1 / eta` of them and `eta` times the trials, and the first one at least `min_epochs` epochs.
pub fn rungs(trials: usize, eta: usize, min_epochs: u32, epochs: u32) -> Vec<Rung> {
    let share = |halvings: u32| f64::from(epochs) / (eta as f64).powi(halvings as i32);
    let is_long = |halvings: u32| share(halvings).round() >= f64::from(min_epochs.max(1));
    // Not more rungs than leave one trial.
    let leaves_one = |halvings| eta.checked_pow(halvings).is_some_and(|share| share <= trials);
    let halvings = (1..32).take_while(|&n| leaves_one(n) && is_long(n)).last().unwrap_or(0);
    let rung = |number: u32| Rung {
        trials: (trials / eta.pow(number)).max(1),
        epochs: (share(halvings - number).round() as u32).max(1),
    };
    (0..=halvings).map(rung).collect()
}
