//! Slots of a replica for gradients in transit and for tallies.

use crate::sharding::Sharding;
use evaluate::WeightSum;
use kernels::bf16;
use kernels::sgd::Segment;
use layers::{Network, Role};
use std::ops::Range;
use tensor::{DType, Planner, Shape, Slot};
use train::optimizer::{Segments, UpdateRule};
use train::recipe::Wire;

/// A replica's slots, and the share of the parameters that it updates.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) sharding: Sharding,
    /// The number of floats at the start of the blocks that all ranks hold; only this rank holds
    /// the rest.
    pub(crate) common: usize,
    /// Partial sums of gradients, one for each level of this rank's subtree.
    pub(crate) partials: Vec<Slot>,
    /// Gradients received from other ranks.
    pub(crate) received: Slot,
    /// Rounded gradients that are sent; empty if gradients are sent as `f32`.
    pub(crate) sent: Slot,
    /// The ranges of running statistics in the blocks, which are never rounded.
    exact: Vec<Range<usize>>,
    /// From the last layers to the first, the order in which gradients are ready.
    pub(crate) buckets: Vec<Bucket>,
    /// The tallies of this rank's shards and its control flags; those of all ranks.
    pub(crate) own_tally: Slot,
    pub(crate) tallies: Slot,
    /// The number of labelled images, then the parts of the sum of their class weights.
    pub(crate) counted: Slot,
    /// For each layer, over this rank's share: the norms of the gradient and of the update; in
    /// layers whose units are split also the norm of the weights and the number of dead units.
    pub(crate) norms: Slot,
    /// The norms of all ranks.
    pub(crate) all_norms: Slot,
}

/// Parameters whose gradients are sent in one message.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// The gradients are ready after the backward pass of this row.
    pub(crate) row: usize,
    /// The range of which this rank has the sum: first the whole bucket, then half of the previous
    /// range after each round. The last is its share.
    pub(crate) runs: Vec<Range<usize>>,
    /// The offset of its messages in `received` and in `sent`.
    pub(crate) offset: usize,
}

/// The length, in floats, of a message of `gradients` gradients.
fn floats_of(wire: Wire, gradients: usize) -> usize {
    match wire {
        Wire::F32 => gradients,
        Wire::Bf16 => bf16::packed_len(gradients),
    }
}

/// The minimum length of a bucket, in floats.
const BUCKET: usize = 1 << 20;

/// Values of each layer in [`Layout::norms`].
pub(crate) const NORMS: usize = 4;

/// Floats of a cache line; shares start on one.
const LINE: usize = Planner::ALIGN / 4;

impl Layout {
    /// Claims the slots of a replica of `network`; all ranks hold the first `common` floats of its
    /// blocks. Where the norm of gradients is clipped, shares begin and end with rows.
    pub(crate) fn plan(
        network: &Network,
        common: usize,
        sharding: Sharding,
        rule: &UpdateRule,
        planner: &mut Planner,
    ) -> Layout {
        let mut floats = |len: usize| planner.claim(DType::F32, Shape::from([len]));
        let levels = (sharding.own().len()).ilog2() as usize;
        let partials = (0..levels).map(|_| floats(common)).collect();
        let by_rows = rule.clip_norm.is_some() || rule.clip_value.is_some();
        let mut buckets = buckets(network, common, sharding, by_rows);
        let exact = statistics(network);
        let mut received = 0;
        for bucket in &mut buckets {
            bucket.offset = received;
            let floats = |run: &Range<usize>| message_len(&exact, sharding.wire, run);
            received += bucket.exchanged().map(|run| floats(&run)).max().unwrap_or(0);
        }
        let sent = if sharding.wire == Wire::F32 { 0 } else { received };
        let entries = network.parameters.entries.iter();
        let layers = entries.filter(|entry| entry.role == Role::Weight).count();
        Layout {
            sharding,
            common,
            partials,
            received: floats(received),
            sent: floats(sent),
            exact,
            buckets,
            own_tally: floats(4 * sharding.own().len() + 1),
            tallies: floats(4 * sharding.shards + sharding.world),
            counted: floats(1 + WeightSum::PARTS),
            norms: floats(NORMS * layers),
            all_norms: floats(NORMS * layers * sharding.world),
        }
    }

    /// Splits a range into the pieces that are rounded and those that are not.
    pub(crate) fn pieces(&self, run: &Range<usize>) -> impl Iterator<Item = Piece> {
        pieces(&self.exact, self.sharding.wire, run)
    }

