//! A rank on its own thread.

use crate::rank::Rank;
use crate::{Error, Result};
use comm::Fate;
use data::Batch;
use evaluate::Tally;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, PoisonError, RwLock};
use train::stats::LayerStats;

/// A rank and its statistics.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) number: usize,
    pub(super) rank: Box<dyn Rank>,
    /// The index of each of its parameters among those of the whole network.
    rows: Vec<usize>,
    pub(super) stats: LayerStats,
}

/// What all workers read.
pub(super) struct Shared {
    /// The current batch.
    pub(super) batch: Arc<RwLock<Batch>>,
    /// Rate, momentum and decay of the whole network's parameters.
    pub(super) rates: Arc<RwLock<Vec<[f32; 3]>>>,
}

/// A command to a worker. All but the last allocate nothing.
pub(super) enum Command {
    SetRates,
    Train(u64),
    TrainWithStats(u64),
    Test,
    Call(Function),
}

/// A function that every worker calls.
pub(super) type Function = Arc<dyn Fn(&mut Worker) -> Result<()> + Send + Sync>;

/// A worker's number and the result of its command.
pub(super) type Reply = (usize, Result<Tally>);

/// Executes commands until the channel is closed or one fails. After a failure the rank is dropped
/// before the reply is sent, so that the other ranks notice at once.
pub(super) fn serve(
    number: usize,
    rank: Box<dyn Rank>,
    rows: Vec<usize>,
    shared: &Shared,
    commands: Receiver<Command>,
    replies: SyncSender<Reply>,
) {
    let panic_reporter = PanicReporter { rank: number, replies: replies.clone() };
    let mut failed = None;
    rank.enter(Box::new(|rank| {
        let stats = rank.new_stats();
        let mut worker = Worker { number, rank, rows, stats };
        for command in commands {
            match worker.execute(command, shared) {
                Ok(tally) if replies.send((number, Ok(tally))).is_ok() => {}
                Ok(_) => break,
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
    }));
    if let Some(error) = failed {
        let _ = replies.send((number, Err(error))); // the receiver may be gone
    }
    drop(panic_reporter);
}

impl Worker {
    fn execute(&mut self, command: Command, shared: &Shared) -> Result<Tally> {
        let batch = shared.batch.read().unwrap_or_else(PoisonError::into_inner);
        match command {
            Command::SetRates => {
                let rates = shared.rates.read().unwrap_or_else(PoisonError::into_inner);
                let rows = self.rows.iter().map(|&row| rates[row]);
                self.rank.net_mut().set_rates_by(rows)?;
                Ok(Tally::default())
            }
            Command::Train(step) => self.rank.train(&batch, step, None, None),
            Command::TrainWithStats(step) => {
                self.rank.train(&batch, step, Some(&mut self.stats), None)
            }
            Command::Test => self.rank.test(&batch, None),
            Command::Call(function) => function(self).map(|()| Tally::default()),
        }
    }
}

/// Sends an error when its thread panics.
struct PanicReporter {
    rank: usize,
    replies: SyncSender<Reply>,
}

impl Drop for PanicReporter {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lost = comm::Error::Lost { rank: self.rank, fate: Fate::Panicked };
            let _ = self.replies.send((self.rank, Err(Error::Comm(lost))));
        }
    }
}
