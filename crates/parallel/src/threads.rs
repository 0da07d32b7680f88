//! Several devices of one process, each on its own thread, which receives commands and sends
//! replies.

mod worker;

use crate::error::cause;
use crate::rank::Rank;
use crate::snapshot::copy_own;
use crate::{Error, Result};
use comm::{Fate, Traffic};
use data::Batch;
use evaluate::Tally;
use evaluate::{BatchShape, Evaluate};
use layers::Parameter;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;
use train::executor::{Executor, StepRequest, StepResult};
use train::optimizer::UpdateRule;
use train::recipe::Recipe;
use train::schedule::Setting;
use train::start::Start;
use train::stats::LayerStats;
use worker::{Command, Function, Reply, Shared, Worker, serve};

/// An executor of several threads, one for each device. All of them get the same commands, one at a
/// time.
#[derive(Debug)]
pub struct Threads {
    threads: Vec<Thread>,
    replies: Receiver<Reply>,
    /// The current batch, which is moved here and back instead of copied.
    batch: Arc<RwLock<Batch>>,
    entries: Arc<Vec<Parameter>>,
    /// Rate, momentum and decay of each of them.
    rates: Arc<RwLock<Vec<[f32; 3]>>>,
    timeout: Duration,
    images: usize,
    classes: usize,
    /// Each device processes a part of the batch, and has statistics of all layers.
    shares_batch: bool,
    /// The blocks of the optimizer's state in a snapshot.
    state_blocks: usize,
    rule: UpdateRule,
}

#[derive(Debug)]
struct Thread {
    commands: Option<SyncSender<Command>>,
    handle: Option<JoinHandle<()>>,
    /// All its commands have been answered.
    is_idle: bool,
}

impl Threads {
    /// How long to wait for the errors of the others after one device has failed.
    const GRACE: Duration = Duration::from_secs(2);

    /// Starts a thread for each rank and loads `start` into them; `parameters` are the whole
    /// network's. A rank that does not reply within `timeout` is lost, and the run fails.
    ///
    /// # Errors
    /// If the parameters are another network's, or a device fails.
    ///
    /// # Panics
    /// If there is no rank.
    pub fn start(
        parameters: Vec<Parameter>,
        ranks: Vec<Box<dyn Rank>>,
        timeout: Duration,
        start: &Start,
    ) -> Result<Threads> {
        let shares_batch = ranks[0].part().1 > 1;
        let images = ranks[0].images() * if shares_batch { ranks.len() } else { 1 };
        let classes = ranks[0].net().plan.frame.classes();
        let state_blocks = ranks[0].net().state().count();
        let rule = *ranks[0].net().plan.optimizer.rule();
        let (reply, replies) = sync_channel(2 * ranks.len());
        let batch = Arc::new(RwLock::new(Batch::default()));
        let entries = Arc::new(parameters);
        let rates = Arc::new(RwLock::new(vec![[0.0; 3]; entries.len()]));
        let spawn = |(number, rank): (usize, Box<dyn Rank>)| {
            let (commands, theirs) = sync_channel(1);
            let rows = rows_of(&*rank, &entries);
            let shared = Shared { batch: Arc::clone(&batch), rates: Arc::clone(&rates) };
            let reply = reply.clone();
            let thread = std::thread::Builder::new().name(format!("rank-{number}"));
            let handle = thread.spawn(move || serve(number, rank, rows, &shared, theirs, reply));
            let handle = handle.expect("a thread can be started");
            Thread { commands: Some(commands), handle: Some(handle), is_idle: true }
        };
        let threads = ranks.into_iter().enumerate().map(spawn).collect();
        let whole = Arc::clone(&entries);
        let mut started = Threads {
            threads,
            replies,
            batch,
            entries,
            rates,
            timeout,
            images,
            classes,
            shares_batch,
            state_blocks,
            rule,
        };
        let start = start.clone();
        started.each(move |worker| crate::rank::start(&mut *worker.rank, &start, &whole))?;
        Ok(started)
    }

    /// Calls a function on every thread.
    fn each(
        &mut self,
        function: impl Fn(&mut Worker) -> Result<()> + Send + Sync + 'static,
    ) -> Result<()> {
        let function: Function = Arc::new(function);
        self.send(|| Command::Call(Arc::clone(&function))).map(drop)
    }

