//! Where numbers go: the terminal, BENCHMARKS.md, and what is kept.

use crate::cli::{Cli, TableName};
use alexnet_benches::ledger::{Ledger, Table};
use alexnet_benches::machine::{Machine, today};
use alexnet_benches::results::Measure;

/// A run's numbers and how to tell them.
pub struct Report {
    /// All of them, to be kept and compared.
    pub rows: Vec<Measure>,
    ledger: Option<Ledger>,
    machine: String,
    command: String,
}

impl Report {
    /// Numbers of `command`, on `machine`.
    ///
    /// # Errors
    /// If they are to be written and BENCHMARKS.md has no place for them.
    pub fn new(cli: &Cli, machine: &Machine, command: &str) -> Result<Report, String> {
        let ledger = cli.write.then(Ledger::of_the_repository);
        if let Some(ledger) = &ledger {
            ledger.check(&tables(cli))?;
        }
        let (machine, command) = (machine.describe(), command.to_string());
        Ok(Report { rows: Vec::new(), ledger, machine, command })
    }

    /// Prints a table, and writes it if that was asked for. `about` says more of how it was
    /// measured.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn tell(&self, name: &str, table: &Table, about: &str) -> Result<(), String> {
        let run =
            format!("{}, {}, {}, {about}: `{}`", today(), self.machine, program(), self.command);
        println!("{}{run}\n", table.render());
        self.ledger.as_ref().map_or(Ok(()), |ledger| ledger.write(name, table, &run))
    }
}

/// What ran: `cargo xtask bench` says from which commit.
fn program() -> String {
    let version = env!("CARGO_PKG_VERSION");
    match std::env::var("ALEXNET_COMMIT") {
        Ok(commit) => format!("alexnet {version} ({commit})"),
        Err(_) => format!("alexnet {version}"),
    }
}

/// The tables that a run will make.
fn tables(cli: &Cli) -> Vec<String> {
    if cli.epoch.is_some() {
        return vec!["epoch".to_string()];
    }
    if cli.floor.is_some() {
        return cli.model.iter().map(|model| format!("floor h200 {model}")).collect();
    }
    let mut tables = Vec::new();
    if cli.wants(TableName::Steps) {
        tables.push("steps".to_string());
    }
    if cli.wants(TableName::Floor) {
        for model in &cli.model {
            let units = cli.floor_units().into_iter();
            tables.extend(units.map(|unit| cli.floor_title(model, unit)));
        }
    }
    if cli.wants(TableName::Memory) {
        tables.push("memory".to_string());
    }
    tables
}
