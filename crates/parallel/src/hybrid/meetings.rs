//! Where ranks that have different units meet, and what crosses there.

use crate::Result;
use crate::cut::Cut;
use comm::{Comm, Handle};
use kernels::columns::{self, ColumnRange, Geometry};
use layers::hybrid::Head;
use std::ops::Range;
use tensor::{DType, Device, Planner, Shape, Slot};

/// Where ranks meet: in front of each stage of the head, and behind the last.
#[derive(Debug)]
pub(crate) struct Meetings {
    cut: Cut,
    /// Of a micro-shard.
    images: usize,
    places: Vec<Meeting>,
    /// What comes from others, and what goes to them, by pass.
    inbox: Vec<Slot>,
    outbox: Vec<Slot>,
}

/// A matrix `[images, width]` whose columns some ranks make and some see.
#[derive(Debug)]
struct Meeting {
    /// Which columns each rank makes, if it makes some.
    columns: Vec<Range<usize>>,
    makers: Ranks,
    viewers: Ranks,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ranks {
    All,
    /// The one whose images a pass is about.
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

impl Meeting {
    fn width(&self) -> usize {
        self.columns.last().map_or(0, |last| last.end)
    }
}

impl Meetings {
    /// Claims what messages need.
    pub(crate) fn plan(head: &Head, cut: Cut, planner: &mut Planner) -> Meetings {
        let images = head.shares().images;
        let mut places: Vec<Meeting> = Vec::new();
        let shared = |units: usize| head.shares().units_of_all(units).collect();
        for inputs in head.inputs() {
            places.push(if places.is_empty() {
                let columns = vec![0..inputs; cut.world];
                Meeting { columns, makers: Ranks::Owner, viewers: Ranks::All }
            } else {
                let columns = shared(inputs);
                Meeting { columns, makers: Ranks::All, viewers: Ranks::All }
            });
        }
        let columns = shared(head.scores.len() / images);
        places.push(Meeting { columns, makers: Ranks::All, viewers: Ranks::Owner });

        let own = |meeting: &Meeting| meeting.columns[cut.rank].len();
        let mut room = |floats: &dyn Fn(&Meeting, bool, bool, usize) -> usize| {
            let slot = |pass: usize| {
                let floats = places.iter().map(|meeting| {
                    let is_in = |ranks: Ranks| ranks.of(pass, cut.world).contains(&cut.rank);
                    let viewers = meeting.viewers.of(pass, cut.world).len();
                    floats(meeting, is_in(meeting.makers), is_in(meeting.viewers), viewers)
                });
                let floats = images * floats.max().unwrap_or(0);
                planner.claim(DType::F32, Shape::from([floats]))
            };
            (0..cut.world).map(slot).collect::<Vec<_>>()
        };
        // A viewer receives the matrix, a maker the gradient of its columns from each viewer.
        let inbox = room(&|meeting, makes, views, viewers| {
            let (seen, made) = (meeting.width(), viewers * own(meeting));
            (usize::from(views) * seen).max(usize::from(makes) * made)
        });
        let outbox = room(&|meeting, _, views, _| usize::from(views) * meeting.width());
        Meetings { cut, images, places, inbox, outbox }
    }

    /// Floats of the messages that this rank has under way at once.
    pub(crate) fn messages(&self) -> impl Iterator<Item = usize> {
        let Cut { rank, world, .. } = self.cut;
        let passes = (0..world).flat_map(move |pass| self.places.iter().map(move |at| (pass, at)));
        passes.flat_map(move |(pass, meeting)| {
            let [makers, viewers] =
                [meeting.makers, meeting.viewers].map(|ranks| ranks.of(pass, world));
            let (makes, views) = (makers.contains(&rank), viewers.contains(&rank));
            let forward = viewers.filter(move |&to| makes && to != rank).map(move |_| rank);
            let backward = makers.filter(move |&to| views && to != rank);
            forward.chain(backward).map(|maker| self.images * meeting.columns[maker].len())
        })
    }
}

/// Messages of each pass that are under way.
pub(crate) type Started = Vec<Vec<Handle>>;

/// A rank on its way to the others.
#[derive(Debug)]
pub(crate) struct Exchange<'a> {
    pub(crate) meetings: &'a Meetings,
    pub(crate) comm: &'a mut dyn Comm,
    pub(crate) started: &'a mut Started,
}

impl Exchange<'_> {
    /// Room for handles.
    pub(crate) fn started(meetings: &Meetings) -> Started {
        let world = meetings.cut.world;
        (0..world).map(|_| Vec::with_capacity(2 * world)).collect()
    }

    /// What a maker has made sets out for those who see it.
    pub(crate) fn show(
        &mut self,
        device: &mut Device,
        (place, pass): (usize, usize),
        made: Slot,
        seen: Slot,
    ) -> Result<()> {
        let Meetings { cut: Cut { rank, world, .. }, places, inbox, .. } = self.meetings;
        let (rank, meeting) = (*rank, &places[place]);
        let [makers, viewers] =
            [meeting.makers, meeting.viewers].map(|ranks| ranks.of(pass, *world));
        if makers.contains(&rank) {
            for to in viewers.clone() {
                if to == rank {
                    self.put(device, meeting, (rank, made), seen)?
                } else {
                    self.send(device, pass, made, to)?
                }
            }
        }
        for from in makers.filter(|&from| from != rank && viewers.contains(&rank)) {
            self.receive(device, pass, self.columns_of(meeting, inbox[pass], from), from)?;
        }
        Ok(())
    }

