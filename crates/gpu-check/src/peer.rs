//! PyTorch's steps on the same GPU, in the same call.

use crate::Verdict;
use crate::budget::Budget;
use crate::cli::Cli;
use crate::times::Timed;
use alexnet_benches::ledger::Table;
use alexnet_benches::{Form, Peer, median};
use std::fs;

/// Those that start at once first: `torch.compile` may take minutes.
const FORMS: [Form; 4] =
    [Form::ChannelsLast, Form::Eager, Form::Compiled, Form::CompiledChannelsLast];

/// Runs the section, beside the times of the one before it.
pub fn run(cli: &Cli, budget: &Budget) -> Result<Verdict, String> {
    let Some(python) = &cli.python else {
        return Err("a peer needs --python FILE, a Python with PyTorch".to_string());
    };
    let path = cli.times();
    let text = fs::read_to_string(&path).map_err(|error| {
        format!("{}: {error}; the section `times` must run before the peer", path.display())
    })?;
    let ours: Vec<Timed> =
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let names = ["model", "batch", "precision", "PyTorch"];
    let mut verdict = Verdict::Passed;
    for form in FORMS {
        for Timed { model, batch, precision, ms } in &ours {
            if !Peer::MODELS.contains(&model.as_str()) {
                continue;
            }
            let what = format!("{model}, {batch} images, {precision}, {}", form.name());
            if budget.lacks(15.0) {
                println!("{what}: no time was left for it\n");
                verdict = verdict.and(Verdict::Unfinished);
                continue;
            }
            budget.say(&format!("peer: {what}"));
            // Printed at once: the next form may take longer than there is.
            let mut table = Table::new(&names, &["ours ms", "its ms", "ratio"]);
            match Peer::on_gpu(python, model, form, *batch, precision).and_then(|mut peer| {
                peer.run(3)?;
                Ok((median(peer.run(20)?), peer.version().to_string()))
            }) {
                Ok((its, version)) => {
                    let mut row = vec![model.clone(), batch.to_string(), precision.clone()];
                    row.push(format!("{} {version}", form.name()));
                    row.extend([format!("{ms:.3}"), format!("{its:.3}")]);
                    row.push(format!("{:.2}", its / ms));
                    table.push(row);
                    println!("{}", table.render());
                }
                Err(message) => {
                    println!("{what}: {message}\n");
                    verdict = verdict.and(Verdict::Unfinished);
                }
            }
        }
    }
    Ok(verdict)
}
