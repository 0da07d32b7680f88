//! Exchange of activations and gradients between ranks that hold different units.
//!
//! In front of each stage of the head, and behind the last, lies a matrix `[images, columns]`. Some
//! ranks produce its columns, some consume the whole matrix: forward, producers send activations;
//! backward, consumers return the gradients.

use crate::Result;
use crate::sharding::Sharding;
use comm::{Comm, Handle};
use kernels::columns::{self, ColumnRange, Geometry};
use layers::hybrid::Head;
use std::ops::Range;
use tensor::{DType, Device, Planner, Shape, Slot};

/// The matrices that ranks exchange: the input of each stage of the head, and the scores.
#[derive(Debug)]
pub(crate) struct Boundaries {
    sharding: Sharding,
    /// Of a micro-shard.
    images: usize,
    boundaries: Vec<Boundary>,
    /// Messages from other ranks and to them, by pass.
    inbox: Vec<Slot>,
    outbox: Vec<Slot>,
}

/// A matrix `[images, width]` that some ranks produce, by columns, and some consume.
#[derive(Debug)]
struct Boundary {
    /// The columns that each rank produces, if it is a producer.
    columns: Vec<Range<usize>>,
    producers: Ranks,
    consumers: Ranks,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ranks {
    All,
    /// The rank that holds the images of the pass.
    Owner,
}

impl Ranks {
    fn of(self, pass: usize, world: usize) -> Range<usize> {
        match self {
            Ranks::All => 0..world,
            Ranks::Owner => pass..pass + 1,
        }
    }
}

impl Boundary {
    fn width(&self) -> usize {
        self.columns.last().map_or(0, |last| last.end)
    }

    /// Producers and consumers of a pass.
    fn ranks(&self, pass: usize, world: usize) -> [Range<usize>; 2] {
        [self.producers, self.consumers].map(|ranks| ranks.of(pass, world))
    }
}

impl Boundaries {
    /// Claims the slots of all messages.
    pub(crate) fn plan(head: &Head, sharding: Sharding, planner: &mut Planner) -> Boundaries {
        let images = head.shares().images;
        let mut boundaries: Vec<Boundary> = Vec::new();
        let shared = |units: usize| head.shares().units_of_all(units).collect();
        for inputs in head.inputs() {
            let (columns, producers) = if boundaries.is_empty() {
                (vec![0..inputs; sharding.world], Ranks::Owner)
            } else {
                (shared(inputs), Ranks::All)
            };
            boundaries.push(Boundary { columns, producers, consumers: Ranks::All });
        }
        let columns = shared(head.scores.len() / images);
        boundaries.push(Boundary { columns, producers: Ranks::All, consumers: Ranks::Owner });

        let own = |boundary: &Boundary| boundary.columns[sharding.rank].len();
        let mut buffers = |floats: &dyn Fn(&Boundary, bool, bool, usize) -> usize| {
            let slot = |pass: usize| {
                let floats = boundaries.iter().map(|boundary| {
                    let [producers, consumers] = boundary.ranks(pass, sharding.world);
                    let [produces, consumes] =
                        [&producers, &consumers].map(|ranks| ranks.contains(&sharding.rank));
                    floats(boundary, produces, consumes, consumers.len())
                });
                let floats = images * floats.max().unwrap_or(0);
                planner.claim(DType::F32, Shape::from([floats]))
            };
            (0..sharding.world).map(slot).collect::<Vec<_>>()
        };
        // A consumer receives the matrix; a producer the gradient of its columns from each
        // consumer.
        let inbox = buffers(&|boundary, produces, consumes, consumers| {
            let (activations, gradients) = (boundary.width(), consumers * own(boundary));
            (usize::from(consumes) * activations).max(usize::from(produces) * gradients)
        });
        let outbox = buffers(&|boundary, _, consumes, _| usize::from(consumes) * boundary.width());
        Boundaries { sharding, images, boundaries, inbox, outbox }
    }

