//! The settings of a run: defaults and a built-in recipe, overridden by a file, then by `--set`,
//! then by flags.

mod schedule;
mod written;

use crate::cli::{Exchange, Parallel, TrainArgs, check_labelling};
use crate::fault::{Fault, Result};
use crate::importing;
use crate::limits;
use crate::model_file::find_model;
use crate::vendor::Vendor;
use data::Labelling;
use layers::{Spec, nearest};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use toml::{Table, Value};
use train::checkpoint::Policy;
use train::recipe::Recipe;
use train::recipe::head::HEAD;
use train::recipes;

/// Default number of micro-shards per batch with `--parallel data` or `hybrid`: at most this many
/// devices, or groups of towers, can share a batch.
const SHARDS: i64 = 8;

/// Every setting of a run; saved in its folder as `config.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// A built-in model or a TOML file.
    pub model: String,
    /// `shapes`, or the folder or file of a data set.
    pub data: String,
    /// Where labels and the names of classes come from, if not from folders.
    #[serde(default, skip_serializing_if = "Labelling::is_default")]
    pub labelling: Labelling,
    /// The seed of all random draws.
    pub seed: u64,
    /// auto, cpu, cuda or cuda:N; or several of them, separated by commas.
    pub device: String,
    /// f32, tf32 or bf16: the format in which a device multiplies. A resumed run keeps its format
    /// unless another is requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
    /// How several devices share the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel: Option<Parallel>,
    /// How several devices of one process exchange data.
    #[serde(default, skip_serializing_if = "Exchange::is_host")]
    pub exchange: Exchange,
    /// The libraries for a GPU's convolutions and fully connected layers.
    #[serde(default, skip_serializing_if = "Vendor::is_none")]
    pub vendor: Vendor,
    /// With `vendor = "tune"`: use the run's saved choices or fixed heuristics instead of timings.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deterministic: bool,
    /// Compute threads; 0: one per core.
    pub threads: usize,
    /// Threads that read and decode images; 0: one per core.
    pub workers: usize,
    /// Stop after this many steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<u64>,
    /// Train and validate on only N of the training images, evenly spaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overfit: Option<usize>,
    /// Hold out the last of every N training images for validation. The data set's own test images
    /// are not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_out: Option<usize>,
    /// Initial weights from another run or a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<Inherited>,
    /// Train on this many random images instead of data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fake_data: Option<usize>,
    /// When checkpoints are written, and how many are kept.
    #[serde(default)]
    pub checkpoints: Policy,
    /// The training recipe.
    pub recipe: Recipe,
}

/// What a run is initialised with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inherited {
    /// A run's folder, or a weights file.
    pub from: PathBuf,
    /// Names of the layers to initialise; `*` matches any characters. `None`: all, but the last
    /// only if the number of classes is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<Vec<String>>,
    /// Whether to copy velocities, too: to continue another run's training on other images.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub velocities: bool,
    /// For a file of another program: its mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<PathBuf>,
}

impl Settings {
    /// The settings of a run without any flags: `model` with `recipe` on generated shapes.
    pub fn new(model: String, recipe: Recipe) -> Settings {
        Settings {
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
        }
    }

    /// The settings for the arguments of `alexnet train`.
    ///
    /// # Errors
    /// Exit code 2 for a file that is not TOML, or an unknown key, recipe or value; the message
    /// suggests the nearest name.
    pub fn resolve(args: &TrainArgs) -> Result<Settings> {
        Settings::resolve_saved(args, None).map(|(settings, _)| settings)
    }

