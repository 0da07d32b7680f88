//! Who does a step's work: one device, or several, each on its own thread or in its own process.
//!
//! A [`Team`] takes the commands that a [`Step`] takes. One device carries them out where it is
//! asked, at no cost. Several pass each command on to their threads, which talk to each other as
//! [`towers`](crate::towers) or [`replicas`](crate::replicas) do, and gather what they answer. In
//! processes of their own every one runs the loop, and its [`Seat`] takes the same commands.
//! Weights go in and out as the whole network's, so that neither a checkpoint nor the loop knows
//! how many devices there were.

mod crew;
mod member;
mod seat;
#[cfg(test)]
mod tests;

use crate::checkpoint::Checkpoint;
use crate::evaluate::Examinee;
use crate::init::Init;
use crate::look::Look;
use crate::metrics::Tally;
use crate::recipe::Recipe;
use crate::schedule::Setting;
use crate::step::{Accord, Moment, Step};
use crate::{Error, Result, Stop};
use comm::Traffic;
pub use crew::Crew;
use data::Batch;
use layers::{Parameter, Spec};
pub use seat::Seat;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tensor::Planner;

/// One device or several, ready to learn or to be tested.
#[derive(Debug)]
pub enum Team {
    /// One: nothing is passed on.
    Alone(Box<Step>),
    /// Several of this process.
    Crew(Crew),
    /// One of several processes.
    Seat(Seat),
}

impl From<Step> for Team {
    fn from(step: Step) -> Team {
        Team::Alone(Box::new(step))
    }
}

impl Team {
    /// Steps that have parts of `whole`, towers or shares of units, each on a thread of its own
    /// from now on. One that does not answer for `patience` is lost, and the run with it.
    ///
    /// # Errors
    /// [`Error::Network`] if `whole` is no network.
    pub fn of_parts(whole: &Spec, parts: Vec<Step>, patience: Duration) -> Result<Team> {
        Ok(Team::Crew(Crew::start(entries_of(whole)?, parts, patience)))
    }

    /// Replicas, each on a thread of its own from now on; else as [`of_parts`](Self::of_parts).
    ///
    /// # Panics
    /// If there is none.
    pub fn of_replicas(replicas: Vec<Step>, patience: Duration) -> Team {
        let entries = replicas[0].network().parameters.entries.clone();
        Team::Crew(Crew::start(entries, replicas, patience))
    }

    /// This process's part of a network whose others are in processes of their own. All of them
    /// must run the same job; `agreed` is raised in all at the same step once `asked` has been in
    /// one, and is what the job's loop must be given.
    ///
    /// # Errors
    /// [`Error::Network`] if `whole` is no network.
    pub fn of_process(whole: &Spec, step: Step, (asked, agreed): (&Stop, &Stop)) -> Result<Team> {
        let entries = match step.has_all() {
            true => step.network().parameters.entries.clone(),
            false => entries_of(whole)?,
        };
        let accord = Accord::new(asked.clone(), agreed.clone());
        Ok(Team::Seat(Seat::new(entries, step, accord)))
    }

    /// Runs `work` where the threads of a single device are; several have theirs.
    pub fn enter<T: Send>(self, work: impl FnOnce(Team) -> T + Send) -> T {
        match self {
            Team::Alone(step) => step.enter(|step| work(step.into())),
            Team::Crew(_) => work(self),
            Team::Seat(Seat { step, entries, look }) => step.enter(|step| {
                let step = Box::new(step);
                work(Team::Seat(Seat { step, entries, look }))
            }),
        }
    }

    /// As [`Step::initialize`].
    ///
    /// # Errors
    /// As there, here and below; and [`Error::Comm`] if a member of a crew
    /// failed, panicked or is silent. Of several errors, the one that made the others.
    pub fn initialize(&mut self, recipe: &Recipe, seed: u64) -> Result<()> {
        match self {
            Team::Alone(step) | Team::Seat(Seat { step, .. }) => step.initialize(recipe, seed),
            Team::Crew(crew) => {
                let recipe = recipe.clone();
                crew.each(move |member| member.step.initialize(&recipe, seed))
            }
        }
    }

