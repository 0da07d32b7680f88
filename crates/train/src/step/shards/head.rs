//! The linear layers of a network whose units are shared: passes over everybody's micro-shards.

use super::super::{Plan, Step};
use super::Replica;
use crate::Result;
use crate::hybrid::Exchange;
use layers::Phase;
use layers::hybrid::Head;
use tensor::Device;

impl Step {
    /// Micro-shard number `round` of this rank, from images to loss, its gradient and the tally, or
    /// in a test to probabilities.
    pub(super) fn forward_of_shard(&mut self, round: usize, phase: Phase) -> Result<()> {
        if self.plan.head.is_none() {
            return match phase {
                Phase::Train => self.forward(),
                Phase::Test | Phase::Infer => self.test_forward(),
            };
        }
        let Step { plan, device, recorded, .. } = self;
        let recording = match phase {
            Phase::Train => &mut recorded.forward,
            Phase::Test | Phase::Infer => &mut recorded.test,
        };
        device.replay(recording, |device| plan.features(device, phase))?;
        self.forward_through_head(round, phase)?;
        let Step { plan, device, .. } = self;
        match phase {
            Phase::Train => plan.loss(device)?,
            Phase::Test | Phase::Infer => plan.probabilities(device)?,
        }
        Ok(device.mark_read()?)
    }

    /// From the features of everybody's micro-shards to the scores of one's own: a layer works on
    /// a pass while what it made of the last one travels.
    fn forward_through_head(&mut self, round: usize, phase: Phase) -> Result<()> {
        let Step { plan, device, replica, .. } = self;
        let (head, mut exchange) = parts(plan, replica);
        let passes = 0..head.shares().world;
        for pass in passes.clone() {
            let seen = head.input(0, (pass, round));
            exchange.show(device, (0, pass), plan.network.output, seen)?;
        }
        for stage in 0..head.stages() {
            for pass in passes.clone() {
                let of = (pass, round);
                exchange.see(device, (stage, pass), head.input(stage, of))?;
                head.forward(device, stage, of, phase)?;
                let seen = match stage + 1 < head.stages() {
                    true => head.input(stage + 1, of),
                    false => head.scores,
                };
                exchange.show(device, (stage + 1, pass), head.output(stage, of), seen)?;
            }
        }
        passes.clone().try_for_each(|pass| exchange.see(device, (head.stages(), pass), head.scores))
    }

    /// From the gradient of the scores to that of the features, if units are shared; in the last
    /// round to the gradients of weights, too.
    pub(super) fn backward_through_head(&mut self, round: usize) -> Result<()> {
        let Step { plan, device, replica, .. } = self;
        if plan.head.is_none() {
            return Ok(());
        }
        let (head, mut exchange) = parts(plan, replica);
        let passes = 0..head.shares().world;
        for pass in passes.clone() {
            exchange.answer(device, (head.stages(), pass), head.d_scores)?;
        }
        for stage in (0..head.stages()).rev() {
            for pass in passes.clone() {
                let of = (pass, round);
                exchange.hear(device, (stage + 1, pass), head.d_output(stage, of))?;
                let gradient = head.backward(device, stage, of)?;
                exchange.answer(device, (stage, pass), gradient)?;
            }
            if round + 1 == head.shares().each() {
                head.backward_weights(device, stage)?; // while the last answers travel
            }
        }
        let d_features = plan.network.d_output.expect("planned to train");
        passes.clone().try_for_each(|pass| exchange.hear(device, (0, pass), d_features))
    }

    /// Names the dropout masks of each micro-shard of a round: every one has its own.
    pub(super) fn set_clocks(&mut self, step: u64, round: usize, labels: &[u32]) -> Result<()> {
        let cut = self.plan.cut().expect("planned in shards");
        let each = cut.own().len();
        let moment = |pass: usize| step * cut.shards as u64 + (pass * each + round) as u64;
        self.set_clock(moment(cut.rank), labels)?;
        let Step { plan, device, seed, .. } = self;
        let Some(head) = &plan.head else { return Ok(()) };
        let (low, high) = (*seed as u32, (*seed >> 32) as u32);
        for pass in 0..cut.world {
            head.set_clock(device, pass, [low, high, moment(pass) as u32])?;
        }
        Ok(())
    }
}

impl Plan {
    /// What a rank with a share of the units does, without the others: a rehearsal's.
    pub(in crate::step) fn rehearse_head(&self, device: &mut Device) -> tensor::Result<()> {
        let Some(head) = &self.head else { return Ok(()) };
        let of = (0, 0);
        for phase in [Phase::Train, Phase::Test] {
            self.features(device, phase)?;
            let mut stages = 0..head.stages();
            stages.try_for_each(|stage| head.forward(device, stage, of, phase))?;
        }
        self.loss(device)?;
        self.probabilities(device)?;
        for stage in (0..head.stages()).rev() {
            head.backward(device, stage, of)?;
            head.backward_weights(device, stage)?;
        }
        self.network.backward(device)?;
        self.update(device)
    }
}

fn parts<'a>(plan: &'a Plan, replica: &'a mut Option<Replica>) -> (&'a Head, Exchange<'a>) {
    let layout = plan.layout.as_ref().expect("planned in shards");
    let meetings = layout.meetings.as_ref().expect("planned with shared units");
    let Replica { comm, travelling, .. } = replica.as_mut().expect("planned in shards");
    let head = plan.head.as_ref().expect("planned with shared units");
    (head, Exchange { meetings, comm: comm.as_deref_mut(), started: travelling })
}
