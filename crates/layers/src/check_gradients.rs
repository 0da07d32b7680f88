//! A layer's backward pass against central differences of its forward pass.

use crate::clock::{Clock, ClockSlot};
use crate::custom::CustomLayer;
use crate::layer::{Layer, custom};
use crate::slots::{Gradients, LayerSlots, Phase};
use random::{Purpose, Stream};
use std::sync::Arc;
use tensor::{DType, Device, Planner, Shape, Slot};

/// The half step of differences: rounding errors of f32 are divided by it.
const STEP: f32 = 1e-2;
/// The largest accepted error, relative to the larger of an element's gradient and the root mean
/// square of all.
const TOLERANCE: f64 = 1e-2;
/// The most elements of an operand that are tried, evenly spread.
const TRIES: usize = 60;

/// A backward pass that is not the derivative of the forward pass, or cannot be tried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GradientError {
    /// The layer does not fit the input.
    #[error("a `{kind}` layer on an input of {input}: {reason}")]
    Plan {
        /// The layer's kind.
        kind: String,
        /// The input's shape.
        input: Shape,
        /// The reason.
        reason: String,
    },
    /// An element of a gradient is wrong.
    #[error(
        "element {element} of {of}: the backward pass computes {computed}, and central differences \
         give {expected}"
    )]
    Differs {
        /// `the gradient of the input` or of a parameter.
        of: String,
        /// Its index.
        element: usize,
        /// What the backward pass computes.
        computed: f32,
        /// What central differences give.
        expected: f64,
    },
    /// Most differences depend on their step, as at the kinks of a function.
    #[error("{kinks} of {tried} elements of {of} are at a kink: try another input shape")]
    Kinks {
        /// `the gradient of the input` or of a parameter.
        of: String,
        /// Elements at a kink.
        kinks: usize,
        /// Elements that were tried.
        tried: usize,
    },
    /// The device fails, or lacks the layer.
    #[error(transparent)]
    Device(#[from] tensor::Error),
}

/// Checks the gradients of the input and of all trainable parameters, at random inputs in
/// [`Phase::Train`] with a random gradient of the output: the derivative of `sum(dy * y)`.
///
/// Where the differences over half of the step and over the whole step disagree there is a kink;
/// such elements are skipped, at most half of them.
///
/// # Errors
/// [`GradientError`] with the first element that is wrong. A gradient that was not written is NaN.
pub fn check_gradients(
    layer: impl CustomLayer + 'static,
    device: &mut Device,
    input: Shape,
) -> Result<(), GradientError> {
    let layer: Arc<dyn CustomLayer> = Arc::new(layer);
    let (kind, name) = (layer.kind().to_string(), format!("{}1", layer.kind()));
    let planned = custom::plan(&layer, &name, input).map_err(|reason| GradientError::Plan {
        kind,
        input,
        reason,
    })?;
    let trial = Trial::new(&planned, device, input)?;
    let dx = trial.gradients.dx.expect("the check plans it");
    let mut pairs = vec![("the gradient of the input".to_string(), trial.slots.x, dx)];
    let values = trial.slots.parameters.iter().zip(&trial.gradients.parameters);
    for (entry, (&value, &gradient)) in planned.parameters().iter().zip(values) {
        if !entry.role.is_statistic() {
            pairs.push((format!("the gradient of {}", entry.name), value, gradient));
        }
    }
    trial.layer.forward(device, &trial.slots, Phase::Train)?;
    device.upload(trial.gradients.dy, &trial.upstream)?;
    for &(_, _, gradient) in &pairs {
        device.poison(gradient)?;
    }
    trial.layer.backward(device, &trial.slots, &trial.gradients)?;
    let computed: Vec<Vec<f32>> =
        pairs.iter().map(|pair| device.download(pair.2)).collect::<tensor::Result<_>>()?;
    pairs
        .into_iter()
        .zip(computed)
        .try_for_each(|((of, value, _), gradient)| trial.compare(device, of, value, &gradient))
}

/// The layer with operands on a device.
struct Trial<'a> {
    layer: &'a dyn Layer,
    slots: LayerSlots,
    gradients: Gradients,
    upstream: Vec<f32>,
}

