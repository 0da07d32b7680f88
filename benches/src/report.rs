//! Output of results: the terminal, BENCHMARKS.md and saved files.

use crate::cli::{Cli, TableName};
use alexnet_benches::ledger::{Ledger, Table};
use alexnet_benches::machine::{Machine, today};
use alexnet_benches::results::Measurement;

/// The results of a run and their output.
pub struct BenchReport {
    /// All results, to be saved and compared.
    pub rows: Vec<Measurement>,
    ledger: Option<Ledger>,
    machine: String,
    command: String,
}

impl BenchReport {
    /// A report of `command` on `machine`.
    ///
    /// # Errors
    /// With `--write`, if BENCHMARKS.md has no place for a table.
    pub fn new(cli: &Cli, machine: &Machine, command: &str) -> Result<BenchReport, String> {
        let ledger = cli.write.then(Ledger::of_the_repository);
        if let Some(ledger) = &ledger {
            ledger.check(&tables(cli))?;
        }
        let (machine, command) = (machine.describe(), command.to_string());
        Ok(BenchReport { rows: Vec::new(), ledger, machine, command })
    }

    /// Prints a table, and writes it with `--write`. `about` adds details of the measurement.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn table(&self, name: &str, table: &Table, about: &str) -> Result<(), String> {
        let run =
            format!("{}, {}, {}, {about}: `{}`", today(), self.machine, program(), self.command);
        println!("{}{run}\n", table.render());
        self.ledger.as_ref().map_or(Ok(()), |ledger| ledger.write(name, table, &run))
    }
}

/// The version, and the commit that `cargo xtask bench` provides.
fn program() -> String {
    let version = env!("CARGO_PKG_VERSION");
    match std::env::var("ALEXNET_COMMIT") {
        Ok(commit) => format!("alexnet {version} ({commit})"),
        Err(_) => format!("alexnet {version}"),
    }
}

/// The names of a run's tables.
fn tables(cli: &Cli) -> Vec<String> {
    if cli.epoch.is_some() {
        return vec!["epoch".to_string()];
    }
    if cli.floor.is_some() {
        return cli.model.iter().map(|model| format!("floor h200 {model}")).collect();
    }
    let mut tables = Vec::new();
    if cli.wants(TableName::Steps) {
        tables.push(cli.steps_title());
    }
    if cli.wants(TableName::Floor) {
        for model in &cli.model {
            let units = cli.floor_units().into_iter();
            tables.extend(units.map(|(mode, batch)| cli.floor_title(model, mode, batch)));
        }
    }
    if cli.wants(TableName::Memory) {
        tables.push("memory".to_string());
    }
    tables
}
