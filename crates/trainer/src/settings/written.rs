//! The sources of settings in order of precedence (a file, each `--set`, the flags), merging them,
//! and error messages that name the source.

use crate::cli::TrainArgs;
use crate::fault::{Fault, Result};
use data::{ExifMode, bounded};
use layers::nearest;
use toml::{Table, Value};

/// Settings from one source; messages name its origin.
pub(super) struct Layer {
    pub(super) origin: Origin,
    pub(super) table: Table,
}

pub(super) enum Origin {
    File {
        name: String,
        text: String,
    },
    Set(String),
    /// One flag that comes before `--set`, as typed.
    Flag(String),
    Flags,
}

/// All sources, those with lower precedence first: the file, the schedule that a flag names, each
/// `--set`, the other flags.
pub(super) fn layers(
    args: &TrainArgs,
    saved: Option<String>,
    schedule: Option<Layer>,
) -> Result<Vec<Layer>> {
    let mut layers = Vec::new();
    let resumed = args.resume.as_ref().map(|run| run.join("config.toml"));
    if let Some(path) = resumed.as_ref().or(args.setup.config.as_ref()) {
        let name = path.display().to_string();
        let read = || match resumed {
            Some(_) => files::read_to_string(path),
            None => bounded::read_text_or_pipe(path), // the user's own may be a pipe
        };
        let text = saved.map_or_else(read, Ok);
        let text = text.map_err(|error| Fault::usage(format!("{name}: cannot read: {error}")))?;
        let table = text.parse::<Table>();
        let table = table.map_err(|error| Fault::usage(format!("{name}: {error}")))?;
        layers.push(Layer { origin: Origin::File { name, text }, table });
    }
    layers.extend(schedule);
    for assignment in &args.setup.set {
        let table = parse_assignment(assignment)?;
        layers.push(Layer { origin: Origin::Set(assignment.clone()), table });
    }
    layers.push(Layer { origin: Origin::Flags, table: flags(args) });
    Ok(layers)
}

/// Parses `recipe.layers."conv*".decay=0.1`: a TOML key and value; a bare word is a string.
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

