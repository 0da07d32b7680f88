//! `alexnet explain --kernel`: images and patches to which kernels respond most.

use super::{plain, searched};
use crate::cli::ExplainArgs;
use crate::console;
use crate::fault::{Fault, Result};
use crate::output;
use crate::trained::Trained;
use data::{Loader, Source};
use evaluate::Stop;
use evaluate::observe::Observer;
use inference::Views;
use inference::explain::{ReceptiveField, Response, strongest};
use inference::neighbours::{among, class_of};
use report::activating::{self, Activating};
use report::palette;
use serde_json::json;
use terminal::signals;

/// A kernel that was typed.
struct Kernel {
    layer: String,
    number: usize,
    field: ReceptiveField,
}

/// Runs the command.
///
/// # Errors
/// As [`explain`](super::explain).
pub fn explain(
    args: &ExplainArgs,
    trained: &Trained,
    mut observer: Box<dyn Observer>,
    stop: &Stop,
) -> Result<u8> {
    let kernels: Vec<Kernel> =
        args.kernels.iter().map(|typed| parse(trained, typed)).collect::<Result<_>>()?;
    let source = among(&searched(args, trained)?, args.among);
    let (machine, count) = (&args.using.machine, args.count.max(1));
    let layers: Vec<&str> = kernels.iter().map(|kernel| kernel.layer.as_str()).collect();
    let plan = Views::Centre.plan(args.using.batch_size, trained.crop());
    let mut predictor =
        trained.predictor(plan.rows, &layers, machine, &mut |text| observer.note(text))?;
    output::make_folder(&args.out)?;
    let (mut drawn, mut results) = (Vec::new(), Vec::new());
    for kernel in &kernels {
        let name = format!("{}:{}", kernel.layer, kernel.number);
        let row = predictor.find_layer(&kernel.layer).expect("it was opened with this layer");
        let workers = machine.workers.unwrap_or(0);
        let mut loader = Loader::new(source.clone(), plan, workers, 0);
        let mut watch = |done, of| observer.progress(&name, done, of);
        let what = (row, kernel.number);
        let found = strongest(&mut predictor, what, &mut loader, count, stop, &mut watch)?;
        let Some(found) = found else {
            return Ok(signals::exit_code(stop.requested().expect("it ends early when asked to")));
        };
        let shown = show(trained, &*source, kernel, &found)?;
        let path = args.out.join(format!("{}-{}.png", plain(&kernel.layer), kernel.number));
        output::write(&path, &palette::to_png(&activating::draw(&shown), palette::MAX_COLORS))?;
        drawn.push((name, shown));
        results.push((found, path));
    }
    drop(observer);
    for ((name, _), (found, path)) in drawn.iter().zip(&results) {
        print(args, name, &*source, found, path)?;
    }
    let index = args.out.join("index.html");
    output::write(&index, activating::page(&drawn).as_bytes())?;
    if !args.output.json {
        console::println(format_args!("written: {}", index.display()))?;
    }
    Ok(0)
}

/// A kernel by its layer and number.
///
/// # Errors
/// Exit code 2 with what is wrong.
fn parse(trained: &Trained, typed: &str) -> Result<Kernel> {
    let wrong = |why: String| Fault::usage(format!("--kernel {typed}: {why}"));
    let parts = typed.rsplit_once(':');
    let parts = parts.and_then(|(layer, number)| Some((layer, number.parse::<usize>().ok()?)));
    let Some((layer, number)) = parts else {
        return Err(wrong("name a layer and a kernel, counted from 0: conv3:17".to_string()));
    };
    let spec = &trained.weights.about.model;
    let field = ReceptiveField::of(spec, layer).map_err(|error| wrong(error.to_string()))?;
    let rows = spec.describe().map_err(inference::Error::from)?;
    let row = rows.iter().find(|row| row.name == layer).expect("it has a receptive field");
    let count = row.output.dims().last().copied().unwrap_or(0);
    if number >= count {
        return Err(wrong(format!("`{layer}` has the kernels 0 to {}", count.saturating_sub(1))));
    }
    Ok(Kernel { layer: layer.to_string(), number, field })
}

/// The images with the patches.
fn show(
    trained: &Trained,
    source: &dyn Source,
    kernel: &Kernel,
    found: &[Response],
) -> Result<Vec<Activating>> {
    let titles = trained.titles();
    let shown = found.iter().map(|response| {
        let image = trained.read_centre(source, response.sample)?;
        let patch = kernel.field.patch(response.at, trained.crop());
        let label = titles[source.label(response.sample) as usize].clone();
        let (at, size) = ((patch.top, patch.left), (patch.height, patch.width));
        Ok(Activating { image, at, size, label, value: response.value })
    });
    shown.collect()
}

fn print(
    args: &ExplainArgs,
    name: &str,
    source: &dyn Source,
    found: &[Response],
    path: &std::path::Path,
) -> Result<()> {
    let class = |response: &Response| class_of(source, response.sample).to_string();
    let json = || {
        let rows = found.iter().map(|response| {
            let (row, column) = response.at;
            json!({ "image": response.sample, "name": source.name(response.sample),
                "class": class(response), "value": response.value, "row": row, "column": column })
        });
        json!({ "kernel": name, "images": rows.collect::<Vec<_>>(), "file": path })
    };
    let text = || {
        let rows = found.iter().map(|response| {
            let (value, class) = (response.value, class(response));
            format!("  {value:>9.3}  {class}  {}\n", source.name(response.sample))
        });
        format!("{name}\n{}", rows.collect::<String>())
    };
    console::result(args.output.json, json, text)
}
