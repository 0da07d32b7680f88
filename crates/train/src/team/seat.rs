//! One device of several, each in a process of its own.

use crate::Result;
use crate::look::Look;
use crate::metrics::Tally;
use crate::step::{Accord, Moment, Step};
use data::Batch;
use layers::Parameter;

/// This process's part of the work. All processes run the same loop and give the same commands; the
/// steps talk to each other, and each answers with what is true of all.
#[derive(Debug)]
pub struct Seat {
    pub(super) step: Box<Step>,
    /// The whole network's.
    pub(super) entries: Vec<Parameter>,
    /// At what is here of it.
    pub(super) look: Look,
}

impl Seat {
    pub(super) fn new(entries: Vec<Parameter>, mut step: Step, accord: Accord) -> Seat {
        step.set_accord(accord);
        let look = step.new_look();
        Seat { step: Box::new(step), entries, look }
    }

    /// The classifier, the whole network's last layer, has a bias for each.
    pub(super) fn classes(&self) -> usize {
        self.entries.last().map_or(0, Parameter::len)
    }

    /// Which part of every batch this process needs.
    pub(super) fn part(&self) -> (usize, usize) {
        if self.step.is_replica() { self.step.place() } else { (0, 1) }
    }

    pub(super) fn train_and_look(
        &mut self,
        batch: &Batch,
        step: u64,
        look: &mut Look,
    ) -> Result<Tally> {
        if self.step.is_replica() {
            return self.step.train_and_look(batch, step, look); // it has all layers
        }
        let tally = self.step.train_and_look(batch, step, &mut self.look)?;
        let looks = self.step.looks_of_all(&self.look)?;
        look.put_together(&looks.into_iter().map(|look| look.layers).collect::<Vec<_>>());
        Ok(tally)
    }

    pub(super) fn look(&self) -> Look {
        match self.step.is_replica() {
            true => self.step.new_look(),
            false => Look::of_layers(&self.entries),
        }
    }

    pub(super) fn snapshot(&mut self, values: &mut Vec<f32>, v: &mut Vec<f32>) -> Result<()> {
        self.step.snapshot_of_all(&self.entries, values, v)
    }

    pub(super) fn ask_to_end(&mut self) {
        self.step.accord_mut().wants_end = true;
    }

    pub(super) fn is_asked_to_end(&self) -> bool {
        self.step.accord().ends
    }

    pub(super) fn say(&mut self, moment: Moment) {
        self.step.accord_mut().own = moment;
    }

    pub(super) fn heard(&self) -> Moment {
        self.step.accord().heard
    }

    pub(super) fn agree(&mut self, moment: Moment) -> Result<Moment> {
        self.say(moment);
        self.step.agree()?;
        Ok(self.heard())
    }
}
