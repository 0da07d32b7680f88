//! Broadcast and gathering of bytes, such as text and files. Collectives carry floats; here each
//! float carries four bytes.

use crate::{Comm, Result};
use tensor::{Device, Shape, Slot};

/// Broadcasts `bytes` of rank `root`; on the other ranks they are replaced. Longer data are sent in
/// pieces through `buffer`, a slot of floats that has the same length on every rank. A barrier
/// follows each piece, so that only one is in flight.
///
/// # Errors
/// As [`Comm`] says.
///
/// # Panics
/// If `buffer` has fewer than two floats.
pub fn broadcast(
    comm: &mut dyn Comm,
    device: &mut Device,
    buffer: Slot,
    root: usize,
    bytes: &mut Vec<u8>,
) -> Result<()> {
    assert!(buffer.len() >= 2, "a buffer for a length");
    let is_root = comm.rank() == root;
    let mut broadcast = |floats: &mut [f32]| {
        let slot = buffer.part(0, Shape::from([floats.len()]));
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
    broadcast(&mut head)?;
    let [low, high] = head.map(|half| u64::from(half.to_bits()));
    let len = (low | high << 32) as usize;
    bytes.resize(len, 0);
    let mut floats = vec![0.0f32; buffer.len().min(len.div_ceil(4))];
    for piece in bytes.chunks_mut(4 * buffer.len()) {
        let floats = &mut floats[..piece.len().div_ceil(4)];
        for (float, four) in floats.iter_mut().zip(piece.chunks(4)) {
            let mut word = [0; 4];
            word[..four.len()].copy_from_slice(four);
            *float = f32::from_bits(u32::from_le_bytes(word));
        }
        broadcast(floats)?;
        for (float, four) in floats.iter().zip(piece.chunks_mut(4)) {
            four.copy_from_slice(&float.to_bits().to_le_bytes()[..four.len()]);
        }
    }
    Ok(())
}

/// Gathers the bytes of every rank, in rank order, on all ranks. `buffer` is as in [`broadcast`].
///
/// # Errors
/// As [`Comm`] says.
///
/// # Panics
/// As [`broadcast`].
pub fn gather(
    comm: &mut dyn Comm,
    device: &mut Device,
    buffer: Slot,
    own: &[u8],
) -> Result<Vec<Vec<u8>>> {
    let mut all = vec![Vec::new(); comm.world()];
    all[comm.rank()] = own.to_vec();
    for (root, bytes) in all.iter_mut().enumerate() {
        broadcast(comm, device, buffer, root, bytes)?;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Local;
    use std::thread;
    use tensor::{DType, Planner};

    /// Every length around the buffer's, and bytes that are NaN as floats.
    #[test]
    fn bytes_arrive_unchanged() {
        let of = |rank: usize| -> Vec<u8> {
            (0..21 * rank).map(|i| if i % 5 < 3 { 0xff } else { (i * 7 + rank) as u8 }).collect()
        };
        let ranks = Local::world(4, Local::TIMEOUT);
        thread::scope(|scope| {
            for mut comm in ranks {
                scope.spawn(move || {
                    let buffer = Planner::new().claim(DType::F32, Shape::from([4]));
                    let mut device = Device::cpu(1);
                    device.reserve(buffer.range().end).unwrap();
                    let own = of(comm.rank());
                    let all = gather(&mut comm, &mut device, buffer, &own).unwrap();
                    assert_eq!(all, [of(0), of(1), of(2), of(3)]);
                    for len in 0..40 {
                        let mut bytes =
                            if comm.rank() == 2 { vec![0xf1; len] } else { own.clone() };
                        broadcast(&mut comm, &mut device, buffer, 2, &mut bytes).unwrap();
                        assert_eq!(bytes, vec![0xf1; len]);
                    }
                });
            }
        });
    }
}
