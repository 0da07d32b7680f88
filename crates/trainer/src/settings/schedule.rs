//! `--lr-schedule`: another kind of schedule, before `--set` changes its settings.

use super::written::{Layer, Origin};
use crate::cli::TrainArgs;
use crate::fault::{Fault, Result};
use toml::{Table, Value};
use train::recipes;
use train::schedule::Schedule;

/// Names of other programs for kinds of schedules.
const ALIASES: [(&str, &str); 11] = [
    ("step", "steps"),
    ("steplr", "steps"),
    ("multistep", "steps"),
    ("multi-step", "steps"),
    ("reduce-on-plateau", "plateau"),
    ("fixed", "constant"),
    ("cos", "cosine"),
    ("cosine-annealing", "cosine"),
    ("onecycle", "one-cycle"),
    ("exp", "exponential"),
    ("poly", "polynomial"),
];

/// The flag as a source of settings, if it was typed.
///
/// # Errors
/// Exit code 2 if `--set` has the kind, too, or if the kind needs a list that no flag has.
pub(super) fn layer(args: &TrainArgs) -> Result<Option<Layer>> {
    let Some(typed) = &args.setup.recipe_flags.lr_schedule else { return Ok(None) };
    let flag = format!("--lr-schedule {typed}");
    let key = |set: &&String| set.split('=').next().unwrap_or_default().trim().to_string();
    let is_same = |key: String| ["recipe.schedule", "recipe.schedule.kind"].contains(&&*key);
    if let Some(set) = args.setup.set.iter().find(|set| is_same(key(set))) {
        return Err(Fault::usage(format!("{flag}: --set {set} has the kind, too: leave one out")));
    }
    let kind = typed.to_lowercase().replace('_', "-");
    let alias = ALIASES.iter().find(|(alias, _)| *alias == kind);
    let kind = alias.map_or(kind, |(_, kind)| (*kind).to_string());
    if kind == "phases" {
        return Err(Fault::usage(format!(
            "{flag}: phases are a list: write [[recipe.schedule.phases]] in a file for --config"
        )));
    }
    let schedule = Table::from_iter([("kind".to_string(), Value::from(kind))]);
    let recipe = Table::from_iter([("schedule".to_string(), Value::Table(schedule))]);
    let table = Table::from_iter([("recipe".to_string(), Value::Table(recipe))]);
    Ok(Some(Layer { origin: Origin::Flag(flag), table }))
}

/// Fills in the settings of a kind that the recipe `under` does not have: the paper's plateaus, and
/// tenths after each third of the epochs. A schedule of the same kind stays as it is.
pub(super) fn complete(under: &Table, layer: &mut Layer, epochs: Option<i64>) {
    fn schedule(table: &Table) -> Option<&Table> {
        table.get("recipe")?.as_table()?.get("schedule")?.as_table()
    }
    let Origin::Flag(_) = layer.origin else { return };
    let kind = schedule(&layer.table).and_then(|own| own.get("kind")).cloned();
    if kind == schedule(under).and_then(|known| known.get("kind")).cloned() {
        return;
    }
    let own = under.get("recipe").and_then(|recipe| recipe.get("epochs")?.as_integer());
    let epochs = epochs.or(own).unwrap_or(1).max(1) as u64;
    let defaults = match kind.as_ref().and_then(Value::as_str) {
        Some("steps") => {
            let after = |part: u64| u32::try_from((part * epochs).div_ceil(3)).unwrap_or(u32::MAX);
            Schedule::Steps { after: vec![after(1), after(2)], factor: 0.1 }
        }
        Some("plateau") => recipes::paper().schedule,
        _ => return,
    };
    let defaults = Value::try_from(defaults).expect("a schedule is a table");
    let recipe = layer.table.get_mut("recipe").and_then(Value::as_table_mut);
    recipe.expect("made above").insert("schedule".to_string(), defaults);
}

/// Whether a fault is that of a kind of schedule without all of its settings.
pub(super) fn lacks_settings(fault: &Fault) -> bool {
    fault.message.starts_with("--lr-schedule") && fault.message.contains("missing field")
}

/// Whether some are still missing after another source, which has no other fault.
pub(super) fn still_lacks(earlier: &Fault, fault: &Fault) -> bool {
    lacks_settings(earlier) && fault.message.contains("missing field")
}
