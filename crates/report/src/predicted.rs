//! What single images show: text for people, JSON or CSV, a row an image, written as they come.

use files::escape::on_one_line;
use files::{CsvRow, Output, Result};
use serde_json::json;

/// An image and its most probable classes.
#[derive(Clone, Debug)]
pub struct Predicted {
    /// Its place in the source.
    pub at: usize,
    /// Its path.
    pub name: String,
    /// The best first.
    pub best: Vec<Class>,
}

/// A class and its probability.
#[derive(Clone, Debug)]
pub struct Class {
    /// What tells it from others.
    pub id: String,
    /// In words, if there are any; two classes may have one name.
    pub name: Option<String>,
    /// What people are shown.
    pub title: String,
    /// From 0 to 1.
    pub probability: f32,
}

/// Where rows go.
#[derive(Debug)]
pub struct Rows {
    form: Form,
    images: usize,
}

#[derive(Debug)]
enum Form {
    /// To be shown at the end: a progress bar is in the way before. With images to be drawn, if
    /// they are.
    Text { json: bool, text: String, drawn: Option<Vec<Predicted>> },
    /// A table.
    Csv(Output),
    /// A line of JSON an image.
    Jsonl(Output),
}

/// What became of the rows.
#[derive(Debug)]
pub enum Finished {
    /// Text that is to be shown, and images that are to be drawn.
    Text(String, Vec<Predicted>),
    /// A file with so many images.
    File(usize),
}

impl Rows {
    /// Text with bars, or with `json` a line of JSON an image.
    pub fn text(json: bool) -> Rows {
        Rows { form: Form::Text { json, text: String::new(), drawn: None }, images: 0 }
    }

    /// The same, and the images are kept to be drawn.
    pub fn drawn(json: bool) -> Rows {
        let (text, drawn) = (String::new(), Some(Vec::new()));
        Rows { form: Form::Text { json, text, drawn }, images: 0 }
    }

    /// A table of so many classes an image.
    ///
    /// # Errors
    /// If the file cannot be written (so do the methods below).
    pub fn csv(mut file: Output, classes: usize) -> Result<Rows> {
        file.write(header(classes).as_bytes())?;
        Ok(Rows { form: Form::Csv(file), images: 0 })
    }

    /// A file with a line of JSON an image.
    pub fn jsonl(file: Output) -> Rows {
        Rows { form: Form::Jsonl(file), images: 0 }
    }

    /// Adds an image.
    ///
    /// # Errors
    /// As [`csv`](Self::csv).
    pub fn push(&mut self, row: Predicted) -> Result<()> {
        self.images += 1;
        match &mut self.form {
            Form::Text { json, text, drawn } => {
                *text += &if *json { as_json(&row) } else { bars(&row) };
                drawn.iter_mut().for_each(|drawn| drawn.push(row.clone()));
                Ok(())
            }
            Form::Csv(file) => file.write(as_csv(&row).as_bytes()),
            Form::Jsonl(file) => file.write(as_json(&row).as_bytes()),
        }
    }

    /// Gives a file its name.
    ///
    /// # Errors
    /// As [`csv`](Self::csv).
    pub fn finish(self) -> Result<Finished> {
        match self.form {
            Form::Text { text, drawn, .. } => Ok(Finished::Text(text, drawn.unwrap_or_default())),
            Form::Csv(file) | Form::Jsonl(file) => {
                file.finish()?;
                Ok(Finished::File(self.images))
            }
        }
    }
}

fn header(classes: usize) -> String {
    let names = (1..=classes).flat_map(|at| [format!("class_{at}"), format!("probability_{at}")]);
    CsvRow::new().text("image").texts(names).line()
}

fn as_csv(row: &Predicted) -> String {
    let add = |cells: CsvRow, class: &Class| cells.text(&class.id).number(class.probability);
    row.best.iter().fold(CsvRow::new().text(&row.name), add).line()
}

fn as_json(row: &Predicted) -> String {
    let rows = row.best.iter().map(|class| {
        let mut row = json!({ "class": class.id, "probability": class.probability });
        if let Some(name) = &class.name {
            row["name"] = name.as_str().into();
        }
        row
    });
    let line = json!({ "image": row.name, "top": rows.collect::<Vec<_>>() });
    format!("{line}\n")
}

/// A bar is at most so many letters wide.
const BAR: usize = 30;

/// An image's classes, each with its probability as a number and as a bar.
fn bars(row: &Predicted) -> String {
    let widest = row.best.iter().map(|class| class.title.chars().count()).max().unwrap_or(0);
    let mut text = format!("{}\n", on_one_line(&row.name));
    for Class { title, probability, .. } in &row.best {
        let bar = bar(f64::from(*probability));
        let line = format!("  {title:widest$} {:>6.2} %  {bar}", 100.0 * probability);
        text += line.trim_end();
        text += "\n";
    }
    text
}

/// A share as a bar, to an eighth of a letter.
fn bar(share: f64) -> String {
    let eighths = (share.clamp(0.0, 1.0) * (8 * BAR) as f64).round() as usize;
    let rest = [" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    format!("{}{rest}", "█".repeat(eighths / 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Predicted {
        let class = |id: &str, name: Option<&str>, probability| {
            let title = name.unwrap_or(id).to_string();
            Class { id: id.to_string(), name: name.map(str::to_string), title, probability }
        };
        let best = vec![class("cat", None, 0.75), class("n1", Some("a dog"), 0.25)];
        Predicted { at: 0, name: "a.jpg".to_string(), best }
    }

    #[test]
    fn bars_are_as_long_as_their_probability() {
        assert_eq!(bar(1.0).trim_end(), "█".repeat(BAR));
        assert_eq!(bar(0.5).trim_end(), "█".repeat(BAR / 2));
        assert_eq!(bar(0.0).trim_end(), "");
        let text = bars(&row());
        assert!(text.starts_with("a.jpg\n  cat    75.00 %  █"), "{text}");
    }

    #[test]
    fn rows_are_shown_kept_or_written() {
        let finished = |mut rows: Rows| {
            rows.push(row()).unwrap();
            rows.push(row()).unwrap();
            rows.finish().unwrap()
        };
        let Finished::Text(text, drawn) = finished(Rows::text(true)) else { panic!("a file") };
        assert_eq!((text.lines().count(), drawn.len()), (2, 0));
        let json: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(json["top"][1]["name"], "a dog");
        let Finished::Text(_, drawn) = finished(Rows::drawn(false)) else { panic!("a file") };
        assert_eq!(drawn.len(), 2);
        let path = std::env::temp_dir().join(format!("predicted-{}.csv", std::process::id()));
        let rows = Rows::csv(Output::create(&path).unwrap(), 2).unwrap();
        assert!(matches!(finished(rows), Finished::File(2)));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let line = "a.jpg,cat,0.75,n1,0.25\n";
        let header = "image,class_1,probability_1,class_2,probability_2\n";
        assert_eq!(text, format!("{header}{line}{line}"));
    }
}
