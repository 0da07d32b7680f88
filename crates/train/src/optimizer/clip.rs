//! Clipping of gradients: slots, and the rows whose norms this device computes.
//!
//! The norm is a sum over blocks in the order of the whole network's parameters. Each block is
//! computed by one rank, and every rank adds up the blocks of all in the same order, so results do
//! not depend on how parameters are shared.

use crate::optimizer::UpdateRule;
use crate::{Error, Result};
use kernels::clip::{self, Rows};
use kernels::sgd::Segment;
use layers::{Network, Parameter};
use std::fmt;
use std::ops::Range;
use tensor::{DType, Device, Planner, Shape, Slot};

/// How the ranks of a run share the parameters.
#[derive(Clone, Copy)]
pub struct Sharing<'a> {
    /// The parameters of the whole network in its order, with their whole shapes.
    pub whole: &'a [Parameter],
    /// The elements of the whole parameter that this rank holds.
    pub share: &'a dyn Fn(&Parameter) -> Range<usize>,
    /// The number of ranks.
    pub world: usize,
}

impl fmt::Debug for Sharing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sharing { whole, share, world } = self;
        let shares: Vec<Range<usize>> = whole.iter().map(share).collect();
        let mut text = f.debug_struct("Sharing");
        text.field("whole", whole).field("share", &shares).field("world", world).finish()
    }
}

/// The blocks of a whole parameter.
#[derive(Debug)]
struct Blocks {
    name: String,
    /// Elements of a row.
    row: usize,
    /// The indices of its blocks among all.
    at: Range<usize>,
}

/// What clipping needs.
#[derive(Debug)]
pub struct Clip {
    max_norm: Option<f64>,
    limit: f32,
    /// The rows that this rank updates, and the index of their parameter here.
    rows: Vec<Rows>,
    parameters: Vec<usize>,
    segments: Vec<Segment>,
    blocks: Vec<Blocks>,
    /// The norms of the whole network's blocks, of which this rank computes its own; the others
    /// stay zero.
    pub norms: Slot,
    /// Those of each rank, one after the other; empty if there is one rank.
    pub gathered: Slot,
    factor: Slot,
}

impl Clip {
    /// Claims what the settings need: nothing if they do not clip.
    ///
    /// # Panics
    /// If a segment divides a row.
    pub(super) fn plan(
        rule: &UpdateRule,
        network: &Network,
        segments: &[Segment],
        sharing: Sharing<'_>,
        planner: &mut Planner,
    ) -> Option<Clip> {
        if rule.clip_norm.is_none() && rule.clip_value.is_none() {
            return None;
        }
        let mut end = 0;
        let trained = |entry: &&Parameter| !entry.role.is_statistic();
        let of = |entry: &Parameter| {
            let row = row(entry);
            let at = end..end + entry.len() / row * Rows::blocks_of(row);
            end = at.end;
            Blocks { name: entry.name.clone(), row, at }
        };
        let blocks: Vec<Blocks> = sharing.whole.iter().filter(trained).map(of).collect();
        let (mut rows, mut parameters, mut own) = (Vec::new(), Vec::new(), Vec::new());
        let entries = network.parameters.entries.iter().enumerate();
        for ((idx, entry), segment) in entries.zip(segments) {
            if segment.len == 0 || entry.role.is_statistic() {
                continue;
            }
            let whole = blocks.iter().find(|blocks| blocks.name == entry.name);
            let Blocks { row, at, .. } = whole.expect("a parameter of the whole network");
            let first = (sharing.share)(entry).start + segment.start - entry.start;
            let divides = first.is_multiple_of(*row) && segment.len.is_multiple_of(*row);
            assert!(divides, "{segment:?} of `{}` divides a row of {row}", entry.name);
            let at = at.start + first / row * Rows::blocks_of(*row);
            rows.push(Rows { start: segment.start, row: *row, count: segment.len / row, at });
            parameters.push(idx);
            own.push(*segment);
        }
        let mut floats = |len: usize| planner.claim(DType::F32, Shape::from([len]));
        Some(Clip {
            max_norm: rule.clip_norm,
            limit: rule.clip_value.map_or(f32::INFINITY, |value| value as f32),
            rows,
            parameters,
            segments: own,
            blocks,
            norms: floats(end),
            gathered: floats(if sharing.world > 1 { end * sharing.world } else { 0 }),
            factor: floats(1),
        })
    }

    /// The floats of a buffer for the norms of all ranks.
    pub(crate) fn buffer(&self) -> usize {
        self.norms.len().max(self.gathered.len())
    }

    /// Whether the norm is clipped, so that ranks have to gather the norms of blocks.
    pub fn needs_norm(&self) -> bool {
        self.max_norm.is_some()
    }

    /// Limits the values of gradients, and computes the norms of blocks; those of parameters whose
    /// rate is zero are zero, since frozen parameters do not count.
    pub(crate) fn limit(
        &self,
        device: &mut Device,
        gradients: Slot,
        rates: &[[f32; 3]],
        buffer: &mut [f32],
    ) -> tensor::Result<()> {
        for (rows, &parameter) in self.rows.iter().zip(&self.parameters) {
            if rates[parameter][0] == 0.0 {
                let zeros = &mut buffer[..rows.blocks()];
                zeros.fill(0.0);
                let norms = self.norms.part(rows.at, Shape::from([rows.blocks()]));
                device.upload(norms, zeros)?;
            } else {
                clip::norms(device, &[*rows], self.limit, gradients, self.norms)?;
            }
        }
        Ok(())
    }

    /// Limits the norm of all gradients, given those of blocks.
    ///
    /// # Errors
    /// [`Error::NotFinite`], [`Error::Device`].
    pub(crate) fn scale(
        &self,
        device: &mut Device,
        gradients: Slot,
        buffer: &mut [f32],
        step: u64,
    ) -> Result<()> {
        let Some(max) = self.max_norm else { return Ok(()) };
        let count = self.norms.len();
        let all = if self.gathered.is_empty() { self.norms } else { self.gathered };
        let buffer = &mut buffer[..all.len()];
        device.download_into(all, buffer)?;
        let (own, others) = buffer.split_at_mut(count);
        for rank in others.chunks_exact(count.max(1)) {
            // All but one of them are zero.
            own.iter_mut().zip(rank).for_each(|(sum, norm)| *sum += norm);
        }
        if let Some(at) = own.iter().position(|norm| !norm.is_finite()) {
            let blocks = self.blocks.iter().find(|blocks| blocks.at.contains(&at));
            let name = blocks.map_or("a parameter", |blocks| &blocks.name);
            return Err(Error::NotFinite { step, tensor: format!("the gradient of {name}") });
        }
        let factor = clip::factor(clip::combined(own.iter().copied()), max);
        if factor < 1.0 {
            device.upload(self.factor, &[factor as f32])?;
            clip::scale(device, &self.segments, self.factor, gradients)?;
        }
        Ok(())
    }

    /// Runs all its operations once, to check that a device has them.
    pub(super) fn rehearse(&self, device: &mut Device, gradients: Slot) -> tensor::Result<()> {
        clip::norms(device, &self.rows, self.limit, gradients, self.norms)?;
        clip::scale(device, &self.segments, self.factor, gradients)
    }
}

/// Elements of a row: of a filter, or of a unit.
fn row(entry: &Parameter) -> usize {
    entry.len() / entry.shape.dims().first().copied().unwrap_or(1).max(1)
}
