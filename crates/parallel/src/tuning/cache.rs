//! What was timed before, by other runs.

use super::choices::Tuned;
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The user's file for cards, libraries and a program like these.
pub(super) struct Cache {
    folder: PathBuf,
    path: PathBuf,
    here: Tuned,
}

impl Cache {
    /// Their file in a folder of such files.
    pub(super) fn of(folder: &Path, here: &Tuned) -> Cache {
        let Tuned { card, driver, libraries, program, .. } = here;
        let name = format!("{card} driver {driver} {libraries} alexnet {program}");
        let letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '.';
        let words: Vec<&str> = name.split(|it| !letter(it)).filter(|it| !it.is_empty()).collect();
        let path = folder.join(format!("choices-{}.toml", words.join("-")));
        Cache { folder: folder.into(), path, here: here.clone() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds; nothing, and a word about it, if that cannot be used.
    pub(super) fn read(&self, say: &mut dyn FnMut(&str)) -> Tuned {
        let nothing = Tuned::default();
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return nothing,
            Err(error) => {
                self.tell(&error.to_string(), say);
                return nothing;
            }
        };
        let is_here = |it: &Tuned| Tuned { work: BTreeMap::new(), ..it.clone() } == self.here;
        let reason = match Tuned::read(&text) {
            Ok(tuned) if is_here(&tuned) => return tuned,
            Ok(tuned) => format!("it is of {} and program {}", tuned.card, tuned.program),
            Err(reason) => reason,
        };
        self.tell(&reason, say);
        nothing
    }

    /// That it is not used.
    pub(super) fn tell(&self, reason: &str, say: &mut dyn FnMut(&str)) {
        say(&format!("{}: {reason}: it is not used", self.path.display()));
    }

    /// Adds what was found, or says why not.
    pub(super) fn add(&self, tuned: &Tuned, say: &mut dyn FnMut(&str)) {
        let mut all = self.read(&mut |_| ());
        let work = all.work.into_iter().chain(tuned.work.clone()).collect();
        all = Tuned { work, ..self.here.clone() };
        let made = fs::create_dir_all(&self.folder).map_err(|error| error.to_string());
        let write = || files::atomic::write(&self.path, all.to_toml().as_bytes());
        if let Err(why) = made.and_then(|()| write().map_err(|error| error.to_string())) {
            say(&format!("{}: {why}: the next run times anew", self.folder.display()));
        }
    }
}