    /// Checks a batch before it is sent: a device that refuses its part would leave the others
    /// waiting.
    fn check_rows(&self, batch: &Batch) -> train::Result<()> {
        let (rows, planned) = (batch.labels.len(), self.images);
        if rows == planned {
            return Ok(());
        }
        Err(train::Error::Device(tensor::Error::Misuse(format!(
            "a batch of {rows} rows, where {planned} are planned: fill it with rows that are labelled \
             data::IGNORED"
        ))))
    }

    fn send_with(&mut self, batch: &mut Batch, command: impl Fn() -> Command) -> Result<Tally> {
        let shared = Arc::clone(&self.batch);
        let swap = |batch: &mut Batch| match shared.try_write() {
            Ok(mut shared) => std::mem::swap(&mut *shared, batch),
            // A device that hangs still holds the lock.
            Err(_) => batch.clone_from(&shared.read().unwrap_or_else(PoisonError::into_inner)),
        };
        swap(batch);
        let reply = self.send(command);
        swap(batch);
        reply
    }

    /// Sends a command to all threads and waits for all replies; returns that of rank 0.
    fn send(&mut self, command: impl Fn() -> Command) -> Result<Tally> {
        for (rank, thread) in self.threads.iter_mut().enumerate() {
            let commands = thread.commands.as_ref();
            if commands.is_none_or(|commands| commands.send(command()).is_err()) {
                return Err(lost(rank, Fate::Left)); // an earlier command has returned its error
            }
            thread.is_idle = false;
        }
        let (mut first, mut failed) = (Tally::default(), None);
        for replies in 0..self.threads.len() {
            // The first reply may take a whole step; the others only the time of an exchange.
            let reply = match (replies, &failed) {
                (0, _) => self.replies.recv().map_err(|_| RecvTimeoutError::Disconnected),
                (_, None) => self.replies.recv_timeout(2 * self.timeout),
                (_, Some(_)) => self.replies.recv_timeout(Self::GRACE.min(self.timeout)),
            };
            match reply {
                Ok((rank, reply)) => {
                    self.threads[rank].is_idle = true;
                    match reply {
                        Ok(tally) if rank == 0 => first = tally,
                        Ok(_) => {}
                        Err(error) => failed = Some(cause(failed, error)),
                    }
                }
                Err(_) => {
                    let silent = self.threads.iter().position(|thread| !thread.is_idle);
                    let fate = Fate::Silent((2 * self.timeout).as_secs_f64());
                    failed = failed.or(silent.map(|rank| lost(rank, fate)));
                    break;
                }
            }
        }
        match failed {
            None => Ok(first),
            Some(error) => {
                self.threads.iter_mut().for_each(|thread| thread.commands = None);
                Err(error)
            }
        }
    }
}

impl Evaluate for Threads {
    type Error = train::Error;

    fn batch_shape(&self) -> BatchShape {
        BatchShape { images: self.images, classes: self.classes, part: (0, 1) }
    }

    fn test(&mut self, batch: &mut Batch) -> train::Result<Tally> {
        self.check_rows(batch)?;
        Ok(self.send_with(batch, || Command::Test)?)
    }

    /// Each device copies the probabilities of its images.
    fn probabilities(&mut self, into: &mut [f32]) -> train::Result<()> {
        let buffer = Arc::new(Mutex::new(vec![0.0; into.len()]));
        let (to, each) = (Arc::clone(&buffer), self.images * self.classes / self.threads.len());
        let own = if self.shares_batch { each } else { into.len() };
        self.each(move |worker| {
            let first = worker.number * own;
            let mut buffer = lock(&to);
            let last = buffer.len().min(first + own);
            if first < last { worker.rank.probabilities(&mut buffer[first..last]) } else { Ok(()) }
        })?;
        into.copy_from_slice(&lock(&buffer));
        Ok(())
    }
}

impl Executor for Threads {
    fn parameters(&self) -> &[Parameter] {
        &self.entries
    }

    fn new_stats(&self) -> LayerStats {
        LayerStats::of_layers(&self.entries)
    }