impl<'a> Trial<'a> {
    fn new(
        layer: &'a dyn Layer,
        device: &mut Device,
        input: Shape,
    ) -> Result<Trial<'a>, GradientError> {
        let (mut planner, target) = (Planner::new(), device.target());
        let mut floats = |shape| planner.claim(DType::F32, shape);
        let [x, dx] = [(); 2].map(|()| floats(input));
        let [y, dy] = [(); 2].map(|()| floats(layer.output()));
        let scratch = Shape::from([layer.scratch(target)]);
        let [forward, backward] = [(); 2].map(|()| floats(scratch));
        let entries = layer.parameters();
        let mut of_entries = || entries.iter().map(|entry| floats(entry.shape)).collect();
        let (values, gradients): (Vec<Slot>, Vec<Slot>) = (of_entries(), of_entries());
        let clock = ClockSlot::plan(&mut planner);
        device.reserve(planner.total())?;

        let mut draws = Stream::new(0xD1FF, Purpose::Test, 0, 0);
        let mut normals = |len| (0..len).map(|_| draws.normal()).collect::<Vec<f32>>();
        device.upload(x, &normals(x.len()))?;
        for (ordinal, (entry, &slot)) in entries.iter().zip(&values).enumerate() {
            let mut drawn = vec![0.0; entry.len()];
            if let Some(initial) = entry.initial {
                initial.fill(0, ordinal, entry.fan_in, &mut drawn);
            }
            device.upload(slot, &drawn)?;
        }
        let images = input.dims().first().map_or(1, |&images| images as u32);
        clock.upload(device, Clock::new(0, 1, images))?;
        let upstream = normals(dy.len());
        let (packed, clock) = (None, clock.slot());
        let slots = LayerSlots {
            x,
            y,
            parameters: values,
            packed,
            scratch: forward,
            clock,
            gradients: None,
        };
        let gradients = Gradients { dy, dx: Some(dx), parameters: gradients, scratch: backward };
        Ok(Trial { layer, slots, gradients, upstream })
    }

    /// `sum(dy * y)`, with element `idx` of `value` moved to `moved`.
    fn objective(
        &self,
        device: &mut Device,
        value: Slot,
        (idx, moved): (usize, f32),
    ) -> tensor::Result<f64> {
        device.upload(value.part(idx, Shape::from([1])), &[moved])?;
        self.layer.forward(device, &self.slots, Phase::Train)?;
        let output = device.download::<f32>(self.slots.y)?;
        let products = output.iter().zip(&self.upstream);
        Ok(products.map(|(&y, &dy)| f64::from(y) * f64::from(dy)).sum())
    }

    fn compare(
        &self,
        device: &mut Device,
        of: String,
        value: Slot,
        gradient: &[f32],
    ) -> Result<(), GradientError> {
        let values = device.download::<f32>(value)?;
        let squares: f64 = gradient.iter().map(|&g| f64::from(g).powi(2)).sum();
        let typical = (squares / gradient.len().max(1) as f64).sqrt();
        let (mut tried, mut kinks) = (0, 0);
        for element in (0..values.len()).step_by(values.len().div_ceil(TRIES).max(1)) {
            let at = values[element];
            let mut slope = |step: f32| -> tensor::Result<f64> {
                let (above, below) = (at + step, at - step);
                let rise = self.objective(device, value, (element, above))?
                    - self.objective(device, value, (element, below))?;
                Ok(rise / (f64::from(above) - f64::from(below)))
            };
            let (wide, expected) = (slope(STEP)?, slope(STEP / 2.0)?);
            device.upload(value.part(element, Shape::from([1])), &[at])?;
            tried += 1;
            let computed = gradient[element];
            let allowed = TOLERANCE * expected.abs().max(typical).max(1e-6);
            let error = (f64::from(computed) - expected).abs();
            if (wide - expected).abs() > allowed / 2.0 {
                kinks += 1;
            } else if error.is_nan() || error > allowed {
                return Err(GradientError::Differs { of, element, computed, expected });
            }
        }
        if 2 * kinks <= tried { Ok(()) } else { Err(GradientError::Kinks { of, kinks, tried }) }
    }
}
