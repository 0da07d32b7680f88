//! Test results as files and text tables, from [`Predictions`].
//!
//! Classes are those of the tested source, in the order of their labels.

use crate::{Confusion, quality};
use data::Source;
use evaluate::has_top5;
use evaluate::predictions::{MAX_AUC_CLASSES, PrecisionRecall, Predictions};
use files::numbers::percent;
use files::{CsvRow, Output, Result};
use serde_json::{Value, json};

/// Number of classes per image in the contest's format.
const TOP: usize = 5;
/// Maximum number of classes of a full table.
const MAX_CLASSES: usize = 20;
/// Number of the worst classes that a shortened table shows.
const WORST: usize = 10;

/// Writes every probability as CSV: one line per image, in the order of `source`; images that could
/// not be read are omitted.
///
/// # Errors
/// If the file cannot be written.
pub fn write_csv(mut file: Output, source: &dyn Source, predictions: &Predictions) -> Result<()> {
    let classes = source.classes();
    let names = CsvRow::new().texts(["image", "name", "class", "predicted"]);
    let names = names.texts(classes.iter().map(|class| format!("p {class}")));
    file.write(names.line().as_bytes())?;
    for at in 0..predictions.len() {
        let (sample, best) = (predictions.samples[at], predictions.top(at, 1)[0].0);
        let [truth, best] =
            [predictions.labels[at], best].map(|class| classes[class as usize].as_str());
        let row = CsvRow::new().number(sample).text(&source.name(sample as usize));
        let row = row.texts([truth, best]).numbers(predictions.row(at));
        file.write(row.line().as_bytes())?;
    }
    file.finish()
}

/// Writes every probability as lines of JSON, with each image's five most probable classes.
///
/// # Errors
/// As [`write_csv`].
pub fn write_jsonl(mut file: Output, source: &dyn Source, predictions: &Predictions) -> Result<()> {
    let classes = source.classes();
    for at in 0..predictions.len() {
        let (sample, truth) = (predictions.samples[at], &classes[predictions.labels[at] as usize]);
        let top = predictions.top(at, TOP);
        let top: Vec<_> = top.iter().map(|(class, p)| (&classes[*class as usize], p)).collect();
        let line = json!({
            "image": sample,
            "name": source.name(sample as usize),
            "class": truth,
            "predicted": top[0].0,
            "top": top,
            "probabilities": predictions.row(at),
        });
        file.write(format!("{line}\n").as_bytes())?;
    }
    file.finish()
}

/// Writes ILSVRC's submission format for classification: one line per image with its five most
/// probable labels, the best first. `ids` are the classes' labels; by default classes are counted
/// from 1.
///
/// # Errors
/// As [`write_csv`].
pub fn write_submission(
    mut file: Output,
    images: usize,
    ids: Option<&[u32]>,
    predictions: &Predictions,
) -> Result<()> {
    let id = |class: u32| ids.map_or(class + 1, |ids| ids[class as usize]);
    let line = |classes: &mut dyn Iterator<Item = u32>| {
        classes.map(|class| id(class).to_string()).collect::<Vec<_>>().join(" ") + "\n"
    };
    let mut at = 0;
    for sample in 0..images {
        // An image that could not be read has a line, too, as line numbers identify images.
        let text = if predictions.samples.get(at) == Some(&(sample as u32)) {
            at += 1;
            line(&mut predictions.top(at - 1, TOP).into_iter().map(|(class, _)| class))
        } else {
            line(&mut (0..TOP.min(predictions.classes) as u32))
        };
        file.write(text.as_bytes())?;
    }
    file.finish()
}

