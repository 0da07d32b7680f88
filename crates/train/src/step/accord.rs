//! Ranks in processes of their own: what they tell each other beside what they compute.
//!
//! Every process runs the same loop, so all must decide alike. What clocks, signals and disks say
//! differs from one to another: each rank's word on that travels with every tally, and costs no
//! message of its own.

use super::Step;
use super::shards::Replica;
use crate::look::Look;
use crate::metrics::Tally;
use crate::team::entries_of;
use crate::towers::Link;
use crate::{Result, Stop};
use comm::{Comm, Handle, bytes};
use layers::Parameter;
use std::ops::Range;
use tensor::{DType, Device, Planner, Shape, Slot};

/// What only the rank knows that writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    /// The last checkpoint is so old that a validation is followed by another.
    pub(crate) old: bool,
    /// It is so old that another is due in any case.
    pub(crate) late: bool,
    /// It has been written.
    pub(crate) free: bool,
}

/// A rank's part in what all of them decide.
#[derive(Debug)]
pub(crate) struct Accord {
    /// What this process was asked for.
    asked: Stop,
    /// What all know that some process was asked for.
    agreed: Stop,
    /// What this rank says, and what rank 0 said last.
    pub(crate) own: Moment,
    pub(crate) heard: Moment,
    /// Whoever watches this process wants the run to end; all know that somebody does.
    pub(crate) wants_end: bool,
    pub(crate) ends: bool,
}

impl Accord {
    pub(crate) fn new(asked: Stop, agreed: Stop) -> Accord {
        let (own, heard) = (Moment::default(), Moment::default());
        Accord { asked, agreed, own, heard, wants_end: false, ends: false }
    }

    /// What a rank says, as a whole number that a float holds exactly.
    pub(super) fn word(&self) -> f32 {
        let signal = self.asked.requested().unwrap_or(0) as u32 & 0x7f;
        let Moment { old, late, free } = self.own;
        let flags = [self.asked.take_checkpoint_request(), old, late, free, self.wants_end];
        let flags = flags.iter().enumerate().map(|(bit, &flag)| u32::from(flag) << (7 + bit));
        flags.fold(signal, |word, flag| word | flag) as f32
    }

    /// Takes in the words of all ranks, in their order.
    pub(super) fn hear(&mut self, words: impl Iterator<Item = f32>) {
        for (rank, word) in words.enumerate() {
            let word = word as u32;
            let is_set = |bit: u32| word >> (7 + bit) & 1 == 1;
            if word & 0x7f > 0 && self.agreed.requested().is_none() {
                self.agreed.request((word & 0x7f) as usize);
            }
            if is_set(0) {
                self.agreed.request_checkpoint();
            }
            self.ends |= is_set(4);
            if rank == 0 {
                self.heard = Moment { old: is_set(1), late: is_set(2), free: is_set(3) };
            }
        }
    }
}

/// Slots through which ranks in processes of their own, with parts of the parameters, talk beside
/// their exchanges.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meeting {
    /// A tally and a word: this rank's, and all ranks'.
    own: Slot,
    all: Slot,
    /// Pieces of whatever else.
    room: Slot,
}

/// A tally and a word.
const TOLD: usize = 5;

impl Meeting {
    /// Floats of a piece.
    const ROOM: usize = 1 << 18;

    pub(super) fn plan(ranks: usize, planner: &mut Planner) -> Meeting {
        let mut floats = |len: usize| planner.claim(DType::F32, Shape::from([len]));
        Meeting { own: floats(TOLD), all: floats(TOLD * ranks), room: floats(Self::ROOM) }
    }
}

impl Step {
    pub(crate) fn set_accord(&mut self, accord: Accord) {
        self.accord = Some(accord);
    }

    pub(crate) fn accord(&self) -> &Accord {
        self.accord.as_ref().expect("one of several processes")
    }

    pub(crate) fn accord_mut(&mut self) -> &mut Accord {
        self.accord.as_mut().expect("one of several processes")
    }

    /// This rank and how many there are: one, if nobody else has a part of the work.
    pub(crate) fn place(&self) -> (usize, usize) {
        let cut = self.plan.cut().map(|cut| (cut.rank, cut.world));
        let link = self.link.as_ref().map(|link| (link.comm().rank(), link.comm().world()));
        link.or(cut).unwrap_or((0, 1))
    }

    /// Says and hears a word without a step.
    ///
    /// # Errors
    /// [`Error::Comm`](crate::Error::Comm), here and below.
    pub(crate) fn agree(&mut self) -> Result<()> {
        if self.is_replica() {
            return self.exchange_tallies();
        }
        let told = self.tell(Tally::default())?;
        told.map_or(Ok(()), |told| self.hear(told).map(drop))
    }

    /// Tells the other towers' processes what the one with the classifier knows, and this rank's
    /// word; nothing where there are none.
    pub(super) fn tell(&mut self, tally: Tally) -> Result<Option<Handle>> {
        let Step { plan, device, link, accord, .. } = self;
        let (Some(link), Some(accord), Some(meeting)) = (link, accord, plan.meeting) else {
            return Ok(None);
        };
        let mut told = [0.0; TOLD];
        told[..4].copy_from_slice(&tally.to_kernel());
        told[4] = accord.word();
        device.upload(meeting.own, &told)?;
        Ok(Some(link.comm_mut().all_gather(device, meeting.own, meeting.all)?))
    }

