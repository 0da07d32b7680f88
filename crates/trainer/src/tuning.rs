//! `--vendor tune`: the GPU algorithms of a run.

use crate::fault::{Fault, Result};
use crate::settings::Settings;
use parallel::processes::Group;
use parallel::tuning::{self, Error, Sources, Tuned};
use std::env;
use std::path::{Path, PathBuf};

/// Chooses an algorithm for every operation of these GPUs; `run` is the folder of a run that is
/// resumed.
///
/// # Errors
/// Exit code 4 if the run's own choices cannot be read, 6 if they cannot be used here, 1 if a GPU
/// fails.
pub fn resolve(
    devices: &mut parallel::Devices,
    group: Option<&mut Group>,
    (run, settings): (Option<&Path>, &Settings),
    say: &mut dyn FnMut(&str),
) -> Result<Tuned> {
    let (cache, program) = (cache(), program());
    let sources = Sources {
        run,
        cache: cache.as_deref(),
        deterministic: settings.deterministic,
        program: &program,
    };
    Ok(tuning::resolve(devices, group, sources, say)?)
}

/// `ALEXNET_CACHE`, or the user's own.
fn cache() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|text| !text.is_empty()).map(PathBuf::from);
    let own = || set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    set("ALEXNET_CACHE").or_else(|| Some(own()?.join("alexnet")))
}

/// Version and commit.
fn program() -> String {
    let commit = option_env!("ALEXNET_COMMIT").unwrap_or_default();
    let commit = &commit[..commit.len().min(12)];
    format!("{} {commit}", env!("CARGO_PKG_VERSION")).trim_end().to_string()
}

/// The remedy where choices cannot be used.
const TUNE_ANEW: &str = "without that file the run is tuned again, and with --vendor none it needs \
                         no library; either changes results from here on";

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        let message = error.to_string();
        let with_remedy = |code| Fault::new(code, format!("{message}; {TUNE_ANEW}"));
        match error {
            Error::Train(error) => error.into(),
            Error::Unreadable { .. } => with_remedy(4),
            Error::Unavailable { .. } => with_remedy(6),
            _ => Fault::failure(message),
        }
    }
}
