//! The images and patches to which a kernel responds most (Zeiler and Fergus 2014, figure 2).

use super::Result;
use crate::features::walk;
use crate::{Error, NoSuchLayer, Predictor};
use data::Loader;
use evaluate::Stop;
use layers::{Conv, Local, Pool, Row, Spec};

/// An image, and where a kernel responds most in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Response {
    /// Its index in the source.
    pub sample: usize,
    /// The largest value of the kernel's map.
    pub value: f32,
    /// Its row and column in the map; of equals the first.
    pub at: (usize, usize),
}

/// The `count` images of a loader's source with the largest responses of map `channel` of a
/// planned row, the largest first, of equals the earlier image. `watch` receives the numbers of
/// images done and in total. `None` if a stop was requested before the end.
///
/// # Errors
/// If the data cannot be read or the device fails.
///
/// # Panics
/// If the row has no feature maps, or no such map.
pub fn strongest(
    predictor: &mut Predictor,
    (row, channel): (usize, usize),
    loader: &mut Loader,
    count: usize,
    stop: &Stop,
    watch: &mut dyn FnMut(u64, u64),
) -> Result<Option<Vec<Response>>> {
    let shape = predictor.layer(row).1;
    let &[_, width, channels] = shape.as_slice() else { panic!("the row has feature maps") };
    assert!(channel < channels, "map {channel} of {channels}");
    let mut found: Vec<Response> = Vec::new();
    let mut compare = |sample: usize, outputs: Option<&[&[f32]]>| {
        let Some(&[maps]) = outputs else { return };
        let map = maps.iter().skip(channel).step_by(channels);
        let first = Response { sample, value: f32::NEG_INFINITY, at: (0, 0) };
        let best = map.enumerate().fold(first, |best, (place, &value)| {
            let at = (place / width, place % width);
            if value > best.value { Response { value, at, ..best } } else { best }
        });
        let place = found.partition_point(|old| old.value >= best.value);
        if place < count {
            found.insert(place, best);
            found.truncate(count);
        }
    };
    let done = walk(predictor, loader, &[row], stop, watch, &mut compare)?;
    Ok(done.then_some(found))
}

/// The pixels of the network's input on which a pixel of a layer's maps depends: along each side
/// `side` pixels, from `first + stride * position` on (rows, columns).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceptiveField {
    /// Extent in pixels.
    pub side: usize,
    /// Distance between the fields of neighbouring pixels.
    pub stride: usize,
    /// The first row and column of the first field; negative with padding.
    pub first: [isize; 2],
}

/// A rectangle of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patch {
    /// The first row.
    pub top: usize,
    /// The first column.
    pub left: usize,
    /// Number of rows.
    pub height: usize,
    /// Number of columns.
    pub width: usize,
}

impl ReceptiveField {
    /// The field of the layer called `layer`. Normalisation across channels and activations do not
    /// extend it.
    ///
    /// # Errors
    /// [`Error::Layer`] if there is no such layer, [`Error::NoMaps`] if it has no feature maps.
    pub fn of(spec: &Spec, layer: &str) -> Result<ReceptiveField> {
        NoSuchLayer::check(spec, layer)?;
        let mut field = ReceptiveField { side: 1, stride: 1, first: [0; 2] };
        for (row, info) in spec.rows.iter().zip(spec.describe()?) {
            if info.output.dims().len() != 3 {
                return Err(Error::NoMaps { layer: layer.to_string() });
            }
            let (window, stride, pad) = match row {
                Row::Conv(Conv { window, stride, pad, .. })
                | Row::Local(Local { window, stride, pad, .. }) => (*window, *stride, pad.sides()),
                Row::Pool(Pool { window, stride, pad, .. }) => (*window, *stride, [*pad; 4]),
                Row::Lrn(lrn) if lrn.within_channel => (lrn.size, 1, [lrn.size / 2; 4]),
                _ => (1, 1, [0; 4]),
            };
            field.side += window.saturating_sub(1) * field.stride;
            let [top, _, left, _] = pad;
            field.first[0] -= (top * field.stride) as isize;
            field.first[1] -= (left * field.stride) as isize;
            field.stride *= stride;
            if info.name == layer {
                break;
            }
        }
        Ok(field)
    }

    /// The part of an image of `size` (height, width) on which the pixel at `at` (row, column) of
    /// the maps depends.
    pub fn patch(&self, at: (usize, usize), size: (usize, usize)) -> Patch {
        let along = |first: isize, at: usize, extent: usize| {
            let start = first + (self.stride * at) as isize;
            let end = (start + self.side as isize).clamp(1, extent as isize) as usize;
            let start = start.clamp(0, end as isize - 1) as usize;
            (start, end - start)
        };
        let [down, across] = self.first;
        let (top, height) = along(down, at.0, size.0);
        let (left, width) = along(across, at.1, size.1);
        Patch { top, left, height, width }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use layers::window;

    #[test]
    fn fields_of_the_papers_layers_are_known() {
        let spec = Spec::image("alexnet", 227, 227, 3)
            .conv("conv1", 96, window(11).stride(4))
            .relu()
            .pool(window(3).stride(2))
            .conv("conv2", 256, window(5).pad(2))
            .relu()
            .pool(window(3).stride(2))
            .conv("conv3", 384, window(3).pad(1))
            .relu()
            .linear("fc4", 10);
        let field = |layer| ReceptiveField::of(&spec, layer).unwrap();
        // Known values: Araujo, Norris and Sim 2019, Computing Receptive Fields.
        assert_eq!(field("relu1"), ReceptiveField { side: 11, stride: 4, first: [0; 2] });
        assert_eq!(field("conv2"), ReceptiveField { side: 51, stride: 8, first: [-16; 2] });
        assert_eq!(field("conv3"), ReceptiveField { side: 99, stride: 16, first: [-32; 2] });
        let error = ReceptiveField::of(&spec, "fc4").unwrap_err();
        assert!(matches!(error, Error::NoMaps { .. }), "{error}");
        let patch = field("conv2").patch((0, 26), (227, 227));
        assert_eq!(patch, Patch { top: 0, left: 192, height: 35, width: 35 });
        let all = ReceptiveField { side: 9, stride: 1, first: [-8, 20] };
        let patch = Patch { top: 0, left: 3, height: 1, width: 1 };
        assert_eq!(all.patch((0, 0), (4, 4)), patch, "never empty");
    }
}
