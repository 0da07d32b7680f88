//! What a test leaves: tables for people, files for programs.

use crate::cli::EvalArgs;
use crate::fault::Result;
use crate::images::Images;
use crate::output;
use data::Source;
use data::shards::About;
use evaluate::predictions::Predictions;
use files::CsvRow;
use report::Confusion;
use report::percent;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Tables of up to so many classes are printed whole.
const MOST_CLASSES: usize = 20;
/// Of more classes, those that fare worst.
const WORST: usize = 10;

/// Whether the files asked for can have the forms that their names ask for.
///
/// # Errors
/// Exit code 2.
pub fn check(args: &EvalArgs) -> Result<()> {
    let check = |path: &Option<PathBuf>, known: &[&str]| match path {
        Some(path) => output::ending(path, known).map(|_| ()),
        None => Ok(()),
    };
    check(&args.predictions, &["csv", "jsonl"])?;
    check(&args.confusion, &["csv", "json", "svg", "png"])?;
    check(&args.per_class, &["csv", "json"])
}

/// Writes what was asked for.
///
/// # Errors
/// Exit code 7.
pub fn write_files(args: &EvalArgs, images: &Images, said: &Predictions) -> Result<()> {
    if let Some(path) = &args.predictions {
        write_predictions(path, &*images.test, said)?;
    }
    if let Some(path) = &args.submission {
        write_submission(path, images, said)?;
    }
    if let Some(path) = &args.confusion {
        write_confusion(path, &confusion_of(images.test.classes(), said))?;
    }
    if let Some(path) = &args.per_class {
        let bytes = match output::ending(path, &["csv", "json"])? {
            "json" => format!("{:#}\n", per_class_json(images, said)),
            _ => per_class_csv(images, said),
        };
        output::write(path, bytes.as_bytes())?;
    }
    Ok(())
}

/// Which classes were taken for which.
pub fn confusion_of(classes: &[String], said: &Predictions) -> Confusion {
    Confusion { classes: classes.to_vec(), counts: said.confusion() }
}

fn write_confusion(path: &Path, confusion: &Confusion) -> Result<()> {
    let bytes = match output::ending(path, &["csv", "json", "svg", "png"])? {
        "csv" => confusion.to_csv().into_bytes(),
        "png" => report::picture::to_png(&confusion.draw()),
        "svg" => confusion.to_svg_file().into_bytes(),
        _ => {
            let rows: Vec<&[u32]> = confusion.counts.chunks(confusion.classes.len()).collect();
            let matrix = json!({ "classes": confusion.classes, "counts": rows });
            format!("{matrix}\n").into_bytes()
        }
    };
    output::write(path, &bytes)
}

/// A line an image, in the order of the test images; those that could not be read are left out.
fn write_predictions(path: &Path, source: &dyn Source, said: &Predictions) -> Result<()> {
    let classes = source.classes();
    let csv = output::ending(path, &["csv", "jsonl"])? == "csv";
    let mut file = output::create(path)?;
    if csv {
        let names = CsvRow::new().texts(["image", "name", "class", "predicted"]);
        let line = names.texts(classes.iter().map(|class| format!("p {class}"))).line();
        file.write(line.as_bytes())?;
    }
    for at in 0..said.len() {
        let (sample, truth) = (said.samples[at], &classes[said.labels[at] as usize]);
        let (name, top) = (source.name(sample as usize), said.top(at, 5));
        let best = &classes[top[0].0 as usize];
        let line = if csv {
            let row = CsvRow::new().number(sample).texts([&name, truth, best]);
            row.numbers(said.row(at)).line()
        } else {
            let top: Vec<_> = top.iter().map(|(c, p)| (&classes[*c as usize], p)).collect();
            let line = json!({ "image": sample, "name": name, "class": truth, "predicted": best,
                "top": top, "probabilities": said.row(at) });
            format!("{line}\n")
        };
        file.write(line.as_bytes())?;
    }
    Ok(file.finish()?)
}