    /// As [`resolve`](Self::resolve). `saved` is the text of the resumed run's `config.toml`, if it
    /// has been read already. Also returns the model if it had to be read: it may be a pipe.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub fn resolve_saved(
        args: &TrainArgs,
        saved: Option<String>,
    ) -> Result<(Settings, Option<Spec>)> {
        let layers = written::layers(args, saved, schedule::layer(args)?)?;
        let model = written::last_text(&layers, &["model"]);
        let init = written::last_text(&layers, &["init", "from"]);
        let (mut spec, mut about) = (None, None);
        if let Some(from) = init.filter(|_| args.resume.is_none()) {
            spec = model.as_deref().map(find_model).transpose()?;
            let mean = written::last_text(&layers, &["init", "mean"]).map(PathBuf::from);
            about = importing::about(Path::new(&from), spec.as_ref(), mean)?;
        }
        let model = model.or_else(|| importing::built_in(&about.as_ref()?.model));
        let model = model.unwrap_or_else(|| "alexnet-64".to_string());
        let recipe = written::last_text(&layers, &["recipe", "base"]);
        let recipe = recipe.unwrap_or_else(|| recipes::default_for(&model).to_string());
        if let (Some(_), None) = (&about, &spec) {
            spec = Some(find_model(&model)?);
        }
        let settings = Settings::new(model, find_recipe(&recipe)?);
        let mut table = Table::try_from(settings).expect("settings are a table");
        if let (Some(about), Some(spec)) = (&about, &spec) {
            set_recipe(&mut table, "input", importing::input(about, spec));
        }
        let recipe_batch = table["recipe"]["batch"].as_integer();
        let parallel = written::last_text(&layers, &["parallel"]);
        if matches!(parallel.as_deref(), Some("data" | "hybrid")) && args.resume.is_none() {
            set_recipe(&mut table, "shards", Value::from(SHARDS));
        }
        let epochs = written::last_epochs(&layers);
        let mut parsed = Err(Fault::usage("")); // the flags are always a layer
        for mut layer in layers {
            schedule::complete(&table, &mut layer, epochs);
            written::merge(&mut table, layer.table);
            // Parsed after every layer, so that an error names the file, `--set` or flag at fault.
            let settings = Settings::deserialize(Value::Table(table.clone()));
            let settings =
                settings.map_err(|error| written::explain(&error.to_string(), &layer.origin));
            parsed = match (parsed, settings) {
                (_, Ok(settings)) => Ok(settings),
                // What `--lr-schedule` lacks may follow with `--set`.
                (Err(earlier), Err(fault)) if schedule::still_lacks(&earlier, &fault) => {
                    Err(earlier)
                }
                (_, Err(fault)) if schedule::lacks_settings(&fault) => Err(fault),
                (_, Err(fault)) => return Err(fault),
            };
        }
        let mut settings = parsed?;
        if args.scale_lr && args.resume.is_none() {
            settings.recipe.rate *= settings.recipe.batch as f64 / recipe_batch.unwrap_or(1) as f64;
        }
        if settings.recipe.layers.contains_key(HEAD) && args.resume.is_none() {
            let read = spec.map_or_else(|| find_model(&settings.model), Ok)?;
            let names = trainable_layers(&read)?;
            settings.recipe.name_head(&names.iter().map(String::as_str).collect::<Vec<_>>());
            spec = Some(read);
        }
        settings.check()?;
        Ok((settings, spec))
    }

    /// Reads a run's `config.toml`.
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
        if self.recipe.early_stopping.is_some() && self.overfit.is_some() {
            return Err(Fault::usage(
                "--early-stopping needs validation images besides the training images, and \
                 --overfit validates on these: leave one out",
            ));
        }
        let fake = self.fake_data.unwrap_or(1);
        limits::check("fake_data (--fake-data)", limits::FAKE_IMAGES, fake)
    }
}

/// Changes a default of the recipe: the file, `--set` and flags override it.
fn set_recipe(defaults: &mut Table, key: &str, value: Value) {
    let recipe = defaults.get_mut("recipe").and_then(Value::as_table_mut);
    recipe.expect("settings have a recipe").insert(key.to_string(), value);
}

/// The settings that flags other than `--set`, `--config` and `--lr-schedule` give.
pub fn flags(args: &TrainArgs) -> Table {
    written::flags(args)
}

/// The names of a model's layers with parameters, in their order.
///
/// # Errors
/// Exit code 2 if the layers do not fit together.
pub fn trainable_layers(spec: &Spec) -> Result<Vec<String>> {
    let rows = spec.describe()?.into_iter().filter(|row| row.parameters > 0);
    Ok(rows.map(|row| row.name).collect())
}

/// The built-in recipe of that name.
///
/// # Errors
/// Exit code 2 if there is none; the message suggests the nearest name.
pub fn find_recipe(name: &str) -> Result<Recipe> {
    recipes::find(name).ok_or_else(|| {
        let names = recipes::all().map(|(name, _)| name);
        let hint = did_you_mean(name, names);
        Fault::usage(format!(
            "there is no recipe `{name}`{hint} (`alexnet describe` lists them all)"
        ))
    })
}

/// `; did you mean ...?` with the nearest of `names`; empty if none is similar.
pub fn did_you_mean<'a>(typed: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    nearest(typed, names).map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

#[cfg(test)]
mod tests;
