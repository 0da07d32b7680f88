//! A device on its own thread.

use crate::rank::Rank;
use crate::{Error, Result};
use comm::Fate;
use data::Batch;
use evaluate::Tally;
use layers::Parameter;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, PoisonError, RwLock};
use train::start::Start;
use train::stats::LayerStats;

/// A device and what it works with.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) number: usize,
    pub(super) rank: Box<dyn Rank>,
    pub(super) stats: LayerStats,
}

/// What a member is told to do. The first three come in every step and allocate nothing.
pub(super) enum Order {
    Train(u64),
    TrainWithStats(u64),
    Test,
    Do(Work),
}

/// Anything else.
pub(super) type Work = Arc<dyn Fn(&mut Member) -> Result<()> + Send + Sync>;

/// What a member says when it has done it.
pub(super) type Answer = (usize, Result<Tally>);

/// Takes orders until there are no more, or one fails: then the device is let go, so that the
/// others hear of it at once.
pub(super) fn serve(
    number: usize,
    rank: Box<dyn Rank>,
    batch: &RwLock<Batch>,
    orders: Receiver<Order>,
    answers: SyncSender<Answer>,
) {
    let last_words = LastWords { rank: number, answers: answers.clone() };
    let mut failed = None;
    rank.enter(Box::new(|rank| {
        let stats = rank.new_stats();
        let mut member = Member { number, rank, stats };
        for order in orders {
            match member.obey(order, batch) {
                Ok(tally) if answers.send((number, Ok(tally))).is_ok() => {}
                Ok(_) => break,
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
    }));
    if let Some(error) = failed {
        let _ = answers.send((number, Err(error))); // nobody may be left to hear it
    }
    drop(last_words);
}

impl Member {
    fn obey(&mut self, order: Order, batch: &RwLock<Batch>) -> Result<Tally> {
        let batch = batch.read().unwrap_or_else(PoisonError::into_inner);
        match order {
            Order::Train(step) => self.rank.train(&batch, step, None, None),
            Order::TrainWithStats(step) => {
                self.rank.train(&batch, step, Some(&mut self.stats), None)
            }
            Order::Test => self.rank.test(&batch, None),
            Order::Do(work) => work(self).map(|()| Tally::default()),
        }
    }

    /// Takes what training starts from; `all` are the whole network's parameters.
    pub(super) fn start(&mut self, start: &Start, all: &[Parameter]) -> Result<()> {
        crate::rank::start(&mut *self.rank, start, all)
    }
}

/// Says that a thread panicked, if it does.
struct LastWords {
    rank: usize,
    answers: SyncSender<Answer>,
}

impl Drop for LastWords {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lost = comm::Error::Lost { rank: self.rank, fate: Fate::Panicked };
            let _ = self.answers.send((self.rank, Err(Error::Comm(lost))));
        }
    }
}
