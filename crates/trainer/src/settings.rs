//! From what was typed to what is meant: a recipe's defaults, then a file, then `--set`, then
//! flags.

use crate::cli::TrainArgs;
use crate::fault::{Fault, Result};
use crate::vendor::Vendor;
use clap::ValueEnum;
use layers::nearest;
use serde::{Deserialize, Serialize};
use std::fs;
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
    /// Names every random draw.
    pub seed: u64,
    /// auto, cpu, cuda, cuda:N; several, with commas between them.
    pub device: String,
    /// f32, tf32 or bf16: what a card multiplies in. A run that goes on keeps what it began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
    /// How several devices share the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel: Option<Parallel>,
    /// By which way several devices of one process exchange.
    #[serde(default, skip_serializing_if = "Exchange::is_host")]
    pub exchange: Exchange,
    /// Whose products a card's fully connected layers use.
    #[serde(default, skip_serializing_if = "Vendor::is_none")]
    pub vendor: Vendor,
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

/// How several devices or processes share the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Parallel {
    /// Each has one of the network's towers, as in the paper
    Towers,
    /// Each has the whole network and a part of every batch
    Data,
    /// Each has all convolutions and a part of every batch, and a part of the linear layers' units
    Hybrid,
}

/// By which way several devices of one process exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Exchange {
    /// Through the host's memory: any devices
    #[default]
    Host,
    /// From card to card, through NCCL
    Nccl,
}

impl Exchange {
    fn is_host(&self) -> bool {
        *self == Exchange::Host
    }
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

/// A layer of settings and where it was written, for messages.
struct Layer {
    origin: Origin,
    table: Table,
}

enum Origin {
    File { name: String, text: String },
    Set(String),
    Flags,
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
        let layers = layers(args, saved)?;
        let model = last_text(&layers, &["model"]).unwrap_or_else(|| "alexnet-64".to_string());
        let recipe = last_text(&layers, &["recipe", "base"]);
        let recipe = recipe.unwrap_or_else(|| recipes::default_for(&model).to_string());
        let mut table = defaults(model, find_recipe(&recipe)?);
        let written = table["recipe"]["batch"].as_integer();
        let parallel = last_text(&layers, &["parallel"]);
        if matches!(parallel.as_deref(), Some("data" | "hybrid")) && args.resume.is_none() {
            let defaults = table.get_mut("recipe").and_then(Value::as_table_mut);
            let defaults = defaults.expect("settings have a recipe");
            defaults.insert("shards".to_string(), Value::from(SHARDS)); // weaker than what is typed
        }
        let mut settings = None;
        for layer in layers {
            merge(&mut table, layer.table);
            // Read back after every layer, so that an error is told of the layer that made it.
            let parsed = Settings::deserialize(Value::Table(table.clone()));
            settings = Some(parsed.map_err(|error| explain(&error.to_string(), &layer.origin))?);
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
        let text = fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
        toml::from_str(&text).map_err(|error| refused(error.to_string()))
    }

    /// The settings as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("only strings, numbers and lists")
    }