    /// Waits until it is there: `seen` is then what all makers have made.
    pub(crate) fn see(
        &mut self,
        device: &mut Device,
        (place, pass): (usize, usize),
        seen: Slot,
    ) -> Result<()> {
        self.finish(device, pass)?;
        let Meetings { cut: Cut { rank, world, .. }, places, inbox, .. } = self.meetings;
        let meeting = &places[place];
        if meeting.viewers.of(pass, *world).contains(rank) {
            for from in meeting.makers.of(pass, *world).filter(|from| from != rank) {
                let came = self.columns_of(meeting, inbox[pass], from);
                self.put(device, meeting, (from, came), seen)?;
            }
        }
        Ok(())
    }

    /// The gradient of what a viewer saw, as far as it comes from here, sets out for the makers.
    pub(crate) fn answer(
        &mut self,
        device: &mut Device,
        (place, pass): (usize, usize),
        gradient: Slot,
    ) -> Result<()> {
        let Meetings { cut: Cut { rank, world, .. }, places, outbox, .. } = self.meetings;
        let (rank, meeting) = (*rank, &places[place]);
        let [makers, viewers] =
            [meeting.makers, meeting.viewers].map(|ranks| ranks.of(pass, *world));
        if viewers.contains(&rank) {
            for to in makers.clone() {
                let part = if to == rank {
                    self.answer_of(meeting, pass, rank)
                } else {
                    self.columns_of(meeting, outbox[pass], to)
                };
                columns::copy(device, &self.cut_out(meeting, to), gradient, part)?;
                if to != rank {
                    self.send(device, pass, part, to)?;
                }
            }
        }
        for from in viewers.filter(|&from| from != rank && makers.contains(&rank)) {
            self.receive(device, pass, self.answer_of(meeting, pass, from), from)?;
        }
        Ok(())
    }

    /// Waits until all answers are there: `gradient` is then their sum, in a binary tree over the
    /// ranks, for what was made here.
    pub(crate) fn hear(
        &mut self,
        device: &mut Device,
        (place, pass): (usize, usize),
        gradient: Slot,
    ) -> Result<()> {
        self.finish(device, pass)?;
        let Meetings { cut: Cut { rank, world, .. }, places, .. } = self.meetings;
        let meeting = &places[place];
        if !meeting.makers.of(pass, *world).contains(rank) {
            return Ok(());
        }
        let (viewers, all) = (meeting.viewers.of(pass, *world), Geometry::vector(gradient.len()));
        for distance in (0..viewers.len().ilog2()).map(|level| 1 << level) {
            for left in viewers.clone().step_by(2 * distance) {
                let [x, y] =
                    [left + distance, left].map(|from| self.answer_of(meeting, pass, from));
                columns::add(device, &all, x, y)?;
            }
        }
        Ok(columns::copy(device, &all, self.answer_of(meeting, pass, viewers.start), gradient)?)
    }

    fn send(&mut self, device: &mut Device, pass: usize, x: Slot, to: usize) -> Result<()> {
        self.started[pass].push(self.comm.send(device, x, to)?);
        Ok(())
    }

    fn receive(&mut self, device: &mut Device, pass: usize, x: Slot, from: usize) -> Result<()> {
        self.started[pass].push(self.comm.recv(device, x, from)?);
        Ok(())
    }

    fn finish(&mut self, device: &mut Device, pass: usize) -> Result<()> {
        for handle in self.started[pass].drain(..) {
            self.comm.wait(device, handle)?;
        }
        Ok(())
    }

    /// A rank's columns, out of a place for the whole matrix, side by side.
    fn columns_of(&self, meeting: &Meeting, whole: Slot, rank: usize) -> Slot {
        let columns = &meeting.columns[rank];
        let images = self.meetings.images;
        whole.part(images * columns.start, Shape::from([images, columns.len()]))
    }

    /// What a viewer answers about the columns that were made here.
    fn answer_of(&self, meeting: &Meeting, pass: usize, viewer: usize) -> Slot {
        let width = meeting.columns[self.meetings.cut.rank].len();
        let images = self.meetings.images;
        // A single viewer's lies in front.
        let number = if meeting.viewers == Ranks::All { viewer } else { 0 };
        self.meetings.inbox[pass].part(number * images * width, Shape::from([images, width]))
    }

    /// A rank's columns, from the whole matrix to a place of their own.
    fn cut_out(&self, meeting: &Meeting, rank: usize) -> Geometry {
        let (columns, width) = (&meeting.columns[rank], meeting.width());
        let count = columns.len();
        let [whole, own] =
            [ColumnRange { width, first: columns.start }, ColumnRange { width: count, first: 0 }];
        Geometry { rows: self.meetings.images, count, x: whole, y: own }
    }

    /// Puts a rank's columns where they belong.
    fn put(
        &self,
        device: &mut Device,
        meeting: &Meeting,
        (rank, columns): (usize, Slot),
        whole: Slot,
    ) -> Result<()> {
        let out = self.cut_out(meeting, rank);
        Ok(columns::copy(device, &Geometry { x: out.y, y: out.x, ..out }, columns, whole)?)
    }
}
