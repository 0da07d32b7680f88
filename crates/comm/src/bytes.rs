//! Text and files among ranks. Collectives carry floats: here a float is four bytes as they are.

use crate::{Comm, Result};
use tensor::{Device, Shape, Slot};

/// Every rank's `bytes` become those of rank `root`. They go through `room`, a slot of floats that
/// every rank has in the same length, as often as it takes; no rank is ahead of another by more
/// than one such piece, so that no more memory is needed under way.
///
/// # Errors
/// As [`Comm`] says.
///
/// # Panics
/// If `room` has fewer than two floats.
pub fn broadcast(
    comm: &mut dyn Comm,
    (device, room): (&mut Device, Slot),
    root: usize,
    bytes: &mut Vec<u8>,
) -> Result<()> {
    assert!(room.len() >= 2, "room for a length");
    let is_root = comm.rank() == root;
    let part = |len: usize| room.part(0, Shape::from([len]));
    let mut go_round = |floats: &mut [f32], device: &mut Device| {
        let slot = part(floats.len());
        if is_root {
            device.upload(slot, floats)?;
        }
        let sent = comm.broadcast(device, slot, root)?;
        comm.wait(device, sent)?;
        device.download_into(slot, floats)?;
        let all = comm.barrier(device)?;
        comm.wait(device, all)
    };
    let len = bytes.len() as u64;
    let mut head = [len as u32, (len >> 32) as u32].map(f32::from_bits);
    go_round(&mut head, device)?;
    let [low, high] = head.map(|half| u64::from(half.to_bits()));
    let len = (low | high << 32) as usize;
    bytes.resize(len, 0);
    let mut floats = vec![0.0f32; room.len().min(len.div_ceil(4))];
    for piece in bytes.chunks_mut(4 * room.len()) {
        let floats = &mut floats[..piece.len().div_ceil(4)];
        for (float, four) in floats.iter_mut().zip(piece.chunks(4)) {
            let mut word = [0; 4];
            word[..four.len()].copy_from_slice(four);
            *float = f32::from_bits(u32::from_le_bytes(word));
        }
        go_round(floats, device)?;
        for (float, four) in floats.iter().zip(piece.chunks_mut(4)) {
            four.copy_from_slice(&float.to_bits().to_le_bytes()[..four.len()]);
        }
    }
    Ok(())
}

/// Every rank's bytes, in the order of the ranks, known to all of them.
///
/// # Errors
/// As [`Comm`] says.
///
/// # Panics
/// As [`broadcast`].
pub fn gather(
    comm: &mut dyn Comm,
    (device, room): (&mut Device, Slot),
    own: &[u8],
) -> Result<Vec<Vec<u8>>> {
    let mut all = vec![Vec::new(); comm.world()];
    all[comm.rank()] = own.to_vec();
    for (root, bytes) in all.iter_mut().enumerate() {
        broadcast(comm, (device, room), root, bytes)?;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Local;
    use std::thread;
    use tensor::{DType, Planner};

    /// Every length around the room's, and words that are no number as floats.
    #[test]
    fn bytes_come_as_they_are() {
        let of = |rank: usize| -> Vec<u8> {
            (0..21 * rank).map(|i| if i % 5 < 3 { 0xff } else { (i * 7 + rank) as u8 }).collect()
        };
        let ranks = Local::world(4, Local::PATIENCE);
        thread::scope(|scope| {
            for mut comm in ranks {
                scope.spawn(move || {
                    let room = Planner::new().claim(DType::F32, Shape::from([4]));
                    let mut device = Device::cpu(1);
                    device.reserve(room.range().end).unwrap();
                    let own = of(comm.rank());
                    let all = gather(&mut comm, (&mut device, room), &own).unwrap();
                    assert_eq!(all, [of(0), of(1), of(2), of(3)]);
                    for len in 0..40 {
                        let mut bytes =
                            if comm.rank() == 2 { vec![0xf1; len] } else { own.clone() };
                        broadcast(&mut comm, (&mut device, room), 2, &mut bytes).unwrap();
                        assert_eq!(bytes, vec![0xf1; len]);
                    }
                });
            }
        });
    }
}
