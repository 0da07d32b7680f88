//! Lays out the operands of one op.

use crate::devices;
use ndarray::{Array, Dimension};
use tensor::{Bf16, DType, Device, Element, Planner, Shape, Slot};

/// Operands of an op under test: planned one by one, then uploaded together.
///
/// Slots for results start as NaN, so that an element that an op does not write shows.
#[derive(Debug, Default)]
pub struct Slots {
    planner: Planner,
    floats: Vec<(Slot, Vec<f32>)>,
    halves: Vec<(Slot, Vec<Bf16>)>,
    words: Vec<(Slot, Vec<u32>)>,
    bytes: Vec<(Slot, Vec<u8>)>,
}

impl Slots {
    /// No operands yet.
    pub fn new() -> Slots {
        Slots::default()
    }

    /// An array of f32, row-major.
    ///
    /// # Panics
    /// If it has more than four dimensions.
    pub fn array<D: Dimension>(&mut self, array: &Array<f32, D>) -> Slot {
        let shape = match *array.shape() {
            [] => Shape::from([]),
            [a] => Shape::from([a]),
            [a, b] => Shape::from([a, b]),
            [a, b, c] => Shape::from([a, b, c]),
            [a, b, c, d] => Shape::from([a, b, c, d]),
            _ => panic!("an array of {} dimensions", array.ndim()),
        };
        self.floats(shape, array.iter().copied().collect())
    }

    /// f32 values with a shape.
    ///
    /// # Panics
    /// If the number of values differs from the shape's, here and below.
    pub fn floats(&mut self, shape: impl Into<Shape>, values: Vec<f32>) -> Slot {
        let slot = self.claim(DType::F32, shape.into(), values.len());
        self.floats.push((slot, values));
        slot
    }

    /// u32 values with a shape.
    pub fn words(&mut self, shape: impl Into<Shape>, values: Vec<u32>) -> Slot {
        let slot = self.claim(DType::U32, shape.into(), values.len());
        self.words.push((slot, values));
        slot
    }

    /// Bytes with a shape.
    pub fn bytes(&mut self, shape: impl Into<Shape>, values: Vec<u8>) -> Slot {
        let slot = self.claim(DType::U8, shape.into(), values.len());
        self.bytes.push((slot, values));
        slot
    }

    /// A slot for f32 results, NaN until an op writes it.
    pub fn room(&mut self, shape: impl Into<Shape>) -> Slot {
        let shape = shape.into();
        self.floats(shape, vec![f32::NAN; shape.len()])
    }

    /// A slot for bf16 results, NaN until an op writes it.
    pub fn room_in_bf16(&mut self, shape: impl Into<Shape>) -> Slot {
        let shape = shape.into();
        let slot = self.claim(DType::Bf16, shape, shape.len());
        self.halves.push((slot, vec![Bf16::MAX; shape.len()]));
        slot
    }

    /// Reserves the device's memory and uploads all operands; can be repeated on other devices.
    ///
    /// # Panics
    /// If the device has too little memory.
    pub fn load(&self, device: &mut Device) {
        fn upload<T: Element>(device: &mut Device, operands: &[(Slot, Vec<T>)]) {
            for (slot, values) in operands {
                device.upload(*slot, values).expect("a test's device works");
            }
        }
        device.reserve(self.planner.total()).expect("a test fits into memory");
        self.fence(device);
        upload(device, &self.floats);
        upload(device, &self.halves);
        upload(device, &self.words);
        upload(device, &self.bytes);
    }

    /// On the stand-in, restricts kernels to the operands: gaps between them are out of bounds.
    fn fence(&self, device: &Device) {
        let (Device::Cuda(cuda), Some(stand_in)) = (device, devices::stand_in_in_use()) else {
            return;
        };
        let slots = self.floats.iter().map(|operand| operand.0);
        let slots = slots.chain(self.halves.iter().map(|operand| operand.0));
        let slots = slots.chain(self.words.iter().map(|operand| operand.0));
        let slots = slots.chain(self.bytes.iter().map(|operand| operand.0));
        let full = slots.filter(|slot| !slot.is_empty());
        let ranges: Vec<(u64, usize)> =
            full.map(|slot| (cuda.address(slot).get(), slot.range().len())).collect();
        stand_in.lend_only(&ranges);
    }

    fn claim(&mut self, dtype: DType, shape: Shape, len: usize) -> Slot {
        assert_eq!(shape.len(), len, "as many values as {shape} holds");
        let slot = self.planner.claim(dtype, shape);
        self.planner.claim(DType::U8, Shape::from([1])); // a gap between operands
        slot
    }
}

/// A single-threaded CPU with a slot for each of these arrays.
///
/// # Panics
/// If they do not fit into memory.
pub fn device_with<const N: usize>(arrays: [&[f32]; N]) -> (Device, [Slot; N]) {
    let mut operands = Slots::new();
    let slots = arrays.map(|array| operands.floats([array.len()], array.to_vec()));
    let mut device = Device::cpu(1);
    operands.load(&mut device);
    (device, slots)
}
