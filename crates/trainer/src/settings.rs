//! From what was typed to what is meant: a recipe's defaults, then a file, then `--set`, then
//! flags.

mod written;

use crate::cli::{Exchange, Parallel, TrainArgs, check_labelling};
use crate::fault::{Fault, Result};
use crate::limits;
use crate::vendor::Vendor;
use data::Labelling;
use layers::nearest;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use toml::{Table, Value};
use train::checkpoint::Policy;
use train::recipe::Recipe;
use train::recipes;

/// Micro-shards of a batch under `--parallel data` or `hybrid`: as many devices can share it.
const SHARDS: i64 = 8;

/// Every setting of a run; saved in its folder as `config.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// A built-in model or a TOML file.
    pub model: String,
    /// `shapes` or a folder.
    pub data: String,
    /// Where labels and the names of classes come from, if not from folders.
    #[serde(default, skip_serializing_if = "Labelling::is_default")]
    pub labelling: Labelling,
    /// Names every random draw.
    pub seed: u64,
    /// auto, cpu, cuda, cuda:N; several, with commas between them.
    pub device: String,
    /// f32, tf32 or bf16: what a GPU multiplies in. A run that goes on keeps what it began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
    /// How several devices share the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel: Option<Parallel>,
    /// By which way several devices of one process exchange.
    #[serde(default, skip_serializing_if = "Exchange::is_host")]
    pub exchange: Exchange,
    /// Whose products a GPU's fully connected layers use.
    #[serde(default, skip_serializing_if = "Vendor::is_none")]
    pub vendor: Vendor,
    /// No clock decides bits.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deterministic: bool,
    /// Threads that compute; 0: one for each core.
    pub threads: usize,
    /// Threads that decode; 0: as many as there are cores.
    pub workers: usize,
    /// Stop after so many steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<u64>,
    /// Only the first N training images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overfit: Option<usize>,
    /// The last of every N training images is validated on and not learned from; the test images
    /// are not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_out: Option<usize>,
    /// What is taken over from another run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<Inherited>,
    /// Random images instead of data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fake_data: Option<usize>,
    /// When the run is saved.
    #[serde(default)]
    pub checkpoints: Policy,
    /// How to train.
    pub recipe: Recipe,
}

/// What a run takes over from another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inherited {
    /// A run's folder, or a file of weights.
    pub from: PathBuf,
    /// Names of layers, `*` standing for any run of letters; without them all that fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<Vec<String>>,
    /// Velocities, too: the run goes on with other images.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub velocities: bool,
}

impl Settings {
    /// What `alexnet train` was asked for.
    ///
    /// # Errors
    /// Exit code 2 for a file that is no TOML, an unknown key, recipe or value; with the nearest
    /// name.
    pub fn resolve(args: &TrainArgs) -> Result<Settings> {
        Settings::resolve_saved(args, None)
    }

    /// As [`resolve`](Self::resolve); of a run that is resumed, whose `config.toml` has been read
    /// already.
    ///
    /// # Errors
    /// As there.
    pub fn resolve_saved(args: &TrainArgs, saved: Option<String>) -> Result<Settings> {
        let layers = written::layers(args, saved)?;
        let model =
            written::last_text(&layers, &["model"]).unwrap_or_else(|| "alexnet-64".to_string());
        let recipe = written::last_text(&layers, &["recipe", "base"]);
        let recipe = recipe.unwrap_or_else(|| recipes::default_for(&model).to_string());
        let mut table = defaults(model, find_recipe(&recipe)?);
        let written = table["recipe"]["batch"].as_integer();
        let parallel = written::last_text(&layers, &["parallel"]);
        if matches!(parallel.as_deref(), Some("data" | "hybrid")) && args.resume.is_none() {
            let defaults = table.get_mut("recipe").and_then(Value::as_table_mut);
            let defaults = defaults.expect("settings have a recipe");
            defaults.insert("shards".to_string(), Value::from(SHARDS)); // weaker than what is typed
        }
        let mut settings = None;
        for layer in layers {
            written::merge(&mut table, layer.table);
            // Read back after every layer, so that an error is told of the layer that made it.
            let parsed = Settings::deserialize(Value::Table(table.clone()));
            settings =
                Some(parsed.map_err(|error| written::explain(&error.to_string(), &layer.origin))?);
        }
        let mut settings: Settings = settings.expect("the flags are always a layer");
        if args.scale_lr && args.resume.is_none() {
            settings.recipe.rate *= settings.recipe.batch as f64 / written.unwrap_or(1) as f64;
        }
        settings.check()?;
        Ok(settings)
    }

    /// Reads back a run's `config.toml`.
    ///
    /// # Errors
    /// Exit code 4 if it cannot be read.
    pub fn read(path: &Path) -> Result<Settings> {
        let refused =
            |reason: String| Fault { code: 4, message: format!("{}: {reason}", path.display()) };
        let text = files::read_to_string(path).map_err(|error| refused(error.to_string()))?;
        toml::from_str(&text).map_err(|error| refused(error.to_string()))
    }

    /// The settings as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("only strings, numbers and lists")
    }

    fn check(&self) -> Result<()> {
        check_labelling(&self.labelling)?;
        self.recipe.check()?;
        limits::check("threads (--threads)", limits::THREADS, self.threads)?;
        limits::check("workers (--workers)", limits::WORKERS, self.workers)?;
        let positive = |name: &str, value: Option<u64>| match value {
            Some(0) => Err(Fault::usage(format!("{name} is 0; it must be at least 1"))),
            _ => Ok(()),
        };
        positive("max_steps (--max-steps)", self.max_steps)?;
        positive("checkpoints.keep (--keep)", Some(self.checkpoints.keep as u64))?;
        positive("checkpoints.every (--every)", self.checkpoints.every)?;
        positive("overfit (--overfit)", self.overfit.map(|n| n as u64))?;
        if let Some(n @ 0..=1) = self.hold_out {
            return Err(Fault::usage(format!(
                "hold_out (--hold-out) is {n}; it must be at least 2"
            )));
        }
        positive("fake_data (--fake-data)", self.fake_data.map(|n| n as u64))?;
        let fake = self.fake_data.unwrap_or(1);
        limits::check("fake_data (--fake-data)", limits::FAKE_IMAGES, fake)
    }
}

/// A built-in recipe.
///
/// # Errors
/// Exit code 2 with the nearest name.
pub fn find_recipe(name: &str) -> Result<Recipe> {
    recipes::find(name).ok_or_else(|| {
        let names = recipes::all().iter().map(|(name, _)| *name);
        let hint = did_you_mean(name, names);
        Fault::usage(format!(
            "there is no recipe `{name}`{hint} (`alexnet describe` lists them all)"
        ))
    })
}

/// `; did you mean ...?`, or nothing.
pub fn did_you_mean<'a>(typed: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    nearest(typed, names).map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

fn defaults(model: String, recipe: Recipe) -> Table {
    let settings = Settings {
        model,
        data: "shapes".to_string(),
        labelling: Labelling::default(),
        seed: 0,
        device: "auto".to_string(),
        precision: None,
        parallel: None,
        exchange: Exchange::Host,
        vendor: Vendor::None,
        deterministic: false,
        threads: 0,
        workers: 0,
        max_steps: None,
        overfit: None,
        hold_out: None,
        init: None,
        fake_data: None,
        checkpoints: Policy::default(),
        recipe,
    };
    Table::try_from(settings).expect("settings are a table")
}

#[cfg(test)]
mod tests;
