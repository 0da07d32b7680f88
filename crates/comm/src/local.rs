//! The devices of one process, each on its own thread, by way of host memory.

#[cfg(test)]
mod tests;

use crate::hub::{Hub, Message, Signature, Tag};
use crate::work::Count;
use crate::{Comm, Error, Fate, Handle, Result, Traffic, Work};
use std::sync::Arc;
use std::time::Duration;
use tensor::{Device, Shape, Slot};

/// A rank of a world inside one process. Each belongs to the thread of its device.
///
/// To start is to copy what others need into a buffer in host memory; to wait is to read what they
/// have put there. A sum reads every rank's buffer once: that suits a handful of devices. Buffers
/// are used again: once there are enough of them nothing is allocated, and
/// [`reserve`](Self::reserve) makes that so from the beginning.
///
/// A rank that is dropped, whether its thread returns or panics, is missed at once by those that
/// wait for it; one that hangs is missed when their timeout ends.
#[derive(Debug)]
pub struct Local {
    rank: usize,
    hub: Arc<Hub>,
    timeout: Duration,
    /// Collectives that this rank has started.
    collectives: u64,
    /// What it has sent to each rank, and received from each.
    sent: Vec<u64>,
    received: Vec<u64>,
    /// Each rank's part of the collective that is being waited for.
    inbox: Vec<Option<Arc<Vec<f32>>>>,
    traffic: Traffic,
}

/// Floats that a sum holds at a time, on the stack.
const RUN: usize = 2048;

impl Local {
    /// How long ranks wait for each other, unless told otherwise: longer than any step between two
    /// collectives takes.
    pub const TIMEOUT: Duration = Duration::from_secs(30);

    /// `ranks` ranks that wait for each other for `timeout` at most.
    ///
    /// # Panics
    /// If there is to be no rank.
    pub fn world(ranks: usize, timeout: Duration) -> Vec<Local> {
        assert!(ranks > 0, "a world of no ranks");
        let hub = Arc::new(Hub::new(ranks));
        (0..ranks).map(|rank| Local::at(Arc::clone(&hub), rank, ranks, timeout)).collect()
    }

    /// One of `ranks` ranks that meet at `hub`.
    pub(crate) fn at(hub: Arc<Hub>, rank: usize, ranks: usize, timeout: Duration) -> Local {
        Local {
            rank,
            hub,
            timeout,
            collectives: 0,
            sent: vec![0; ranks],
            received: vec![0; ranks],
            inbox: vec![None; ranks],
            traffic: Traffic::default(),
        }
    }

    /// Makes buffers for `messages` messages of `floats` floats that are under way at once. The
    /// ranks share them.
    pub fn reserve(&mut self, messages: usize, floats: usize) {
        self.hub.reserve(messages, floats);
    }

    /// Copies a slot into a buffer.
    fn copy_out(&self, device: &Device, slot: Slot) -> Result<Arc<Vec<f32>>> {
        let mut buffer = self.hub.buffer(slot.len());
        let floats = Arc::get_mut(&mut buffer).expect("nobody else has a free buffer");
        device.download_into(slot, floats)?;
        Ok(buffer)
    }

    fn post(&mut self, to: usize, tag: Tag, signature: Signature, floats: Arc<Vec<f32>>) {
        self.traffic.count(floats.len());
        self.hub.post(self.rank, to, Message { tag, signature, floats });
    }

    /// The last of the others is given this rank's own hold of the buffer: whoever has read it is
    /// not kept from using it again by a rank that has not come round to letting go.
    fn post_to_others(&mut self, tag: Tag, signature: Signature, floats: Arc<Vec<f32>>) {
        let Some(last) = self.others().last() else { return self.hub.give_back(floats) };
        for to in self.others().filter(|&to| to != last) {
            self.post(to, tag, signature, Arc::clone(&floats));
        }
        self.post(last, tag, signature, floats);
    }

    fn others(&self) -> impl Iterator<Item = usize> + use<> {
        let rank = self.rank;
        (0..self.inbox.len()).filter(move |&other| other != rank)
    }

    /// Waits for what `from` has under `tag`.
    fn take(&self, from: usize, tag: Tag, ours: Signature) -> Result<Arc<Vec<f32>>> {
        let message = self.hub.take((from, self.rank), tag, self.timeout)?;
        if message.signature == ours {
            return Ok(message.floats);
        }
        let (theirs, ours) = (message.signature.to_string(), ours.to_string());
        Err(Error::Disagree { rank: from, theirs, own: self.rank, ours })
    }

    /// Waits for the part of every other rank.
    fn take_all(&mut self, tag: Tag, ours: Signature) -> Result<()> {
        for from in self.others() {
            self.inbox[from] = Some(self.take(from, tag, ours)?);
        }
        Ok(())
    }

