//! Tables, on the terminal and in BENCHMARKS.md.
//!
//! BENCHMARKS.md has a place for each table between two comments:
//!
//! ```text
//! <!-- bench: steps -->
//! | model | mode | ours ms | run |
//! |---|---|---:|---:|
//! | alexnet | train | 1398.0 | 1 |
//!
//! 1. 2026-11-24, AMD EPYC (family 25, model 17), 2 cores, 2 threads: `cargo xtask bench`
//! <!-- /bench -->
//! ```
//!
//! A run replaces its rows and keeps the others. Each row has the number of its run, which is
//! listed below the table with the day, the machine and the command. Text outside the comments is
//! not changed.

use crate::results::replace;
use std::fs;
use std::path::{Path, PathBuf};

/// A table; the cells in its first `keys` columns identify a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    columns: Vec<String>,
    keys: usize,
    rows: Vec<Vec<String>>,
    /// See [`whole`](Self::whole).
    whole: bool,
}

impl Table {
    /// An empty table with columns `keys`, then `values`.
    pub fn new(keys: &[&str], values: &[&str]) -> Table {
        let columns = keys.iter().chain(values).map(|name| name.to_string()).collect();
        Table { columns, keys: keys.len(), rows: Vec::new(), whole: false }
    }

    /// Marks the table as complete: it replaces all recorded rows, not only those with its keys.
    #[must_use]
    pub fn whole(self) -> Table {
        Table { whole: true, ..self }
    }

    /// Adds a row, with one cell for each column.
    ///
    /// # Panics
    /// If the number of cells differs.
    pub fn push(&mut self, row: impl IntoIterator<Item = String>) {
        let row: Vec<String> = row.into_iter().collect();
        assert_eq!(row.len(), self.columns.len(), "one cell for each of {:?}", self.columns);
        self.rows.push(row);
    }

    /// The table as Markdown, with values aligned to the right.
    pub fn render(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = (0..self.columns.len()).map(|at| if at < self.keys { "---" } else { "---:" });
        let rule = format!("|{}|\n", rule.collect::<Vec<_>>().join("|"));
        let rows = self.rows.iter().map(|row| line(row));
        [line(&self.columns), rule].into_iter().chain(rows).collect()
    }
}

/// The file BENCHMARKS.md.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
}

impl Ledger {
    /// The BENCHMARKS.md of the repository that this program was built from.
    pub fn of_the_repository() -> Ledger {
        let benches = Path::new(env!("CARGO_MANIFEST_DIR"));
        Ledger { path: benches.with_file_name("BENCHMARKS.md") }
    }

    /// Checks that the file has a place for each of these tables. Call it before the measurements,
    /// so that none is lost.
    ///
    /// # Errors
    /// A message with the path and the missing lines.
    pub fn check(&self, names: &[String]) -> Result<(), String> {
        let text = self.read()?;
        names.iter().try_for_each(|name| place(&text, name).map(drop).map_err(|e| self.error(&e)))
    }

    /// Writes a table's rows to the file; `run` describes the run that measured them.
    ///
    /// # Errors
    /// A message with the path.
    pub fn write(&self, name: &str, table: &Table, run: &str) -> Result<(), String> {
        let merged = merge(&self.read()?, name, table, run).map_err(|error| self.error(&error))?;
        replace(&self.path, &merged)
    }

    fn read(&self) -> Result<String, String> {
        fs::read_to_string(&self.path).map_err(|error| self.error(&error.to_string()))
    }

    fn error(&self, what: &str) -> String {
        format!("{}: {what}", self.path.display())
    }
}

/// The heading of the last column, which has the number of each row's run.
const RUN: &str = "run";

/// The text of BENCHMARKS.md with the table's rows replaced.
fn merge(text: &str, name: &str, table: &Table, run: &str) -> Result<String, String> {
    let place = place(text, name)?;
    let columns = [&table.columns[..], &[RUN.to_string()]].concat();
    let old = Recorded::parse(&text[place.clone()]).filter(|old| {
        !table.whole && old.columns == columns // otherwise the whole old table is replaced
    });
    let (mut rows, mut runs) = old.map_or_else(Default::default, |old| (old.rows, old.runs));

    runs.push(run.to_string());
    let number = runs.len();
    for row in &table.rows {
        let new = [&row[..], &[number.to_string()]].concat();
        let same_key = |old: &&mut Vec<String>| old[..table.keys] == row[..table.keys];
        match rows.iter_mut().find(same_key) {
            Some(old) => *old = new,
            None => rows.push(new),
        }
    }
    let runs = renumber(&mut rows, &runs);
    let merged = Table { columns, rows, ..table.clone() }.render();
    let runs: String = runs.iter().zip(1..).map(|(run, at)| format!("{at}. {run}\n")).collect();
    Ok(format!("{}{merged}\n{runs}{}", &text[..place.start], &text[place.end..]))
}

/// Returns the runs that still have rows, in the order of their first rows, and updates the run
/// numbers in the rows. Runs with equal descriptions become one.
fn renumber(rows: &mut [Vec<String>], runs: &[String]) -> Vec<String> {
    let mut used: Vec<String> = Vec::new();
    for row in rows {
        let number = row.last_mut().expect("a run's number");
        let run = number.parse().ok().and_then(|at: usize| runs.get(at.checked_sub(1)?));
        let Some(run) = run else {
            number.clear(); // not a listed run: the file was edited by hand
            continue;
        };
        let at = used.iter().position(|other| other == run).unwrap_or_else(|| {
            used.push(run.clone());
            used.len() - 1
        });
        *number = (at + 1).to_string();
    }
    used
}

