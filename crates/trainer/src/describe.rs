//! `alexnet describe`: models and recipes as tables.

mod hybrid;
mod towers;

use crate::cli::{DescribeArgs, ParallelArg};
use crate::fault::{Fault, Result};
use crate::settings::find_recipe;
use layers::{Mode, Spec};
use serde::Serialize;
use serde_json::json;
use std::fs;
use std::path::Path;
use tensor::Target;
use train::recipe::{Mean, Recipe};
use train::recipes;
use train::step::{Memory, Plan};

/// Runs the command.
///
/// # Errors
/// Exit code 2 for a model or recipe that does not exist or a network that does not fit together.
pub fn describe(args: &DescribeArgs) -> Result<()> {
    match (&args.model, &args.recipe) {
        (None, Some(recipe)) => {
            let page = Page { recipe: find_recipe(recipe)? };
            print!("{}", toml::to_string(&page).expect("a recipe is a table"));
        }
        (None, None) => list(),
        (Some(model), _) => {
            let (spec, images) = (find_model(model)?, args.batch_size.max(1));
            if args.toml {
                print!("{}", spec.to_toml());
            } else if args.json {
                let mut page = as_json(&spec, images)?;
                match args.parallel {
                    Some(ParallelArg::Towers) => page["towers"] = towers::as_json(&spec, images)?,
                    Some(ParallelArg::Hybrid) => page["hybrid"] = hybrid::as_json(&spec, images)?,
                    None => {}
                }
                println!("{page}");
            } else {
                print!("{}", as_text(&spec, images)?);
                match args.parallel {
                    Some(ParallelArg::Towers) => print!("{}", towers::as_text(&spec, images)?),
                    Some(ParallelArg::Hybrid) => print!("{}", hybrid::as_text(&spec, images)?),
                    None => {}
                }
            }
        }
    }
    Ok(())
}

/// A recipe as it stands in a file for `--config`.
#[derive(Serialize)]
struct Page {
    recipe: Recipe,
}

/// A built-in model, or one in a TOML file.
///
/// # Errors
/// Exit code 2 with the nearest name, or the file's fault.
pub fn find_model(name: &str) -> Result<Spec> {
    let is_file = name.ends_with(".toml") || Path::new(name).components().count() > 1;
    if !is_file {
        return models::find(name).map_err(Fault::usage);
    }
    let text = fs::read_to_string(name)
        .map_err(|error| Fault::usage(format!("{name}: cannot read the model: {error}")))?;
    model_of(&text, name)
}

/// A model as the text of a file `name` has it.
///
/// # Errors
/// Exit code 2.
pub fn model_of(text: &str, name: &str) -> Result<Spec> {
    let spec = Spec::from_toml(text).map_err(|error| Fault::usage(format!("{name}: {error}")))?;
    spec.describe()?;
    if spec.input[2] != 3 || spec.input.contains(&0) {
        let [height, width, channels] = spec.input;
        return Err(Fault::usage(format!(
            "{name}: input is {height} x {width} x {channels}; images are height x width x 3"
        )));
    }
    Ok(spec)
}

fn list() {
    println!("Models (alexnet describe --model NAME):");
    for model in models::all() {
        println!("  {:<15} {}", model.name, model.about);
    }
    println!("\nRecipes (alexnet describe --recipe NAME):");
    for (name, about) in recipes::all() {
        println!("  {name:<15} {about}");
    }
}

/// What training and testing take at a batch size, with the mean image of the input's size.
fn memory(spec: &Spec, images: usize, mode: Mode) -> Result<Memory> {
    Ok(Plan::new(spec, images, mode, mean_image(spec), this_cpu())?.memory())
}

fn this_cpu() -> Target {
    Target::Cpu { threads: std::thread::available_parallelism().map_or(1, usize::from) }
}

/// Of the input's size.
fn mean_image(spec: &Spec) -> (Mean, [usize; 2]) {
    (Mean::Image, [spec.input[0], spec.input[1]])
}

fn as_text(spec: &Spec, images: usize) -> Result<String> {
    let rows = spec.describe()?;
    let width = |column: fn(&layers::RowInfo) -> usize| rows.iter().map(column).max().unwrap_or(0);
    let names = width(|row| row.name.len()).max("row".len());
    let summaries = width(|row| row.summary.len()).max("what".len());
    let mut text = format!(
        "{}: images of {} x {} x {}\n\n{:names$}  {:summaries$}  {:>15}  {:>12}  {:>15}\n",
        spec.name,
        spec.input[0],
        spec.input[1],
        spec.input[2],
        "row",
        "what",
        "output",
        "parameters",
        "MACs",
    );
    let dash = |n: usize| if n == 0 { String::new() } else { grouped(n) };
    for row in &rows {
        let line = format!(
            "{:names$}  {:summaries$}  {:>15}  {:>12}  {:>15}",
            row.name,
            row.summary,
            row.output.to_string(),
            dash(row.parameters),
            dash(row.macs),
        );
        text += line.trim_end();
        text += "\n";
    }
    let (parameters, macs) = (spec.parameters()?, spec.macs()?);
    text += &format!(
        "{:names$}  {:summaries$}  {:>15}  {:>12}  {:>15}\n\n",
        "total",
        "",
        "",
        grouped(parameters),
        grouped(macs),
    );
    let (train, infer) = (memory(spec, images, Mode::Train)?, memory(spec, images, Mode::Infer)?);
    text += &format!("memory at batch {images}: training {}", mebibytes(train.total));
    text += &format!(" (weights, gradients, velocities {},", mebibytes(train.parameters));
    text += &format!(" activations {});", mebibytes(train.activations));
    text += &format!(" testing {}\n", mebibytes(infer.total));
    Ok(text)
}

fn as_json(spec: &Spec, images: usize) -> Result<serde_json::Value> {
    let rows: Vec<_> = spec
        .describe()?
        .iter()
        .map(|row| {
            json!({
                "name": row.name,
                "summary": row.summary,
                "output": row.output.dims(),
                "parameters": row.parameters,
                "macs": row.macs,
            })
        })
        .collect();
    let (train, infer) = (memory(spec, images, Mode::Train)?, memory(spec, images, Mode::Infer)?);
    Ok(json!({
        "model": spec.name,
        "input": spec.input,
        "rows": rows,
        "parameters": spec.parameters()?,
        "macs": spec.macs()?,
        "batch": images,
        "train_bytes": train.total,
        "infer_bytes": infer.total,
    }))
}

/// 60965224 as `60,965,224`.
pub fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (idx, digit) in digits.chars().enumerate() {
        if idx > 0 && (digits.len() - idx).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes as `1234 MiB`.
pub fn mebibytes(bytes: usize) -> String {
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    if mebibytes < 10.0 { format!("{mebibytes:.1} MiB") } else { format!("{mebibytes:.0} MiB") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_like_the_paper() {
        assert_eq!(grouped(60_965_224), "60,965,224");
        assert_eq!(grouped(999), "999");
        assert_eq!(mebibytes(1 << 20), "1.0 MiB");
    }

    #[test]
    fn the_papers_table_has_its_totals() {
        let text = as_text(&models::find("alexnet").unwrap(), 128).unwrap();
        assert!(text.contains("60,965,224") && text.contains("724,406,816"), "{text}");
        assert!(text.contains("55 x 55 x 96"), "{text}");
    }
}
