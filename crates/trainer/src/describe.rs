//! `alexnet describe`: models and recipes as tables.

mod run;

use crate::cli::DescribeArgs;
use crate::console;
use crate::fault::Result;
use crate::model_file::find_model;
use crate::output;
use crate::settings::find_recipe;
use files::numbers::mebibytes;
use report::network;
use run::Run;
use serde::Serialize;
use tensor::Target;
use train::recipe::Recipe;
use train::recipes;

/// Runs the command.
///
/// # Errors
/// Exit code 2 for a model or recipe that does not exist or a network that does not fit together, 6
/// for a precision that no processor has, 7 if its picture cannot be written.
pub fn describe(args: &DescribeArgs) -> Result<()> {
    match (&args.model, &args.recipe) {
        (None, Some(recipe)) => {
            let page = Page { recipe: find_recipe(recipe)? };
            console::print(toml::to_string(&page).expect("a recipe is a table"))?;
        }
        (None, None) => console::print(list())?,
        (Some(model), _) if args.toml => console::print(find_model(model)?.to_toml())?,
        (Some(_), _) => {
            let run = Run::of(args)?;
            if let Some(path) = &args.picture {
                output::ending(path, &["svg"])?;
                output::write(path, network::diagram(&run.spec)?.to_svg_file().as_bytes())?;
            }
            if args.json {
                console::println(as_json(&run)?)?
            } else {
                console::print(as_text(&run)?)?
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

fn list() -> String {
    let mut text = "Models (alexnet describe --model NAME):\n".to_string();
    for model in models::all() {
        text += &format!("  {:<15} {}\n", model.name, model.about);
    }
    text += "\nRecipes (alexnet describe --recipe NAME):\n";
    for (name, about) in recipes::all() {
        text += &format!("  {name:<15} {about}\n");
    }
    text
}

fn as_text(run: &Run) -> Result<String> {
    let mut text = network::table(&run.spec)?;
    let (train, test) = run.memory()?;
    let Recipe { base, batch, shards, .. } = run.recipe();
    let shards = if *shards > 1 { format!(" in {shards} micro-shards") } else { String::new() };
    text += &format!(
        "recipe {base}, memory on {} at batch {batch}{shards}: training {} ({}); testing {}\n",
        device_name(run.target()),
        mebibytes(train.total),
        train.parts(),
        mebibytes(test),
    );
    Ok(text + &run.summary()?.map_or_else(String::new, |summary| summary.text))
}

/// `a processor with 2 threads`, `in bf16`, or `a GPU`.
fn device_name(target: Target) -> String {
    let (threads, numbers) = match target {
        Target::Cpu { threads } => (threads, ""),
        Target::CpuBf16 { threads } => (threads, " in bf16"),
        Target::Cuda => return "a GPU".to_string(),
    };
    let s = if threads == 1 { "" } else { "s" };
    format!("a processor with {threads} thread{s}{numbers}")
}

fn as_json(run: &Run) -> Result<serde_json::Value> {
    let (train, test) = run.memory()?;
    let mut page = network::json(&run.spec)?;
    page["recipe"] = run.recipe().base.as_str().into();
    page["batch"] = run.batch().into();
    page["micro_shards"] = run.recipe().shards.into();
    page["device"] = device_name(run.target()).into();
    page["train_bytes"] = train.total.into();
    page["infer_bytes"] = test.into();
    if let Some(summary) = run.summary()? {
        page[summary.mode.name()] = summary.json;
    }
    Ok(page)
}

/// The run that the arguments describe.
#[cfg(test)]
fn typed(words: &str) -> Result<Run> {
    use clap::Parser;
    let words = ["alexnet", "describe", "--model"].into_iter().chain(words.split_whitespace());
    match crate::cli::Cli::try_parse_from(words).unwrap().command {
        crate::cli::Command::Describe(args) => Run::of(&args),
        _ => unreachable!("that is the command"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_table_has_its_totals() {
        let text = as_text(&typed("alexnet --device cpu").unwrap()).unwrap();
        assert!(text.contains("60,965,224") && text.contains("724,406,816"), "{text}");
        assert!(text.contains("55 x 55 x 96"), "{text}");
        assert!(text.contains("recipe paper, memory on a processor with "), "{text}");
        assert!(text.contains(" at batch 128: training "), "{text}");
    }

    #[test]
    fn adam_keeps_both_of_its_moments_and_shards_their_sums() {
        let bytes = |words: &str| {
            let run = typed(&format!("alexnet-64 --device cpu --threads 2 {words}")).unwrap();
            (run.memory().unwrap().0, as_text(&run).unwrap())
        };
        let (sgd, text) = bytes("");
        assert!(text.contains("weights, gradients, velocities "), "{text}");
        let (adam, text) = bytes("--set recipe.optimizer=adam");
        assert!(text.contains("weights, gradients, moments "), "{text}");
        assert_eq!(3 * adam.parameters, 4 * sgd.parameters);
        assert!(adam.total - sgd.total >= sgd.parameters / 3, "{adam:?} {sgd:?}");

        let (eighths, text) = bytes("--micro-shards 8");
        assert!(text.contains("in 8 micro-shards: training"), "{text}");
        // Three sums of gradients wait for each other; of activations there is an eighth.
        assert!(eighths.activations > sgd.parameters, "{eighths:?}");
        assert!(eighths.activations - sgd.parameters < sgd.activations / 2, "{eighths:?} {sgd:?}");
        let shared = "alexnet-64 --device cpu,cpu --parallel data --set recipe.optimizer=adam";
        assert!(as_text(&typed(shared).unwrap()).is_ok(), "every mode trains with Adam");
    }

    #[test]
    fn a_processor_of_bf16_need_not_be_there() {
        let memory = |words: &str| {
            let run = typed(&format!("alexnet-64 --threads 2 {words}")).unwrap();
            (run.memory().unwrap().0.total, as_text(&run).unwrap())
        };
        let (f32, text) = memory("--device cpu");
        assert!(text.contains("memory on a processor with 2 threads at batch"), "{text}");
        let (bf16, text) = memory("--device cpu --precision bf16");
        assert!(text.contains("a processor with 2 threads in bf16 at batch"), "{text}");
        assert_ne!(f32, bf16, "its operands take memory of their own");
        let fault = typed("alexnet --device cpu --precision tf32").err().unwrap();
        assert!(fault.code == 6 && fault.message.contains("cannot multiply in tf32"), "{fault:?}");
        assert!(typed("alexnet --device cuda --precision tf32").is_ok(), "GPUs may");
    }

    #[test]
    fn a_recipe_may_be_named_beside_a_model() {
        let run = typed("cifar-19pct --recipe paper --batch-size 32").unwrap();
        assert_eq!((run.recipe().base.as_str(), run.batch()), ("paper", 32));
        assert_eq!(typed("cifar-19pct").unwrap().recipe().base, "cifar-19pct");
    }

    #[test]
    fn devices_that_share_the_work_follow_the_table() {
        for (words, mode, sentence) in [
            ("alexnet-source --parallel towers", "towers", "\n\nin 2 towers, each on a device"),
            ("alexnet --parallel data", "data", "1/2 of every batch on each, in 8 micro-shards"),
            ("alexnet --parallel hybrid", "hybrid", "18.7 MB of gradients and new values"),
            (
                "alexnet --parallel data --device cpu,cpu,cpu,cpu --set recipe.wire=bf16",
                "data",
                "a step at batch 128: 365.8 MB of gradients, 731.6 MB of new values",
            ),
        ] {
            let run = typed(words).unwrap();
            let (text, json) = (as_text(&run).unwrap(), as_json(&run).unwrap());
            assert!(text.contains(sentence), "{text}");
            assert_eq!(json[mode]["devices"].as_array().unwrap().len(), run.devices());
        }
    }

    #[test]
    fn a_network_without_towers_is_refused() {
        let run = |name: &str| typed(&format!("{name} --parallel towers")).unwrap();
        let sentence = |name| as_text(&run(name)).unwrap_err().message;
        assert!(sentence("torchvision").contains("no row has groups = 2"));
        assert!(sentence("alexnet").contains("`lrn1`: its windows cross the edge between towers"));
    }

    #[test]
    fn what_cannot_be_shared_is_refused() {
        let model = std::env::temp_dir().join(format!("flat-{}.toml", std::process::id()));
        let flat = layers::Spec::image("flat", 8, 8, 3).linear("fc1", 10);
        std::fs::write(&model, flat.to_toml()).unwrap();
        let describe =
            |words: &str| as_text(&typed(&format!("{words} --parallel hybrid")).unwrap());
        let fault = describe(model.to_str().unwrap()).unwrap_err();
        std::fs::remove_file(&model).unwrap();
        assert!(fault.code == 2 && fault.message.contains("`fc1`: no layer before"), "{fault:?}");
        let fault = describe("alexnet --batch-size 7").unwrap_err();
        assert!(fault.code == 2 && fault.message.contains("recipe.batch = 8"), "{fault:?}");
    }
}
