//! Every part of a step beside its floor and beside PyTorch's time for the same.

use crate::ledger::Table;
use crate::peaks::Peaks;
use crate::peer::Peer;
use crate::results::{Measure, Work};
use crate::rows::{Part, Pass, Rows};
use crate::{median, milliseconds, percent};

/// A step's parts with all their times.
#[derive(Clone, Debug)]
pub struct Floor {
    /// The parts, in a step's order.
    pub parts: Vec<Part>,
    /// Milliseconds of each part, a round each.
    pub times: Vec<Vec<f64>>,
    /// PyTorch's milliseconds of the same; empty if it did not run.
    pub peer: Vec<Vec<f64>>,
    /// Milliseconds of PyTorch's whole steps under its profiler.
    pub peer_steps: Vec<f64>,
}

impl Floor {
    /// Takes every part's time `rounds` times over whole steps, so that a part finds in the caches
    /// what a step leaves there; in turn with PyTorch's profiler, if `peer` is there.
    ///
    /// # Errors
    /// If PyTorch ends.
    pub fn measure(
        mut rows: Rows,
        mut peer: Option<&mut Peer>,
        rounds: usize,
    ) -> Result<Floor, String> {
        let parts = rows.parts().to_vec();
        let mut times = vec![Vec::new(); parts.len()];
        let mut theirs = vec![Vec::new(); if peer.is_some() { parts.len() } else { 0 }];
        let mut peer_steps = Vec::new();
        for round in 0..=rounds {
            for (part, times) in times.iter_mut().enumerate() {
                let time = milliseconds(|| rows.run(part));
                if round > 0 {
                    times.push(time); // the first round warms up
                }
            }
            let Some(peer) = peer.as_deref_mut() else { continue };
            let profile = peer.profile()?;
            crate::rest();
            if round > 0 {
                let forward: Vec<&Part> =
                    parts.iter().filter(|part| part.pass == Pass::Forward).collect();
                let mut names: Vec<&str> = forward.iter().map(|part| part.name.as_str()).collect();
                names.push("sgd");
                let beside = profile.beside(&names);
                for (part, theirs) in parts.iter().zip(&mut theirs) {
                    theirs.push(time_of(part, &names, &beside));
                }
                peer_steps.push(profile.step);
            }
        }
        Ok(Floor { parts, times, peer: theirs, peer_steps })
    }

    /// Each part as a number to keep.
    pub fn measures(&self, work: &Work) -> Vec<Measure> {
        let mut measures = Vec::new();
        for (idx, (part, times)) in self.parts.iter().zip(&self.times).enumerate() {
            let peer = self.peer.get(idx).filter(|times| median(times.to_vec()) > 0.0);
            let what = format!("{} {}", part.name, part.pass.name());
            measures.push(Measure::ms(
                work,
                what,
                times.clone(),
                peer.cloned().unwrap_or_default(),
            ));
        }
        measures
    }

    /// As a table: our time, the floor at `peaks`, and PyTorch's time where it has one.
    pub fn table(&self, peaks: &Peaks) -> Table {
        const OURS: [&str; 5] = ["ours ms", "GFLOP/s", "GB/s", "floor ms", "of the floor"];
        let with_peer = !self.peer.is_empty();
        let values = [&OURS[..], if with_peer { &["PyTorch ms", "ratio"] } else { &[] }].concat();
        let mut table = Table::new(&["row", "pass"], &values).whole();
        let (mut total, mut floors, mut its_total) = (0.0, 0.0, 0.0);
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
                let its = median(self.peer[idx].clone());
                row.extend(beside(its, ms, 2));
                its_total += its;
            }
            table.push(row);
            (total, floors) = (total + ms, floors + floor);
        }
        let mut sum = ["sum", "", &format!("{total:.1}"), "", "", &format!("{floors:.1}")]
            .map(String::from)
            .to_vec();
        sum.push(percent(floors / total));
        if with_peer {
            sum.extend(beside(its_total, total, 1));
        }
        table.push(sum);
        table
    }
}

/// PyTorch's time and its ratio to ours; nothing where it has no such part.
fn beside(its: f64, ours: f64, digits: usize) -> [String; 2] {
    if its > 0.0 {
        [format!("{its:.digits$}"), format!("{:.2}", its / ours)]
    } else {
        [String::new(), String::new()]
    }
}

/// PyTorch's time of a part of ours. Our loss computes its gradient on the way, and the update is
/// all that the optimizer does.
fn time_of(part: &Part, names: &[&str], beside: &[(f64, f64)]) -> f64 {
    let at = names.iter().position(|name| *name == part.name).expect("every part has a name");
    let (forward, backward) = beside[at];
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
        let rows = Rows::plan(&spec, &train::recipes::paper(), 2, 1);
        let mut floor = Floor::measure(rows, None, 2).unwrap();
        if with_peer {
            floor.peer = floor.parts.iter().map(|_| vec![4.0]).collect();
            floor.peer[0] = vec![0.0];
        }
        floor.times.iter_mut().for_each(|times| *times = vec![2.0]);
        floor
    }

    #[test]
    fn every_part_has_its_floor() {
        let peaks = Peaks { flops: 1e9, bytes: 1e9 };
        let text = floor(false).table(&peaks).render();
        assert!(text.starts_with("| row | pass | ours ms | GFLOP/s | GB/s | floor ms | of the fl"));
        // 6 x 6 places, 4 filters of 27 weights, 2 images: 15,552 operations of a nanosecond.
        assert!(text.contains("| conv1 | forward | 2.00 | 0 | 0.0 | 0.02 | 1 % |\n"), "{text}");
        let parts = text.lines().count() - 3;
        // preprocess, two rows, loss; two rows, update
        assert_eq!(parts, 7, "{text}");
    }

    #[test]
    fn pytorch_stands_beside_where_it_has_the_same() {
        let floor = floor(true);
        let text = floor.table(&Peaks { flops: 1e9, bytes: 1e9 }).render();
        assert!(text.contains("| preprocess | forward | 2.00 |  | 0.0 |"), "{text}");
        assert!(text.contains("| 0.00 | 0 % |  |  |\n"), "{text}");
        assert!(text.contains("| 0.02 | 1 % | 4.00 | 2.00 |\n"), "{text}");
        let work = Work { model: "tiny".into(), mode: "train".into(), batch: 2 };
        let measures = floor.measures(&work);
        let what: Vec<&str> = measures.iter().map(|measure| measure.what.as_str()).collect();
        assert_eq!(what[..2], ["preprocess forward", "conv1 forward"]);
        assert_eq!((measures[0].peer.len(), measures[1].peer.len()), (0, 1));
    }

    #[test]
    fn the_loss_and_the_update_are_whole() {
        let rows = floor(false);
        let names = ["conv1", "fc2", "softmax_loss", "sgd"];
        let beside = [(1.0, 2.0), (3.0, 4.0), (5.0, 6.0), (7.0, 8.0)];
        let time = |name: &str, pass| {
            let same = |part: &&Part| part.name == name && part.pass == pass;
            time_of(rows.parts.iter().find(same).unwrap(), &names, &beside)
        };
        assert_eq!(time("conv1", Pass::Forward), 1.0);
        assert_eq!(time("fc2", Pass::Backward), 4.0);
        assert_eq!(time("softmax_loss", Pass::Forward), 11.0);
        assert_eq!(time("sgd", Pass::Backward), 15.0);
    }
}
