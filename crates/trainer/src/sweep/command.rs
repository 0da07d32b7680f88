//! The command lines of trials.

use crate::cli::{Cli, Command, MachineArgs, TrainArgs};
use crate::fault::{Fault, Result};
use crate::settings::{self, Settings};
use crate::training::{Saved, resolve_all};
use clap::Parser;
use experiments::sweep::{Method, Sweep, Trial};
use layers::Spec;
use toml::{Table, Value};

/// A sweep whose trials can be resolved to settings.
#[derive(Clone, Copy)]
pub(super) struct Planned<'a> {
    pub(super) sweep: &'a Sweep,
    /// Where to compute; overrides the sweep's own flags.
    pub(super) machine: &'a MachineArgs,
}

/// Flags of `train` that a sweep sets itself, or that print something else.
const RESERVED: [&str; 6] = ["run", "resume", "print-config", "json", "progress", "help"];

impl Planned<'_> {
    /// Checks the settings of every trial; returns the number of epochs, which successive halving
    /// has in common for all.
    ///
    /// # Errors
    /// Exit code 2 with the trial and the setting at fault; 4 if initial weights cannot be read.
    pub(super) fn check_all(&self, trials: &[Trial]) -> Result<u32> {
        let is_halving = matches!(self.sweep.method, Method::Halving { .. });
        let mut epochs = None;
        for trial in trials {
            let at = || format!("trial {}, {}", trial.number, trial.summary());
            let (settings, _) = self.resolve(trial).map_err(|fault| fault.inside(at()))?;
            let own = settings.recipe.epochs;
            if *epochs.get_or_insert(own) != own && is_halving {
                return Err(Fault::usage(format!(
                    "{}: successive halving chooses the number of epochs itself: leave \
                     recipe.epochs out of the parameters, and set `epochs` in [train] for all",
                    at()
                )));
            }
        }
        Ok(epochs.unwrap_or(1))
    }

    /// The settings and the network of a trial.
    ///
    /// # Errors
    /// As of [`check_all`](Self::check_all).
    pub(super) fn resolve(&self, trial: &Trial) -> Result<(Settings, Spec)> {
        let words = [vec!["alexnet".to_string(), "train".to_string()], self.flags(trial)?].concat();
        let parsed = Cli::try_parse_from(words).map_err(|error| {
            let message = error.to_string();
            let first = message.lines().next().unwrap_or_default();
            Fault::usage(format!("[train]: {}", first.trim_start_matches("error: ")))
        })?;
        let Command::Train(mut args) = parsed.command else { unreachable!("`train` was parsed") };
        self.set_machine(&mut args);
        let (settings, spec) = resolve_all(&args, Saved::default())?;
        check_assigned(trial, &args, &settings)?;
        Ok((settings, spec))
    }

    fn set_machine(&self, args: &mut TrainArgs) {
        let MachineArgs { device, precision, threads, workers } = self.machine.clone();
        let machine = &mut args.setup.machine;
        machine.device = device.or(machine.device.take());
        machine.precision = precision.or(machine.precision.take());
        machine.threads = threads.or(machine.threads);
        machine.workers = workers.or(machine.workers);
    }

    /// The flags of a trial: those of all trials, then its own settings.
    fn flags(&self, trial: &Trial) -> Result<Vec<String>> {
        let mut flags = Vec::new();
        for (name, value) in &self.sweep.train {
            if RESERVED.contains(&name.as_str()) {
                return Err(Fault::usage(format!("[train]: a sweep sets `{name}` itself")));
            }
            let values = match value {
                Value::Array(values) => values.clone(),
                value => vec![value.clone()],
            };
            for value in values {
                match value {
                    Value::Boolean(true) => flags.push(format!("--{name}")),
                    Value::Boolean(false) => {}
                    Value::String(text) => flags.push(format!("--{name}={text}")),
                    Value::Integer(_) | Value::Float(_) => flags.push(format!("--{name}={value}")),
                    _ => {
                        return Err(Fault::usage(format!(
                            "[train]: `{name}` is no flag's value: a text, a number or true; \
                             settings are written as set = [\"recipe.momentum=0.8\"]"
                        )));
                    }
                }
            }
        }
        flags.extend(trial.assignments().into_iter().map(|set| format!("--set={set}")));
        Ok(flags)
    }

    /// The command that makes a trial's run again, for a shell.
    pub(super) fn command(&self, trial: &Trial) -> String {
        let mut flags = self.flags(trial).unwrap_or_default();
        let MachineArgs { device, precision, .. } = self.machine;
        // A flag may be given once.
        for (name, value) in [("--device", device), ("--precision", precision)] {
            let Some(value) = value else { continue };
            flags.retain(|flag| flag.split('=').next() != Some(name));
            flags.push(format!("{name}={value}"));
        }
        let words = flags.iter().map(|flag| match flag.split_once('=') {
            Some((name, value)) => format!("{name} {}", quoted(value)),
            None => flag.clone(),
        });
        format!("alexnet train {}", words.collect::<Vec<_>>().join(" "))
    }
}

/// Checks that no flag has overridden a trial's own values. Settings may have another form than
/// they are written in, such as the whole path of a folder: flags that set a key are asked instead,
/// and numbers are compared, which other flags may change.
fn check_assigned(trial: &Trial, args: &TrainArgs, settings: &Settings) -> Result<()> {
    let all = Table::try_from(settings).expect("settings are a table");
    let flags = settings::flags(args);
    for (key, value) in &trial.values {
        let Ok(path) = format!("{key} = 0").parse::<Table>() else { continue };
        let is_changed = |found: Value| {
            let is_small_run = settings.overfit.is_some() && key.starts_with("recipe.");
            (number(&found).is_some() || is_small_run) && !is_same(&found, value)
        };
        if lookup(&path, &flags).is_some() || lookup(&path, &all).is_some_and(is_changed) {
            return Err(Fault::usage(format!(
                "parameters.\"{key}\": a flag in [train] sets it, too: leave that out"
            )));
        }
    }
    Ok(())
}

