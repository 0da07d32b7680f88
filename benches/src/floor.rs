//! The time of each part of a step, beside a lower bound and PyTorch's time.

use crate::ledger::Table;
use crate::peaks::Peaks;
use crate::peer::Peer;
use crate::results::{Measurement, Workload};
use crate::split_step::SplitStep;
use crate::step_part::{Pass, StepPart};
use crate::{median, milliseconds, percent};

/// The times of a step's parts. The floor of a part is a lower bound of its time: its operations or
/// bytes, whichever take longer, at the machine's peak rates.
#[derive(Clone, Debug)]
pub struct Floor {
    /// The parts, in the order of a step.
    pub parts: Vec<StepPart>,
    /// For each part, its milliseconds in each round.
    pub times: Vec<Vec<f64>>,
    /// For each part, PyTorch's milliseconds in each round; empty if PyTorch did not run.
    pub peer: Vec<Vec<f64>>,
    /// Milliseconds of PyTorch's whole steps under its profiler.
    pub peer_steps: Vec<f64>,
}

impl Floor {
    /// Times every part in each of `rounds` whole steps, so that caches are in the same state as in
    /// training. If `peer` is given, a profiled step of PyTorch follows each of them.
    ///
    /// # Errors
    /// If the PyTorch process has ended.
    pub fn measure(
        mut step: SplitStep,
        mut peer: Option<&mut Peer>,
        rounds: usize,
    ) -> Result<Floor, String> {
        let parts = step.parts().to_vec();
        let mut times = vec![Vec::new(); parts.len()];
        let mut peer_times = vec![Vec::new(); if peer.is_some() { parts.len() } else { 0 }];
        let mut peer_steps = Vec::new();
        for round in 0..=rounds {
            for (part, times) in times.iter_mut().enumerate() {
                let time = milliseconds(|| step.run(part));
                if round > 0 {
                    times.push(time); // the first round warms up
                }
            }
            let Some(peer) = peer.as_deref_mut() else { continue };
            let profile = peer.profile()?;
            crate::rest();
            if round > 0 {
                let forward: Vec<&StepPart> =
                    parts.iter().filter(|part| part.pass == Pass::Forward).collect();
                let mut names: Vec<&str> = forward.iter().map(|part| part.name.as_str()).collect();
                names.push("sgd");
                let row_times = profile.by_row(&names);
                for (part, times) in parts.iter().zip(&mut peer_times) {
                    times.push(peer_time(part, &names, &row_times));
                }
                peer_steps.push(profile.step);
            }
        }
        Ok(Floor { parts, times, peer: peer_times, peer_steps })
    }

    /// The times of the parts, as measurements to save.
    pub fn measures(&self, work: &Workload) -> Vec<Measurement> {
        let mut measures = Vec::new();
        for (idx, (part, times)) in self.parts.iter().zip(&self.times).enumerate() {
            let peer = self.peer.get(idx).filter(|times| median(times.to_vec()) > 0.0);
            let what = format!("{} {}", part.name, part.pass.name());
            measures.push(Measurement::ms(
                work,
                what,
                times.clone(),
                peer.cloned().unwrap_or_default(),
            ));
        }
        measures
    }

    /// A table of our times, the floors at `peaks`, and PyTorch's times.
    pub fn table(&self, peaks: &Peaks) -> Table {
        const OURS: [&str; 5] = ["ours ms", "GFLOP/s", "GB/s", "floor ms", "of the floor"];
        let with_peer = !self.peer.is_empty();
        let values = [&OURS[..], if with_peer { &["PyTorch ms", "ratio"] } else { &[] }].concat();
        let mut table = Table::new(&["row", "pass"], &values).whole();
        let (mut total, mut floor_total, mut peer_total) = (0.0, 0.0, 0.0);
        for (idx, (part, times)) in self.parts.iter().zip(&self.times).enumerate() {
            let ms = median(times.clone());
            let floor = (part.flops / peaks.flops).max(part.bytes / peaks.bytes) * 1e3;
            let gflops = if part.flops > 0.0 {
                format!("{:.0}", part.flops / ms / 1e6)
            } else {
                String::new()
            };
            let mut row = vec![part.name.clone(), part.pass.name().to_string()];
            row.extend([format!("{ms:.2}"), gflops, format!("{:.1}", part.bytes / ms / 1e6)]);
            row.extend([format!("{floor:.2}"), percent(floor / ms)]);
            if with_peer {
                let peer_ms = median(self.peer[idx].clone());
                row.extend(peer_cells(peer_ms, ms, 2));
                peer_total += peer_ms;
            }
            table.push(row);
            (total, floor_total) = (total + ms, floor_total + floor);
        }
        let mut sum = ["sum", "", &format!("{total:.1}"), "", "", &format!("{floor_total:.1}")]
            .map(String::from)
            .to_vec();
        sum.push(percent(floor_total / total));
        if with_peer {
            sum.extend(peer_cells(peer_total, total, 1));
        }
        table.push(sum);
        table
    }
}

