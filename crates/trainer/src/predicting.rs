//! `alexnet predict`: what images show, with bars.

use crate::cli::PredictArgs;
use crate::console;
use crate::fault::Result;
use crate::features::named;
use crate::trained::{Trained, plan_of};
use crate::{output, signals};
use data::{Loader, Source};
use report::figures::{Guess, draw_guesses};
use serde_json::json;
use train::evaluate::evaluate_each;
use train::observe::Silent;
use train::predictions::{Predictions, top};

/// Runs the command.
///
/// # Errors
/// Exit codes 2, 3, 4, 6, 7 as `alexnet --help` lists them; 3 also if some of several images could
/// not be read, after the others.
pub fn predict(args: &PredictArgs) -> Result<u8> {
    args.out.as_deref().map_or(Ok(""), |path| output::ending(path, &["png"]))?;
    let trained = Trained::chosen(&args.using)?;
    let (pictures, failed) = named(&args.images, &trained)?;
    let plan = plan_of(args.views, args.using.batch_size.min(pictures.len()), trained.crop());
    let step = trained.step(plan.rows, &args.using.machine, &mut |text| console::note(text))?;
    let stop = signals::listen()?;
    let mut loader = Loader::new(pictures.clone(), plan, 1, 0);
    let mut said = Predictions::new(trained.classes().len());
    let done = step.enter(|mut step| {
        let mut keep = |image: train::evaluate::Tested| said.push(image);
        evaluate_each(&mut step, &mut loader, &stop, &mut Silent, &mut keep)
    })?;
    if done.is_none() {
        return Ok(signals::exit_code(stop.requested().expect("it ends early when asked to")));
    }
    let mut text = String::new();
    for at in 0..said.len() {
        let name = pictures.path(at).display().to_string();
        let best = named_top(trained.classes(), said.row(at), args.top);
        if args.json {
            let rows = best.iter().map(|(class, p)| json!({ "class": class, "probability": p }));
            text += &json!({ "image": name, "top": rows.collect::<Vec<_>>() }).to_string();
            text += "\n";
        } else {
            text += &bars(&name, &best);
        }
    }
    console::print(text)?;
    if let Some(path) = &args.out {
        let guesses: Result<Vec<Guess>> = (0..said.len())
            .map(|at| {
                let image = trained.seen(&*pictures, at)?;
                let name = pictures.path(at).file_name().map(|name| name.to_string_lossy());
                let name = name.unwrap_or_default().to_string();
                let top = named_top(trained.classes(), said.row(at), args.top);
                Ok(Guess { image, name, truth: None, top })
            })
            .collect();
        output::write(path, &report::picture::to_png(&draw_guesses(&guesses?, 4)))?;
    }
    Ok(if failed { 3 } else { 0 })
}

/// The most probable classes by name.
pub fn named_top(classes: &[String], row: &[f32], count: usize) -> Vec<(String, f32)> {
    let best = top(row, count.max(1)).into_iter();
    best.map(|(class, p)| (classes[class as usize].clone(), p)).collect()
}

/// A bar is at most so many letters wide.
const BAR: usize = 30;

/// An image's classes, each with its probability as a number and as a bar.
fn bars(name: &str, best: &[(String, f32)]) -> String {
    let widest = best.iter().map(|(class, _)| class.chars().count()).max().unwrap_or(0);
    let mut text = format!("{name}\n");
    for (class, probability) in best {
        let bar = bar(f64::from(*probability));
        let line = format!("  {class:widest$} {:>6.2} %  {bar}", 100.0 * probability);
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
        let text = bars("a.jpg", &[("cat".into(), 0.75), ("a dog".into(), 0.25)]);
        assert!(text.starts_with("a.jpg\n  cat    75.00 %  █"), "{text}");
    }
}
