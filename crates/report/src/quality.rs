//! Quality measures of a test as text, files and a part of the page.

use crate::percent;
use crate::reliability::{self, edges};
use evaluate::predictions::{BINS, Calibration, PrecisionRecall, Quality};
use files::CsvRow;
use serde_json::{Value, json};
use std::fmt::Write;

/// Lines of text: means of precision, recall and F1 over classes, then the other measures. Starts
/// with an empty line.
pub fn to_text(quality: &Quality) -> String {
    let mut text = format!("\n{:13}  precision    recall        F1\n", "");
    for (name, rates) in means(quality) {
        let [precision, recall, f1] = shown(rates);
        let _ = writeln!(text, "{name:13}  {precision:>9}  {recall:>8}  {f1:>8}");
    }
    let mut others = others(quality).map(|(name, value)| format!("{name} {value}"));
    let first = others.next().unwrap_or_default();
    text + &others.fold(first, |line, other| line + ", " + &other) + "\n"
}

/// All measures as JSON, with the bins of the reliability diagram.
pub fn to_json(quality: &Quality) -> Value {
    let mut value = json!(quality);
    value["calibration"]["bins"] = bins_json(&quality.calibration);
    value
}

/// The measures as CSV, a line each: `metric,value`. The area under ROC curves is empty if there is
/// none.
pub fn to_csv(quality: &Quality) -> String {
    let (all, weighted) = (quality.macro_mean, quality.weighted_mean);
    let rows = [
        ("images", Some(quality.images as f64)),
        ("accuracy", Some(quality.accuracy)),
        ("balanced_accuracy", Some(quality.balanced_accuracy)),
        ("macro_precision", Some(all.precision)),
        ("macro_recall", Some(all.recall)),
        ("macro_f1", Some(all.f1)),
        ("weighted_precision", Some(weighted.precision)),
        ("weighted_recall", Some(weighted.recall)),
        ("weighted_f1", Some(weighted.f1)),
        ("auc", quality.auc),
        ("calibration_error", Some(quality.calibration.error)),
    ];
    let row = |(name, value)| CsvRow::new().text(name).optional(value).line();
    CsvRow::new().texts(["metric", "value"]).line() + &rows.map(row).concat()
}

/// The bins of the reliability diagram as a JSON list.
pub fn bins_json(calibration: &Calibration) -> Value {
    let bins = calibration.bins.iter().enumerate().map(|(number, bin)| {
        let ([above, up_to], measured) = (edges(number), bin.images > 0);
        json!({
            "above": above,
            "up_to": up_to,
            "images": bin.images,
            "confidence": measured.then_some(bin.confidence),
            "accuracy": measured.then_some(bin.accuracy),
        })
    });
    bins.collect()
}

/// The bins of the reliability diagram as CSV; means of bins without images are empty.
pub fn bins_csv(calibration: &Calibration) -> String {
    let names = ["above", "up_to", "images", "confidence", "accuracy"];
    let mut text = CsvRow::new().texts(names).line();
    for (number, bin) in calibration.bins.iter().enumerate() {
        let row = CsvRow::new().numbers(edges(number)).number(bin.images);
        let mean = |value| (bin.images > 0).then_some(value);
        text += &row.optional(mean(bin.confidence)).optional(mean(bin.accuracy)).line();
    }
    text
}

/// The measures as tables, and the reliability diagram.
pub(crate) fn to_html(quality: &Quality, id: &str) -> String {
    let mut html = String::from(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Means over classes\">\
         <table><thead><tr><th></th><th class=\"n\">precision</th><th class=\"n\">recall</th>\
         <th class=\"n\">F1</th></tr></thead><tbody>",
    );
    for (name, rates) in means(quality) {
        let cells = shown(rates).map(|value| format!("<td class=\"n\">{value}</td>")).concat();
        let _ = write!(html, "<tr><th>{name}</th>{cells}</tr>");
    }
    html += "</tbody></table></div>\n<dl class=\"measures\">";
    for (name, value) in others(quality) {
        let _ = write!(html, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    }
    let _ = write!(
        html,
        "</dl>\n<p>Reliability diagram: accuracy by confidence, the probability of the predicted \
         class. Bars below the diagonal are too confident. The calibration error is the mean \
         distance from the diagonal, weighted by images, over {BINS} bins.</p>\n\
         <figure class=\"wide\">{}</figure>\n",
        reliability::to_svg(&quality.calibration, id)
    );
    html
}

fn means(quality: &Quality) -> [(&'static str, PrecisionRecall); 2] {
    [("macro mean", quality.macro_mean), ("weighted mean", quality.weighted_mean)]
}

fn shown(rates: PrecisionRecall) -> [String; 3] {
    [rates.precision, rates.recall, rates.f1].map(percent)
}

/// The measures beside the means, with their values.
fn others(quality: &Quality) -> impl Iterator<Item = (&'static str, String)> {
    [
        ("balanced accuracy", Some(percent(quality.balanced_accuracy))),
        ("ROC AUC", quality.auc.map(|auc| format!("{auc:.4}"))),
        ("calibration error", Some(percent(quality.calibration.error))),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use evaluate::Tested;
    use evaluate::predictions::Predictions;

    fn quality() -> Quality {
        let mut predictions = Predictions::new(2);
        for (label, p) in [(0, 0.75), (0, 0.25), (1, 0.25), (1, 0.5)] {
            predictions.push(Tested { sample: 0, label, probabilities: &[p, 1.0 - p] });
        }
        predictions.quality()
    }

    #[test]
    fn text_and_files_have_every_measure() {
        let text = to_text(&quality());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "               precision    recall        F1");
        assert_eq!(lines[2], "macro mean       50.00 %   50.00 %   50.00 %");
        let last = "balanced accuracy 50.00 %, ROC AUC 0.6250, calibration error 18.75 %";
        assert_eq!(lines[4..], [last]);
        let csv = to_csv(&quality());
        assert!(csv.starts_with("metric,value\nimages,4\naccuracy,0.5\n"), "{csv}");
        assert!(csv.contains("\nauc,0.625\n"), "{csv}");
        let none = to_csv(&Quality::default());
        assert!(none.contains("\nauc,\n"), "{none}");
        assert!(!to_text(&Quality::default()).contains("AUC"));
        assert_eq!(to_json(&quality())["macro_mean"]["f1"], 0.5);
    }

    #[test]
    fn bins_without_images_have_no_means() {
        let calibration = quality().calibration;
        let csv = bins_csv(&calibration);
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!((lines.len(), lines[0]), (16, "above,up_to,images,confidence,accuracy"));
        assert!(lines[1].ends_with(",0,,"), "{csv}");
        assert!(lines[8].ends_with(",1,0.5,0"), "{csv}");
        let json = bins_json(&calibration);
        assert_eq!((&json[0]["accuracy"], &json[7]["accuracy"]), (&Value::Null, &json!(0.0)));
        assert_eq!(to_json(&quality())["calibration"]["bins"], json);
    }
}
