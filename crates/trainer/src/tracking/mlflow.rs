//! MLflow's local file store: a folder for each experiment, and in it one for each run with a file
//! for every parameter, metric and tag (mlflow/store/tracking/file_store.py).

use super::TrackedRun;
use crate::fault::Result;
use crate::output;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use train::folder::RunState;

/// The longest value of a parameter.
const LONGEST: usize = 6000;
/// Files of a run that are copied as artifacts.
const ARTIFACTS: [&str; 4] = ["config.toml", "model.toml", "env.json", "metrics.csv"];

/// Writes a run into a store; returns its folder there. Its id depends on the run's name and time,
/// so that writing it again replaces it.
///
/// # Errors
/// Exit codes 4 and 7.
pub(super) fn write(store: &Path, experiment: &str, run: &TrackedRun) -> Result<PathBuf> {
    // Ids of experiments are numbers of 18 digits.
    let number = 100_000_000_000_000_000 + digest(experiment) % 900_000_000_000_000_000;
    let (experiment_id, of_experiment) = (number.to_string(), store.join(number.to_string()));
    let id = format!("{:032x}", digest(&format!("{} {}", run.name, run.status.started)));
    let folder = of_experiment.join(&id);
    for name in ["metrics", "params", "tags", "artifacts"] {
        output::make_folder(&folder.join(name))?;
    }
    let began = milliseconds(run.began);
    let meta = of_experiment.join("meta.yaml");
    let location = |folder: &Path| {
        let whole = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_path_buf());
        whole.display().to_string()
    };
    if !meta.exists() {
        let text = yaml(&[
            ("artifact_location", &location(&of_experiment)),
            ("creation_time", &began),
            ("experiment_id", &quoted(&experiment_id)),
            ("last_update_time", &began),
            ("lifecycle_stage", "active"),
            ("name", &quoted(experiment)),
        ]);
        output::write(&meta, text.as_bytes())?;
    }
    let ended = match run.status.status {
        RunState::Running => "null".to_string(),
        _ => milliseconds(run.began + run.seconds()),
    };
    let text = yaml(&[
        ("artifact_uri", &quoted(&location(&folder.join("artifacts")))),
        ("end_time", &ended),
        ("entry_point_name", "''"),
        ("experiment_id", &quoted(&experiment_id)),
        ("lifecycle_stage", "active"),
        ("run_id", &quoted(&id)),
        ("run_name", &quoted(&run.name)),
        ("run_uuid", &quoted(&id)),
        ("source_name", "''"),
        ("source_type", "4"),
        ("source_version", "''"),
        ("start_time", &began),
        ("status", status(run.status.status)),
        ("tags", "[]"),
        ("user_id", "alexnet"),
    ]);
    output::write(&folder.join("meta.yaml"), text.as_bytes())?;
    for (name, value) in &run.settings {
        let value: String = value.chars().take(LONGEST).collect();
        output::write(&folder.join("params").join(plain(name)), value.as_bytes())?;
    }
    let mut metrics: BTreeMap<String, String> = BTreeMap::new();
    for scalar in run.scalars() {
        let time = milliseconds(run.began + scalar.seconds);
        let text = metrics.entry(scalar.name).or_default();
        let _ = writeln!(text, "{time} {} {}", scalar.value, scalar.step);
    }
    for (name, text) in metrics {
        let (group, name) = name.split_once('/').unwrap_or(("", &name));
        let path = folder.join("metrics").join(group).join(plain(name));
        output::make_folder(path.parent().expect("a metric lies in a folder"))?;
        output::write(&path, text.as_bytes())?;
    }
    let tags = [
        ("mlflow.runName", run.name.clone()),
        ("mlflow.user", "alexnet".to_string()),
        ("mlflow.source.type", "LOCAL".to_string()),
        ("mlflow.source.name", format!("alexnet {}", env!("CARGO_PKG_VERSION"))),
        ("alexnet.folder", location(&run.folder)),
        ("alexnet.error", run.status.error.clone().unwrap_or_default()),
    ];
    for (name, value) in tags.iter().filter(|(_, value)| !value.is_empty()) {
        output::write(&folder.join("tags").join(name), value.as_bytes())?;
    }
    for name in ARTIFACTS {
        if let Some(text) = crate::run_file::read(&run.folder.join(name))? {
            output::write(&folder.join("artifacts").join(name), text.as_bytes())?;
        }
    }
    Ok(folder)
}

fn yaml(lines: &[(&str, &str)]) -> String {
    lines.iter().map(|(name, value)| format!("{name}: {value}\n")).collect()
}

/// A string in YAML.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is plain data") // JSON's strings are YAML's
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.0}", 1000.0 * seconds)
}

/// MLflow's number of a state.
fn status(state: RunState) -> &'static str {
    match state {
        RunState::Running => "1",
        RunState::Finished | RunState::StoppedEarly => "3",
        RunState::Failed => "4",
        RunState::Interrupted => "5",
    }
}

/// A name with the characters that MLflow allows, and not `.` or `..`.
fn plain(name: &str) -> String {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_-. ".contains(c);
    let plain: String = name.chars().map(|c| if is_allowed(c) { c } else { '_' }).collect();
    if plain.starts_with('.') { plain.replacen('.', "_", 1) } else { plain }
}

/// FNV-1a of 128 bits.
fn digest(text: &str) -> u128 {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013B;
    const BASIS: u128 = 0x6C62_272E_07BB_0142_62B8_2175_6295_C58D;
    text.bytes().fold(BASIS, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_fnv() {
        // Of the reference page, isthe.com/chongo/tech/comp/fnv.
        assert_eq!(digest(""), 0x6C62_272E_07BB_0142_62B8_2175_6295_C58D);
        assert_eq!(digest("a"), 0xD228_CB69_6F1A_8CAF_7891_2B70_4E4A_8964);
        assert_eq!(plain("recipe.layers.*"), "recipe.layers._");
        assert_eq!((plain(".."), plain("a/b")), ("_.".into(), "a_b".into()));
        assert_eq!(quoted("a\"b"), "\"a\\\"b\"");
    }
}
