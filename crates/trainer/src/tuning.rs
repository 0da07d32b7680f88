//! `--vendor tune`: from where a run takes the ways in which its cards work.

use crate::fault::{Fault, Result};
use crate::settings::Settings;
use parallel::processes::Group;
use parallel::tuning::{self, Error, Sources, Tuned};
use std::env;
use std::path::{Path, PathBuf};

/// Chooses ways for all that these devices, which are cards, will do; `run` is the folder of one
/// that goes on.
///
/// # Errors
/// Exit code 4 if the run's own choices cannot be read, 6 if they cannot be followed here, 1 if a
/// card fails.
pub fn settle(
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
    Ok(tuning::settle(devices, group, sources, say)?)
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

/// What to do about choices that cannot be followed.
const TUNE_ANEW: &str = "without that file the run is tuned anew, and with --vendor none it needs \
                         no library; both have other bits from here on";

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        let told = error.to_string();
        match error {
            Error::Train(error) => error.into(),
            Error::Unreadable { .. } => Fault { code: 4, message: format!("{told}; {TUNE_ANEW}") },
            Error::NotHere { .. } => Fault { code: 6, message: format!("{told}; {TUNE_ANEW}") },
            _ => Fault::failure(told),
        }
    }
}
