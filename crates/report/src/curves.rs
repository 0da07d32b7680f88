//! A run's measurements, read from its `metrics.jsonl`.

use serde_json::Value;

/// A run's measurements in the order of its steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curves {
    /// Training steps.
    pub train: Vec<TrainPoint>,
    /// Validations.
    pub validation: Vec<ValidationPoint>,
}

/// Measurements of training steps.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TrainPoint {
    /// The last step.
    pub step: f64,
    /// Mean loss.
    pub loss: f64,
    /// Top-1 error, a share.
    pub top1_error: f64,
    /// Learning rate.
    pub rate: f64,
    /// Training images per second.
    pub images_per_s: f64,
}

/// Measurements of a pass over the validation set.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ValidationPoint {
    /// Steps done.
    pub step: f64,
    /// Epochs done.
    pub epoch: f64,
    /// Mean loss.
    pub loss: f64,
    /// Top-1 error, a share.
    pub top1_error: f64,
    /// Top-5 error, a share; `None` if it was not logged, as of at most five classes.
    pub top5_error: Option<f64>,
    /// Seconds since training began.
    pub seconds: f64,
}

/// A learning-rate drop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateDrop {
    /// The first logged step at the new rate.
    pub step: f64,
    /// The new rate.
    pub rate: f64,
}

impl Curves {
    /// Parses lines of JSON. Incomplete lines, lines of other kinds and lines without required
    /// numbers are skipped: a run may be writing, or another version may have written the file.
    pub fn parse(text: &str) -> Curves {
        let mut curves = Curves::default();
        for line in text.lines() {
            let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
            let number = |key: &str| line[key].as_f64().filter(|n| n.is_finite());
            match line["kind"].as_str() {
                Some("train") => curves.train.extend(train_point(&number)),
                Some("validation") => curves.validation.extend(validation_point(&number)),
                _ => {}
            }
        }
        curves
    }

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.train.is_empty() && self.validation.is_empty()
    }

    /// Learning-rate drops by a third or more, each from a rate that two lines in succession had:
    /// a rate that falls from step to step has none.
    pub fn drops(&self) -> Vec<RateDrop> {
        let pairs = self.train.windows(2).enumerate();
        let fallen = pairs.filter(|(at, pair)| {
            let was_constant = *at == 0 || self.train[at - 1].rate == pair[0].rate;
            was_constant && pair[1].rate < pair[0].rate * 0.67
        });
        fallen.map(|(_, pair)| RateDrop { step: pair[1].step, rate: pair[1].rate }).collect()
    }
}

fn train_point(number: &dyn Fn(&str) -> Option<f64>) -> Option<TrainPoint> {
    Some(TrainPoint {
        step: number("step")?,
        loss: number("loss")?,
        top1_error: number("top1_error")?,
        rate: number("rate")?,
        images_per_s: number("images_per_s").unwrap_or_default(),
    })
}

fn validation_point(number: &dyn Fn(&str) -> Option<f64>) -> Option<ValidationPoint> {
    Some(ValidationPoint {
        step: number("step")?,
        epoch: number("epoch").unwrap_or_default(),
        loss: number("loss")?,
        top1_error: number("top1_error")?,
        top5_error: number("top5_error"),
        seconds: number("seconds").unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_incomplete_lines_are_skipped() {
        let text = r#"{"kind":"train","step":1,"epoch":1,"loss":2.5,"top1_error":0.9,"rate":0.01}
{"kind":"layers","step":1,"conv1":3}
{"kind":"train","step":2,"epoch":1,"loss":2.0,"top1_error":0.8,"rate":0.001}
{"kind":"train","step":3,"epoch":1,"loss":null,"top1_error":0.8,"rate":0.001}
{"kind":"validation","step":3,"epoch":1,"loss":1.5,"top1_error":0.5,"top5_error":0.1,"images":8}
{"kind":"train","step":4,"lo"#;
        let curves = Curves::parse(text);
        assert_eq!((curves.train.len(), curves.validation.len()), (2, 1));
        assert_eq!(curves.validation[0].top5_error, Some(0.1));
        assert_eq!(curves.drops(), [RateDrop { step: 2.0, rate: 0.001 }]);
        assert!(Curves::parse("").is_empty());
        let point = |step: f64, rate| TrainPoint { step, rate, ..curves.train[0] };
        let rates = [0.1, 0.1, 0.05, 0.02, 0.01, 0.01, 0.001];
        let train = (1..).zip(rates).map(|(step, rate)| point(f64::from(step), rate)).collect();
        let falling = Curves { train, validation: Vec::new() };
        let steps: Vec<f64> = falling.drops().iter().map(|drop| drop.step).collect();
        assert_eq!(steps, [3.0, 7.0]);
    }
}
