//! TensorBoard's event files: protocol buffers in TensorFlow's record format.
//!
//! A record is `length: u64, crc of the length: u32, data, crc of the data: u32`, little endian
//! (tensorflow/core/lib/io/record_writer.h). The data are an `Event` (tensorflow/core/util/
//! event.proto): wall_time = 1, step = 2, file_version = 3, summary = 5; a `Summary` has values in
//! field 1, each with tag = 1 and simple_value = 2.

use super::Record;

/// The record that a file begins with; `seconds` since 1970.
pub fn beginning(seconds: f64) -> Vec<u8> {
    let mut event = Message::default();
    event.double(1, seconds);
    event.bytes(3, b"brain.Event:2");
    framed(&event.0)
}

/// A record's numbers, if it has any.
pub(super) fn event(seconds: f64, record: &Record) -> Option<Vec<u8>> {
    let mut summary = Message::default();
    let mut scalar = |tag: &str, value: f64| {
        let mut message = Message::default();
        message.bytes(1, tag.as_bytes());
        message.float(2, value as f32);
        summary.bytes(1, &message.0);
    };
    let step = match record {
        Record::Train { step, epoch, loss, top1_error, rate, images_per_s, data_wait } => {
            scalar("train/loss", *loss);
            scalar("train/top1_error", *top1_error);
            scalar("train/rate", *rate);
            scalar("train/epoch", f64::from(*epoch));
            scalar("speed/images_per_s", *images_per_s);
            scalar("speed/data_wait", *data_wait);
            step
        }
        Record::Validation { step, score, .. } => {
            scalar("validation/loss", score.loss);
            scalar("validation/top1_error", score.top1_error);
            if let Some(error) = score.top5_error {
                scalar("validation/top5_error", error);
            }
            step
        }
        Record::Layers { step, layers, .. } => {
            for layer in layers {
                let name = &layer.name;
                scalar(&format!("weight_norm/{name}"), layer.weight_norm);
                scalar(&format!("gradient_norm/{name}"), layer.gradient_norm);
                scalar(&format!("update_ratio/{name}"), layer.update_ratio);
                if let Some(dead) = layer.dead_relus {
                    scalar(&format!("dead_relus/{name}"), dead);
                }
            }
            step
        }
        Record::Warning { .. } => return None,
    };
    Some(summarised(seconds, *step, &summary))
}

/// The record of a step's `Summary`.
pub fn summarised(seconds: f64, step: u64, summary: &Message) -> Vec<u8> {
    let mut event = Message::default();
    event.double(1, seconds);
    event.whole(2, step);
    event.bytes(5, &summary.0);
    framed(&event.0)
}

/// A protocol buffer: its fields so far, numbered from 1 to 15.
#[derive(Clone, Debug, Default)]
pub struct Message(Vec<u8>);

impl Message {
    fn key(&mut self, field: u8, wire_type: u8) {
        self.0.push(field << 3 | wire_type);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// Adds a whole number.
    pub fn whole(&mut self, field: u8, value: u64) {
        self.key(field, 0);
        self.varint(value);
    }

    /// Adds a number of 64 bits.
    pub fn double(&mut self, field: u8, value: f64) {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
    }

    /// Adds bytes or a string.
    pub fn bytes(&mut self, field: u8, value: &[u8]) {
        self.key(field, 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
    }

    /// Adds a message.
    pub fn message(&mut self, field: u8, message: &Message) {
        self.bytes(field, &message.0);
    }

    /// Adds numbers of 64 bits, packed.
    pub fn doubles(&mut self, field: u8, values: &[f64]) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.bytes(field, &bytes);
    }

    /// Adds a number of 32 bits.
    pub fn float(&mut self, field: u8, value: f32) {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
    }
}

fn framed(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let crc = masked_crc(&length).to_le_bytes();
    [&length[..], &crc, data, &masked_crc(data).to_le_bytes()].concat()
}

/// TensorFlow masks its sums, so that sums of data with sums in them are not all alike.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file's records.
    fn unframed(mut file: &[u8]) -> Vec<&[u8]> {
        let mut records = Vec::new();
        while !file.is_empty() {
            let (length, rest) = file.split_at(8);
            let (crc, rest) = rest.split_at(4);
            assert_eq!(crc, masked_crc(length).to_le_bytes());
            let (data, rest) =
                rest.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
            let (crc, rest) = rest.split_at(4);
            assert_eq!(crc, masked_crc(data).to_le_bytes());
            records.push(data);
            file = rest;
        }
        records
    }

    #[test]
    fn frames_and_fields_are_as_tensorflow_reads_them() {
        // Said by TensorBoard's own `masked_crc32c`.
        assert_eq!(masked_crc(b"123456789"), 0xc78a_b0e5);
        let records = super::super::tests::records();
        let mut file = beginning(1.0);
        records.iter().filter_map(|record| event(2.0, record)).for_each(|e| file.extend(e));
        let events = unframed(&file);
        assert_eq!(events.len(), 4, "a warning has no number");
        assert_eq!(events[0], b"\x09\0\0\0\0\0\0\xf0\x3f\x1a\x0dbrain.Event:2");
        assert_eq!(events[1][..11], *b"\x09\0\0\0\0\0\0\0\x40\x10\x03");
        let text = String::from_utf8_lossy(&file);
        for tag in ["train/loss", "weight_norm/conv1", "validation/top5_error"] {
            assert!(text.contains(tag), "{tag}");
        }
        let loss = b"\x0a\x0atrain/loss\x15\0\0\xc0\x3f";
        assert!(events[1].windows(loss.len()).any(|window| window == loss));
        let mut long = Message::default();
        long.whole(2, 300);
        assert_eq!(long.0, [0x10, 0xac, 0x02]);
    }
}
