//! The devices of one process, each on its own thread, through host memory.

#[cfg(test)]
mod tests;

use crate::collective::Count;
use crate::hub::{Hub, Message, Signature, Tag};
use crate::{Collective, Comm, Error, Fate, Handle, Result, Traffic};
use std::sync::Arc;
use std::time::Duration;
use tensor::{Device, Shape, Slot};

/// A rank of a world inside one process; used by the thread of its device.
///
/// `start` copies inputs into buffers in host memory; `wait` reads the buffers of the other ranks.
/// A sum reads every rank's buffer once, which suits a few devices. Buffers are reused:
/// [`reserve`](Self::reserve) allocates enough of them in advance.
///
/// If a rank is dropped, because its thread returns or panics, those that wait for it fail at once.
/// If it hangs, they fail after their timeout.
#[derive(Debug)]
pub struct Local {
    rank: usize,
    hub: Arc<Hub>,
    timeout: Duration,
    /// The number of collectives that this rank has started.
    collectives: u64,
    /// The number of messages sent to each rank, and received from each.
    sent: Vec<u64>,
    received: Vec<u64>,
    /// Each rank's part of the current collective.
    inbox: Vec<Option<Arc<Vec<f32>>>>,
    traffic: Traffic,
}

/// Floats of the buffers on the stack for sums and copies.
const RUN: usize = 2048;

impl Local {
    /// The usual timeout: longer than any step between two collectives takes.
    pub const TIMEOUT: Duration = Duration::from_secs(30);

    /// A world of `ranks` ranks, which wait for each other at most for `timeout`.
    ///
    /// # Panics
    /// If `ranks` is zero.
    pub fn world(ranks: usize, timeout: Duration) -> Vec<Local> {
        assert!(ranks > 0, "a world of no ranks");
        let hub = Arc::new(Hub::new(ranks));
        (0..ranks).map(|rank| Local::at(Arc::clone(&hub), rank, ranks, timeout)).collect()
    }

    /// One of `ranks` ranks that exchange messages through `hub`.
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

    /// Allocates buffers for `messages` messages of `floats` floats in flight at once, which all
    /// ranks share.
    pub fn reserve(&mut self, messages: usize, floats: usize) {
        self.hub.reserve(messages, floats);
    }

    /// Copies a slot into a buffer.
    fn copy_out(&self, device: &Device, slot: Slot) -> Result<Arc<Vec<f32>>> {
        let mut buffer = self.hub.buffer(slot.len());
        let floats = Arc::get_mut(&mut buffer).expect("a free buffer has one owner");
        device.download_into(slot, floats)?;
        Ok(buffer)
    }

    fn post(&mut self, to: usize, tag: Tag, signature: Signature, floats: Arc<Vec<f32>>) {
        self.traffic.count(floats.len());
        self.hub.post(self.rank, to, Message { tag, signature, floats });
    }

    /// Moves this rank's own reference into the last message, so that the buffer is free as soon as
    /// all others have read it.
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

    /// Waits for the message with `tag` from rank `from`.
    fn take(&self, from: usize, tag: Tag, ours: Signature) -> Result<Arc<Vec<f32>>> {
        let message = self.hub.take(from, self.rank, tag, self.timeout)?;
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

    /// Sets `to` to the sum of this rank's `own` and the inbox's buffers, in rank order.
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

/// Block `rank` of a slot with one block for each rank.
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

    fn start(&mut self, device: &mut Device, collective: Collective) -> Result<Handle> {
        collective.check(self.rank, self.world());
        let signature = Signature::of(&collective);
        let number = match collective {
            Collective::Send { to, .. } => &mut self.sent[to],
            Collective::Recv { from, .. } => &mut self.received[from],
            _ => &mut self.collectives,
        };
        *number += 1;
        let number = *number;
        let tag = Tag::of(&collective, number);
        match collective {
            Collective::Broadcast { root, .. } if root != self.rank => {}
            Collective::AllReduce { x }
            | Collective::AllGather { block: x, .. }
            | Collective::Broadcast { x, .. } => {
                let floats = self.copy_out(device, x)?;
                self.post_to_others(tag, signature, floats);
            }
            Collective::ReduceScatter { x, block } => {
                for to in self.others() {
                    let floats = self.copy_out(device, block_of(x, to, block.shape()))?;
                    self.post(to, tag, signature, floats);
                }
            }
            Collective::Send { x, to } => {
                let floats = self.copy_out(device, x)?;
                self.post(to, tag, signature, floats);
            }
            Collective::Barrier => {
                let empty = self.hub.empty();
                self.post_to_others(tag, signature, empty);
            }
            Collective::Recv { .. } => {}
        }
        Ok(Handle { collective, number })
    }

    fn wait(&mut self, device: &mut Device, handle: Handle) -> Result<()> {
        let Handle { collective, number } = handle;
        let (tag, signature) = (Tag::of(&collective, number), Signature::of(&collective));
        match collective {
            Collective::AllReduce { x } => {
                self.take_all(tag, signature)?;
                self.sum(device, x, x)?;
            }
            Collective::ReduceScatter { x, block } => {
                self.take_all(tag, signature)?;
                self.sum(device, block_of(x, self.rank, block.shape()), block)?;
            }
            Collective::AllGather { block, y } => {
                self.take_all(tag, signature)?;
                for (rank, buffer) in self.inbox.iter().enumerate() {
                    let to = block_of(y, rank, block.shape());
                    match buffer {
                        Some(floats) => device.upload(to, floats),
                        None => copy(device, block, to),
                    }?;
                }
            }
            Collective::Broadcast { root, .. } if root == self.rank => {}
            Collective::Broadcast { x, root: from } | Collective::Recv { x, from } => {
                let floats = self.take(from, tag, signature)?;
                device.upload(x, &floats)?;
                self.hub.give_back(floats);
            }
            Collective::Barrier => self.take_all(tag, signature)?,
            Collective::Send { .. } => {}
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