/// The results of each class as JSON: a list in the order of the classes. `auc` is null where there
/// is none.
pub fn classes_json(classes: &[String], predictions: &Predictions) -> Value {
    let has_auc = classes.len() <= MAX_AUC_CLASSES;
    let rows = classes.iter().zip(predictions.by_class()).enumerate();
    let rows = rows.map(|(at, (name, class))| {
        json!({
            "class": name,
            "images": class.score.images,
            "top1_error": class.score.top1_error,
            "top5_error": class.score.top5_error,
            "loss": class.score.loss,
            "predicted": class.predicted,
            "precision": class.rates.precision,
            "recall": class.rates.recall,
            "f1": class.rates.f1,
            "auc": has_auc.then(|| predictions.auc_of(at as u32)).flatten(),
        })
    });
    rows.collect()
}

/// The results of each class as CSV; cells of measures that a class does not have are empty.
pub fn classes_csv(classes: &[String], predictions: &Predictions) -> String {
    let has_auc = classes.len() <= MAX_AUC_CLASSES;
    let names = ["class", "images", "top1_error", "top5_error", "loss", "predicted", "precision"];
    let mut text = CsvRow::new().texts(names).texts(["recall", "f1", "auc"]).line();
    for (at, (name, class)) in classes.iter().zip(predictions.by_class()).enumerate() {
        let s = class.score;
        let row = CsvRow::new().text(name).number(s.images);
        let row = row.number(s.top1_error).optional(s.top5_error).number(s.loss);
        let PrecisionRecall { precision, recall, f1 } = class.rates;
        let row = row.number(class.predicted).numbers([precision, recall, f1]);
        let auc = has_auc.then(|| predictions.auc_of(at as u32)).flatten();
        text += &row.optional(auc).line();
    }
    text
}

/// Quality measures, the results of each class and the confusion matrix as text; with more than
/// twenty classes only the worst classes and the most confused pairs. Starts with an empty line.
pub fn classes_text(classes: &[String], predictions: &Predictions) -> String {
    let is_whole = classes.len() <= MAX_CLASSES;
    let confusion = Confusion::of(classes, predictions);
    let mut text = quality::to_text(&predictions.quality()) + "\n";
    if !is_whole {
        text += &format!("the {WORST} of {} classes with the largest error:\n", classes.len());
    }
    text += &classes_table(classes, predictions, is_whole);
    if is_whole {
        let matrix = confusion.to_text();
        text += &format!("\nrows are true classes, columns predicted classes:\n{matrix}");
    } else {
        text += "\nmost confused:\n";
        for (class, other, images) in confusion.worst_pairs(WORST) {
            text += &format!("{images:>6}  {class}, predicted as {other}\n");
        }
    }
    text
}

