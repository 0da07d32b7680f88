//! Times of PyTorch's training steps on the same GPU.

use crate::Verdict;
use crate::budget::Budget;
use crate::cli::Cli;
use crate::times::Timed;
use alexnet_benches::ledger::Table;
use alexnet_benches::{Peer, PeerMode, median};
use std::fs;
use tensor::Precision;

/// The fastest form first; `torch.compile` may take minutes, so it comes last.
const PEER_MODES: [PeerMode; 5] = [
    PeerMode::GraphChannelsLast,
    PeerMode::ChannelsLast,
    PeerMode::Eager,
    PeerMode::CompiledChannelsLast,
    PeerMode::Compiled,
];
/// With `--quick`, in bf16 only.
const QUICK_MODES: [PeerMode; 2] = [PeerMode::GraphChannelsLast, PeerMode::CompiledChannelsLast];

/// Runs the section; it reads our times from the section `times`.
pub fn run(cli: &Cli, budget: &Budget) -> Result<Verdict, String> {
    let Some(python) = &cli.python else {
        return Err("the section `peer` needs --python FILE, a Python with PyTorch".to_string());
    };
    let path = cli.times();
    let text = fs::read_to_string(&path).map_err(|error| {
        format!("{}: {error}; the section `times` must run before the peer", path.display())
    })?;
    let ours: Vec<Timed> =
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let names = ["model", "batch", "precision", "PyTorch"];
    let mut verdict = Verdict::Passed;
    let forms = if cli.quick { &QUICK_MODES[..] } else { &PEER_MODES };
    for &form in forms {
        for Timed { model, batch, precision, ms } in &ours {
            let skipped = cli.quick && precision != Precision::Bf16.name();
            if skipped || !Peer::MODELS.contains(&model.as_str()) {
                continue;
            }
            let what = format!("{model}, {batch} images, {precision}, {}", form.name());
            if budget.lacks(15.0) {
                println!("{what}: not started: no time left\n");
                verdict = verdict.and(Verdict::Unfinished);
                continue;
            }
            budget.log(&format!("peer: {what}"));
            // Printed now, because the next form may not finish in time.
            let mut table = Table::new(&names, &["ours ms", "PyTorch ms", "ratio"]);
            match Peer::on_gpu(python, model, form, *batch, precision).and_then(|mut peer| {
                peer.run(3)?;
                Ok((median(peer.run(20)?), peer.version().to_string()))
            }) {
                Ok((theirs, version)) => {
                    let mut row = vec![model.clone(), batch.to_string(), precision.clone()];
                    row.push(format!("{} {version}", form.name()));
                    row.extend([format!("{ms:.3}"), format!("{theirs:.3}")]);
                    row.push(format!("{:.2}", theirs / ms));
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
