//! The settings of all processes, which must be equal before the first step.

use serde::{Deserialize, Serialize};
use std::fmt;
use train::checkpoint::{Difference, Identity};

/// What a process sends to the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessInfo {
    /// Its device, with its threads.
    pub device: String,
    /// The device's name, and its threads.
    pub name: (String, usize),
    /// Bytes of host memory that it needs.
    pub bytes: usize,
    host: String,
    plan: Identity,
}

impl ProcessInfo {
    /// A process on a device; `plan` has the settings that must be equal.
    pub fn new(device: String, name: (String, usize), bytes: usize, plan: Identity) -> ProcessInfo {
        ProcessInfo { device, name, bytes, host: String::new(), plan }
    }

    pub(super) fn on_host(self, name: &str) -> ProcessInfo {
        ProcessInfo { host: name.to_string(), ..self }
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data")
    }
}

/// Parses what all processes have sent.
///
/// # Errors
/// If one has sent something else than this program would.
pub(super) fn parse(all: &[Vec<u8>]) -> serde_json::Result<Vec<ProcessInfo>> {
    all.iter().map(|bytes| serde_json::from_slice(bytes)).collect()
}

/// The bytes of host memory that the processes of one host need together.
pub(super) fn bytes_on(host: &str, all: &[ProcessInfo]) -> usize {
    all.iter().filter(|process| process.host == host).map(|process| process.bytes).sum()
}

/// Checks that all settings are equal.
///
/// # Errors
/// The same on every rank: which ranks differ from rank 0, and how.
pub(super) fn compare(all: &[ProcessInfo]) -> Result<(), Disagreement> {
    let differences = |process: &ProcessInfo| all[0].plan.differences(&process.plan, |_| false);
    let each = all.iter().map(differences).enumerate();
    let mut differ = each.filter(|(_, differences)| !differences.is_empty());
    let Some((rank, differences)) = differ.next() else { return Ok(()) };
    Err(Disagreement { rank, differences, others: differ.map(|(rank, _)| rank).collect() })
}

/// Processes whose settings differ from those of rank 0; displayed line by line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// The first rank that differs.
    pub rank: usize,
    /// The settings of rank 0 and of this one, where they differ.
    pub differences: Vec<Difference>,
    /// The other ranks that differ.
    pub others: Vec<usize>,
}

/// Differences that are listed one by one.
const MAX_LINES: usize = 12;

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rank = self.rank;
        write!(f, "rank {rank} would train something else than rank 0")?;
        if !self.others.is_empty() {
            let others: Vec<String> = self.others.iter().map(usize::to_string).collect();
            write!(f, " (and so would rank {})", others.join(", "))?;
        }
        write!(f, ", so none starts:")?;
        let listed = match self.differences.len() {
            all @ ..=MAX_LINES => all,
            _ => MAX_LINES - 1,
        };
        let or_nothing = |value: &Option<String>| value.clone().unwrap_or("nothing".to_string());
        for Difference { name, was, now } in &self.differences[..listed] {
            let (first, this) = (or_nothing(was), or_nothing(now));
            write!(f, "\n  {name}: rank 0 has {first}, rank {rank} {this}")?;
        }
        match self.differences.len() - listed {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

impl std::error::Error for Disagreement {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_with_other_settings_are_listed_with_every_difference() {
        let process = |seed: u64, batch: usize| {
            let mut plan = Identity::default();
            plan.insert("seed", seed);
            plan.insert("recipe.batch", batch);
            ProcessInfo::new("cpu".to_string(), ("cpu".to_string(), 1), 0, plan)
        };
        let [same, other] = [process(1, 8), process(2, 16)];
        assert_eq!(compare(&[same.clone(), same.clone()]), Ok(()));
        let error = compare(&[same.clone(), same, other.clone(), other]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "rank 2 would train something else than rank 0 (and so would rank 3), so none starts:\n\
             \x20 recipe.batch: rank 0 has 8, rank 2 16\n  seed: rank 0 has 1, rank 2 2"
        );
    }

    #[test]
    fn long_lists_of_differences_are_cut() {
        let lines = |count: u32| {
            let [mut first, mut other] = [(); 2].map(|()| Identity::default());
            for entry in 0..count {
                first.insert(&format!("entry {entry}"), 1);
                other.insert(&format!("entry {entry}"), 2);
            }
            let process = |plan| ProcessInfo::new(String::new(), (String::new(), 1), 0, plan);
            let message = compare(&[process(first), process(other)]).unwrap_err().to_string();
            message.lines().map(str::to_string).collect::<Vec<_>>()
        };
        assert_eq!(lines(12).len(), 1 + 12);
        assert_eq!((lines(13).len(), lines(13)[12].as_str()), (1 + 12, "  and 2 more"));
    }
}
