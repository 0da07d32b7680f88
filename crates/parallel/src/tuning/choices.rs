//! Ways, and where they were found: `choices.toml`.

use super::error::Error;
use crate::devices::Devices;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use tensor::cublaslt::CublasLt;
use tensor::cudnn::Cudnn;
use tensor::tune::{Choices, Met, Way, Why};
use tensor::{Cuda, Device};

/// What the run's file is called.
pub const FILE: &str = "choices.toml";

const HEAD: &str = "\
# In which way a card does the work that it can do in several. A way decides the last bits.
# own/T/S: this program's kernels, in tiles of T x T, with sums over k cut into S slices.
# cublaslt/N: cuBLASLt's way N; 0 is the one that it holds for the best.
# cudnn/N: cuDNN's algorithm N.
# `tried` has what was timed, the rule's way first.

";

/// Ways, and where they were found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuned {
    pub(super) card: String,
    pub(super) driver: String,
    pub(super) libraries: String,
    pub(super) program: String,
    #[serde(default)]
    pub(super) work: BTreeMap<String, Chosen>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Chosen {
    way: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tried: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<String>,
}

impl Tuned {
    /// Nothing yet, on these cards.
    pub(super) fn here(devices: &mut Devices, program: &str) -> Tuned {
        let mut cards: Vec<String> = Vec::new();
        let mut here = Tuned { program: program.to_string(), ..Tuned::default() };
        for cuda in devices.members_mut().iter_mut().filter_map(|(device, _)| card(device)) {
            let cublaslt = cuda.cublaslt().map(|library| format!("cuBLASLt {}", library.version()));
            let cudnn = cuda.cudnn().map(|library| format!("cuDNN {}", library.version()));
            let libraries: Vec<String> = cublaslt.into_iter().chain(cudnn).collect();
            here.libraries = libraries.join(", ");
            here.driver = cuda.driver();
            cards.push(cuda.model());
        }
        cards.dedup();
        here.card = cards.join(" and ");
        here
    }

    /// From the text of a file.
    ///
    /// # Errors
    /// Why it is none, in a line.
    pub(super) fn read(text: &str) -> Result<Tuned, String> {
        let tuned: Tuned = toml::from_str(text)
            .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_string())?;
        for chosen in tuned.work.values() {
            chosen.way.parse::<Way>().map_err(|error| error.to_string())?;
        }
        Ok(tuned)
    }

    /// For people.
    pub(super) fn named_libraries(&self) -> &str {
        if self.libraries.is_empty() { "no library" } else { &self.libraries }
    }

    /// As a file.
    pub fn to_toml(&self) -> String {
        HEAD.to_string() + &toml::to_string(self).expect("strings in tables")
    }

    /// The ways by what they are for; texts that are none were refused when they were read.
    pub(super) fn choices(&self) -> Choices {
        let each = self.work.iter();
        each.filter_map(|(name, it)| Some((name.clone(), it.way.parse().ok()?))).collect()
    }

    /// The choices of a run that goes on, if it has any.
    ///
    /// # Errors
    /// [`Error::Unreadable`] and [`Error::NotHere`].
    pub(super) fn of_run(
        &self,
        run: &Path,
        say: &mut dyn FnMut(&str),
    ) -> Result<Option<Tuned>, Error> {
        let path = run.join(FILE);
        let refused = |reason: String| Error::Unreadable { path: path.clone(), reason };
        let text = match files::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                say("the run has no choices.toml: from here on it may have other bits");
                return Ok(None);
            }
            Err(error) => return Err(refused(error.to_string())),
        };
        let own = Tuned::read(&text).map_err(refused)?;
        for way in own.choices().values() {
            let there = match way {
                Way::Own { .. } => Ok(()),
                Way::Cublaslt(_) => CublasLt::find().map(|_| ()),
                Way::Cudnn(_) => Cudnn::find().map(|_| ()),
            };
            there.map_err(|source| Error::NotHere { path: path.clone(), source })?;
        }
        let [found, here] = [&own, self]
            .map(|it| format!("{}, driver {}, with {}", it.card, it.driver, it.named_libraries()));
        if found != here {
            say(&format!(
                "the run's choices were made on {found}, and this is {here}: they are kept, and \
                 its last bits may not be those that it would have come to there"
            ));
        }
        Ok(Some(own))
    }

    /// Adds what was met; of what was known already also what was tried then.
    pub(super) fn take(&mut self, met: Vec<Met>, known: &Tuned) {
        for Met { name, way, why } in met {
            let mut chosen = Chosen { way: way.to_string(), ..Chosen::default() };
            match why {
                Why::Timed { tried, failed } => {
                    let tried = tried.iter().map(|(way, ms)| format!("{way}: {ms:.4} ms"));
                    chosen.tried = tried.collect();
                    let failed = failed.iter().map(|(way, reason)| format!("{way}: {reason}"));
                    chosen.left_out = failed.collect();
                }
                Why::Given => chosen = known.work.get(&name).cloned().unwrap_or(chosen),
                Why::Rule => {}
            }
            self.work.insert(name, chosen);
        }
    }

    /// `24 products: 14 own, 10 cublaslt`
    pub(super) fn counted(&self) -> String {
        let mut counts = BTreeMap::<&str, usize>::new();
        for chosen in self.work.values() {
            *counts.entry(chosen.way.split('/').next().unwrap_or_default()).or_default() += 1;
        }
        let counts = counts.iter().rev().map(|(whose, count)| format!("{count} {whose}"));
        let products = self.work.len();
        format!("{products} products: {}", counts.collect::<Vec<_>>().join(", "))
    }

    pub(super) fn tell_left_out(&self, say: &mut dyn FnMut(&str)) {
        let each = self.work.iter();
        let left_out =
            each.flat_map(|(name, chosen)| chosen.left_out.iter().map(move |it| (name, it)));
        let mut left_out = left_out.peekable();
        if let Some((name, why)) = left_out.peek().copied() {
            let count = left_out.count();
            say(&format!("tuning  {count} ways are left out ({FILE} names all); of {name}: {why}"));
        }
    }
}

/// A processor has one way for everything.
pub(super) fn card(device: &mut Device) -> Option<&mut Cuda> {
    match device {
        Device::Cuda(cuda) => Some(cuda),
        Device::Cpu(_) => None,
    }
}
