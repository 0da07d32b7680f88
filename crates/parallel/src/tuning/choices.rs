//! Chosen algorithms, and where they were chosen: `choices.toml`.

use super::error::Error;
use crate::devices::Devices;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use tensor::cublaslt::CublasLt;
use tensor::cudnn::Cudnn;
use tensor::tune::{Choices, ChosenBy, GpuAlgorithm, TunedOperation};
use tensor::{Cuda, Device};

/// The name of the file in a run's folder.
pub const FILE: &str = "choices.toml";

const HEAD: &str = "\
# The GPU algorithm of each operation. It decides the last bits of results.
# own/T/S: this program's kernels, in tiles of T x T, with sums over k cut into S slices;
# own/RxC/S: in tiles of R x C.
# cublaslt/N: cuBLASLt's algorithm N; 0 is its own first choice.
# cudnn/N: cuDNN's algorithm N.
# `tried` has the timings, that of the heuristic's choice first.

";

/// Chosen algorithms, and where they were chosen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuned {
    #[serde(rename = "card")]
    pub(super) gpu: String,
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
    /// No choices yet, on these GPUs.
    pub(super) fn here(devices: &mut Devices, program: &str) -> Tuned {
        let mut gpus: Vec<String> = Vec::new();
        let mut here = Tuned { program: program.to_string(), ..Tuned::default() };
        for cuda in devices.planned_mut().iter_mut().filter_map(|(device, _)| gpu(device)) {
            let cublaslt = cuda.cublaslt().map(|library| format!("cuBLASLt {}", library.version()));
            let cudnn = cuda.cudnn().map(|library| format!("cuDNN {}", library.version()));
            let libraries: Vec<String> = cublaslt.into_iter().chain(cudnn).collect();
            here.libraries = libraries.join(", ");
            here.driver = cuda.driver();
            gpus.push(cuda.model());
        }
        gpus.dedup();
        here.gpu = gpus.join(" and ");
        here
    }

    /// Parses the text of a file.
    ///
    /// # Errors
    /// The reason, in one line.
    pub(super) fn read(text: &str) -> Result<Tuned, String> {
        let tuned: Tuned = toml::from_str(text)
            .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_string())?;
        for chosen in tuned.work.values() {
            chosen.way.parse::<GpuAlgorithm>().map_err(|error| error.to_string())?;
        }
        Ok(tuned)
    }

    /// The libraries, for messages.
    pub(super) fn named_libraries(&self) -> &str {
        if self.libraries.is_empty() { "no library" } else { &self.libraries }
    }

    /// The text of a file.
    pub fn to_toml(&self) -> String {
        HEAD.to_string() + &toml::to_string(self).expect("strings in tables")
    }

    /// The algorithm of each operation; [`read`](Self::read) has refused invalid ones.
    pub(super) fn choices(&self) -> Choices {
        let each = self.work.iter();
        each.filter_map(|(name, it)| Some((name.clone(), it.way.parse().ok()?))).collect()
    }

    /// The choices of a run that is resumed, if it has any.
    ///
    /// # Errors
    /// [`Error::Unreadable`] and [`Error::Unavailable`].
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
                say("the run has no choices.toml: from here on its last bits may differ");
                return Ok(None);
            }
            Err(error) => return Err(refused(error.to_string())),
        };
        let own = Tuned::read(&text).map_err(refused)?;
        for algorithm in own.choices().values() {
            let found = match algorithm {
                GpuAlgorithm::Own { .. } => Ok(()),
                GpuAlgorithm::Cublaslt(_) => CublasLt::find().map(|_| ()),
                GpuAlgorithm::Cudnn(_) => Cudnn::find().map(|_| ()),
            };
            found.map_err(|source| Error::Unavailable { path: path.clone(), source })?;
        }
        let [found, here] = [&own, self]
            .map(|it| format!("{}, driver {}, with {}", it.gpu, it.driver, it.named_libraries()));
        if found != here {
            say(&format!(
                "the run's choices were made on {found}, and this is {here}: they are kept, but \
                 results may differ in the last bits"
            ));
        }
        Ok(Some(own))
    }

    /// Adds operations and their algorithms; timings of `known` ones are kept.
    pub(super) fn add(&mut self, operations: Vec<TunedOperation>, known: &Tuned) {
        for TunedOperation { name, algorithm, chosen_by } in operations {
            let mut chosen = Chosen { way: algorithm.to_string(), ..Chosen::default() };
            match chosen_by {
                ChosenBy::Timing { tried, failed } => {
                    let tried = tried.iter().map(|(tried, ms)| format!("{tried}: {ms:.4} ms"));
                    chosen.tried = tried.collect();
                    let failed = failed.iter().map(|(tried, why)| format!("{tried}: {why}"));
                    chosen.left_out = failed.collect();
                }
                ChosenBy::File => chosen = known.work.get(&name).cloned().unwrap_or(chosen),
                ChosenBy::Heuristic => {}
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

    /// Logs how many algorithms could not be used, and why the first could not.
    pub(super) fn log_left_out(&self, say: &mut dyn FnMut(&str)) {
        let each = self.work.iter();
        let left_out =
            each.flat_map(|(name, chosen)| chosen.left_out.iter().map(move |it| (name, it)));
        let mut left_out = left_out.peekable();
        if let Some((name, why)) = left_out.peek().copied() {
            let count = left_out.count();
            say(&format!("tuning  {count} algorithms cannot be used ({FILE}); for {name}: {why}"));
        }
    }
}

/// The device, if it is a GPU: a CPU has one algorithm for each operation.
pub(super) fn gpu(device: &mut Device) -> Option<&mut Cuda> {
    match device {
        Device::Cuda(cuda) => Some(cuda),
        Device::Cpu(_) => None,
    }
}
