//! Is it slower than it was? One run against an earlier one.

use crate::ledger::Table;
use crate::machine::Machine;
use crate::median;
use crate::results::{Measure, Results, Work};

/// What two runs' numbers are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The numbers themselves: both runs were on one machine.
    Values,
    /// Ours over PyTorch's, taken in turn: all that holds between machines.
    Peer,
}

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Better by more than is allowed to be lost.
    Faster,
    /// Neither.
    Same,
    /// Its median is past what is allowed, but the middle halves of both runs' values overlap: no
    /// evidence, more rounds are needed.
    Noisy,
    /// Past what is allowed.
    Slower,
    /// Only this run has it.
    New,
    /// Only the baseline has it.
    Gone,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Faster => "faster",
            Verdict::Same => "same",
            Verdict::Noisy => "noisy: take more rounds",
            Verdict::Slower => "SLOWER",
            Verdict::New => "new",
            Verdict::Gone => "gone",
        }
    }
}

/// A row of both runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// Of what.
    pub work: Work,
    /// Step or part.
    pub what: String,
    /// The baseline's median, by the comparison's basis; absent if the row is new.
    pub before: Option<f64>,
    /// This run's; absent if the row is gone.
    pub now: Option<f64>,
    /// What became of it.
    pub verdict: Verdict,
}

/// Two runs beside each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// What they are compared by.
    pub basis: Basis,
    /// Rows of what both runs measured.
    pub rows: Vec<Compared>,
}

/// What a run of `works` on `machine` can be compared with `before` by; `with_peer`: it makes its
/// steps in turn with PyTorch. Asked before anything slow is done.
///
/// # Errors
/// A sentence, if there is nothing to compare.
pub fn basis(
    before: &Results,
    machine: &Machine,
    works: &[Work],
    with_peer: bool,
) -> Result<Basis, String> {
    let list = |works: &[Work]| works.iter().map(Work::to_string).collect::<Vec<_>>().join("; ");
    if !before.works().iter().any(|work| works.contains(work)) {
        let (theirs, ours) = (list(&before.works()), list(works));
        return Err(format!(
            "the baseline measured {theirs}, and this run {ours}: times of other models, modes or \
             batches say nothing; ask for the same"
        ));
    }
    if before.machine == *machine {
        return Ok(Basis::Values);
    }
    let (there, here) = (before.machine.describe(), machine.describe());
    let common = |row: &&Measure| works.contains(&row.work) && !row.peer.is_empty();
    if with_peer && before.rows.iter().any(|row| common(&row)) {
        return Ok(Basis::Peer);
    }
    Err(format!(
        "the baseline was measured on another machine or on other threads ({there}; this is \
         {here}): only ratios to PyTorch hold between them; save the baseline and compare with \
         --peer torch, or measure it anew here"
    ))
}

/// Compares a run with an earlier one. `allowed` is the loss that is let pass, as a share: 0.05.
///
/// A row is slower if its median has grown by more than `allowed`, and the middle halves of the two
/// runs' values lie apart.
pub fn compare(before: &Results, now: &Results, basis: Basis, allowed: f64) -> Comparison {
    let works = now.works();
    let mut rows = Vec::new();
    let find = |rows: &'_ [Measure], like: &Measure| -> Option<Vec<f64>> {
        let same = |row: &&Measure| row.work == like.work && row.what == like.what;
        rows.iter().find(same).map(|row| samples(row, basis))
    };
    for row in &now.rows {
        let new = samples(row, basis);
        // Where only ratios hold, a row without PyTorch's number is left out.
        if new.is_empty() || !before.works().contains(&row.work) {
            continue;
        }
        let old = find(&before.rows, row).filter(|old| !old.is_empty());
        let verdict = old.as_ref().map_or(Verdict::New, |old| judge(old, &new, allowed));
        rows.push(Compared {
            work: row.work.clone(),
            what: row.what.clone(),
            before: old.map(median),
            now: Some(median(new)),
            verdict,
        });
    }
    for row in before.rows.iter().filter(|row| works.contains(&row.work)) {
        let old = samples(row, basis);
        if !old.is_empty() && find(&now.rows, row).is_none_or(|new| new.is_empty()) {
            rows.push(Compared {
                work: row.work.clone(),
                what: row.what.clone(),
                before: Some(median(old)),
                now: None,
                verdict: Verdict::Gone,
            });
        }
    }
    Comparison { basis, rows }
}

/// What is compared: less is better.
fn samples(row: &Measure, basis: Basis) -> Vec<f64> {
    match basis {
        Basis::Values => row.values.clone(),
        Basis::Peer => row.values.iter().zip(&row.peer).map(|(ours, its)| ours / its).collect(),
    }
}

fn judge(before: &[f64], now: &[f64], allowed: f64) -> Verdict {
    let ratio = median(now.to_vec()) / median(before.to_vec());
    let (before, now) = (middle_half(before), middle_half(now));
    if ratio > 1.0 + allowed {
        return if now.0 > before.1 { Verdict::Slower } else { Verdict::Noisy };
    }
    let faster = ratio < 1.0 / (1.0 + allowed) && now.1 < before.0;
    if faster { Verdict::Faster } else { Verdict::Same }
}

/// The first and third quartile: half of the values lie between them.
fn middle_half(values: &[f64]) -> (f64, f64) {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let last = values.len() - 1;
    (values[last / 4], values[last - last / 4])
}

impl Comparison {
    /// The rows past what is allowed.
    pub fn slower(&self) -> impl Iterator<Item = &Compared> {
        self.rows.iter().filter(|row| row.verdict == Verdict::Slower)
    }

    /// For the terminal.
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
                row.verdict.word().to_string(),
            ]);
        }
        table
    }
}

#[cfg(test)]
mod tests;