    fn give_back_all(&mut self) {
        let hub = &self.hub;
        self.inbox.iter_mut().filter_map(Option::take).for_each(|buffer| hub.give_back(buffer));
    }

    /// `to` = this rank's `own` and the inbox's buffers, added in the order of the ranks.
    fn sum(&self, device: &mut Device, own: Slot, to: Slot) -> Result<()> {
        let (mut total, mut part) = ([0.0f32; RUN], [0.0f32; RUN]);
        for first in (0..to.len()).step_by(RUN) {
            let len = RUN.min(to.len() - first);
            let (total, part) = (&mut total[..len], &mut part[..len]);
            let here = Shape::from([len]);
            device.download_into(own.part(first, here), part)?;
            for (rank, buffer) in self.inbox.iter().enumerate() {
                let part = buffer.as_ref().map_or(&*part, |floats| &floats[first..first + len]);
                match rank {
                    0 => total.copy_from_slice(part),
                    _ => total.iter_mut().zip(part).for_each(|(total, part)| *total += part),
                }
            }
            device.upload(to.part(first, here), total)?;
        }
        Ok(())
    }
}

/// Block `rank` of a slot that has one a rank.
fn block_of(whole: Slot, rank: usize, block: Shape) -> Slot {
    whole.part(rank * block.len(), block)
}

fn copy(device: &mut Device, from: Slot, to: Slot) -> tensor::Result<()> {
    let mut run = [0.0f32; RUN];
    for first in (0..to.len()).step_by(RUN) {
        let here = Shape::from([RUN.min(to.len() - first)]);
        let run = &mut run[..here.len()];
        device.download_into(from.part(first, here), run)?;
        device.upload(to.part(first, here), run)?;
    }
    Ok(())
}

impl Comm for Local {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world(&self) -> usize {
        self.inbox.len()
    }

    fn traffic(&self) -> Traffic {
        self.traffic
    }

    fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    fn start(&mut self, device: &mut Device, work: Work) -> Result<Handle> {
        work.check(self.rank, self.world());
        let signature = Signature::of(&work);
        let number = match work {
            Work::Send { to, .. } => &mut self.sent[to],
            Work::Recv { from, .. } => &mut self.received[from],
            _ => &mut self.collectives,
        };
        *number += 1;
        let number = *number;
        let tag = Tag::of(&work, number);
        match work {
            Work::AllReduce { x } | Work::AllGather { block: x, .. } => {
                let floats = self.copy_out(device, x)?;
                self.post_to_others(tag, signature, floats);
            }
            Work::Broadcast { x, root } if root == self.rank => {
                let floats = self.copy_out(device, x)?;
                self.post_to_others(tag, signature, floats);
            }
            Work::ReduceScatter { x, block } => {
                for to in self.others() {
                    let floats = self.copy_out(device, block_of(x, to, block.shape()))?;
                    self.post(to, tag, signature, floats);
                }
            }
            Work::Send { x, to } => {
                let floats = self.copy_out(device, x)?;
                self.post(to, tag, signature, floats);
            }
            Work::Barrier => {
                let nothing = self.hub.nothing();
                self.post_to_others(tag, signature, nothing);
            }
            Work::Broadcast { .. } | Work::Recv { .. } => {}
        }
        Ok(Handle { work, number })
    }

    fn wait(&mut self, device: &mut Device, handle: Handle) -> Result<()> {
        let Handle { work, number } = handle;
        let (tag, signature) = (Tag::of(&work, number), Signature::of(&work));
        match work {
            Work::AllReduce { x } => {
                self.take_all(tag, signature)?;
                self.sum(device, x, x)?;
            }
            Work::ReduceScatter { x, block } => {
                self.take_all(tag, signature)?;
                self.sum(device, block_of(x, self.rank, block.shape()), block)?;
            }
            Work::AllGather { block, y } => {
                self.take_all(tag, signature)?;
                for (rank, buffer) in self.inbox.iter().enumerate() {
                    let to = block_of(y, rank, block.shape());
                    match buffer {
                        Some(floats) => device.upload(to, floats),
                        None => copy(device, block, to),
                    }?;
                }
            }
            Work::Broadcast { x, root: from } if from != self.rank => {
                let floats = self.take(from, tag, signature)?;
                device.upload(x, &floats)?;
                self.hub.give_back(floats);
            }
            Work::Recv { x, from } => {
                let floats = self.take(from, tag, signature)?;
                device.upload(x, &floats)?;
                self.hub.give_back(floats);
            }
            Work::Barrier => self.take_all(tag, signature)?,
            Work::Broadcast { .. } | Work::Send { .. } => {}
        }
        self.give_back_all();
        Ok(())
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let fate = if std::thread::panicking() { Fate::Panicked } else { Fate::Left };
        self.hub.leave(self.rank, fate);
    }
}