/// The range of bytes between a table's two comments.
fn place(text: &str, name: &str) -> Result<std::ops::Range<usize>, String> {
    let (opening, closing) = (format!("<!-- bench: {name} -->\n"), "<!-- /bench -->");
    let missing = || {
        let opening = opening.trim_end();
        format!(
            "no place for the table `{name}`: add the lines `{opening}` and `{closing}` where it \
             belongs"
        )
    };
    let start = text.find(&opening).ok_or_else(missing)? + opening.len();
    let length = text[start..].find(closing).ok_or_else(missing)?;
    if text[start..][..length].contains("<!-- bench:") {
        Err(missing()) // the closing comment that was found is the next table's
    } else {
        Ok(start..start + length)
    }
}

/// A table in BENCHMARKS.md, with the runs listed below it.
struct Recorded {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    runs: Vec<String>,
}

impl Recorded {
    fn parse(text: &str) -> Option<Recorded> {
        let cells = |line: &str| -> Option<Vec<String>> {
            let inside = line.strip_prefix('|')?.strip_suffix('|')?;
            Some(inside.split('|').map(|cell| cell.trim().to_string()).collect())
        };
        let mut lines = text.lines().filter_map(cells);
        let (columns, _rule) = (lines.next()?, lines.next()?);
        let rows = lines.filter(|row| row.len() == columns.len()).collect();
        let runs = text.lines().filter_map(|line| {
            let (number, run) = line.split_once(". ")?;
            number.parse::<usize>().ok().map(|_| run.to_string())
        });
        Some(Recorded { columns, rows, runs: runs.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEDGER: &str = "# Benchmarks\n\nabove\n<!-- bench: steps -->\n<!-- /bench -->\nbelow\n\
                          <!-- bench: memory -->\nold\n<!-- /bench -->\n";

    fn table(rows: &[[&str; 3]]) -> Table {
        let mut table = Table::new(&["model", "mode"], &["ms"]);
        rows.iter().for_each(|row| table.push(row.map(String::from)));
        table
    }

    #[test]
    fn a_run_replaces_its_rows_and_leaves_the_others() {
        let first = table(&[["alexnet", "train", "10"], ["alexnet", "infer", "3"]]);
        let text = merge(LEDGER, "steps", &first, "Monday: `a`").unwrap();
        let second = table(&[["alexnet", "train", "9"], ["vgg", "train", "70"]]);
        let text = merge(&text, "steps", &second, "Tuesday: `b`").unwrap();
        let expected = "# Benchmarks\n\nabove\n<!-- bench: steps -->\n\
            | model | mode | ms | run |\n|---|---|---:|---:|\n\
            | alexnet | train | 9 | 1 |\n| alexnet | infer | 3 | 2 |\n| vgg | train | 70 | 1 |\n\n\
            1. Tuesday: `b`\n2. Monday: `a`\n<!-- /bench -->\nbelow\n\
            <!-- bench: memory -->\nold\n<!-- /bench -->\n";
        assert_eq!(text, expected);
        // Monday's run has no rows any more and is removed. The new run is listed once, as its
        // description is equal to that of Tuesday's.
        let third = table(&[["alexnet", "infer", "2"]]);
        let text = merge(&text, "steps", &third, "Tuesday: `b`").unwrap();
        assert!(text.contains("| alexnet | infer | 2 | 1 |"), "{text}");
        assert!(text.contains("1. Tuesday: `b`\n<!-- /bench -->") && !text.contains("Monday"));
    }

    #[test]
    fn whole_tables_and_other_columns_replace_the_old_table() {
        let one = table(&[["alexnet", "train", "10"], ["gone", "train", "3"]]);
        let text = merge(LEDGER, "steps", &one, "a").unwrap();
        let two = table(&[["alexnet", "train", "9"]]);
        let whole = merge(&text, "steps", &two.clone().whole(), "b").unwrap();
        assert!(!whole.contains("gone") && whole.contains("| 9 | 1 |"), "{whole}");
        let mut other = Table::new(&["model"], &["MiB"]);
        other.push(["alexnet".to_string(), "5".to_string()]);
        let other = merge(&text, "steps", &other, "c").unwrap();
        assert!(!other.contains("gone") && other.contains("| alexnet | 5 | 1 |"), "{other}");
        // Text that is not a table is replaced, too.
        assert!(!merge(LEDGER, "memory", &one, "d").unwrap().contains("old"));
    }

    #[test]
    fn a_table_without_a_place_is_an_error() {
        let error = merge(LEDGER, "epoch", &table(&[]), "a").unwrap_err();
        assert!(error.contains("`<!-- bench: epoch -->` and `<!-- /bench -->`"), "{error}");
        let open = LEDGER.replacen("<!-- /bench -->\n", "", 1);
        assert!(merge(&open, "steps", &table(&[]), "a").is_err());
    }

    #[test]
    fn the_repositorys_ledger_has_every_place() {
        let names = ["steps", "memory", "epoch", "floor alexnet 128", "floor torchvision 128"];
        let scaling = ["scaling weak", "scaling strong", "scaling measured"];
        let calculated = ["floor h200 alexnet", "floor h200 torchvision"];
        let names = names.iter().chain(&scaling).chain(&calculated);
        let names: Vec<String> = names.map(|name| name.to_string()).collect();
        assert_eq!(Ledger::of_the_repository().check(&names), Ok(()));
    }
}