    /// Allocates nothing, as rates may change before every step.
    fn set_rates(&mut self, recipe: &Recipe, setting: &Setting) -> train::Result<()> {
        self.rule.check(recipe)?;
        let Ok(mut rates) = self.rates.try_write() else {
            return Err(lost(0, Fate::Left).into()); // a device that hangs still reads them
        };
        let rows = self.entries.iter().map(|entry| recipe.table_row(&entry.name, setting));
        rates.iter_mut().zip(rows).for_each(|(rate, row)| *rate = row);
        drop(rates);
        self.send(|| Command::SetRates)?;
        Ok(())
    }

    /// Norms over several devices are sums of the devices' sums, so they differ from those of one
    /// device by rounding.
    fn train(&mut self, batch: &mut Batch, request: StepRequest<'_>) -> train::Result<StepResult> {
        self.check_rows(batch)?;
        let StepRequest { step, control, stats } = request;
        let Some(stats) = stats else {
            let tally = self.send_with(batch, || Command::Train(step))?;
            return Ok(StepResult { tally, control });
        };
        let tally = self.send_with(batch, || Command::TrainWithStats(step))?;
        let gathered = Arc::new(Mutex::new(vec![Vec::new(); self.threads.len()]));
        let to = Arc::clone(&gathered);
        self.each(move |worker| {
            lock(&to)[worker.number] = worker.stats.layers.clone();
            Ok(())
        })?;
        let parts = if self.shares_batch { 1 } else { self.threads.len() };
        stats.combine(&lock(&gathered)[..parts]);
        Ok(StepResult { tally, control })
    }

    fn use_average(&mut self, averaged: bool) -> train::Result<()> {
        Ok(self.each(move |worker| worker.rank.use_average(averaged))?)
    }

    /// Every device copies its share into the blocks of the whole network.
    fn snapshot(&mut self, values: &mut Vec<f32>, state: &mut Vec<f32>) -> train::Result<()> {
        let last = self.entries.last().map_or(0, |entry| entry.start + entry.len());
        let mut blocks = [std::mem::take(values), std::mem::take(state)];
        blocks[0].resize(last, 0.0);
        blocks[1].resize(last * self.state_blocks, 0.0);
        let (buffer, entries) = (Arc::new(Mutex::new(blocks)), Arc::clone(&self.entries));
        let to = Arc::clone(&buffer);
        let done = self.each(move |worker| {
            worker.rank.all_gather_velocities()?;
            let [values, state] = &mut *lock(&to);
            Ok(copy_own(&*worker.rank, &entries, [values, state])?)
        });
        [*values, *state] = std::mem::take(&mut *lock(&buffer));
        Ok(done?)
    }

    fn traffic(&mut self) -> train::Result<Traffic> {
        let all = Arc::new(Mutex::new(Traffic::default()));
        let to = Arc::clone(&all);
        self.each(move |worker| {
            let mut all = lock(&to);
            *all = all.and(worker.rank.traffic());
            Ok(())
        })?;
        let all = *lock(&all);
        Ok(all)
    }

    /// The devices already have their own threads.
    fn enter<'a>(self: Box<Self>, work: Box<dyn FnOnce(Box<dyn Executor>) + Send + 'a>) {
        work(self);
    }
}

impl Drop for Threads {
    /// Joins the threads, except those that do not reply.
    fn drop(&mut self) {
        self.threads.iter_mut().for_each(|thread| thread.commands = None);
        for thread in self.threads.iter_mut().filter(|thread| thread.is_idle) {
            if let Some(handle) = thread.handle.take() {
                let _ = handle.join(); // a panic has been reported in a reply
            }
        }
    }
}

/// For each of a rank's parameters, its index among those of the whole network.
fn rows_of(rank: &dyn Rank, whole: &[Parameter]) -> Vec<usize> {
    let row = |entry: &Parameter| whole.iter().position(|whole| whole.name == entry.name);
    let entries = rank.net().plan.network.parameters.entries.iter();
    entries.map(|entry| row(entry).expect("a parameter of the whole network")).collect()
}

fn lost(rank: usize, fate: Fate) -> Error {
    Error::Comm(comm::Error::Lost { rank, fate })
}

/// Ignores poisoning: after a panic the data are not read again.
fn lock<T>(buffer: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    buffer.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