    /// The lengths, in floats, of the messages that this rank has in flight at once.
    pub(crate) fn messages(&self) -> impl Iterator<Item = usize> {
        let Sharding { rank, world, .. } = self.sharding;
        let passes =
            (0..world).flat_map(move |pass| self.boundaries.iter().map(move |at| (pass, at)));
        passes.flat_map(move |(pass, boundary)| {
            let [producers, consumers] = boundary.ranks(pass, world);
            let (produces, consumes) = (producers.contains(&rank), consumers.contains(&rank));
            let forward = consumers.filter(move |&to| produces && to != rank).map(move |_| rank);
            let backward = producers.filter(move |&to| consumes && to != rank);
            forward.chain(backward).map(|producer| self.images * boundary.columns[producer].len())
        })
    }
}

/// The messages of each pass that are in flight.
pub(crate) type Pending = Vec<Vec<Handle>>;

/// A boundary of the head and the pass whose images cross it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crossing {
    pub(crate) boundary: usize,
    pub(crate) pass: usize,
}

/// The boundaries with a connection to the other ranks.
#[derive(Debug)]
pub(crate) struct Exchange<'a> {
    pub(crate) boundaries: &'a Boundaries,
    pub(crate) comm: &'a mut dyn Comm,
    pub(crate) pending: &'a mut Pending,
}

impl<'a> Exchange<'a> {
    /// Lists of handles with enough capacity for every step.
    pub(crate) fn pending(boundaries: &Boundaries) -> Pending {
        let world = boundaries.sharding.world;
        (0..world).map(|_| Vec::with_capacity(2 * world)).collect()
    }

    /// Starts to send this rank's columns, `own`, to the consumers and to receive the others'.
    /// `whole` is the matrix that the stage above reads.
    pub(crate) fn send_activations(
        &mut self,
        device: &mut Device,
        at: Crossing,
        own: Slot,
        whole: Slot,
    ) -> Result<()> {
        let (rank, boundary, [producers, consumers]) = self.ranks(at);
        if producers.contains(&rank) {
            for to in consumers.clone() {
                if to == rank {
                    self.insert(device, boundary, rank, own, whole)?
                } else {
                    self.send(device, at.pass, own, to)?
                }
            }
        }
        for from in producers.filter(|&from| from != rank && consumers.contains(&rank)) {
            let columns = self.columns_of(boundary, self.boundaries.inbox[at.pass], from);
            self.receive(device, at.pass, columns, from)?;
        }
        Ok(())
    }

    /// Waits for the activations; `whole` then has the columns of all producers.
    pub(crate) fn receive_activations(
        &mut self,
        device: &mut Device,
        at: Crossing,
        whole: Slot,
    ) -> Result<()> {
        self.wait(device, at.pass)?;
        let (rank, boundary, [producers, consumers]) = self.ranks(at);
        if consumers.contains(&rank) {
            for from in producers.filter(|&from| from != rank) {
                let received = self.columns_of(boundary, self.boundaries.inbox[at.pass], from);
                self.insert(device, boundary, from, received, whole)?;
            }
        }
        Ok(())
    }

    /// Starts to send `gradient`, this rank's part of the gradient of the whole matrix, to the
    /// producers, each its columns, and to receive the others' parts.
    pub(crate) fn send_gradients(
        &mut self,
        device: &mut Device,
        at: Crossing,
        gradient: Slot,
    ) -> Result<()> {
        let (rank, boundary, [producers, consumers]) = self.ranks(at);
        if consumers.contains(&rank) {
            for to in producers.clone() {
                let part = if to == rank {
                    self.gradient_from(boundary, at.pass, rank)
                } else {
                    self.columns_of(boundary, self.boundaries.outbox[at.pass], to)
                };
                columns::copy(device, &self.extraction(boundary, to), gradient, part)?;
                if to != rank {
                    self.send(device, at.pass, part, to)?;
                }
            }
        }
        for from in consumers.filter(|&from| from != rank && producers.contains(&rank)) {
            self.receive(device, at.pass, self.gradient_from(boundary, at.pass, from), from)?;
        }
        Ok(())
    }

