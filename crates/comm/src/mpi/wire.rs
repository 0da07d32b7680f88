//! What travels between two hubs: a header of words, then the floats. Headers have one tag and
//! floats another; between two ranks neither overtakes its like.

use crate::Fate;
use crate::hub::{Hub, Message, Signature, Tag};
use ::mpi::point_to_point::{Destination, Source};
use ::mpi::topology::{Communicator, SimpleCommunicator};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const HEADER: i32 = 1;
const FLOATS: i32 = 2;

/// MPI counts in an int: longer messages go in pieces.
const PIECE: usize = 1 << 28;

/// How long a thread that finds nothing to bring sleeps: a thousandth of a step, and a thousand
/// times what looking takes.
const NAP: Duration = Duration::from_micros(200);

/// The words of a header.
type Words = [u64; 6];

enum Header {
    Message {
        tag: Tag,
        signature: Signature,
        floats: usize,
    },
    /// The sender leaves, perhaps because a rank is lost.
    Farewell {
        lost: Option<(usize, Fate)>,
    },
}

impl Header {
    fn to_words(&self) -> Words {
        match *self {
            Header::Message { tag, signature, floats } => {
                let ([a, b], [c, d]) = (tag.to_words(), signature.to_words());
                [1, a, b, c, d, floats as u64]
            }
            Header::Farewell { lost: None } => [0; 6],
            Header::Farewell { lost: Some((rank, fate)) } => {
                let (fate, seconds) = match fate {
                    Fate::Panicked => (1, 0.0),
                    Fate::Left => (2, 0.0),
                    Fate::Silent(seconds) => (3, seconds),
                };
                [0, fate, rank as u64, seconds.to_bits(), 0, 0]
            }
        }
    }

    fn from_words(words: Words) -> Header {
        let [kind, a, b, c, d, floats] = words;
        let lost = |fate| Header::Farewell { lost: Some((b as usize, fate)) };
        match (kind, a) {
            (1, _) => Header::Message {
                tag: Tag::from_words([a, b]),
                signature: Signature::from_words([c, d]),
                floats: floats as usize,
            },
            (_, 1) => lost(Fate::Panicked),
            (_, 2) => lost(Fate::Left),
            (_, 3) => lost(Fate::Silent(f64::from_bits(c))),
            _ => Header::Farewell { lost: None },
        }
    }
}

/// Sends what this rank leaves for others, until it is gone; then says farewell for it.
pub(super) fn send(hub: &Hub, world: &SimpleCommunicator) {
    let rank = world.rank();
    while let Some((to, Message { tag, signature, floats })) = hub.next_from(rank as usize) {
        let header = Header::Message { tag, signature, floats: floats.len() };
        let to = world.process_at_rank(to as i32);
        to.send_with_tag(&header.to_words()[..], HEADER);
        floats.chunks(PIECE).for_each(|piece| to.send_with_tag(piece, FLOATS));
        hub.give_back(floats);
    }
    let farewell = Header::Farewell { lost: hub.lost() }.to_words();
    for to in (0..world.size()).filter(|&to| to != rank) {
        world.process_at_rank(to).send_with_tag(&farewell[..], HEADER);
    }
}

/// Brings what others leave for this rank, until all of them are gone.
pub(super) fn receive(hub: &Hub, world: &SimpleCommunicator) {
    let rank = world.rank() as usize;
    let gone = |(other, left): (usize, &bool)| *left || other == rank;
    while !hub.left().iter().enumerate().all(gone) {
        let found = world.any_process().immediate_matched_probe_with_tag(HEADER);
        let Some((header, status)) = found else {
            thread::sleep(NAP);
            continue;
        };
        let mut words = Words::default();
        header.matched_receive_into(&mut words[..]);
        let from = status.source_rank();
        match Header::from_words(words) {
            Header::Message { tag, signature, floats: len } => {
                let mut floats = hub.buffer(len);
                let buffer = Arc::get_mut(&mut floats).expect("nobody else has a free buffer");
                let from_process = world.process_at_rank(from);
                for piece in buffer.chunks_mut(PIECE) {
                    from_process.receive_into_with_tag(piece, FLOATS);
                }
                hub.post(from as usize, rank, Message { tag, signature, floats });
            }
            Header::Farewell { lost } => {
                if let Some((rank, fate)) = lost {
                    hub.lose(rank, fate);
                }
                hub.leave(from as usize, Fate::Left);
            }
        }
    }
}