/// ILSVRC's text for classification: a line an image, its five most probable labels, counted from
/// 1, the best first. Labels are the development kit's where the data set knows them.
fn write_submission(path: &Path, images: &Images, said: &Predictions) -> Result<()> {
    let ids = devkit_ids(images);
    let id = |class: u32| ids.as_ref().map_or(class + 1, |ids| ids[class as usize]);
    let line = |classes: &mut dyn Iterator<Item = u32>| {
        classes.map(|class| id(class).to_string()).collect::<Vec<_>>().join(" ") + "\n"
    };
    let mut file = output::create(path)?;
    let mut at = 0;
    for sample in 0..images.test.len() {
        // An image that could not be read has its line, too: lines are counted.
        let text = if said.samples.get(at) == Some(&(sample as u32)) {
            at += 1;
            line(&mut said.top(at - 1, 5).into_iter().map(|(class, _)| class))
        } else {
            line(&mut (0..5.min(said.classes as u32)))
        };
        file.write(text.as_bytes())?;
    }
    Ok(file.finish()?)
}

/// The development kit's number of each class, if the images were prepared from the contest's
/// archives.
fn devkit_ids(images: &Images) -> Option<Vec<u32>> {
    let folder = Path::new(images.name());
    let about = About::is_at(folder).then(|| About::read(folder).ok()).flatten()?;
    about.classes.iter().map(|class| class.devkit_id).collect()
}

/// For `--json`.
pub fn per_class_json(images: &Images, said: &Predictions) -> Value {
    let rows = images.test.classes().iter().zip(said.by_class()).map(|(name, class)| {
        json!({ "class": name, "images": class.score.images,
            "top1_error": class.score.top1_error, "top5_error": class.score.top5_error,
            "loss": class.score.loss, "predicted": class.predicted, "precision": class.precision })
    });
    Value::Array(rows.collect())
}

fn per_class_csv(images: &Images, said: &Predictions) -> String {
    let mut text = "class,images,top1_error,top5_error,loss,predicted,precision\n".to_string();
    for (name, class) in images.test.classes().iter().zip(said.by_class()) {
        let s = class.score;
        let row = CsvRow::new().text(name).number(s.images);
        let row = row.numbers([s.top1_error, s.top5_error, s.loss]);
        text += &row.number(class.predicted).number(class.precision).line();
    }
    text
}

/// The table by class and the confusion matrix, as far as they fit a screen.
pub fn by_class(args: &EvalArgs, images: &Images, said: &Predictions) -> String {
    let classes = images.test.classes();
    let scores = said.by_class();
    let mut order: Vec<usize> = (0..classes.len()).collect();
    let few = classes.len() <= MOST_CLASSES;
    let mut text = String::from("\n");
    if !few {
        let error = |class: &usize| scores[*class].score.top1_error;
        order.sort_by(|a, b| error(b).total_cmp(&error(a)).then(a.cmp(b)));
        order.truncate(WORST);
        text += &format!("the {WORST} classes of {} that fare worst:\n", classes.len());
    }
    let widest =
        order.iter().map(|&class| classes[class].chars().count()).max().unwrap_or(0).max(5);
    let (top1, top5) = ("top-1 error", "top-5 error");
    text += &format!("{:widest$}  images  {top1}  {top5}    loss  precision\n", "class");
    for class in order {
        let (name, row) = (&classes[class], &scores[class]);
        let (s, precision) = (row.score, percent(row.precision));
        let (top1, top5) = (percent(s.top1_error), percent(s.top5_error));
        let (images, loss) = (s.images, s.loss);
        text += &format!(
            "{name:widest$}  {images:>6}  {top1:>11}  {top5:>11}  {loss:>6.3}  {precision:>9}\n"
        );
    }
    let confusion = confusion_of(classes, said);
    if few {
        text += &format!("\nrows are classes, columns what was said:\n{}", confusion.to_text());
    } else {
        text += "\nmost confused:\n";
        for (class, other, images) in confusion.worst_pairs(WORST) {
            text += &format!("{images:>6}  {class}, taken for {other}\n");
        }
    }
    let written = [&args.predictions, &args.submission, &args.confusion, &args.per_class];
    for path in written.into_iter().flatten() {
        text += &format!("written: {}\n", path.display());
    }
    text
}