pub(super) fn flags(args: &TrainArgs) -> Table {
    fn put<T: Into<Value>>(table: &mut Table, key: &str, value: Option<T>) {
        if let Some(value) = value {
            table.insert(key.to_string(), value.into());
        }
    }
    let whole = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let (mut table, mut recipe, mut checkpoints) = (Table::new(), Table::new(), Table::new());
    put(&mut checkpoints, "keep", args.keep);
    put(&mut checkpoints, "every", args.every.map(|n| n as i64));
    put(&mut recipe, "base", args.setup.recipe.clone());
    put(&mut recipe, "epochs", args.epochs);
    put(&mut recipe, "batch", args.setup.batch_size.map(whole));
    put(&mut recipe, "shards", args.micro_shards.map(whole));
    put(&mut recipe, "wire", args.wire.clone());
    put(&mut recipe, "rate", args.lr);
    let flags = &args.setup.recipe_flags;
    put(&mut recipe, "optimizer", flags.optimizer.as_ref().map(|name| name.to_lowercase()));
    put(&mut recipe, "momentum", flags.momentum);
    put(&mut recipe, "decay", flags.weight_decay);
    let table_of =
        |key: &str, value: Value| Value::Table(Table::from_iter([(key.to_string(), value)]));
    put(&mut recipe, "warmup", flags.warmup.map(|n| table_of("epochs", n.into())));
    let patience = flags.early_stopping.map(|n| table_of("patience", Value::from(i64::from(n))));
    put(&mut recipe, "early-stopping", patience);
    let exif = args.setup.exif.map(|exif| ExifMode::from(exif).to_string());
    if let Some(exif) = exif {
        let input = Table::from_iter([("exif".to_string(), Value::from(exif))]);
        recipe.insert("input".to_string(), Value::Table(input));
    }
    put(&mut table, "model", args.setup.model.clone());
    put(&mut table, "data", args.setup.data.clone());
    put(&mut table, "seed", args.setup.seed.map(|n| n as i64));
    put(&mut table, "device", args.setup.machine.device.clone());
    put(&mut table, "precision", args.setup.machine.precision.clone());
    let parallel = args.parallel.and_then(|parallel| Value::try_from(parallel).ok());
    put(&mut table, "parallel", parallel);
    put(&mut table, "exchange", args.exchange.and_then(|way| Value::try_from(way).ok()));
    put(&mut table, "vendor", args.vendor.and_then(|whose| Value::try_from(whose).ok()));
    put(&mut table, "deterministic", args.deterministic.then_some(true));
    put(&mut table, "threads", args.setup.machine.threads.map(whole));
    put(&mut table, "workers", args.setup.machine.workers.map(whole));
    put(&mut table, "max_steps", args.max_steps.map(|n| n as i64));
    put(&mut table, "overfit", args.overfit.map(whole));
    put(&mut table, "hold_out", args.setup.hold_out.map(whole));
    put(&mut table, "fake_data", args.fake_data.map(whole));
    if !args.setup.freeze.is_empty() {
        let mut still = Table::from_iter([("rate".to_string(), Value::from(0.0))]);
        if args.resume.is_none() {
            still.insert("update_statistics".to_string(), Value::from(false));
        }
        let still = Value::Table(still);
        let layers = args.setup.freeze.iter().map(|name| (name.clone(), still.clone()));
        recipe.insert("layers".to_string(), Value::Table(layers.collect()));
    }
    let mut labelling = Table::new();
    let text =
        |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
    put(&mut labelling, "file", text(&args.setup.labelling.labels));
    put(&mut labelling, "image_column", args.setup.labelling.image_column.clone());
    put(&mut labelling, "label_column", args.setup.labelling.label_column.clone());
    put(&mut labelling, "from", args.setup.labelling.label_from.clone());
    put(&mut labelling, "class_names", text(&args.setup.labelling.class_names));
    let mut init = Table::new();
    let pretrained = args.setup.pretrained.then(|| "torchvision".to_string());
    put(&mut init, "from", text(&args.setup.init).or(pretrained));
    put(&mut init, "mean", text(&args.setup.init_mean));
    let layers = (!args.setup.init_layers.is_empty()).then(|| args.setup.init_layers.clone());
    put(&mut init, "layers", layers);
    if !init.is_empty() {
        table.insert("init".to_string(), Value::Table(init));
    }
    for (name, part) in [("labelling", labelling), ("checkpoints", checkpoints), ("recipe", recipe)]
    {
        if !part.is_empty() {
            table.insert(name.to_string(), Value::Table(part));
        }
    }
    table
}

/// A text setting from the source with the highest precedence that has it.
pub(super) fn last_text(layers: &[Layer], path: &[&str]) -> Option<String> {
    let value = |layer| Some(setting(layer, path)?.as_str()?.to_string());
    layers.iter().rev().find_map(value)
}

/// The number of epochs, likewise.
pub(super) fn last_epochs(layers: &[Layer]) -> Option<i64> {
    layers.iter().rev().find_map(|layer| setting(layer, &["recipe", "epochs"])?.as_integer())
}

fn setting<'a>(layer: &'a Layer, path: &[&str]) -> Option<&'a Value> {
    let (last, tables) = path.split_last()?;
    let table = tables.iter().try_fold(&layer.table, |table, key| table.get(*key)?.as_table());
    table?.get(*last)
}

/// Merges `over` into `under`, table by table. A table with another `kind` replaces the whole
/// table.
pub(super) fn merge(under: &mut Table, over: Table) {
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

/// A TOML error with its place and the nearest known name.
pub(super) fn explain(error: &str, origin: &Origin) -> Fault {
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
        Origin::Flag(flag) if what.starts_with("missing field") => {
            format!("{flag}: {what}; add it with --set recipe.schedule.{typed}=VALUE")
        }
        Origin::Flag(flag) => format!("{flag}: {what}"),
        Origin::Flags => format!("{what}{inside}"),
    })
}

/// `:3`, the first line that contains a word, or nothing.
fn line_of(text: &str, word: &str) -> String {
    let idx = (!word.is_empty()).then(|| text.lines().position(|line| line.contains(word)));
    idx.flatten().map_or_else(String::new, |idx| format!(":{}", idx + 1))
}
