//! What a protocol measures besides errors: a table for each arm, such as a value per layer.

use crate::measured::{Finding, Measured};
use crate::protocol::{Arm, Inspection};
use crate::spread::Spread;
use report::percent;
use serde_json::Value;
use std::fmt::Write;

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As a percentage.
    Share,
    /// With three significant digits.
    Number,
}

impl Inspection {
    /// The heading of the rows' names.
    pub fn rows(self) -> &'static str {
        match self {
            Inspection::Gradients | Inspection::Probes { .. } => "layer",
            Inspection::DropoutAverage { .. } => "masks",
        }
    }

    /// The columns: their headings and how their values are written.
    pub fn columns(self) -> &'static [(&'static str, Form)] {
        use Form::{Number, Share};
        match self {
            Inspection::Gradients => &[
                ("gradient norm, first step", Number),
                ("gradient norm, mean", Number),
                ("saturated units", Share),
            ],
            Inspection::Probes { .. } => &[("test error of a linear classifier", Share)],
            Inspection::DropoutAverage { .. } => &[
                ("test error of the mean", Share),
                ("distance to the halved network", Share),
                ("distance of the geometric mean", Share),
                ("same class as the halved network", Share),
            ],
        }
    }

    /// A sentence about the columns.
    pub fn note(self) -> String {
        match self {
            Inspection::Gradients => "Norms are those of the gradient of a layer's weights, \
                geometric means over the logged steps. A unit of tanh or the logistic function \
                is saturated where its derivative is below a tenth of its largest, a ReLU where \
                it is zero: shares of the trained network's responses to test images."
                .to_string(),
            Inspection::Probes { train, test, width } => format!(
                "A softmax regression on each layer's output, averaged over a grid so that an \
                 image has at most {width} values, standardised; trained on {train} images and \
                 tested on {test}."
            ),
            Inspection::DropoutAverage { images, .. } => format!(
                "Means of the probabilities of so many networks with sampled masks, for {images} \
                 test images. The distance of two predictions is their total variation, half of \
                 the sum of absolute differences, averaged over images; 0 masks: the halved \
                 network itself, whose outputs dropout's layers multiply by a half."
            ),
        }
    }
}

/// Gradient norms by layer from a run's log: of its first record, and the geometric mean of all.
fn gradients(log: &str) -> Vec<Finding> {
    let mut found: Vec<(String, Vec<f64>)> = Vec::new();
    for line in log.lines() {
        let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
        let layers = line["layers"].as_array().filter(|_| line["kind"] == "layers");
        for layer in layers.into_iter().flatten() {
            let (Some(name), Some(norm)) =
                (layer["name"].as_str(), layer["gradient_norm"].as_f64())
            else {
                continue;
            };
            match found.iter_mut().find(|(known, _)| known == name) {
                Some((_, norms)) => norms.push(norm),
                None => found.push((name.to_string(), vec![norm])),
            }
        }
    }
    let of_layer = |(name, norms): (String, Vec<f64>)| Finding {
        name,
        values: vec![norms[0], geometric(norms.iter().copied())],
    };
    found.into_iter().map(of_layer).collect()
}

/// [`gradients`] with the shares of saturated units: the one value of the findings of the same
/// names.
pub(crate) fn with_gradients(log: &str, saturated: Vec<Finding>) -> Vec<Finding> {
    let mut found = gradients(log);
    for finding in &mut found {
        let share = saturated.iter().find(|row| row.name == finding.name);
        finding.values.extend(share.and_then(|row| row.values.first()));
    }
    found
}

fn geometric(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), v| (sum + v.ln(), count + 1.0));
    if count > 0.0 { f64::exp(sum / count) } else { 0.0 }
}

/// The tables of all arms with findings, in Markdown; means and deviations over the seeds.
pub(crate) fn markdown(inspection: Inspection, arms: &[Arm], runs: &[Measured]) -> String {
    let columns = inspection.columns();
    let mut text = String::from("## By ") + inspection.rows() + "\n";
    for arm in arms {
        let runs: Vec<&Measured> = runs.iter().filter(|run| run.arm == arm.name).collect();
        let Some(first) = runs.iter().find(|run| !run.findings.is_empty()) else { continue };
        let headings: String = columns.iter().map(|(name, _)| format!(" {name} |")).collect();
        let rule = "---:|".repeat(columns.len());
        let _ = write!(text, "\n{}:\n\n", arm.label);
        let _ = writeln!(text, "| {} |{headings}\n|---|{rule}", inspection.rows());
        for finding in &first.findings {
            let _ = write!(text, "| {} |", finding.name);
            for (at, (_, form)) in columns.iter().enumerate() {
                let same = |run: &&&Measured| {
                    let row = run.findings.iter().find(|row| row.name == finding.name)?;
                    row.values.get(at).copied()
                };
                let values = runs.iter().filter_map(|run| same(&run));
                let _ = write!(text, " {} |", cell(values, *form));
            }
            text.push('\n');
        }
    }
    text
}

fn cell(values: impl Iterator<Item = f64>, form: Form) -> String {
    let values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    match (&values[..], form) {
        ([], _) => "–".to_string(),
        ([one], Form::Share) => percent(*one),
        ([one], Form::Number) => significant(*one),
        (_, Form::Share) => {
            Spread::of(values.iter().copied()).map_or_else(String::new, |s| s.text(100.0, " %"))
        }
        (_, Form::Number) => significant(geometric(values.iter().copied())),
    }
}

/// Three significant digits.
fn significant(value: f64) -> String {
    let digits = if value == 0.0 { 0 } else { 2 - value.abs().log10().floor() as i32 };
    if (0..=5).contains(&digits) {
        format!("{value:.*}", digits as usize)
    } else {
        format!("{value:.2e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradient_norms_are_means_over_the_log() {
        let line = |a: f64, b: f64| {
            let layer = |name, norm| serde_json::json!({ "name": name, "gradient_norm": norm });
            let layers = [layer("conv1", a), layer("fc2", b)];
            serde_json::json!({ "kind": "layers", "layers": layers }).to_string() + "\n"
        };
        let log = line(1.0, 2.0) + "{\"kind\":\"train\"}\nhalf" + "\n" + &line(4.0, 2.0);
        let found = gradients(&log);
        assert_eq!(found.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), ["conv1", "fc2"]);
        assert_eq!(found[0].values[0], 1.0);
        assert!((found[0].values[1] - 2.0).abs() < 1e-12, "{found:?}");
        let both = with_gradients(&log, vec![Finding { name: "fc2".into(), values: vec![0.5] }]);
        assert_eq!((both[0].values.len(), both[1].values[2]), (2, 0.5));
        assert!(gradients("").is_empty());
    }

    #[test]
    fn tables_have_means_over_seeds() {
        let run = |seed, values: [f64; 1]| Measured {
            arm: "a".into(),
            seed,
            findings: vec![Finding { name: "conv1".into(), values: values.into() }],
            ..Measured::default()
        };
        let arm = Arm { name: "a".into(), label: "an arm".into(), group: "", stages: Vec::new() };
        let probes = Inspection::Probes { train: 2, test: 1, width: 4 };
        let text = markdown(probes, &[arm], &[run(0, [0.5]), run(1, [0.25])]);
        assert!(
            text.contains("an arm:\n\n| layer | test error of a linear classifier |"),
            "{text}"
        );
        assert!(text.contains("| conv1 | 37.50 ± 17.68 % |"), "{text}");
        assert_eq!((significant(0.012345), significant(123.4)), ("0.0123".into(), "123".into()));
        assert_eq!((significant(1e-9), significant(0.0)), ("1.00e-9".into(), "0".into()));
    }
}
