//! Reads a run's folder, except its weights.

use crate::{Curves, Error, Run, network};
use evaluate::has_top5;
use layers::Spec;
use std::path::Path;

impl Run {
    /// Reads a run's folder: `config.toml`, `run.json`, `metrics.jsonl`, `model.toml` and
    /// `env.json`. Files that cannot be read are listed in [`missing`](Run::missing).
    ///
    /// # Errors
    /// If none of the first three exists or can be read.
    pub fn read(folder: impl AsRef<Path>) -> Result<Run, Error> {
        let folder = folder.as_ref();
        let mut errors = Vec::new();
        let mut text = |name: &str| {
            let path = folder.join(name);
            files::read_optional(&path).unwrap_or_else(|source| {
                errors.push(Error::Read { path, source });
                None
            })
        };
        let [config, status, metrics] = ["config.toml", "run.json", "metrics.jsonl"].map(&mut text);
        let [model, environment] = ["model.toml", "env.json"].map(&mut text);
        let missing = |error: &Error| format!("Some files could not be read: {error}.");
        let mut missing: Vec<String> = errors.iter().map(missing).collect();
        if config.is_none() && status.is_none() && metrics.is_none() {
            let first = errors.into_iter().next();
            return Err(first.unwrap_or_else(|| Error::NoRun { path: folder.to_path_buf() }));
        }
        let spec = model.and_then(|text| Spec::from_toml(&text).ok());
        if spec.is_none() {
            missing.push("There is no readable model.toml.".to_string());
        }
        let mut curves = Curves::parse(&metrics.unwrap_or_default());
        let classes = spec.as_ref().and_then(|spec| spec.classes().ok());
        if classes.is_some_and(|classes| !has_top5(classes)) {
            // Earlier versions logged it of any number of classes.
            curves.validation.iter_mut().for_each(|point| point.top5_error = None);
        }
        Ok(Run {
            name: name_of(folder),
            status: status.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default(),
            curves,
            model: spec.and_then(|spec| network::model(&spec).ok()),
            classes,
            config,
            environment,
            missing,
            ..Run::default()
        })
    }
}

impl Run {
    /// The data of a weights file that lies in no run's folder: its network only.
    pub fn of_network(file: impl AsRef<Path>, spec: &Spec) -> Run {
        let file = file.as_ref();
        let missing = "This is a weights file, which has no measurements and settings.".to_string();
        let (model, classes) = (network::model(spec).ok(), spec.classes().ok());
        Run { name: name_of(file), model, classes, missing: vec![missing], ..Run::default() }
    }
}

/// The folder's name, resolving paths such as `.`.
fn name_of(folder: &Path) -> String {
    let whole = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_path_buf());
    whole.file_name().map_or_else(String::new, |name| name.to_string_lossy().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("report-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn existing_files_are_read_and_unreadable_ones_reported() {
        let folder = scratch("run");
        let spec = Spec::image("small", 8, 8, 3).linear("fc1", 10);
        fs::write(folder.join("model.toml"), spec.to_toml()).unwrap();
        fs::write(folder.join("run.json"), r#"{"status":"finished"}"#).unwrap();
        fs::create_dir(folder.join("env.json")).unwrap();
        let run = Run::read(folder.join("..").join(folder.file_name().unwrap())).unwrap();
        assert_eq!(run.name, folder.file_name().unwrap().to_str().unwrap());
        assert_eq!(run.status["status"], "finished");
        let model = run.model.unwrap();
        assert_eq!((model.rows.len(), model.rows[0].parameters), (1, 8 * 8 * 3 * 10 + 10));
        let [missing] = &run.missing[..] else { panic!("{:?}", run.missing) };
        assert!(missing.starts_with("Some files could not be read: "), "{missing}");
        assert!(missing.contains("env.json"), "{missing}");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_folder_without_a_run_is_refused() {
        let folder = scratch("none");
        let error = Run::read(&folder).unwrap_err();
        assert!(matches!(error, Error::NoRun { .. }), "{error}");
        assert!(error.to_string().ends_with("no config.toml, run.json or metrics.jsonl"));
        fs::create_dir(folder.join("run.json")).unwrap();
        let error = Run::read(&folder).unwrap_err();
        assert!(matches!(error, Error::Read { .. }), "{error}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
