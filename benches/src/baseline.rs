//! Comparison of a run with an earlier one.

use crate::ledger::Table;
use crate::machine::Machine;
use crate::median;
use crate::results::{Measurement, Results, Workload};

/// The values that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The measured values: both runs were on the same machine.
    Values,
    /// Ratios of our values to PyTorch's, the only ones comparable between machines.
    Peer,
}

/// How a row has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Faster by more than the allowed loss.
    Faster,
    /// Neither.
    Same,
    /// The median is above the limit, but the interquartile ranges overlap: more rounds are needed.
    Noisy,
    /// Slower than allowed.
    Slower,
    /// Only in this run.
    New,
    /// Only in the baseline.
    Gone,
}

impl Change {
    fn name(self) -> &'static str {
        match self {
            Change::Faster => "faster",
            Change::Same => "same",
            Change::Noisy => "noisy: use more rounds",
            Change::Slower => "SLOWER",
            Change::New => "new",
            Change::Gone => "gone",
        }
    }
}

/// A row of both runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// The workload.
    pub work: Workload,
    /// The step or its part.
    pub what: String,
    /// The baseline's median, by the comparison's basis; absent if the row is new.
    pub before: Option<f64>,
    /// This run's; absent if the row is gone.
    pub now: Option<f64>,
    /// How it has changed.
    pub change: Change,
}

/// Two runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The compared values.
    pub basis: Basis,
    /// The rows of common workloads.
    pub rows: Vec<Compared>,
}

/// The basis for comparing a run of `workloads` on `machine` with the baseline `before`;
/// `with_peer` if the run includes PyTorch. Called before the measurements.
///
/// # Errors
/// If the runs are not comparable.
pub fn basis(
    before: &Results,
    machine: &Machine,
    workloads: &[Workload],
    with_peer: bool,
) -> Result<Basis, String> {
    let list = |workloads: &[Workload]| {
        workloads.iter().map(Workload::to_string).collect::<Vec<_>>().join("; ")
    };
    if !before.workloads().iter().any(|work| workloads.contains(work)) {
        let (theirs, ours) = (list(&before.workloads()), list(workloads));
        return Err(format!(
            "the baseline measured {theirs}, and this run {ours}: other models, modes or batches \
             cannot be compared; select the same"
        ));
    }
    if before.machine == *machine {
        return Ok(Basis::Values);
    }
    let (there, here) = (before.machine.describe(), machine.describe());
    let common = |row: &&Measurement| workloads.contains(&row.work) && !row.peer.is_empty();
    if with_peer && before.rows.iter().any(|row| common(&row)) {
        return Ok(Basis::Peer);
    }
    Err(format!(
        "the baseline was measured on another machine or with other threads ({there}; this is \
         {here}): only ratios to PyTorch can be compared; save the baseline and compare with \
         --peer torch, or measure a baseline here"
    ))
}

/// Compares a run with an earlier one. `allowed` is the allowed loss as a fraction, such as 0.05.
///
/// A row is slower if its median has grown by more than `allowed` and the interquartile ranges of
/// the two runs do not overlap.
pub fn compare(before: &Results, now: &Results, basis: Basis, allowed: f64) -> Comparison {
    let workloads = now.workloads();
    let mut rows = Vec::new();
    let find = |rows: &'_ [Measurement], like: &Measurement| -> Option<Vec<f64>> {
        let same = |row: &&Measurement| row.work == like.work && row.what == like.what;
        rows.iter().find(same).map(|row| samples(row, basis))
    };
    for row in &now.rows {
        let new = samples(row, basis);
        // When ratios are compared, rows without PyTorch's values are skipped.
        if new.is_empty() || !before.workloads().contains(&row.work) {
            continue;
        }
        let old = find(&before.rows, row).filter(|old| !old.is_empty());
        let change = old.as_ref().map_or(Change::New, |old| judge(old, &new, allowed));
        rows.push(Compared {
            work: row.work.clone(),
            what: row.what.clone(),
            before: old.map(median),
            now: Some(median(new)),
            change,
        });
    }
    for row in before.rows.iter().filter(|row| workloads.contains(&row.work)) {
        let old = samples(row, basis);
        if !old.is_empty() && find(&now.rows, row).is_none_or(|new| new.is_empty()) {
            rows.push(Compared {
                work: row.work.clone(),
                what: row.what.clone(),
                before: Some(median(old)),
                now: None,
                change: Change::Gone,
            });
        }
    }
    Comparison { basis, rows }
}

/// The values to compare.
fn samples(row: &Measurement, basis: Basis) -> Vec<f64> {
    match basis {
        Basis::Values => row.values.clone(),
        Basis::Peer => row.values.iter().zip(&row.peer).map(|(ours, its)| ours / its).collect(),
    }
}

fn judge(before: &[f64], now: &[f64], allowed: f64) -> Change {
    let ratio = median(now.to_vec()) / median(before.to_vec());
    let (before, now) = (quartiles(before), quartiles(now));
    if ratio > 1.0 + allowed {
        return if now.0 > before.1 { Change::Slower } else { Change::Noisy };
    }
    let faster = ratio < 1.0 / (1.0 + allowed) && now.1 < before.0;
    if faster { Change::Faster } else { Change::Same }
}

/// The first and third quartiles.
fn quartiles(values: &[f64]) -> (f64, f64) {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let last = values.len() - 1;
    (values[last / 4], values[last - last / 4])
}

impl Comparison {
    /// The rows that are slower than allowed.
    pub fn slower(&self) -> impl Iterator<Item = &Compared> {
        self.rows.iter().filter(|row| row.change == Change::Slower)
    }

    /// The table for the terminal.
    pub fn table(&self) -> Table {
        let (before, now) = match self.basis {
            Basis::Values => ("before", "now"),
            Basis::Peer => ("before, of PyTorch's", "now, of PyTorch's"),
        };
        let number =
            |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.3}"));
        let mut table = Table::new(&["work", "what"], &[before, now, "ratio", "verdict"]);
        for row in &self.rows {
            let ratio = row.before.zip(row.now).map(|(before, now)| now / before);
            table.push([
                row.work.to_string(),
                row.what.clone(),
                number(row.before),
                number(row.now),
                number(ratio),
                row.change.name().to_string(),
            ]);
        }
        table
    }
}

#[cfg(test)]
mod tests;
