//! Control flags that processes exchange.
//!
//! Every process runs the same loop, so all processes must take the same decisions. Signals, clocks
//! and disks differ between them; therefore each rank sends its flags with every tally, in the same
//! message.

use evaluate::Stop;
use train::executor::Control;

/// The control flags of this process, and those that all processes have agreed on.
#[derive(Debug)]
pub struct ControlExchange {
    /// Stops and checkpoints requested from this process.
    requested: Stop,
    /// Those requested from any process.
    agreed: Stop,
    /// The flags that this rank sends.
    pub(crate) own: Control,
    /// The flags of the last exchange: those of rank 0, and `end` of any rank.
    pub(crate) received: Control,
}

impl ControlExchange {
    pub(crate) fn new(requested: Stop, agreed: Stop) -> ControlExchange {
        let [own, received] = [Control::default(); 2];
        ControlExchange { requested, agreed, own, received }
    }

    /// This rank's flags: an integer that `f32` represents exactly.
    pub(crate) fn encode(&self) -> f32 {
        let signal = self.requested.requested().unwrap_or(0) as u32 & 0x7f;
        let Control { save_after_validation, checkpoint_due, writer_free, end } = self.own;
        let checkpoint = self.requested.take_checkpoint_request();
        let flags = [checkpoint, save_after_validation, checkpoint_due, writer_free, end];
        let flags = flags.iter().enumerate().map(|(bit, &flag)| u32::from(flag) << (7 + bit));
        flags.fold(signal, |all, flag| all | flag) as f32
    }

    /// Takes over the encoded flags of all ranks, in rank order.
    pub(crate) fn decode(&mut self, encoded: impl Iterator<Item = f32>) {
        for (rank, flags) in encoded.enumerate() {
            let flags = flags as u32;
            let is_set = |bit: u32| flags >> (7 + bit) & 1 == 1;
            if flags & 0x7f > 0 && self.agreed.requested().is_none() {
                self.agreed.request((flags & 0x7f) as usize);
            }
            if is_set(0) {
                self.agreed.request_checkpoint();
            }
            self.received.end |= is_set(4);
            if rank == 0 {
                self.received.save_after_validation = is_set(1);
                self.received.checkpoint_due = is_set(2);
                self.received.writer_free = is_set(3);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_any_rank_and_checkpoint_flags_of_rank_0_reach_all() {
        let rank = || ControlExchange::new(Stop::new(), Stop::new());
        let (mut first, mut second) = (rank(), rank());
        second.requested.request(15);
        second.requested.request_checkpoint();
        second.own.checkpoint_due = true; // ignored: only rank 0 decides this
        first.own =
            Control { save_after_validation: true, writer_free: true, ..Control::default() };
        let encoded = [first.encode(), second.encode()];
        for exchange in [&mut first, &mut second] {
            exchange.decode(encoded.into_iter());
            assert_eq!(exchange.agreed.requested(), Some(15));
            assert!(exchange.agreed.take_checkpoint_request());
        }
        assert_eq!([first.received, second.received], [first.own; 2]);
        assert_eq!(first.requested.requested(), None);
        // A checkpoint request is sent once; a stop request stays.
        assert_eq!(second.encode(), 15.0 + f32::from(1u16 << 9));
    }
}
