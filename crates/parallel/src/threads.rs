//! Several devices of one process, each on its own thread: orders go out, answers come in.

mod member;

use crate::error::cause;
use crate::rank::Rank;
use crate::snapshot::place_own;
use crate::{Error, Result};
use comm::{Fate, Traffic};
use data::Batch;
use evaluate::Tally;
use evaluate::{BatchShape, Evaluate};
use layers::Parameter;
use member::{Answer, Member, Order, Work, serve};
use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;
use train::executor::{Executor, StepRequest, StepResult};
use train::recipe::Recipe;
use train::schedule::Setting;
use train::start::Start;
use train::stats::LayerStats;

/// Devices, each with its thread. Orders are given to all of them, one at a time.
#[derive(Debug)]
pub struct Threads {
    threads: Vec<Thread>,
    answers: Receiver<Answer>,
    /// The batch in hand: it is moved here and back, not copied.
    batch: Arc<RwLock<Batch>>,
    entries: Arc<Vec<Parameter>>,
    patience: Duration,
    images: usize,
    classes: usize,
    /// Each device sees a part of the batch, and has statistics of all layers.
    shares_batch: bool,
}

#[derive(Debug)]
struct Thread {
    orders: Option<SyncSender<Order>>,
    handle: Option<JoinHandle<()>>,
    /// It has answered all its orders.
    is_idle: bool,
}

impl Threads {
    /// Once one device has failed, how long the others may take to say what they know of it.
    const GRACE: Duration = Duration::from_secs(2);

    /// Starts a thread for each rank, with what training starts from; `parameters` are the whole
    /// network's. A rank that does not answer for `patience` is lost, and the run with it.
    ///
    /// # Errors
    /// If parameters are another network's, or a device fails.
    ///
    /// # Panics
    /// If there is no rank.
    pub fn start(
        parameters: Vec<Parameter>,
        ranks: Vec<Box<dyn Rank>>,
        patience: Duration,
        start: &Start,
    ) -> Result<Threads> {
        let shares_batch = ranks[0].part().1 > 1;
        let images = ranks[0].images() * if shares_batch { ranks.len() } else { 1 };
        let classes = ranks[0].net().plan.frame.classes();
        let (answer, answers) = sync_channel(2 * ranks.len());
        let batch = Arc::new(RwLock::new(Batch::default()));
        let spawn = |(number, rank): (usize, Box<dyn Rank>)| {
            let (orders, theirs) = sync_channel(1);
            let (batch, answer) = (Arc::clone(&batch), answer.clone());
            let thread = std::thread::Builder::new().name(format!("rank-{number}"));
            let handle = thread.spawn(move || serve(number, rank, &batch, theirs, answer));
            let handle = handle.expect("a thread can be started");
            Thread { orders: Some(orders), handle: Some(handle), is_idle: true }
        };
        let threads = ranks.into_iter().enumerate().map(spawn).collect();
        let entries = Arc::new(parameters);
        let whole = Arc::clone(&entries);
        let mut started =
            Threads { threads, answers, batch, entries, patience, images, classes, shares_batch };
        let start = start.clone();
        started.each(move |member| member.start(&start, &whole))?;
        Ok(started)
    }

    /// Has all devices do the same.
    fn each(
        &mut self,
        work: impl Fn(&mut Member) -> Result<()> + Send + Sync + 'static,
    ) -> Result<()> {
        let work: Work = Arc::new(work);
        self.order(|| Order::Do(Arc::clone(&work))).map(drop)
    }

    fn with(&mut self, batch: &mut Batch, order: impl Fn() -> Order) -> Result<Tally> {
        let place = Arc::clone(&self.batch);
        let swap = |batch: &mut Batch| match place.try_write() {
            Ok(mut place) => std::mem::swap(&mut *place, batch),
            // A device that hangs reads it still.
            Err(_) => batch.clone_from(&place.read().unwrap_or_else(PoisonError::into_inner)),
        };
        swap(batch);
        let answer = self.order(order);
        swap(batch);
        answer
    }

