//! Valid ranges of settings.

use std::fmt;

/// The valid range of a setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    min: f64,
    max: f64,
    /// Whether the minimum, and the maximum, are excluded.
    open: [bool; 2],
}

impl Range {
    /// From `min` to `max`, both included.
    pub const fn of(min: f64, max: f64) -> Range {
        Range { min, max, open: [false; 2] }
    }

    /// Excludes the minimum.
    #[must_use]
    pub const fn above(self) -> Range {
        Range { open: [true, self.open[1]], ..self }
    }

    /// Excludes the maximum.
    #[must_use]
    pub const fn below(self) -> Range {
        Range { open: [self.open[0], true], ..self }
    }

    /// Whether the range contains a value; it never contains NaN.
    pub fn contains(&self, value: f64) -> bool {
        let [above, below] = self.open;
        let above = if above { value > self.min } else { value >= self.min };
        let below = if below { value < self.max } else { value <= self.max };
        above && below
    }

    /// Checks that the range contains `value`.
    ///
    /// # Errors
    /// A message with the setting's name and the range.
    pub fn check(&self, name: &str, value: f64) -> std::result::Result<(), String> {
        if self.contains(value) {
            Ok(())
        } else {
            Err(format!("{name} is {value}; it must be {self}"))
        }
    }
}

/// `at least 0 and below 1`
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [above, below] = self.open;
        let number = |value: f64| match value {
            value if value.abs() >= 1e9 => format!("{value:e}"),
            value if value != 0.0 && value.abs() < 1e-9 => format!("{value:e}"),
            value => value.to_string(),
        };
        let above = if above { "above" } else { "at least" };
        let below = if below { "below" } else { "at most" };
        write!(f, "{above} {} and {below} {}", number(self.min), number(self.max))
    }
}
