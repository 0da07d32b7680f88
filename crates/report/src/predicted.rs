//! Predictions for images as text, JSON or CSV, one row per image, written as a stream.

use files::escape::on_one_line;
use files::{CsvRow, Output, Result};
use serde_json::json;

/// An image and its most probable classes.
#[derive(Clone, Debug)]
pub struct Predicted {
    /// Its index in the source.
    pub at: usize,
    /// Its path.
    pub name: String,
    /// The best first.
    pub best: Vec<Class>,
}

/// A class and its probability.
#[derive(Clone, Debug)]
pub struct Class {
    /// Its unique id.
    pub id: String,
    /// Its readable name, if any; two classes may have the same.
    pub name: Option<String>,
    /// Its title for display.
    pub title: String,
    /// From 0 to 1.
    pub probability: f32,
}

/// Collects or writes rows.
#[derive(Debug)]
pub struct Rows {
    sink: Sink,
    images: usize,
}

#[derive(Debug)]
enum Sink {
    /// Text, shown at the end so that it does not interfere with a progress bar; with the images if
    /// they are to be drawn.
    Text { json: bool, text: String, rows: Option<Vec<Predicted>> },
    /// A CSV file.
    Csv(Output),
    /// A file with one line of JSON per image.
    Jsonl(Output),
}

/// The result of all rows.
#[derive(Debug)]
pub enum Finished {
    /// Text to show, and images to draw.
    Text(String, Vec<Predicted>),
    /// Number of images in the file.
    File(usize),
}

impl Rows {
    /// Text with bars or, with `json`, one line of JSON per image.
    pub fn text(json: bool) -> Rows {
        Rows { sink: Sink::Text { json, text: String::new(), rows: None }, images: 0 }
    }

    /// As [`text`](Self::text), and returns the rows at the end so that they can be drawn.
    pub fn text_and_rows(json: bool) -> Rows {
        let (text, rows) = (String::new(), Some(Vec::new()));
        Rows { sink: Sink::Text { json, text, rows }, images: 0 }
    }

    /// A CSV file with `classes` classes per image.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn csv(mut file: Output, classes: usize) -> Result<Rows> {
        file.write(header(classes).as_bytes())?;
        Ok(Rows { sink: Sink::Csv(file), images: 0 })
    }

    /// A file with one line of JSON per image.
    pub fn jsonl(file: Output) -> Rows {
        Rows { sink: Sink::Jsonl(file), images: 0 }
    }

    /// Adds an image.
    ///
    /// # Errors
    /// As [`csv`](Self::csv).
    pub fn push(&mut self, row: Predicted) -> Result<()> {
        self.images += 1;
        match &mut self.sink {
            Sink::Text { json, text, rows } => {
                *text += &if *json { as_json(&row) } else { bars(&row) };
                if let Some(rows) = rows {
                    rows.push(row);
                }
                Ok(())
            }
            Sink::Csv(file) => file.write(as_csv(&row).as_bytes()),
            Sink::Jsonl(file) => file.write(as_json(&row).as_bytes()),
        }
    }

    /// Completes a file and renames it to its path.
    ///
    /// # Errors
    /// As [`csv`](Self::csv).
    pub fn finish(self) -> Result<Finished> {
        match self.sink {
            Sink::Text { text, rows, .. } => Ok(Finished::Text(text, rows.unwrap_or_default())),
            Sink::Csv(file) | Sink::Jsonl(file) => {
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

/// Maximum width of a bar in characters.
const BAR: usize = 30;

/// An image's classes with their probabilities as numbers and bars.
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

/// A share as a bar, to an eighth of a character.
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
    fn bars_are_proportional_to_their_probability() {
        assert_eq!(bar(1.0).trim_end(), "█".repeat(BAR));
        assert_eq!(bar(0.5).trim_end(), "█".repeat(BAR / 2));
        assert_eq!(bar(0.0).trim_end(), "");
        let text = bars(&row());
        assert!(text.starts_with("a.jpg\n  cat    75.00 %  █"), "{text}");
    }

    #[test]
    fn rows_become_text_drawings_or_files() {
        let finished = |mut rows: Rows| {
            rows.push(row()).unwrap();
            rows.push(row()).unwrap();
            rows.finish().unwrap()
        };
        let Finished::Text(text, drawn) = finished(Rows::text(true)) else { panic!("a file") };
        assert_eq!((text.lines().count(), drawn.len()), (2, 0));
        let json: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(json["top"][1]["name"], "a dog");
        let Finished::Text(_, drawn) = finished(Rows::text_and_rows(false)) else {
            panic!("a file")
        };
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