/// PyTorch's milliseconds, and their ratio to ours; empty if PyTorch has no such part.
fn peer_cells(peer_ms: f64, ours_ms: f64, digits: usize) -> [String; 2] {
    if peer_ms > 0.0 {
        [format!("{peer_ms:.digits$}"), format!("{:.2}", peer_ms / ours_ms)]
    } else {
        [String::new(), String::new()]
    }
}

/// PyTorch's time of a part, given the forward and backward times of the rows with these `names`.
/// Our loss also computes its gradient, and our update is the whole optimizer: for these two parts,
/// it is the sum of both times.
fn peer_time(part: &StepPart, names: &[&str], times: &[(f64, f64)]) -> f64 {
    let idx = names.iter().position(|name| *name == part.name).expect("the part's row is listed");
    let (forward, backward) = times[idx];
    match (part.name.as_str(), part.pass) {
        ("softmax_loss" | "sgd", _) => forward + backward,
        (_, Pass::Forward) => forward,
        (_, Pass::Backward) => backward,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use layers::{Spec, window};

    fn floor(with_peer: bool) -> Floor {
        let spec = Spec::image("tiny", 8, 8, 3).conv("conv1", 4, window(3)).linear("fc2", 10);
        let step = SplitStep::plan(&spec, &train::recipes::paper(), 2, 1);
        let mut floor = Floor::measure(step, None, 2).unwrap();
        if with_peer {
            floor.peer = floor.parts.iter().map(|_| vec![4.0]).collect();
            floor.peer[0] = vec![0.0];
        }
        floor.times.iter_mut().for_each(|times| *times = vec![2.0]);
        floor
    }

    #[test]
    fn the_table_has_a_row_and_a_floor_for_every_part() {
        let peaks = Peaks { flops: 1e9, bytes: 1e9 };
        let text = floor(false).table(&peaks).render();
        assert!(text.starts_with("| row | pass | ours ms | GFLOP/s | GB/s | floor ms | of the fl"));
        // 2 images, 6 x 6 output pixels, 4 filters of 27 weights: 7,776 multiply-adds, or 15,552
        // operations of 1 ns each.
        assert!(text.contains("| conv1 | forward | 2.00 | 0 | 0.0 | 0.02 | 1 % |\n"), "{text}");
        let parts = text.lines().count() - 3;
        // Forward: preprocess, two rows, loss. Backward: two rows, update.
        assert_eq!(parts, 7, "{text}");
    }

    #[test]
    fn parts_without_a_pytorch_time_have_empty_cells() {
        let floor = floor(true);
        let text = floor.table(&Peaks { flops: 1e9, bytes: 1e9 }).render();
        assert!(text.contains("| preprocess | forward | 2.00 |  | 0.0 |"), "{text}");
        assert!(text.contains("| 0.00 | 0 % |  |  |\n"), "{text}");
        assert!(text.contains("| 0.02 | 1 % | 4.00 | 2.00 |\n"), "{text}");
        let work = Workload { model: "tiny".into(), mode: "train".into(), batch: 2 };
        let measures = floor.measures(&work);
        let what: Vec<&str> = measures.iter().map(|measure| measure.what.as_str()).collect();
        assert_eq!(what[..2], ["preprocess forward", "conv1 forward"]);
        assert_eq!((measures[0].peer.len(), measures[1].peer.len()), (0, 1));
    }

    #[test]
    fn pytorchs_loss_and_update_are_the_sums_of_both_passes() {
        let floor = floor(false);
        let names = ["conv1", "fc2", "softmax_loss", "sgd"];
        let times = [(1.0, 2.0), (3.0, 4.0), (5.0, 6.0), (7.0, 8.0)];
        let time = |name: &str, pass| {
            let same = |part: &&StepPart| part.name == name && part.pass == pass;
            peer_time(floor.parts.iter().find(same).unwrap(), &names, &times)
        };
        assert_eq!(time("conv1", Pass::Forward), 1.0);
        assert_eq!(time("fc2", Pass::Backward), 4.0);
        assert_eq!(time("softmax_loss", Pass::Forward), 11.0);
        assert_eq!(time("sgd", Pass::Backward), 15.0);
    }
}
