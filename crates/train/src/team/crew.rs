//! Several devices: orders go out, answers come in.

use super::cause;
use super::member::{Answer, Member, Order, serve};
use crate::look::Look;
use crate::metrics::Tally;
use crate::step::Step;
use crate::{Error, Result};
use comm::{Fate, Traffic};
use data::Batch;
use layers::Parameter;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

/// Devices, each with its thread. Orders are given to all of them, one at a time.
#[derive(Debug)]
pub struct Crew {
    threads: Vec<Thread>,
    answers: Receiver<Answer>,
    /// The batch in hand: it is moved here and back, not copied.
    batch: Arc<RwLock<Batch>>,
    entries: Arc<Vec<Parameter>>,
    patience: Duration,
    images: usize,
    classes: usize,
    /// Each device sees a part of the batch.
    shared: bool,
}

#[derive(Debug)]
struct Thread {
    orders: Option<SyncSender<Order>>,
    handle: Option<JoinHandle<()>>,
    /// It has answered all its orders.
    is_idle: bool,
}

impl Crew {
    /// Once one device has failed, how long the others may take to say what they know of it.
    const GRACE: Duration = Duration::from_secs(2);

    /// Starts a thread for each step. Of what they answer, the first speaks for all.
    pub(super) fn start(entries: Vec<Parameter>, steps: Vec<Step>, patience: Duration) -> Crew {
        let shared = steps[0].is_replica();
        let images = steps[0].images() * if shared { steps.len() } else { 1 };
        let classes = steps[0].classes();
        let (answer, answers) = sync_channel(2 * steps.len());
        let batch = Arc::new(RwLock::new(Batch::default()));
        let start = |(rank, step): (usize, Step)| {
            let (orders, theirs) = sync_channel(1);
            let (batch, answer) = (Arc::clone(&batch), answer.clone());
            let thread = std::thread::Builder::new().name(format!("rank-{rank}"));
            let handle = thread.spawn(move || serve(rank, step, &batch, theirs, answer));
            let handle = handle.expect("a thread can be started");
            Thread { orders: Some(orders), handle: Some(handle), is_idle: true }
        };
        let threads = steps.into_iter().enumerate().map(start).collect();
        let entries = Arc::new(entries);
        Crew { threads, answers, batch, entries, patience, images, classes, shared }
    }

    pub(super) fn entries(&self) -> &[Parameter] {
        &self.entries
    }

    pub(super) fn images(&self) -> usize {
        self.images
    }

    pub(super) fn classes(&self) -> usize {
        self.classes
    }

    pub(super) fn train(&mut self, batch: &mut Batch, step: u64) -> Result<Tally> {
        self.with(batch, || Order::Train(step))
    }

    pub(super) fn test(&mut self, batch: &mut Batch) -> Result<Tally> {
        self.with(batch, || Order::Test)
    }

    pub(super) fn train_and_look(
        &mut self,
        batch: &mut Batch,
        step: u64,
        look: &mut Look,
    ) -> Result<Tally> {
        let tally = self.with(batch, || Order::TrainAndLook(step))?;
        let seen = Arc::new(Mutex::new(vec![Vec::new(); self.threads.len()]));
        let to = Arc::clone(&seen);
        self.each(move |member| {
            lock(&to)[member.rank] = member.layers().to_vec();
            Ok(())
        })?;
        let parts = if self.shared { 1 } else { self.threads.len() }; // replicas all have seen all
        look.put_together(&lock(&seen)[..parts]);
        Ok(tally)
    }

    /// The probabilities of the last tested images, from whoever has the classifier.
    pub(super) fn probabilities(&mut self, into: &mut [f32]) -> Result<()> {
        let room = Arc::new(Mutex::new(vec![0.0; into.len()]));
        let (to, each) = (Arc::clone(&room), self.images * self.classes / self.threads.len());
        let own = if self.shared { each } else { into.len() };
        self.each(move |member| {
            let first = member.rank * own;
            let mut room = lock(&to);
            let last = room.len().min(first + own);
            match first < last {
                true => member.step.probabilities(&mut room[first..last]),
                false => Ok(()),
            }
        })?;
        into.copy_from_slice(&lock(&room));
        Ok(())
    }

    /// Every device puts its share where it belongs in the whole.
    pub(super) fn snapshot(&mut self, values: &mut Vec<f32>, v: &mut Vec<f32>) -> Result<()> {
        let last = self.entries.last().map_or(0, |entry| entry.start + entry.len());
        let mut blocks = [std::mem::take(values), std::mem::take(v)];
        blocks.iter_mut().for_each(|block| block.resize(last, 0.0));
        let (room, entries) = (Arc::new(Mutex::new(blocks)), Arc::clone(&self.entries));
        let to = Arc::clone(&room);
        let done = self.each(move |member| member.step.snapshot_into(&entries, &to));
        [*values, *v] = std::mem::take(&mut *lock(&room));
        done
    }

    pub(super) fn traffic(&mut self) -> Result<Traffic> {
        let all = Arc::new(Mutex::new(Traffic::default()));
        let to = Arc::clone(&all);
        self.each(move |member| {
            let mut all = lock(&to);
            *all = all.and(member.step.traffic());
            Ok(())
        })?;
        let all = *lock(&all);
        Ok(all)
    }

    /// Has all devices do the same.
    pub(super) fn each(
        &mut self,
        work: impl Fn(&mut Member) -> Result<()> + Send + Sync + 'static,
    ) -> Result<()> {
        let work: super::member::Work = Arc::new(work);
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
            // Who computes alone may take its time; who is waited for, as long as any exchange.
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

impl Drop for Crew {
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

/// Whoever panics does so with nothing half written that anybody reads.
fn lock<T>(room: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    room.lock().unwrap_or_else(PoisonError::into_inner)
}
