//! Timings of earlier runs.

use super::choices::Tuned;
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The cache file for these GPUs, libraries and program.
pub(super) struct Cache {
    path: PathBuf,
    here: Tuned,
}

impl Cache {
    /// Their file in the cache's folder.
    pub(super) fn of(folder: &Path, here: &Tuned) -> Cache {
        let Tuned { gpu, driver, libraries, program, .. } = here;
        let name = format!("{gpu} driver {driver} {libraries} alexnet {program}");
        let letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '.';
        let words: Vec<&str> = name.split(|it| !letter(it)).filter(|it| !it.is_empty()).collect();
        let path = folder.join(format!("choices-{}.toml", words.join("-")));
        Cache { path, here: here.clone() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Its choices; none, and a warning, if the file cannot be used.
    pub(super) fn read(&self, say: &mut dyn FnMut(&str)) -> Tuned {
        let nothing = Tuned::default();
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return nothing,
            Err(error) => {
                self.warn(&error.to_string(), say);
                return nothing;
            }
        };
        let is_here = |it: &Tuned| Tuned { work: BTreeMap::new(), ..it.clone() } == self.here;
        let reason = match Tuned::read(&text) {
            Ok(tuned) if is_here(&tuned) => return tuned,
            Ok(tuned) => format!("it is of {} and program {}", tuned.gpu, tuned.program),
            Err(reason) => reason,
        };
        self.warn(&reason, say);
        nothing
    }

    /// Warns that the file is not used.
    pub(super) fn warn(&self, reason: &str, say: &mut dyn FnMut(&str)) {
        say(&format!("{}: {reason}: it is not used", self.path.display()));
    }

    /// Adds choices, or warns that they cannot be written.
    pub(super) fn add(&self, tuned: &Tuned, say: &mut dyn FnMut(&str)) {
        let mut all = self.read(&mut |_| ());
        let work = all.work.into_iter().chain(tuned.work.clone()).collect();
        all = Tuned { work, ..self.here.clone() };
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let made = fs::create_dir_all(folder).map_err(|error| error.to_string());
        let write = || files::atomic::write(&self.path, all.to_toml().as_bytes());
        if let Err(why) = made.and_then(|()| write().map_err(|error| error.to_string())) {
            say(&format!("{}: {why}: the next run times anew", folder.display()));
        }
    }
}
