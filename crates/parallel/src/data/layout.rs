//! What a replica needs beside its network.

use crate::cut::Cut;
use kernels::bf16;
use kernels::sgd::Segment;
use layers::{Network, Role};
use std::ops::Range;
use tensor::{DType, Planner, Shape, Slot};
use train::optimizer::Segments;
use train::recipe::Wire;

/// Slots, and who updates what.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) cut: Cut,
    /// So many floats at the front of the blocks are on all ranks; what follows is on this one
    /// alone.
    pub(crate) common: usize,
    /// Partial sums of gradients, one a level of the tree below this rank.
    pub(crate) partials: Vec<Slot>,
    /// Gradients of other ranks, as they come.
    pub(crate) received: Slot,
    /// Rounded gradients on their way to others, as far as they are rounded.
    pub(crate) sent: Slot,
    /// Running statistics, of which nothing is rounded: where they lie in the blocks.
    exact: Vec<Range<usize>>,
    /// From the last layers to the first, as their gradients are ready.
    pub(crate) buckets: Vec<Bucket>,
    /// What a rank tells: the tallies of its shards and a word. And what all tell.
    pub(crate) own_tally: Slot,
    pub(crate) tallies: Slot,
    pub(crate) counted: Slot,
    /// For each layer: the norms of this rank's share of its gradient and of its update; and if
    /// other ranks do not have this share of the layer, that of its weights, and the dead units of
    /// all that it has.
    pub(crate) norms: Slot,
    /// Those of all ranks.
    pub(crate) all_norms: Slot,
}

/// Parameters whose gradients travel together.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// It is ready once this row has gone backward.
    pub(crate) row: usize,
    /// What of the blocks this rank has the sum of: all of the bucket, then after each round a half
    /// of what it had. The last is its share.
    pub(crate) runs: Vec<Range<usize>>,
    /// Where in `received` what comes of it is put, and in `sent` what goes.
    pub(crate) place: usize,
}

/// Floats that so many gradients take on the wire.
fn floats_of(wire: Wire, gradients: usize) -> usize {
    match wire {
        Wire::F32 => gradients,
        Wire::Bf16 => bf16::packed_len(gradients),
    }
}

/// Floats of a bucket, if there are as many.
const BUCKET: usize = 1 << 20;

/// Of a layer, for a look: see [`Layout::norms`].
pub(crate) const NUMBERS: usize = 4;

/// Shares start on a cache line.
const LINE: usize = Planner::ALIGN / 4;

impl Layout {
    /// Claims what a replica of `network` needs; the first `common` floats of its blocks are on
    /// all ranks.
    pub(crate) fn plan(
        network: &Network,
        common: usize,
        cut: Cut,
        planner: &mut Planner,
    ) -> Layout {
        let mut floats = |len: usize| planner.claim(DType::F32, Shape::from([len]));
        let levels = (cut.own().len()).ilog2() as usize;
        let partials = (0..levels).map(|_| floats(common)).collect();
        let mut buckets = buckets(network, common, cut);
        let exact = statistics(network);
        let mut under_way = 0;
        for bucket in &mut buckets {
            bucket.place = under_way;
            let floats = |run: &Range<usize>| message(&exact, cut.wire, run);
            under_way += bucket.exchanged().map(|run| floats(&run)).max().unwrap_or(0);
        }
        let sent = if cut.wire == Wire::F32 { 0 } else { under_way };
        let entries = network.parameters.entries.iter();
        let layers = entries.filter(|entry| entry.role == Role::Weight).count();
        Layout {
            cut,
            common,
            partials,
            received: floats(under_way),
            sent: floats(sent),
            exact,
            buckets,
            own_tally: floats(4 * cut.own().len() + 1),
            tallies: floats(4 * cut.shards + cut.world),
            counted: floats(1),
            norms: floats(NUMBERS * layers),
            all_norms: floats(NUMBERS * layers * cut.world),
        }
    }

    /// What of a run is rounded, and what is not.
    pub(crate) fn pieces(&self, run: &Range<usize>) -> impl Iterator<Item = Piece> {
        pieces(&self.exact, self.cut.wire, run)
    }

    /// Floats of a run's message.
    pub(crate) fn message(&self, run: &Range<usize>) -> usize {
        message(&self.exact, self.cut.wire, run)
    }

