//! Before the first step all ranks say what they are about to do, and go on only if it is the same.

use serde::{Deserialize, Serialize};
use std::fmt;
use train::checkpoint::{Difference, Identity};

/// A process as the others know it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Its device, with its threads.
    pub device: String,
    /// The device's name, and its threads.
    pub name: (String, usize),
    /// Bytes of the host's memory that it takes.
    pub bytes: usize,
    host: String,
    plan: Identity,
}

impl Member {
    /// A process on such a device, which is about to do what `plan` says.
    pub fn new(device: String, name: (String, usize), bytes: usize, plan: Identity) -> Member {
        Member { device, name, bytes, host: String::new(), plan }
    }

    pub(super) fn on_host(self, name: &str) -> Member {
        Member { host: name.to_string(), ..self }
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data")
    }
}

/// What all of them say, in the order of the ranks.
///
/// # Errors
/// If one says what this program would not.
pub(super) fn understand(all: &[Vec<u8>]) -> serde_json::Result<Vec<Member>> {
    all.iter().map(|bytes| serde_json::from_slice(bytes)).collect()
}

/// The bytes that the processes on one host take together.
pub(super) fn bytes_on(host: &str, all: &[Member]) -> usize {
    all.iter().filter(|member| member.host == host).map(|member| member.bytes).sum()
}

/// Whether all are about to do the same. The same sentence on every rank.
///
/// # Errors
/// Who is not, and what differs.
pub(super) fn compare(all: &[Member]) -> Result<(), Disagreement> {
    let differences = |member: &Member| all[0].plan.differences(&member.plan, |_| false);
    let each = all.iter().map(differences).enumerate();
    let mut differ = each.filter(|(_, differences)| !differences.is_empty());
    let Some((rank, differences)) = differ.next() else { return Ok(()) };
    Err(Disagreement { rank, differences, others: differ.map(|(rank, _)| rank).collect() })
}

/// Processes that are about to do something else than the first. It is told line by line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// The first of them.
    pub rank: usize,
    /// What the first process would do, and what this one.
    pub differences: Vec<Difference>,
    /// The rest of them.
    pub others: Vec<usize>,
}

/// Differences that are listed one by one.
const MOST_LINES: usize = 12;

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rank = self.rank;
        write!(f, "rank {rank} would train something else than rank 0")?;
        if !self.others.is_empty() {
            let others: Vec<String> = self.others.iter().map(usize::to_string).collect();
            write!(f, " (and so would rank {})", others.join(", "))?;
        }
        write!(f, ", so none begins:")?;
        let listed = match self.differences.len() {
            all @ ..=MOST_LINES => all,
            _ => MOST_LINES - 1,
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
    fn whoever_differs_is_named_with_every_difference() {
        let member = |seed: u64, batch: usize| {
            let mut plan = Identity::default();
            plan.insert("seed", seed);
            plan.insert("recipe.batch", batch);
            Member::new("cpu".to_string(), ("cpu".to_string(), 1), 0, plan)
        };
        let [same, other] = [member(1, 8), member(2, 16)];
        assert_eq!(compare(&[same.clone(), same.clone()]), Ok(()));
        let told = compare(&[same.clone(), same, other.clone(), other]).unwrap_err();
        assert_eq!(
            told.to_string(),
            "rank 2 would train something else than rank 0 (and so would rank 3), so none begins:\n\
             \x20 recipe.batch: rank 0 has 8, rank 2 16\n  seed: rank 0 has 1, rank 2 2"
        );
    }

    #[test]
    fn of_many_differences_some_are_listed() {
        let lines = |count: u32| {
            let [mut first, mut other] = [(); 2].map(|()| Identity::default());
            for entry in 0..count {
                first.insert(&format!("entry {entry}"), 1);
                other.insert(&format!("entry {entry}"), 2);
            }
            let member = |plan| Member::new(String::new(), (String::new(), 1), 0, plan);
            let told = compare(&[member(first), member(other)]).unwrap_err().to_string();
            told.lines().map(str::to_string).collect::<Vec<_>>()
        };
        assert_eq!(lines(12).len(), 1 + 12);
        assert_eq!((lines(13).len(), lines(13)[12].as_str()), (1 + 12, "  and 2 more"));
    }
}