    /// The length, in floats, of the message with the gradients of a range.
    pub(crate) fn message_len(&self, run: &Range<usize>) -> usize {
        message_len(&self.exact, self.sharding.wire, run)
    }

    /// The lengths, in floats, of the messages in flight at once: gradients or new values, tallies
    /// and norms.
    pub(crate) fn messages(&self) -> impl Iterator<Item = usize> {
        let others = [self.own_tally.len(), self.norms.len()];
        self.buckets.iter().map(Bucket::max_exchanged).chain(others)
    }

    /// The segment of each parameter that this rank updates.
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
    /// The maximum length of a message, in floats.
    fn max_exchanged(&self) -> usize {
        self.exchanged().map(|run| run.len()).max().unwrap_or(0)
    }

    /// The ranges that are sent and received in each round.
    fn exchanged(&self) -> impl Iterator<Item = Range<usize>> {
        let rounds = 0..self.runs.len() - 1;
        rounds.flat_map(|round| [self.sent(round), self.runs[round + 1].clone()])
    }

    /// The half that the partner sums: this rank sends its gradients in `round`.
    pub(crate) fn sent(&self, round: usize) -> Range<usize> {
        let (before, kept) = (&self.runs[round], &self.runs[round + 1]);
        if kept.start == before.start { kept.end..before.end } else { before.start..kept.start }
    }
}

/// Consecutive gradients with one format.
pub(crate) struct Piece {
    /// Their range in the blocks.
    pub(crate) run: Range<usize>,
    /// Their range in a message.
    pub(crate) packed: Range<usize>,
    /// Their format in the message.
    pub(crate) wire: Wire,
}

/// Splits a range where statistics begin and end, if gradients are rounded.
fn pieces(exact: &[Range<usize>], wire: Wire, run: &Range<usize>) -> impl Iterator<Item = Piece> {
    let exact = if wire == Wire::F32 { &[] } else { exact };
    let ends = exact.iter().flat_map(move |exact| [(exact.start, wire), (exact.end, Wire::F32)]);
    let ends = ends.chain([(run.end, wire)]);
    let (mut start, mut offset, end) = (run.start, 0, run.end);
    ends.filter_map(move |(to, wire)| {
        let run = start..to.clamp(start, end);
        let packed = offset..offset + floats_of(wire, run.len());
        (start, offset) = (run.end, packed.end);
        (!run.is_empty()).then_some(Piece { run, packed, wire })
    })
}

/// The length, in floats, of the message with the gradients of a range.
fn message_len(exact: &[Range<usize>], wire: Wire, run: &Range<usize>) -> usize {
    pieces(exact, wire, run).last().map_or(0, |piece| piece.packed.end)
}

/// The ranges of running statistics, each up to the end of its last cache line.
fn statistics(network: &Network) -> Vec<Range<usize>> {
    let entries = network.parameters.entries.iter();
    let statistics = entries.filter(|entry| entry.role.is_statistic());
    statistics.map(|entry| entry.start..entry.start + entry.len().next_multiple_of(LINE)).collect()
}

/// The beginning of the row, of a filter or of a unit, that an offset in the blocks lies in.
fn row_at(network: &Network, offset: usize) -> usize {
    let entries = &network.parameters.entries;
    let Some(entry) = entries.iter().rfind(|entry| entry.start <= offset) else { return offset };
    let within = offset - entry.start;
    if within >= entry.len() {
        return offset; // between two parameters
    }
    let row = entry.len() / entry.shape.dims()[0];
    entry.start + within / row * row
}

/// Buckets of whole layers, from the last to the first, that cover the first `end` floats.
fn buckets(network: &Network, mut end: usize, sharding: Sharding, by_rows: bool) -> Vec<Bucket> {
    let entries = &network.parameters.entries;
    let mut buckets = Vec::new();
    for (row, planned) in network.rows().iter().enumerate().rev() {
        let Some(first) = entries.iter().find(|entry| entry.layer() == planned.name()) else {
            continue;
        };
        if end - first.start < BUCKET && first.start > 0 {
            continue;
        }
        let mut runs = Vec::with_capacity(1 + sharding.rounds());
        runs.push(first.start..end);
        for round in 0..sharding.rounds() {
            let run = runs[round].clone();
            let middle = run.start + run.len() / LINE / 2 * LINE;
            let middle = if by_rows { row_at(network, middle) } else { middle };
            runs.push(if sharding.partner(round) > sharding.rank {
                run.start..middle
            } else {
                middle..run.end
            });
        }
        buckets.push(Bucket { row, runs, offset: 0 });
        end = first.start;
    }
    buckets
}