    /// What the one with the classifier knows.
    pub(super) fn hear(&mut self, told: Handle) -> Result<Tally> {
        let Step { device, link, accord, heard, .. } = self;
        let (Some(link), Some(accord)) = (link, accord) else {
            unreachable!("whoever hears has told")
        };
        let comm::Work::AllGather { y, .. } = told.work else { unreachable!("a gathering") };
        link.comm_mut().wait(device, told)?;
        heard.resize(y.len(), 0.0);
        device.download_into(y, heard)?;
        let (each, _) = heard.as_chunks::<TOLD>();
        accord.hear(each.iter().map(|told| told[4]));
        let [loss, top1, top5, images, _] = each[0];
        Ok(Tally::from_kernel([loss, top1, top5, images]))
    }

    /// As [`snapshot`](Self::snapshot), in every process: rank 0 has the whole network's blocks,
    /// which `entries` lay out; the others give what is theirs.
    pub(crate) fn snapshot_of_all(
        &mut self,
        entries: &[Parameter],
        values: &mut Vec<f32>,
        velocities: &mut Vec<f32>,
    ) -> Result<()> {
        match (self.has_all(), self.place().0) {
            (true, 0) => self.snapshot(values, velocities),
            (true, _) => self.share_out_velocities(),
            (false, 0) => {
                self.share_out_velocities()?;
                let last = entries.last().map_or(0, |entry| entry.start + entry.len());
                values.resize(last, 0.0);
                velocities.resize(last, 0.0);
                self.place_own(entries, [values, velocities])?;
                self.gather_others(entries, [values, velocities])
            }
            (false, _) => {
                self.share_out_velocities()?;
                self.gather_others(entries, [values, velocities])
            }
        }
    }

    /// The shares of all ranks but the first come to the first, piece by piece: all ranks see each
    /// piece and wait for each other, so that little is under way at once.
    fn gather_others(&mut self, entries: &[Parameter], to: [&mut Vec<f32>; 2]) -> Result<()> {
        let (own, world) = self.place();
        let Some(Meeting { room, .. }) = self.plan.meeting else { return Ok(()) };
        for rank in 1..world {
            for (idx, name, share) in self.shares_of(rank)? {
                let whole = entries.iter().find(|whole| whole.name == name);
                let at = whole.expect("the whole has its parts' parameters").start + share.start;
                let Step { plan, device, link, replica, .. } = &mut *self;
                let parameters = &plan.network.parameters;
                let (link, replica) = (link.as_mut().map(Link::comm_mut), replica.as_mut());
                let comm = link.or_else(|| replica.and_then(Replica::comm_mut));
                let Some(comm) = comm else { return Ok(()) };
                let starts = (0..share.len()).step_by(Meeting::ROOM);
                for (first, block) in starts.flat_map(|first| [(first, 0), (first, 1)]) {
                    let piece = Shape::from([Meeting::ROOM.min(share.len() - first)]);
                    let slot = match (own == rank, block) {
                        (false, _) => room.part(0, piece),
                        (true, 0) => parameters.value(idx).part(first, piece),
                        (true, _) => {
                            let velocity = parameters.velocity(idx);
                            velocity.expect("a network planned for training").part(first, piece)
                        }
                    };
                    let sent = comm.broadcast(device, slot, rank)?;
                    comm.wait(device, sent)?;
                    if own == 0 {
                        let to = &mut to[block][at + first..][..piece.len()];
                        device.download_into(slot, to)?;
                    }
                    let all = comm.barrier(device)?;
                    comm.wait(device, all)?;
                }
            }
        }
        Ok(())
    }

    /// What a rank has that the first has not: parameters, by their number there and their name,
    /// and which numbers of the whole one they are.
    fn shares_of(&self, rank: usize) -> Result<Vec<(usize, String, Range<usize>)>> {
        if let Some(link) = &self.link {
            let entries = entries_of(link.spec(rank))?.into_iter().enumerate();
            return Ok(entries
                .map(|(idx, entry)| (idx, entry.name.clone(), link.share_of(rank, &entry)))
                .collect());
        }
        let entries = self.plan.network.parameters.entries.iter().enumerate();
        Ok(entries
            .filter_map(|(idx, entry)| {
                let (_, share) = self.plan.units_of(rank, entry)?;
                Some((idx, entry.name.clone(), share))
            })
            .collect())
    }

    /// What every tower saw in its last look, `own` being this one's.
    pub(crate) fn looks_of_all(&mut self, own: &Look) -> Result<Vec<Look>> {
        let Step { plan, device, link, .. } = self;
        let (Some(link), Some(meeting)) = (link, plan.meeting) else { return Ok(Vec::new()) };
        let all = gather(link.comm_mut(), device, meeting.room, &own.to_bytes())?;
        let each = all.iter().enumerate();
        each.map(|(rank, bytes)| Ok(Look::from_bytes(&entries_of(link.spec(rank))?, bytes)))
            .collect()
    }
}

fn gather(
    comm: &mut dyn Comm,
    device: &mut Device,
    room: Slot,
    own: &[u8],
) -> Result<Vec<Vec<u8>>> {
    Ok(bytes::gather(comm, (device, room), own)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_what_was_asked_for_and_rank_0_what_time_it_is() {
        let rank = || Accord::new(Stop::new(), Stop::new());
        let (mut first, mut second) = (rank(), rank());
        second.asked.request(15);
        second.asked.request_checkpoint();
        second.own.late = true; // not its to say
        first.own = Moment { old: true, late: false, free: true };
        let words = [first.word(), second.word()];
        for accord in [&mut first, &mut second] {
            accord.hear(words.into_iter());
            assert_eq!(accord.agreed.requested(), Some(15));
            assert!(accord.agreed.take_checkpoint_request());
            assert_eq!(accord.heard, Moment { old: true, late: false, free: true });
        }
        assert_eq!(first.asked.requested(), None);
        // A checkpoint is asked for once; a stop stays.
        assert_eq!(second.word(), 15.0 + f32::from(1u16 << 9));
    }
}