    /// Waits for the gradients; `gradient` is then their sum for this rank's columns, added in a
    /// binary tree over the ranks.
    pub(crate) fn receive_gradients(
        &mut self,
        device: &mut Device,
        at: Crossing,
        gradient: Slot,
    ) -> Result<()> {
        self.wait(device, at.pass)?;
        let (rank, boundary, [producers, consumers]) = self.ranks(at);
        if !producers.contains(&rank) {
            return Ok(());
        }
        let all = Geometry::vector(gradient.len());
        for distance in (0..consumers.len().ilog2()).map(|level| 1 << level) {
            for left in consumers.clone().step_by(2 * distance) {
                let [x, y] =
                    [left + distance, left].map(|from| self.gradient_from(boundary, at.pass, from));
                columns::add(device, &all, x, y)?;
            }
        }
        let sum = self.gradient_from(boundary, at.pass, consumers.start);
        Ok(columns::copy(device, &all, sum, gradient)?)
    }

    /// This rank, a boundary, and its producers and consumers in a pass.
    fn ranks(&self, at: Crossing) -> (usize, &'a Boundary, [Range<usize>; 2]) {
        let Boundaries { sharding: Sharding { rank, world, .. }, boundaries, .. } = self.boundaries;
        let boundary = &boundaries[at.boundary];
        (*rank, boundary, boundary.ranks(at.pass, *world))
    }

    fn send(&mut self, device: &mut Device, pass: usize, x: Slot, to: usize) -> Result<()> {
        self.pending[pass].push(self.comm.send(device, x, to)?);
        Ok(())
    }

    fn receive(&mut self, device: &mut Device, pass: usize, x: Slot, from: usize) -> Result<()> {
        self.pending[pass].push(self.comm.recv(device, x, from)?);
        Ok(())
    }

    fn wait(&mut self, device: &mut Device, pass: usize) -> Result<()> {
        for handle in self.pending[pass].drain(..) {
            self.comm.wait(device, handle)?;
        }
        Ok(())
    }

    /// The contiguous columns of a rank, in a slot with room for the whole matrix.
    fn columns_of(&self, boundary: &Boundary, whole: Slot, rank: usize) -> Slot {
        let columns = &boundary.columns[rank];
        let images = self.boundaries.images;
        whole.part(images * columns.start, Shape::from([images, columns.len()]))
    }

    /// The gradient of this rank's columns that a consumer returns.
    fn gradient_from(&self, boundary: &Boundary, pass: usize, consumer: usize) -> Slot {
        let width = boundary.columns[self.boundaries.sharding.rank].len();
        let images = self.boundaries.images;
        // A single consumer's gradient is at the start.
        let number = if boundary.consumers == Ranks::All { consumer } else { 0 };
        self.boundaries.inbox[pass].part(number * images * width, Shape::from([images, width]))
    }

    /// Copies the columns of a rank from the whole matrix to a matrix that has only these.
    fn extraction(&self, boundary: &Boundary, rank: usize) -> Geometry {
        let (columns, width) = (&boundary.columns[rank], boundary.width());
        let count = columns.len();
        let [whole, own] =
            [ColumnRange { width, first: columns.start }, ColumnRange { width: count, first: 0 }];
        Geometry { rows: self.boundaries.images, count, x: whole, y: own }
    }

    /// Copies the `columns` of a rank into the whole matrix.
    fn insert(
        &self,
        device: &mut Device,
        boundary: &Boundary,
        rank: usize,
        columns: Slot,
        whole: Slot,
    ) -> Result<()> {
        let out = self.extraction(boundary, rank);
        Ok(columns::copy(device, &Geometry { x: out.y, y: out.x, ..out }, columns, whole)?)
    }
}