    fn check(&self) -> Result<()> {
        let recipe = &self.recipe;
        let finite = |name: &str, value: f64, least: f64| match value.is_finite() && value >= least
        {
            true => Ok(()),
            false => Err(Fault::usage(format!("{name} is {value}; it must be at least {least}"))),
        };
        finite("recipe.rate (--lr)", recipe.rate, 0.0)?;
        finite("recipe.decay", recipe.decay, 0.0)?;
        finite("recipe.momentum", recipe.momentum, 0.0)?;
        recipe.augment.check().map_err(Fault::usage)?;
        let positive = |name: &str, value: Option<u64>| match value {
            Some(0) => Err(Fault::usage(format!("{name} is 0; it must be at least 1"))),
            _ => Ok(()),
        };
        positive("recipe.batch (--batch-size)", Some(recipe.batch as u64))?;
        positive("recipe.epochs (--epochs)", Some(u64::from(recipe.epochs)))?;
        positive("max_steps (--max-steps)", self.max_steps)?;
        positive("checkpoints.keep (--keep)", Some(self.checkpoints.keep as u64))?;
        positive("checkpoints.every (--every)", self.checkpoints.every)?;
        positive("overfit (--overfit)", self.overfit.map(|n| n as u64))?;
        if let Some(n @ 0..=1) = self.hold_out {
            return Err(Fault::usage(format!(
                "hold_out (--hold-out) is {n}; it must be at least 2"
            )));
        }
        positive("fake_data (--fake-data)", self.fake_data.map(|n| n as u64))
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
        seed: 0,
        device: "auto".to_string(),
        precision: None,
        parallel: None,
        exchange: Exchange::Host,
        vendor: Vendor::None,
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

/// Weakest first: the file, each `--set`, the flags.
fn layers(args: &TrainArgs, saved: Option<String>) -> Result<Vec<Layer>> {
    let mut layers = Vec::new();
    let resumed = args.resume.as_ref().map(|run| run.join("config.toml"));
    if let Some(path) = resumed.as_ref().or(args.config.as_ref()) {
        let name = path.display().to_string();
        let text = saved.map_or_else(|| fs::read_to_string(path), Ok);
        let text = text.map_err(|error| Fault::usage(format!("{name}: cannot read: {error}")))?;
        let table = text.parse::<Table>();
        let table = table.map_err(|error| Fault::usage(format!("{name}: {error}")))?;
        layers.push(Layer { origin: Origin::File { name, text }, table });
    }
    for assignment in &args.set {
        let table = parse_assignment(assignment)?;
        layers.push(Layer { origin: Origin::Set(assignment.clone()), table });
    }
    layers.push(Layer { origin: Origin::Flags, table: flags(args) });
    Ok(layers)
}

/// `recipe.layers."conv*".decay=0.1`: a key and a value as TOML has them; a bare word is a string.
fn parse_assignment(assignment: &str) -> Result<Table> {
    let (key, value) = assignment.split_once('=').ok_or_else(|| {
        Fault::usage(format!("--set {assignment}: write KEY=VALUE, say --set recipe.rate=0.02"))
    })?;
    let as_written = format!("{key} = {value}").parse::<Table>();
    let quoted = || format!("{key} = {}", Value::from(value.trim())).parse::<Table>();
    as_written.or_else(|_| quoted()).map_err(|_| {
        Fault::usage(format!("--set {assignment}: `{key}` is not the name of a setting"))
    })
}

fn flags(args: &TrainArgs) -> Table {
    fn put<T: Into<Value>>(table: &mut Table, key: &str, value: Option<T>) {
        if let Some(value) = value {
            table.insert(key.to_string(), value.into());
        }
    }
    let whole = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let (mut table, mut recipe, mut checkpoints) = (Table::new(), Table::new(), Table::new());
    put(&mut checkpoints, "keep", args.keep);
    put(&mut checkpoints, "every", args.every.map(|n| n as i64));
    put(&mut recipe, "base", args.recipe.clone());
    put(&mut recipe, "epochs", args.epochs);
    put(&mut recipe, "batch", args.batch_size.map(whole));
    put(&mut recipe, "shards", args.micro_shards.map(whole));
    put(&mut recipe, "wire", args.wire.clone());
    put(&mut recipe, "rate", args.lr);
    put(&mut table, "model", args.model.clone());
    put(&mut table, "data", args.data.clone());
    put(&mut table, "seed", args.seed.map(|n| n as i64));
    put(&mut table, "device", args.machine.device.clone());
    put(&mut table, "precision", args.machine.precision.clone());
    let parallel = args.parallel.and_then(|parallel| Value::try_from(parallel).ok());
    put(&mut table, "parallel", parallel);
    put(&mut table, "exchange", args.exchange.and_then(|way| Value::try_from(way).ok()));
    put(&mut table, "vendor", args.vendor.and_then(|whose| Value::try_from(whose).ok()));
    put(&mut table, "threads", args.machine.threads.map(whole));
    put(&mut table, "workers", args.machine.workers.map(whole));
    put(&mut table, "max_steps", args.max_steps.map(|n| n as i64));
    put(&mut table, "overfit", args.overfit.map(whole));
    put(&mut table, "hold_out", args.hold_out.map(whole));
    put(&mut table, "fake_data", args.fake_data.map(whole));
    if !args.freeze.is_empty() {
        let still = Value::Table(Table::from_iter([("rate".to_string(), Value::from(0.0))]));
        let layers = args.freeze.iter().map(|name| (name.clone(), still.clone()));
        recipe.insert("layers".to_string(), Value::Table(layers.collect()));
    }
    let mut init = Table::new();
    put(&mut init, "from", args.init.as_ref().map(|path| path.display().to_string()));
    let layers = (!args.init_layers.is_empty()).then(|| args.init_layers.clone());
    put(&mut init, "layers", layers);
    if !init.is_empty() {
        table.insert("init".to_string(), Value::Table(init));
    }
    for (name, part) in [("checkpoints", checkpoints), ("recipe", recipe)] {
        if !part.is_empty() {
            table.insert(name.to_string(), Value::Table(part));
        }
    }
    table
}

/// The strongest layer's word on a text setting.
fn last_text(layers: &[Layer], path: &[&str]) -> Option<String> {
    let (last, tables) = path.split_last()?;
    layers.iter().rev().find_map(|layer| {
        let table = tables.iter().try_fold(&layer.table, |table, key| table.get(*key)?.as_table());
        Some(table?.get(*last)?.as_str()?.to_string())
    })
}

/// Lays `over` over `under`, table by table. A table of another `kind` replaces the whole.
fn merge(under: &mut Table, over: Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) if same_kind(old, &new) => merge(old, new),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}

fn same_kind(old: &Table, new: &Table) -> bool {
    new.get("kind").is_none_or(|kind| old.get("kind") == Some(kind))
}

/// An error of the reader, with its place and the nearest name.
fn explain(error: &str, origin: &Origin) -> Fault {
    let first_line = error.lines().next().unwrap_or(error).trim_end();
    let quoted: Vec<&str> = first_line.split('`').skip(1).step_by(2).collect();
    let typed = quoted.first().copied().unwrap_or_default();
    let unknown =
        first_line.starts_with("unknown field") || first_line.starts_with("unknown variant");
    let what = if unknown {
        let noun = if first_line.starts_with("unknown field") { "setting" } else { "value" };
        let known = &quoted[1..];
        let hint = match nearest(typed, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", known.join(", ")),
        };
        format!("there is no {noun} `{typed}`; {hint}")
    } else {
        first_line.to_string()
    };
    let inside = error.lines().find_map(|line| line.trim().strip_prefix("in "));
    let inside = inside.map_or_else(String::new, |place| format!(" in {place}"));
    Fault::usage(match origin {
        Origin::File { name, text } => format!("{name}{}: {what}{inside}", line_of(text, typed)),
        Origin::Set(assignment) => format!("--set {assignment}: {what}"),
        Origin::Flags => format!("{what}{inside}"),
    })
}

/// `:3`, the line on which a word stands first, or nothing.
fn line_of(text: &str, word: &str) -> String {
    let idx = (!word.is_empty()).then(|| text.lines().position(|line| line.contains(word)));
    idx.flatten().map_or_else(String::new, |idx| format!(":{}", idx + 1))
}

#[cfg(test)]
mod tests;