/// One line per class: all in order, or the worst, those with the largest top-1 error first.
fn classes_table(classes: &[String], predictions: &Predictions, is_whole: bool) -> String {
    let scores = predictions.by_class();
    let mut order: Vec<usize> = (0..classes.len()).collect();
    if !is_whole {
        let error = |class: &usize| scores[*class].score.top1_error;
        order.sort_by(|a, b| error(b).total_cmp(&error(a)).then(a.cmp(b)));
        order.truncate(WORST);
    }
    let letters = |&class: &usize| classes[class].chars().count();
    let widest = order.iter().map(letters).max().unwrap_or(0).max("class".len());
    let top5 = if has_top5(classes.len()) { "  top-5 error" } else { "" };
    let mut text =
        format!("{:widest$}  images  top-1 error{top5}    loss  precision        F1\n", "class");
    for class in order {
        let (name, row) = (&classes[class], &scores[class]);
        let (s, precision, f1) = (row.score, percent(row.rates.precision), percent(row.rates.f1));
        let (images, top1, loss) = (s.images, percent(s.top1_error), s.loss);
        let top5 = s.top5_error.map_or_else(String::new, |e| format!("  {:>11}", percent(e)));
        text += &format!(
            "{name:widest$}  {images:>6}  {top1:>11}{top5}  {loss:>6.3}  {precision:>9}  {f1:>8}\n"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::Fake;
    use evaluate::Tested;
    use std::fs;

    /// Of image 0 the first class is most probable, of image 2 the last; image 1 could not be read.
    fn predictions(classes: usize, labels: [u32; 2]) -> Predictions {
        let mut predictions = Predictions::new(classes);
        for (sample, (label, best)) in
            [0, 2].into_iter().zip(labels.into_iter().zip([0, classes - 1]))
        {
            let p = |class| if class == best { 0.75 } else { 0.25 / (classes - 1) as f64 };
            let probabilities: Vec<f64> = (0..classes).map(p).collect();
            predictions.push(Tested { sample, label, probabilities: &probabilities });
        }
        predictions
    }

    fn written(write: impl FnOnce(Output) -> Result<()>) -> String {
        let id = std::thread::current().id();
        let path = std::env::temp_dir().join(format!("tested-{}-{id:?}", std::process::id()));
        write(Output::create(&path).unwrap()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        fs::remove_file(&path).unwrap();
        text
    }

    #[test]
    fn files_have_a_line_for_each_image_that_was_read() {
        let (source, predictions) = (Fake::new(3, 8, 3), predictions(3, [0, 1]));
        let csv = written(|file| write_csv(file, &source, &predictions));
        let lines: Vec<&str> = csv.lines().collect();
        let [a, b, c] = [0, 1, 2].map(|class| source.classes()[class].clone());
        assert_eq!(lines[0], format!("image,name,class,predicted,p {a},p {b},p {c}"));
        assert_eq!(lines[1], format!("0,{},{a},{a},0.75,0.125,0.125", source.name(0)));
        assert_eq!(lines[2], format!("2,{},{b},{c},0.125,0.125,0.75", source.name(2)));
        let jsonl = written(|file| write_jsonl(file, &source, &predictions));
        let rows: Vec<Value> =
            jsonl.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows.len(), 2);
        assert_eq!((&rows[1]["image"], &rows[1]["predicted"]), (&json!(2), &json!(c)));
        assert_eq!(rows[1]["top"], json!([[c, 0.75], [a, 0.125], [b, 0.125]]));
    }

    #[test]
    fn a_submission_has_a_line_for_each_image() {
        let predictions = predictions(3, [0, 1]);
        let counted = written(|file| write_submission(file, 3, None, &predictions));
        assert_eq!(counted, "1 2 3\n1 2 3\n3 1 2\n");
        let named = written(|file| write_submission(file, 3, Some(&[30, 10, 20]), &predictions));
        assert_eq!(named, "30 10 20\n30 10 20\n20 30 10\n");
    }

    #[test]
    fn tables_of_many_classes_show_the_worst() {
        let names = |count| (0..count).map(|class| format!("c{class}")).collect::<Vec<String>>();
        let few = predictions(3, [0, 1]);
        let text = classes_text(&names(3), &few);
        assert!(text.starts_with("\n               precision    recall        F1\n"), "{text}");
        let head = "\n\nclass  images  top-1 error    loss  precision        F1\n";
        assert!(text.contains(head), "{text}");
        assert!(text.contains("\nrows are true classes, columns predicted classes:\n"), "{text}");
        let csv = classes_csv(&names(3), &few);
        assert_eq!(csv.lines().count(), 4);
        assert!(csv.lines().nth(1).unwrap().starts_with("c0,1,0,,0.28"), "{csv}");
        assert_eq!(classes_json(&names(3), &few)[1]["top1_error"], 1.0);
        let text = classes_text(&names(21), &predictions(21, [0, 1]));
        let (_, text) =
            text.split_once("\nthe 10 of 21 classes with the largest error:\n").unwrap();
        let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let top5 = ["class", "images", "top-1", "error", "top-5", "error"];
        assert_eq!(lines.next().unwrap()[..6], top5, "{text}");
        assert_eq!(lines.next().unwrap()[0], "c1");
        assert!(text.ends_with("\nmost confused:\n     1  c1, predicted as c20\n"), "{text}");
    }
}