    /// Gives an order and waits for every answer; the first device's is returned.
    fn order(&mut self, order: impl Fn() -> Order) -> Result<Tally> {
        for (rank, thread) in self.threads.iter_mut().enumerate() {
            let orders = thread.orders.as_ref();
            if orders.is_none_or(|orders| orders.send(order()).is_err()) {
                return Err(lost(rank, Fate::Left)); // it has failed before, and that was told
            }
            thread.is_idle = false;
        }
        let (mut first, mut failed) = (Tally::default(), None);
        for answers in 0..self.threads.len() {
            // The first reply takes as long as a step does; the others as long as an exchange may.
            let answer = match (answers, &failed) {
                (0, _) => self.answers.recv().map_err(|_| RecvTimeoutError::Disconnected),
                (_, None) => self.answers.recv_timeout(2 * self.patience),
                (_, Some(_)) => self.answers.recv_timeout(Self::GRACE.min(self.patience)),
            };
            match answer {
                Ok((rank, answer)) => {
                    self.threads[rank].is_idle = true;
                    match answer {
                        Ok(tally) if rank == 0 => first = tally,
                        Ok(_) => {}
                        Err(error) => failed = Some(cause(failed, error)),
                    }
                }
                Err(_) => {
                    let silent = self.threads.iter().position(|thread| !thread.is_idle);
                    let fate = Fate::Silent((2 * self.patience).as_secs_f64());
                    failed = failed.or(silent.map(|rank| lost(rank, fate)));
                    break;
                }
            }
        }
        match failed {
            None => Ok(first),
            Some(error) => {
                self.threads.iter_mut().for_each(|thread| thread.orders = None);
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
        Ok(self.with(batch, || Order::Test)?)
    }

    /// Each device copies those it has.
    fn probabilities(&mut self, into: &mut [f32]) -> train::Result<()> {
        let room = Arc::new(Mutex::new(vec![0.0; into.len()]));
        let (to, each) = (Arc::clone(&room), self.images * self.classes / self.threads.len());
        let own = if self.shares_batch { each } else { into.len() };
        self.each(move |member| {
            let first = member.number * own;
            let mut room = lock(&to);
            let last = room.len().min(first + own);
            if first < last { member.rank.probabilities(&mut room[first..last]) } else { Ok(()) }
        })?;
        into.copy_from_slice(&lock(&room));
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

    fn set_rates(&mut self, recipe: &Recipe, setting: &Setting) -> train::Result<()> {
        let row = |entry: &Parameter| recipe.table_row(&entry.name, setting);
        let rows: HashMap<String, _> =
            self.entries.iter().map(|entry| (entry.name.clone(), row(entry))).collect();
        Ok(self.each(move |member| Ok(member.rank.net_mut().set_rates_by(|name| rows[name])?))?)
    }

    /// Norms over several devices are summed device by device: their last digits are not one
    /// device's.
    fn train(&mut self, batch: &mut Batch, request: StepRequest<'_>) -> train::Result<StepResult> {
        let StepRequest { step, control, stats } = request;
        let Some(stats) = stats else {
            let tally = self.with(batch, || Order::Train(step))?;
            return Ok(StepResult { tally, control });
        };
        let tally = self.with(batch, || Order::TrainWithStats(step))?;
        let seen = Arc::new(Mutex::new(vec![Vec::new(); self.threads.len()]));
        let to = Arc::clone(&seen);
        self.each(move |member| {
            lock(&to)[member.number] = member.stats.layers.clone();
            Ok(())
        })?;
        let parts = if self.shares_batch { 1 } else { self.threads.len() };
        stats.combine(&lock(&seen)[..parts]);
        Ok(StepResult { tally, control })
    }

    /// Every device puts its share where it belongs in the whole.
    fn snapshot(&mut self, values: &mut Vec<f32>, v: &mut Vec<f32>) -> train::Result<()> {
        let last = self.entries.last().map_or(0, |entry| entry.start + entry.len());
        let mut blocks = [std::mem::take(values), std::mem::take(v)];
        blocks.iter_mut().for_each(|block| block.resize(last, 0.0));
        let (room, entries) = (Arc::new(Mutex::new(blocks)), Arc::clone(&self.entries));
        let to = Arc::clone(&room);
        let done = self.each(move |member| {
            member.rank.share_out_velocities()?;
            let [values, velocities] = &mut *lock(&to);
            Ok(place_own(&*member.rank, &entries, [values, velocities])?)
        });
        [*values, *v] = std::mem::take(&mut *lock(&room));
        Ok(done?)
    }

    fn traffic(&mut self) -> train::Result<Traffic> {
        let all = Arc::new(Mutex::new(Traffic::default()));
        let to = Arc::clone(&all);
        self.each(move |member| {
            let mut all = lock(&to);
            *all = all.and(member.rank.traffic());
            Ok(())
        })?;
        let all = *lock(&all);
        Ok(all)
    }

    /// The devices have their own threads.
    fn enter<'a>(self: Box<Self>, work: Box<dyn FnOnce(Box<dyn Executor>) + Send + 'a>) {
        work(self);
    }
}

impl Drop for Threads {
    /// Waits for the threads, but not for one that does not answer.
    fn drop(&mut self) {
        self.threads.iter_mut().for_each(|thread| thread.orders = None);
        for thread in self.threads.iter_mut().filter(|thread| thread.is_idle) {
            if let Some(handle) = thread.handle.take() {
                let _ = handle.join(); // a panic has been told
            }
        }
    }
}

fn lost(rank: usize, fate: Fate) -> Error {
    Error::Comm(comm::Error::Lost { rank, fate })
}

/// A poisoned lock is taken all the same: no panic leaves anything half written that is read.
fn lock<T>(room: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    room.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
