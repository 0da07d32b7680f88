//! The numbers that a setting may be.

use std::fmt;

/// The numbers that a setting may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The least.
    least: f64,
    /// The greatest.
    most: f64,
    /// Whether the least, and the greatest, are excluded.
    open: [bool; 2],
}

impl Range {
    /// From `least` to `most`, both included.
    pub const fn of(least: f64, most: f64) -> Range {
        Range { least, most, open: [false; 2] }
    }

    /// Without the least.
    #[must_use]
    pub const fn above(self) -> Range {
        Range { open: [true, self.open[1]], ..self }
    }

    /// Without the greatest.
    #[must_use]
    pub const fn below(self) -> Range {
        Range { open: [self.open[0], true], ..self }
    }

    /// Whether a number lies in it; NaN lies in none.
    pub fn contains(&self, value: f64) -> bool {
        let [least, most] = self.open;
        let above = if least { value > self.least } else { value >= self.least };
        let below = if most { value < self.most } else { value <= self.most };
        above && below
    }

    /// Whether `value` lies in it, or a sentence that names the setting and the range.
    ///
    /// # Errors
    /// That sentence.
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
        let [least, most] = self.open;
        let number = |value: f64| match value {
            value if value.abs() >= 1e9 => format!("{value:e}"),
            value => value.to_string(),
        };
        let least = if least { "above" } else { "at least" };
        let most = if most { "below" } else { "at most" };
        write!(f, "{least} {} and {most} {}", number(self.least), number(self.most))
    }
}
