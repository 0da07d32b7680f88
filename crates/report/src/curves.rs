//! What a run measured, read from its `metrics.jsonl`.

use serde_json::Value;

/// A run's measurements in the order of its steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curves {
    /// While it learned.
    pub train: Vec<Learned>,
    /// After its epochs.
    pub validation: Vec<Validated>,
}

/// A line about training steps.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Learned {
    /// The last of them.
    pub step: f64,
    /// Mean loss.
    pub loss: f64,
    /// Share of images not recognised.
    pub top1_error: f64,
    /// Learning rate.
    pub rate: f64,
    /// Training images a second.
    pub images_per_s: f64,
}

/// A line about a pass over the validation set.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Validated {
    /// Steps done.
    pub step: f64,
    /// Epochs done.
    pub epoch: f64,
    /// Mean loss.
    pub loss: f64,
    /// Share of images whose class was not the most probable.
    pub top1_error: f64,
    /// Share of images whose class was not among the five most probable.
    pub top5_error: f64,
    /// Seconds since training began.
    pub seconds: f64,
}

/// A fall of the learning rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drop {
    /// The first step at the new rate, as far as is known.
    pub step: f64,
    /// The new rate.
    pub rate: f64,
}

impl Curves {
    /// Reads lines of JSON. Lines that are cut short, of other kinds, or without a number where one
    /// is needed are passed over: a run may be writing, or another version may have written.
    pub fn parse(text: &str) -> Curves {
        let mut curves = Curves::default();
        for line in text.lines() {
            let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
            let number = |key: &str| line[key].as_f64().filter(|n| n.is_finite());
            match line["kind"].as_str() {
                Some("train") => curves.train.extend(learned(&number)),
                Some("validation") => curves.validation.extend(validated(&number)),
                _ => {}
            }
        }
        curves
    }

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.train.is_empty() && self.validation.is_empty()
    }

    /// Falls of the learning rate by a third or more.
    pub fn drops(&self) -> Vec<Drop> {
        let pairs = self.train.windows(2);
        let fallen = pairs.filter(|pair| pair[1].rate < pair[0].rate * 0.67);
        fallen.map(|pair| Drop { step: pair[1].step, rate: pair[1].rate }).collect()
    }
}

fn learned(number: &dyn Fn(&str) -> Option<f64>) -> Option<Learned> {
    Some(Learned {
        step: number("step")?,
        loss: number("loss")?,
        top1_error: number("top1_error")?,
        rate: number("rate")?,
        images_per_s: number("images_per_s").unwrap_or_default(),
    })
}

fn validated(number: &dyn Fn(&str) -> Option<f64>) -> Option<Validated> {
    Some(Validated {
        step: number("step")?,
        epoch: number("epoch").unwrap_or_default(),
        loss: number("loss")?,
        top1_error: number("top1_error")?,
        top5_error: number("top5_error")?,
        seconds: number("seconds").unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_knows_and_passes_over_the_rest() {
        let text = r#"{"kind":"train","step":1,"epoch":1,"loss":2.5,"top1_error":0.9,"rate":0.01}
{"kind":"layers","step":1,"conv1":3}
{"kind":"train","step":2,"epoch":1,"loss":2.0,"top1_error":0.8,"rate":0.001}
{"kind":"train","step":3,"epoch":1,"loss":null,"top1_error":0.8,"rate":0.001}
{"kind":"validation","step":3,"epoch":1,"loss":1.5,"top1_error":0.5,"top5_error":0.1,"images":8}
{"kind":"train","step":4,"lo"#;
        let curves = Curves::parse(text);
        assert_eq!((curves.train.len(), curves.validation.len()), (2, 1));
        assert_eq!(curves.validation[0].top5_error, 0.1);
        assert_eq!(curves.drops(), [Drop { step: 2.0, rate: 0.001 }]);
        assert!(Curves::parse("").is_empty());
    }
}
