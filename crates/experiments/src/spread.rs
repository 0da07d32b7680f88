//! Mean and standard deviation over runs.

/// A mean with the sample's standard deviation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The standard deviation; `None` for a single value.
    pub deviation: Option<f64>,
}

impl Spread {
    /// The mean and deviation of values; `None` if there are none.
    pub fn of(values: impl Iterator<Item = f64>) -> Option<Spread> {
        let values: Vec<f64> = values.collect();
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        let deviation = (count > 1).then(|| (squares / (count - 1) as f64).sqrt());
        (count > 0).then_some(Spread { mean, deviation })
    }

    /// With a unit: `26.10 ± 0.21 %`.
    pub fn text(self, scale: f64, unit: &str) -> String {
        let mean = scale * self.mean;
        match self.deviation {
            Some(deviation) => format!("{mean:.2} ± {:.2}{unit}", scale * deviation),
            None => format!("{mean:.2}{unit}"),
        }
    }
}

/// Shares as percentages, or a dash.
pub fn share(values: impl Iterator<Item = f64>) -> String {
    Spread::of(values).map_or("–".to_string(), |spread| spread.text(100.0, " %"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deviation_is_the_samples() {
        let spread = Spread::of([1.0, 2.0, 3.0].into_iter()).unwrap();
        assert_eq!(spread, Spread { mean: 2.0, deviation: Some(1.0) });
        assert_eq!(spread.text(100.0, " %"), "200.00 ± 100.00 %");
        assert_eq!(Spread::of([0.25].into_iter()).unwrap().text(100.0, " %"), "25.00 %");
        assert_eq!(Spread::of([].into_iter()), None);
    }
}
