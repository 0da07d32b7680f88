//! Ranks in processes of their own: what they tell each other beside what they compute.
//!
//! Every process runs the same loop, so all must decide alike. What clocks, signals and disks say
//! differs from one to another: each rank's word on that travels with every tally, and costs no
//! message of its own.

use evaluate::Stop;
use train::executor::Control;

/// A rank's part in what all of them decide.
#[derive(Debug)]
pub struct Accord {
    /// What this process was asked for.
    asked: Stop,
    /// What all know that some process was asked for.
    agreed: Stop,
    /// What this rank says, and what rank 0 said last.
    pub(crate) own: Control,
    pub(crate) heard: Control,
}

impl Accord {
    pub(crate) fn new(asked: Stop, agreed: Stop) -> Accord {
        Accord { asked, agreed, own: Control::default(), heard: Control::default() }
    }

    /// What a rank says, as a whole number that a float holds exactly.
    pub(crate) fn word(&self) -> f32 {
        let signal = self.asked.requested().unwrap_or(0) as u32 & 0x7f;
        let Control { old, late, free, ends } = self.own;
        let flags = [self.asked.take_checkpoint_request(), old, late, free, ends];
        let flags = flags.iter().enumerate().map(|(bit, &flag)| u32::from(flag) << (7 + bit));
        flags.fold(signal, |word, flag| word | flag) as f32
    }

    /// Takes in the words of all ranks, in their order.
    pub(crate) fn hear(&mut self, words: impl Iterator<Item = f32>) {
        for (rank, word) in words.enumerate() {
            let word = word as u32;
            let is_set = |bit: u32| word >> (7 + bit) & 1 == 1;
            if word & 0x7f > 0 && self.agreed.requested().is_none() {
                self.agreed.request((word & 0x7f) as usize);
            }
            if is_set(0) {
                self.agreed.request_checkpoint();
            }
            self.heard.ends |= is_set(4);
            if rank == 0 {
                (self.heard.old, self.heard.late) = (is_set(1), is_set(2));
                self.heard.free = is_set(3);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_what_was_asked_for_and_rank_0_what_time_it_is() {
        let rank = || Accord::new(Stop::new(), Stop::new());
        let (mut first, mut second) = (rank(), rank());
        second.asked.request(15);
        second.asked.request_checkpoint();
        second.own.late = true; // not its to say
        first.own = Control { old: true, late: false, free: true, ends: false };
        let words = [first.word(), second.word()];
        for accord in [&mut first, &mut second] {
            accord.hear(words.into_iter());
            assert_eq!(accord.agreed.requested(), Some(15));
            assert!(accord.agreed.take_checkpoint_request());
            assert_eq!(accord.heard, Control { old: true, late: false, free: true, ends: false });
        }
        assert_eq!(first.asked.requested(), None);
        // A checkpoint is asked for once; a stop stays.
        assert_eq!(second.word(), 15.0 + f32::from(1u16 << 9));
    }
}