    /// As [`Step::inherit`].
    ///
    /// # Errors
    /// As there.
    pub fn inherit(&mut self, init: &Arc<Init>) -> Result<()> {
        match self {
            Team::Alone(step) => step.inherit(init),
            Team::Seat(Seat { step, entries, .. }) => step.inherit_share(init, entries),
            Team::Crew(crew) => {
                let (init, whole) = (Arc::clone(init), crew.entries().to_vec());
                crew.each(move |member| member.step.inherit_share(&init, &whole))
            }
        }
    }

    /// Takes parameters and velocities as a checkpoint has them.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if they are not this network's; [`Error::Device`].
    pub(crate) fn restore(&mut self, checkpoint: &Arc<Checkpoint>, seed: u64) -> Result<()> {
        match self {
            Team::Alone(step) | Team::Seat(Seat { step, .. }) => step.restore(checkpoint, seed),
            Team::Crew(crew) => {
                let checkpoint = Arc::clone(checkpoint);
                crew.each(move |member| member.step.restore(&checkpoint, seed))
            }
        }
    }

    /// Copies all parameters and velocities, each as one block, laid out as
    /// [`entries`](Self::entries) say. Of several processes the first has them; all must do it.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub(crate) fn snapshot(&mut self, values: &mut Vec<f32>, v: &mut Vec<f32>) -> Result<()> {
        match self {
            Team::Alone(step) => step.snapshot(values, v),
            Team::Crew(crew) => crew.snapshot(values, v),
            Team::Seat(seat) => seat.snapshot(values, v),
        }
    }

    /// As [`Step::set_input`].
    ///
    /// # Errors
    /// As there.
    pub fn set_input(&mut self, mean: &[f32], scale: f64) -> Result<()> {
        match self {
            Team::Alone(step) | Team::Seat(Seat { step, .. }) => step.set_input(mean, scale),
            Team::Crew(crew) => {
                let mean = mean.to_vec();
                crew.each(move |member| member.step.set_input(&mean, scale))
            }
        }
    }

    /// As [`Step::set_rates`].
    ///
    /// # Errors
    /// As there.
    pub fn set_rates(&mut self, recipe: &Recipe, setting: &Setting) -> Result<()> {
        match self {
            Team::Alone(step) | Team::Seat(Seat { step, .. }) => step.set_rates(recipe, setting),
            Team::Crew(crew) => {
                let entries = crew.entries().iter();
                let row = |entry: &Parameter| recipe.table_row(&entry.name, setting);
                let rows: HashMap<String, _> =
                    entries.map(|entry| (entry.name.clone(), row(entry))).collect();
                crew.each(move |member| member.step.set_table(|name| rows[name]))
            }
        }
    }

    /// As [`Step::train`]. The batch is as it was when this returns.
    ///
    /// # Errors
    /// As there.
    pub fn train(&mut self, batch: &mut Batch, step: u64) -> Result<Tally> {
        match self {
            Team::Alone(device) | Team::Seat(Seat { step: device, .. }) => {
                device.train(batch, step)
            }
            Team::Crew(crew) => crew.train(batch, step),
        }
    }

    /// As [`Step::train_and_look`]. Norms over several devices are summed device by device: their
    /// last digits are not one device's.
    ///
    /// # Errors
    /// As there.
    pub fn train_and_look(
        &mut self,
        batch: &mut Batch,
        step: u64,
        look: &mut Look,
    ) -> Result<Tally> {
        match self {
            Team::Alone(alone) => alone.train_and_look(batch, step, look),
            Team::Crew(crew) => crew.train_and_look(batch, step, look),
            Team::Seat(seat) => seat.train_and_look(batch, step, look),
        }
    }

    /// What this process's devices have sent to others so far, together.
    ///
    /// # Errors
    /// [`Error::Comm`].
    pub fn traffic(&mut self) -> Result<Traffic> {
        match self {
            Team::Alone(_) => Ok(Traffic::default()),
            Team::Seat(Seat { step, .. }) => Ok(step.traffic()),
            Team::Crew(crew) => crew.traffic(),
        }
    }

    /// A look at the whole network.
    pub fn look(&self) -> Look {
        match self {
            Team::Alone(step) => step.new_look(),
            Team::Crew(crew) => Look::of_layers(crew.entries()),
            Team::Seat(seat) => seat.look(),
        }
    }

    /// The whole network's parameters, and where each is in a snapshot.
    pub fn entries(&self) -> &[Parameter] {
        match self {
            Team::Alone(step) => &step.network().parameters.entries,
            Team::Crew(crew) => crew.entries(),
            Team::Seat(seat) => &seat.entries,
        }
    }

    /// Which of how many equal parts of every batch is to be loaded here.
    pub(crate) fn part(&self) -> (usize, usize) {
        match self {
            Team::Alone(_) | Team::Crew(_) => (0, 1),
            Team::Seat(seat) => seat.part(),
        }
    }

    /// Has the first process's word on the time and its disk travel with the next step. Nobody else
    /// need be told where there is one process.
    pub(crate) fn say(&mut self, moment: Moment) {
        if let Team::Seat(seat) = self {
            seat.say(moment);
        }
    }

    /// What the first process said with the last step; `None` where there is no other.
    pub(crate) fn heard(&self) -> Option<Moment> {
        match self {
            Team::Alone(_) | Team::Crew(_) => None,
            Team::Seat(seat) => Some(seat.heard()),
        }
    }

    /// Asks all processes to end the run, which they learn with the next step or test. False where
    /// there is no other to ask.
    pub(crate) fn ask_to_end(&mut self) -> bool {
        match self {
            Team::Alone(_) | Team::Crew(_) => false,
            Team::Seat(seat) => {
                seat.ask_to_end();
                true
            }
        }
    }

    /// Whether all processes know that one has asked to end.
    pub(crate) fn is_asked_to_end(&self) -> bool {
        match self {
            Team::Alone(_) | Team::Crew(_) => false,
            Team::Seat(seat) => seat.is_asked_to_end(),
        }
    }

    /// What the first process says, outside a step: all must ask.
    ///
    /// # Errors
    /// [`Error::Comm`].
    pub(crate) fn agree(&mut self, moment: Moment) -> Result<Moment> {
        match self {
            Team::Alone(_) | Team::Crew(_) => Ok(moment),
            Team::Seat(seat) => seat.agree(moment),
        }
    }
}