/// The value in `all` at the place of the only entry of `path`.
fn lookup(path: &Table, all: &Table) -> Option<Value> {
    let (key, inner) = path.iter().next()?;
    match (inner, all.get(key)?) {
        (Value::Table(inner), Value::Table(all)) => lookup(inner, all),
        (_, found) => Some(found.clone()),
    }
}

/// Whether a setting has a value, which may be written in another form: 1 for 1.0.
fn is_same(found: &Value, value: &Value) -> bool {
    match (number(found), number(value)) {
        (Some(found), Some(value)) => found == value,
        (None, None) => found == value || found.as_str().is_none() || value.as_str().is_none(),
        _ => true, // an optional form, such as one scale for all channels
    }
}

pub(super) fn number(value: &Value) -> Option<f64> {
    value.as_float().or(value.as_integer().map(|n| n as f64))
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_string()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweep(train: &str, parameters: &str) -> Sweep {
        let text =
            format!("[sweep]\nmethod = 'grid'\n[train]\n{train}\n[parameters]\n{parameters}");
        Sweep::parse(&text).unwrap()
    }

    fn all(sweep: &Sweep) -> Result<u32> {
        let machine = MachineArgs::default();
        let planned = Planned { sweep, machine: &machine };
        planned.check_all(&sweep.trials().unwrap())
    }

    #[test]
    fn trials_are_resolved_as_train_would() {
        let sweep = sweep(
            "model = 'cifar-19pct'\nepochs = 4\nfreeze = ['conv1', 'conv2']\nscale-lr = true",
            "'recipe.batch'.values = [64]\n'recipe.layers.\"fc*\".rate'.values = [2]",
        );
        let machine = MachineArgs { threads: Some(1), ..MachineArgs::default() };
        let planned = Planned { sweep: &sweep, machine: &machine };
        let trial = &sweep.trials().unwrap()[0];
        let (settings, spec) = planned.resolve(trial).unwrap();
        assert_eq!((settings.recipe.epochs, settings.recipe.batch, settings.threads), (4, 64, 1));
        assert_eq!(
            (spec.name.as_str(), settings.recipe.rule("fc9.weight").rate),
            ("cifar-19pct", 2.0)
        );
        let command = planned.command(trial);
        assert_eq!(
            command,
            "alexnet train --epochs 4 --freeze conv1 --freeze conv2 --model cifar-19pct \
             --scale-lr --set recipe.batch=64 --set 'recipe.layers.\"fc*\".rate=2'"
        );
    }

    #[test]
    fn mistakes_are_found_before_the_first_trial() {
        for (train, parameters, expected) in [
            (
                "",
                "'recipe.ratee'.values = [1]",
                "trial 0, recipe.ratee=1: --set recipe.ratee=1: there",
            ),
            (
                "",
                "'recipe.momentum'.values = [0.5, 2]",
                "trial 1, recipe.momentum=2: recipe.momentum is 2",
            ),
            ("epocs = 3", "seed.int = [0, 1]", "[train]: unexpected argument '--epocs' found"),
            ("run = 'x'", "seed.int = [0, 1]", "[train]: a sweep sets `run` itself"),
            ("lr = 0.1", "'recipe.rate'.values = [0.2]", "a flag in [train] sets it, too"),
            ("data = 'x'", "data.values = ['y']", "a flag in [train] sets it, too"),
            ("overfit = 4", "'recipe.batch'.values = [64]", "a flag in [train] sets it, too"),
            ("set = { a = 1 }", "seed.int = [0, 1]", "[train]: `set` is no flag's value"),
        ] {
            let fault = all(&sweep(train, parameters)).unwrap_err();
            assert!(fault.message.contains(expected), "{}", fault.message);
            assert_eq!(fault.code, 2);
        }
        assert_eq!(all(&sweep("epochs = 7", "seed.int = [0, 1]")), Ok(7));
        let halving = "[sweep]\nmethod = 'halving'\ntrials = 9\n[parameters]\n\
                       'recipe.epochs'.int = [1, 9]";
        let fault = all(&Sweep::parse(halving).unwrap()).unwrap_err();
        assert!(fault.message.contains("chooses the number of epochs itself"), "{fault:?}");
    }

    /// The settings have the whole path of a folder, and other forms of initializers.
    #[test]
    fn settings_that_are_kept_in_another_form_can_be_parameters() {
        for parameters in [
            "data.values = ['.', '/']",
            "'recipe.layers.conv1.weights'.values = ['normal 1e-2', 'fan-in-uniform']",
        ] {
            let sweep = sweep("", parameters);
            all(&sweep).unwrap_or_else(|fault| panic!("{parameters}: {}", fault.message));
        }
    }

    #[test]
    fn a_machine_flag_in_both_places_is_given_once() {
        let sweep = sweep("device = 'cpu'\nprecision = 'f32'", "seed.int = [0, 1]");
        let machine = MachineArgs { precision: Some("bf16".into()), ..MachineArgs::default() };
        let planned = Planned { sweep: &sweep, machine: &machine };
        let command = planned.command(&sweep.trials().unwrap()[0]);
        assert_eq!(command, "alexnet train --device cpu --set seed=0 --precision bf16");
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quoted("recipe.rate=0.1"), "recipe.rate=0.1");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted(""), "''");
    }
}
