//! Predictions as text, JSON or CSV: a row an image, written as they come.

use crate::cli::PredictArgs;
use crate::console;
use crate::fault::Result;
use crate::output;
use files::CsvRow;
use files::Output;
use files::escape::on_one_line;
use report::grouped;
use serde_json::json;
use std::path::Path;

/// What the file's name may end in.
pub const ENDINGS: [&str; 3] = ["csv", "jsonl", "png"];

/// An image and its most probable classes, the best first.
pub struct Best {
    /// Its place in the source.
    pub at: usize,
    /// Its path.
    pub name: String,
    /// Classes and probabilities.
    pub best: Vec<Guessed>,
}

/// A class and its probability.
pub struct Guessed {
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
pub struct Rows {
    form: Form,
    images: usize,
}

enum Form {
    /// To standard output, at the end: a progress bar is in the way before.
    Text { json: bool, text: String },
    /// The same, and images to be drawn.
    Drawn { json: bool, text: String, rows: Vec<Best> },
    /// A table.
    Csv(Output),
    /// A line of JSON an image.
    Jsonl(Output),
}

impl Rows {
    /// Begins a file, or text, of the most probable of `classes` classes.
    ///
    /// # Errors
    /// Exit code 7.
    pub fn begin(args: &PredictArgs, form: &str, classes: usize) -> Result<Rows> {
        let (json, text) = (args.json, String::new());
        let form = match (&args.out, form) {
            (Some(path), "csv") => {
                let mut file = output::create(path)?;
                file.write(header(args.top.clamp(1, classes)).as_bytes())?;
                Form::Csv(file)
            }
            (Some(path), "jsonl") => Form::Jsonl(output::create(path)?),
            (Some(_), _) => Form::Drawn { json, text, rows: Vec::new() },
            (None, _) => Form::Text { json, text },
        };
        Ok(Rows { form, images: 0 })
    }

    /// Adds an image.
    ///
    /// # Errors
    /// Exit code 7.
    pub fn push(&mut self, row: Best) -> Result<()> {
        self.images += 1;
        match &mut self.form {
            Form::Text { json, text } => *text += &as_text(&row, *json),
            Form::Drawn { json, text, rows } => {
                *text += &as_text(&row, *json);
                rows.push(row);
            }
            Form::Csv(file) => {
                let cells = CsvRow::new().text(&row.name);
                let add = |cells: CsvRow, class: &Guessed| {
                    cells.text(&class.id).number(class.probability)
                };
                file.write(row.best.iter().fold(cells, add).line().as_bytes())?;
            }
            Form::Jsonl(file) => file.write(as_json(&row).as_bytes())?,
        }
        Ok(())
    }

    /// Prints the text, or gives the file its name and says what is in it. Gives back what is to be
    /// drawn.
    ///
    /// # Errors
    /// Exit code 7.
    pub fn finish(self, path: Option<&Path>) -> Result<Vec<Best>> {
        let file = match self.form {
            Form::Text { text, .. } => {
                console::print(text)?;
                return Ok(Vec::new());
            }
            Form::Drawn { text, rows, .. } => {
                console::print(text)?;
                return Ok(rows);
            }
            Form::Csv(file) | Form::Jsonl(file) => file,
        };
        file.finish()?;
        let (path, images) = (path.unwrap_or(Path::new("")).display(), grouped(self.images));
        console::println(format_args!("written: {path} ({images} images)"))?;
        Ok(Vec::new())
    }
}

fn header(classes: usize) -> String {
    let names = (1..=classes).flat_map(|at| [format!("class_{at}"), format!("probability_{at}")]);
    CsvRow::new().text("image").texts(names).line()
}

fn as_text(row: &Best, json: bool) -> String {
    if json { as_json(row) } else { bars(&row.name, &row.best) }
}

fn as_json(row: &Best) -> String {
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
fn bars(name: &str, best: &[Guessed]) -> String {
    let widest = best.iter().map(|class| class.title.chars().count()).max().unwrap_or(0);
    let mut text = format!("{}\n", on_one_line(name));
    for Guessed { title, probability, .. } in best {
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

    #[test]
    fn bars_are_as_long_as_their_probability() {
        assert_eq!(bar(1.0).trim_end(), "█".repeat(BAR));
        assert_eq!(bar(0.5).trim_end(), "█".repeat(BAR / 2));
        assert_eq!(bar(0.0).trim_end(), "");
        let guessed = |title: &str, probability| {
            let (id, title) = (title.to_string(), title.to_string());
            Guessed { id, name: None, title, probability }
        };
        let text = bars("a.jpg", &[guessed("cat", 0.75), guessed("a dog", 0.25)]);
        assert!(text.starts_with("a.jpg\n  cat    75.00 %  █"), "{text}");
    }
}
