//! Images of other libraries.

#[cfg(feature = "image")]
mod rgb_image {
    use crate::Image;
    use image::RgbImage;

    impl From<RgbImage> for Image {
        fn from(from: RgbImage) -> Image {
            let [width, height] = [from.width(), from.height()].map(|pixels| pixels as usize);
            Image { height, width, pixels: from.into_raw() }
        }
    }

    impl From<Image> for RgbImage {
        /// # Panics
        /// If `pixels` does not have `height * width * 3` bytes.
        fn from(from: Image) -> RgbImage {
            let Image { height, width, pixels } = from;
            assert_eq!(pixels.len(), height * width * 3, "bytes of {height} x {width} pixels");
            let [width, height] =
                [width, height].map(|pixels| pixels.try_into().expect("fewer than 2^32 pixels"));
            RgbImage::from_raw(width, height, pixels).expect("the length is checked above")
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn pixels_keep_their_places() {
            let rgb = RgbImage::from_fn(3, 2, |x, y| image::Rgb([x as u8, y as u8, 9]));
            let ours = Image::from(rgb.clone());
            assert_eq!((ours.height, ours.width), (2, 3));
            assert_eq!(ours.pixel(1, 2), [2, 1, 9]);
            assert_eq!(RgbImage::from(ours), rgb);
        }
    }
}

#[cfg(feature = "ndarray")]
mod array {
    use crate::Image;
    use ndarray::{Array3, ArrayView3};

    impl Image {
        /// The pixels as an array of height x width x 3.
        ///
        /// # Panics
        /// If `pixels` does not have `height * width * 3` bytes.
        pub fn as_array(&self) -> ArrayView3<'_, u8> {
            ArrayView3::from_shape((self.height, self.width, 3), &self.pixels)
                .expect("height x width x 3 bytes")
        }
    }

    impl From<Image> for Array3<u8> {
        /// # Panics
        /// If `pixels` does not have `height * width * 3` bytes.
        fn from(from: Image) -> Array3<u8> {
            Array3::from_shape_vec((from.height, from.width, 3), from.pixels)
                .expect("height x width x 3 bytes")
        }
    }

    impl TryFrom<ArrayView3<'_, u8>> for Image {
        type Error = ndarray::ShapeError;

        /// An image from an array of height x width x 3, of any strides.
        ///
        /// # Errors
        /// If the last extent is not 3, for example because channels come first.
        fn try_from(from: ArrayView3<'_, u8>) -> Result<Image, ndarray::ShapeError> {
            let (height, width, channels) = from.dim();
            if channels != 3 {
                let kind = ndarray::ErrorKind::IncompatibleShape;
                return Err(ndarray::ShapeError::from_kind(kind));
            }
            Ok(Image { height, width, pixels: from.iter().copied().collect() })
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn arrays_have_the_image_s_pixels_whatever_their_strides() {
            let pixels = (0..2 * 4 * 3).collect();
            let image = Image { height: 2, width: 4, pixels };
            assert_eq!(image.as_array()[[1, 2, 0]], image.pixel(1, 2)[0]);
            assert_eq!(Image::try_from(image.as_array()).unwrap(), image);
            // The same pixels with channels first in memory.
            let planes = image.as_array().permuted_axes([2, 0, 1]).as_standard_layout().to_owned();
            let view = planes.view().permuted_axes([1, 2, 0]);
            assert_eq!(Image::try_from(view).unwrap(), image);
            assert!(Image::try_from(planes.view()).is_err());
            assert_eq!(Array3::from(image.clone()), image.as_array());
        }
    }
}
