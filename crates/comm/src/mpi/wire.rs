//! Messages between the hubs of two processes: a header of words, then the floats. Headers have one
//! MPI tag and floats another; MPI keeps the order of messages with the same tag.

use crate::Fate;
use crate::hub::{Hub, Message, Signature, Tag};
use ::mpi::point_to_point::{Destination, Source};
use ::mpi::request::{self, Request, Scope};
use ::mpi::topology::{Communicator, SimpleCommunicator};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const HEADER: i32 = 1;
const FLOATS: i32 = 2;

/// MPI's counts are ints: longer messages are sent in pieces.
const PIECE: usize = 1 << 28;

/// The interval between polls while the rank waits: the shortest sleep of most systems, and a
/// hundred times as long as a poll.
const NAP: Duration = Duration::from_micros(20);

/// The interval between polls while the rank computes: each wake-up takes time from it, on virtual
/// machines as much as a hundred polls.
const LONG_NAP: Duration = Duration::from_millis(2);

/// The words of a header.
type Words = [u64; 6];

enum Header {
    Message {
        tag: Tag,
        signature: Signature,
        floats: usize,
    },
    /// The sender leaves, possibly because a rank is lost.
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

/// Waits for a transfer. MPI's own wait would keep a core busy that should compute.
fn finish<'a, B: ?Sized, S: Scope<'a>>(mut request: Request<'a, B, S>, nap: impl Fn()) {
    const POLLS: usize = 16;
    for polls in 0.. {
        match request.test() {
            Ok(_) => return,
            Err(unfinished) => request = unfinished,
        }
        if polls < POLLS {
            thread::yield_now();
        } else {
            nap();
        }
    }
}

/// Sends this rank's messages until it leaves; then sends a farewell to all others.
pub(super) fn send(hub: &Hub, world: &SimpleCommunicator) {
    let rank = world.rank();
    let nap = || hub.nap(rank as usize, NAP, LONG_NAP);
    while let Some((to, Message { tag, signature, floats })) = hub.next_from(rank as usize) {
        let header = Header::Message { tag, signature, floats: floats.len() };
        let to = world.process_at_rank(to as i32);
        to.send_with_tag(&header.to_words()[..], HEADER);
        for piece in floats.chunks(PIECE) {
            request::scope(|scope| finish(to.immediate_send_with_tag(scope, piece, FLOATS), nap));
        }
        hub.give_back(floats);
    }
    let farewell = Header::Farewell { lost: hub.lost() }.to_words();
    for to in (0..world.size()).filter(|&to| to != rank) {
        world.process_at_rank(to).send_with_tag(&farewell[..], HEADER);
    }
}

/// Receives messages for this rank until all others have left.
pub(super) fn receive(hub: &Hub, world: &SimpleCommunicator) {
    let rank = world.rank() as usize;
    let nap = || hub.nap(rank, NAP, LONG_NAP);
    let gone = |(other, left): (usize, &bool)| *left || other == rank;
    while !hub.left().iter().enumerate().all(gone) {
        let found = world.any_process().immediate_matched_probe_with_tag(HEADER);
        let Some((header, status)) = found else {
            nap();
            continue;
        };
        let mut words = Words::default();
        header.matched_receive_into(&mut words[..]);
        let from = status.source_rank();
        match Header::from_words(words) {
            Header::Message { tag, signature, floats: len } => {
                let mut floats = hub.buffer(len);
                let buffer = Arc::get_mut(&mut floats).expect("a free buffer has one owner");
                let from_process = world.process_at_rank(from);
                for piece in buffer.chunks_mut(PIECE) {
                    request::scope(|scope| {
                        let receive =
                            from_process.immediate_receive_into_with_tag(scope, piece, FLOATS);
                        finish(receive, nap);
                    });
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
