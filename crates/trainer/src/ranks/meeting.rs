//! Before the first step all ranks say what they are about to do, and go on only if it is the same.

use super::{Ranks, name_of};
use crate::fault::{Fault, Result};
use crate::settings::Settings;
use serde::{Deserialize, Serialize};
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

/// Differences that are listed one by one.
const MOST_LINES: usize = 12;

impl Member {
    /// What this process is about to do, and on what.
    pub fn new(
        device: String,
        name: (String, usize),
        bytes: usize,
        (identity, settings): (&Identity, &Settings),
    ) -> Member {
        let mut plan = identity.clone();
        let commit = option_env!("ALEXNET_COMMIT").unwrap_or("a commit that is not known");
        plan.insert("program", format!("{} of {commit}", env!("CARGO_PKG_VERSION")));
        plan.insert("parallel", name_of(settings.parallel));
        let steps = settings.max_steps.map_or("all".to_string(), |steps| steps.to_string());
        plan.insert("max_steps", steps);
        Member { device, name, bytes, host: String::new(), plan }
    }
}

impl Ranks {
    /// Meets the others, each with what it is about to do; gives all of them, and the bytes that
    /// those on this host take together.
    ///
    /// # Errors
    /// Exit code 2, in all processes, if one is about to do something else; with its rank and what
    /// differs, line by line.
    pub fn meet(&mut self, own: Member) -> Result<(Vec<Member>, usize)> {
        let Some(others) = &mut self.others else { return Ok((vec![own], 0)) };
        let host = others.host.name.clone();
        let own = serde_json::to_vec(&Member { host: host.clone(), ..own }).expect("plain data");
        let all = others.gather(&own)?;
        let all: Vec<Member> = all
            .iter()
            .map(|bytes| serde_json::from_slice(bytes))
            .collect::<serde_json::Result<_>>()
            .map_err(|error| {
                let version = env!("CARGO_PKG_VERSION");
                let told = format!("another process runs another program than {version}: {error}");
                Fault::usage(told)
            })?;
        compare(&all).map_err(Fault::usage)?;
        let here = all.iter().filter(|member| member.host == host);
        let bytes = here.map(|member| member.bytes).sum();
        Ok((all, bytes))
    }
}

/// The same sentence on every rank.
fn compare(all: &[Member]) -> std::result::Result<(), String> {
    let differences = |member: &Member| all[0].plan.differences(&member.plan, |_| false);
    let each = all.iter().map(differences).enumerate();
    let mut differ = each.filter(|(_, differences)| !differences.is_empty());
    let Some((rank, found)) = differ.next() else { return Ok(()) };
    let line = |Difference { name, was, now }: &Difference| {
        let or_nothing = |value: &Option<String>| value.clone().unwrap_or("nothing".to_string());
        format!("  {name}: rank 0 has {}, rank {rank} {}", or_nothing(was), or_nothing(now))
    };
    let mut lines: Vec<String> = found.iter().map(line).collect();
    if lines.len() > MOST_LINES {
        let more = lines.split_off(MOST_LINES - 1).len();
        lines.push(format!("  and {more} more"));
    }
    let more: Vec<String> = differ.map(|(rank, _)| rank.to_string()).collect();
    let more = match more.is_empty() {
        true => String::new(),
        false => format!(" (and so would rank {})", more.join(", ")),
    };
    Err(format!(
        "rank {rank} would train something else than rank 0{more}, so none begins:\n{}",
        lines.join("\n")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_differs_is_named_with_every_difference() {
        let member = |seed: u64, batch: usize| {
            let mut plan = Identity::default();
            plan.insert("seed", seed);
            plan.insert("recipe.batch", batch);
            Member {
                device: "cpu".to_string(),
                name: ("cpu".to_string(), 1),
                bytes: 0,
                host: "a".to_string(),
                plan,
            }
        };
        let [same, other] = [member(1, 8), member(2, 16)];
        assert_eq!(compare(&[same.clone(), same.clone()]), Ok(()));
        let told = compare(&[same.clone(), same, other.clone(), other]).unwrap_err();
        assert_eq!(
            told,
            "rank 2 would train something else than rank 0 (and so would rank 3), so none begins:\n\
             \x20 recipe.batch: rank 0 has 8, rank 2 16\n  seed: rank 0 has 1, rank 2 2"
        );
    }
}