    /// Floats of the messages that are under way at once: gradients one way, values the other.
    pub(crate) fn messages(&self) -> impl Iterator<Item = usize> {
        let told = [self.own_tally.len(), self.norms.len()];
        self.buckets.iter().map(Bucket::most_exchanged).chain(told)
    }

    /// What of each parameter this rank updates.
    pub(crate) fn segments(&self, network: &Network) -> Segments {
        let segment = |entry: &layers::Parameter| {
            let all = entry.start..entry.start + entry.len();
            if all.start >= self.common {
                return Segment { start: all.start, len: all.len() };
            }
            let bucket = self.buckets.iter().find(|bucket| bucket.runs[0].contains(&all.start));
            let own = bucket.and_then(|bucket| bucket.runs.last()).cloned().unwrap_or(0..0);
            let start = own.start.clamp(all.start, all.end);
            Segment { start, len: own.end.clamp(start, all.end) - start }
        };
        network.parameters.entries.iter().map(segment).collect()
    }
}

impl Bucket {
    /// Floats of which one message is at most.
    fn most_exchanged(&self) -> usize {
        self.exchanged().map(|run| run.len()).max().unwrap_or(0)
    }

    /// What is given away and what is kept, in each round.
    fn exchanged(&self) -> impl Iterator<Item = Range<usize>> {
        let rounds = 0..self.runs.len() - 1;
        rounds.flat_map(|round| [self.given(round), self.runs[round + 1].clone()])
    }

    /// The half that is given away in a round.
    pub(crate) fn given(&self, round: usize) -> Range<usize> {
        let (before, kept) = (&self.runs[round], &self.runs[round + 1]);
        if kept.start == before.start { kept.end..before.end } else { before.start..kept.start }
    }
}

/// Gradients that lie together, all of which are rounded or none.
pub(crate) struct Piece {
    /// Where they lie in the blocks.
    pub(crate) run: Range<usize>,
    /// Where in a message they are.
    pub(crate) packed: Range<usize>,
    /// As what.
    pub(crate) wire: Wire,
}

/// A run cut where statistics begin and end, if gradients are rounded.
fn pieces(exact: &[Range<usize>], wire: Wire, run: &Range<usize>) -> impl Iterator<Item = Piece> {
    let exact = if wire == Wire::F32 { &[] } else { exact };
    let ends = exact.iter().flat_map(move |exact| [(exact.start, wire), (exact.end, Wire::F32)]);
    let ends = ends.chain([(run.end, wire)]);
    let (mut start, mut place, end) = (run.start, 0, run.end);
    ends.filter_map(move |(to, wire)| {
        let run = start..to.clamp(start, end);
        let packed = place..place + floats_of(wire, run.len());
        (start, place) = (run.end, packed.end);
        (!run.is_empty()).then_some(Piece { run, packed, wire })
    })
}

/// Floats of a run's message.
fn message(exact: &[Range<usize>], wire: Wire, run: &Range<usize>) -> usize {
    pieces(exact, wire, run).last().map_or(0, |piece| piece.packed.end)
}

/// Where running statistics lie, each with what follows it on its last cache line.
fn statistics(network: &Network) -> Vec<Range<usize>> {
    let entries = network.parameters.entries.iter();
    let statistics = entries.filter(|entry| entry.role.is_statistic());
    statistics.map(|entry| entry.start..entry.start + entry.len().next_multiple_of(LINE)).collect()
}

/// Runs of whole layers, from the last to the first, of the first `end` floats.
fn buckets(network: &Network, mut end: usize, cut: Cut) -> Vec<Bucket> {
    let entries = &network.parameters.entries;
    let mut buckets = Vec::new();
    for (row, planned) in network.rows().iter().enumerate().rev() {
        let Some(first) = entries.iter().find(|entry| entry.layer() == planned.name()) else {
            continue;
        };
        if end - first.start < BUCKET && first.start > 0 {
            continue;
        }
        let mut runs = Vec::with_capacity(1 + cut.rounds());
        runs.push(first.start..end);
        for round in 0..cut.rounds() {
            let run = runs[round].clone();
            let middle = run.start + run.len() / LINE / 2 * LINE;
            runs.push(if cut.partner(round) > cut.rank {
                run.start..middle
            } else {
                middle..run.end
            });
        }
        buckets.push(Bucket { row, runs, place: 0 });
        end = first.start;
    }
    buckets
}
