//! A device of a team, on its own thread.

use crate::folder::LayerNumbers;
use crate::look::Look;
use crate::metrics::Tally;
use crate::step::Step;
use crate::{Error, Result};
use comm::Fate;
use data::Batch;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, PoisonError, RwLock};

/// A device and what it works with.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) rank: usize,
    pub(super) step: Step,
    pub(super) look: Look,
}

/// What a member is told to do. The first three come in every step and allocate nothing.
pub(super) enum Order {
    Train(u64),
    TrainAndLook(u64),
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
    rank: usize,
    step: Step,
    batch: &RwLock<Batch>,
    orders: Receiver<Order>,
    answers: SyncSender<Answer>,
) {
    let last_words = LastWords { rank, answers: answers.clone() };
    let failed = step.enter(|step| {
        let look = step.new_look();
        let mut member = Member { rank, step, look };
        for order in orders {
            match member.obey(order, batch) {
                Ok(tally) => answers.send((rank, Ok(tally))).ok()?,
                Err(error) => return Some(error),
            }
        }
        None
    });
    if let Some(error) = failed {
        let _ = answers.send((rank, Err(error))); // nobody may be left to hear it
    }
    drop(last_words);
}

impl Member {
    fn obey(&mut self, order: Order, batch: &RwLock<Batch>) -> Result<Tally> {
        let batch = batch.read().unwrap_or_else(PoisonError::into_inner);
        match order {
            Order::Train(number) => self.step.train(&batch, number),
            Order::TrainAndLook(number) => self.step.train_and_look(&batch, number, &mut self.look),
            Order::Test => self.step.test(&batch),
            Order::Do(work) => work(self).map(|()| Tally::default()),
        }
    }

    /// What this one saw of each layer in the last look.
    pub(super) fn layers(&self) -> &[LayerNumbers] {
        &self.look.layers
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
