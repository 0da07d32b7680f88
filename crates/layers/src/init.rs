//! Initial values of parameters.

use random::{Purpose, Stream};
use serde::{Deserialize, Serialize};

/// The initial distribution of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Initializer {
    /// One value, e.g. biases of 0 or 1.
    Constant(f32),
    /// N(0, std^2), the paper's choice for weights (section 5).
    Normal {
        /// Standard deviation.
        std: f32,
    },
    /// Uniform in (-1/sqrt(fan_in), 1/sqrt(fan_in)): PyTorch's default for convolutions and linear
    /// layers.
    FanIn,
}

/// Values per random stream. The next `RUN` values come from the next stream, so that a parameter
/// can be filled in pieces.
pub const RUN: usize = 4096;

impl Initializer {
    /// Fills run number `run` of the network's parameter number `ordinal`.
    ///
    /// The values depend only on the seed, the ordinal and their position in the parameter.
    pub fn fill_run(
        self,
        seed: u64,
        ordinal: usize,
        fan_in: usize,
        run: usize,
        values: &mut [f32],
    ) {
        assert!(values.len() <= RUN, "a run is at most {RUN} values");
        let mut draws = Stream::new(seed, Purpose::Init, ordinal as u32, run as u32);
        match self {
            Initializer::Constant(value) => values.fill(value),
            Initializer::Normal { std } => {
                values.iter_mut().for_each(|x| *x = std * draws.normal())
            }
            Initializer::FanIn => {
                let bound = 1.0 / (fan_in.max(1) as f32).sqrt();
                values.iter_mut().for_each(|x| *x = draws.between(-bound, bound));
            }
        }
    }

    /// Fills a whole parameter.
    pub fn fill(self, seed: u64, ordinal: usize, fan_in: usize, values: &mut [f32]) {
        for (run, values) in values.chunks_mut(RUN).enumerate() {
            self.fill_run(seed, ordinal, fan_in, run, values);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(init: Initializer, seed: u64, ordinal: usize, len: usize) -> Vec<f32> {
        let mut values = vec![0.0; len];
        init.fill(seed, ordinal, 400, &mut values);
        values
    }

    #[test]
    fn normal_weights_have_the_requested_standard_deviation() {
        let values = filled(Initializer::Normal { std: 0.01 }, 0, 0, 100_000);
        let std = (values.iter().map(|x| f64::from(x * x)).sum::<f64>() / 1e5).sqrt();
        assert!((std - 0.01).abs() < 1e-4, "{std}"); // four standard errors: 0.9e-4
    }

    #[test]
    fn fan_in_values_stay_within_their_bounds() {
        let values = filled(Initializer::FanIn, 0, 0, 10_000);
        assert!(values.iter().all(|x| x.abs() <= 0.05) && values.iter().any(|x| x.abs() > 0.049));
    }

    #[test]
    fn parameters_and_seeds_have_different_values() {
        let normal = Initializer::Normal { std: 1.0 };
        assert_ne!(filled(normal, 0, 0, 8), filled(normal, 0, 1, 8));
        assert_ne!(filled(normal, 0, 0, 8), filled(normal, 1, 0, 8));
        assert_eq!(filled(normal, 0, 0, 9000)[..8000], filled(normal, 0, 0, 8000));
    }
}