impl Examinee for Team {
    fn images(&self) -> usize {
        match self {
            Team::Alone(step) | Team::Seat(Seat { step, .. }) => step.images(),
            Team::Crew(crew) => crew.images(),
        }
    }

    fn classes(&self) -> usize {
        match self {
            Team::Alone(step) => step.classes(),
            Team::Crew(crew) => crew.classes(),
            Team::Seat(seat) => seat.classes(),
        }
    }

    fn test(&mut self, batch: &mut Batch) -> Result<Tally> {
        match self {
            Team::Alone(step) | Team::Seat(Seat { step, .. }) => Step::test(step, batch),
            Team::Crew(crew) => crew.test(batch),
        }
    }

    fn probabilities(&mut self, into: &mut [f32]) -> Result<()> {
        match self {
            Team::Alone(step) | Team::Seat(Seat { step, .. }) => Step::probabilities(step, into),
            Team::Crew(crew) => crew.probabilities(into),
        }
    }
}

/// A network's parameters, laid out as in a snapshot of it.
///
/// # Errors
/// [`Error::Network`] if it is no network.
pub fn entries_of(spec: &Spec) -> Result<Vec<Parameter>> {
    let mut planner = Planner::new(); // no memory is taken: only the layout is wanted
    let network = layers::Network::plan(
        spec,
        1,
        layers::Mode::Infer,
        &mut planner,
        tensor::Target::Cpu { threads: 1 },
    )?;
    Ok(network.parameters.entries)
}

/// Of two errors of one run, the one that made the other: a device that fails makes the others say
/// that it is gone.
pub(crate) fn cause(first: Option<Error>, other: Error) -> Error {
    match (first, other) {
        (Some(Error::Comm(_)), other) if !matches!(other, Error::Comm(_)) => other,
        (Some(first), _) => first,
        (None, other) => other,
    }
}
