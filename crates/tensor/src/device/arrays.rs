//! Arrays of ndarray to and from a device.

use super::Device;
use crate::{Element, Error, Result, Slot};
use ndarray::{Array, ArrayView, Dimension, IxDyn, ShapeBuilder};

impl Device {
    /// Copies an array, of any strides, into a slot of the same shape.
    ///
    /// # Errors
    /// [`Error::ArrayShape`] if the shapes differ; as [`upload`](Self::upload).
    ///
    /// # Panics
    /// If the slot is of another type.
    pub fn upload_array<T: Element, D: Dimension>(
        &mut self,
        slot: Slot,
        array: ArrayView<'_, T, D>,
    ) -> Result<()> {
        if array.shape() != slot.shape().dims() {
            return Err(Error::ArrayShape { array: array.shape().to_vec(), slot: slot.shape() });
        }
        match array.as_slice() {
            Some(elements) => self.upload(slot, elements),
            None => self.upload(slot, &array.iter().copied().collect::<Vec<T>>()),
        }
    }

    /// A slot's elements as a new array of its shape.
    ///
    /// # Errors
    /// As [`download_into`](Self::download_into).
    ///
    /// # Panics
    /// If the slot is of another type.
    pub fn download_array<T: Element>(&self, slot: Slot) -> Result<Array<T, IxDyn>> {
        let elements = self.download(slot)?;
        let shape = slot.shape().dims().into_shape_with_order();
        Ok(Array::from_shape_vec(shape, elements)
            .expect("a slot has as many elements as its shape"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Planner, Shape};
    use ndarray::{Array3, Array4};

    #[test]
    fn arrays_go_to_a_device_and_back_if_their_shape_is_the_slot_s() {
        let mut planner = Planner::new();
        let x = planner.claim(DType::F32, Shape::from([2, 3, 4]));
        let mut device = Device::cpu(1);
        device.reserve(planner.total()).unwrap();
        let array = Array3::from_shape_fn((2, 3, 4), |(i, j, k)| (100 * i + 10 * j + k) as f32);
        device.upload_array(x, array.view()).unwrap();
        assert_eq!(device.download_array::<f32>(x).unwrap(), array.clone().into_dyn());
        // The same array, stored with its last axis first.
        let planes = array.view().permuted_axes([2, 0, 1]).as_standard_layout().to_owned();
        device.upload_array(x, planes.view().permuted_axes([1, 2, 0])).unwrap();
        assert_eq!(device.download_array::<f32>(x).unwrap(), array.into_dyn());
        for wrong in [(4, 2, 3), (2, 4, 3), (1, 3, 4)] {
            let error = device.upload_array(x, Array3::<f32>::zeros(wrong).view()).unwrap_err();
            assert!(matches!(error, Error::ArrayShape { .. }), "{error}");
        }
        let nchw = Array4::<f32>::zeros((2, 3, 4, 1));
        let error = device.upload_array(x, nchw.view()).unwrap_err().to_string();
        assert!(error.starts_with("an array of [2, 3, 4, 1] does not fit a slot of [2, 3, 4]"));
    }
}
