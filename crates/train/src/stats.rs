//! Statistics of layers in one step: norms of weights, gradients and updates; dead units.

use crate::Result;
use crate::log::LayerNumbers;
use crate::plan::SingleDevicePlan;
use kernels::clip::squares;
use kernels::sgd::Segment;
use layers::{Network, Parameter, Role};
use tensor::{Device, Shape, Slot};

/// Statistics of a step's layers, with buffers, so that filling them allocates nothing. A step
/// calls two hooks: after the loss and after the update.
#[derive(Clone, Debug)]
pub struct LayerStats {
    /// In network order, one for each trainable layer.
    pub layers: Vec<LayerNumbers>,
    /// For each layer, the index of its weight.
    weights: Vec<usize>,
    /// Outputs of ReLUs, with the layers before them.
    rectified: Vec<(Slot, usize)>,
    /// A piece of a tensor.
    piece: Vec<f32>,
    /// For each unit, whether it was positive for any image.
    alive: Vec<bool>,
}

impl LayerStats {
    /// Floats of a copy from the device.
    const PIECE: usize = 1 << 16;

    /// Empty statistics of the layers of `network`.
    pub fn new(network: &Network) -> LayerStats {
        LayerStats::with_others(network, std::iter::empty())
    }

    /// As [`new`](Self::new), with rectified outputs of layers that are not among its rows.
    pub fn with_others<'a>(
        network: &Network,
        others: impl Iterator<Item = (&'a str, Slot)>,
    ) -> LayerStats {
        let entries = network.parameters.entries.iter().enumerate();
        let weights: Vec<usize> =
            entries.filter(|(_, entry)| entry.role == Role::Weight).map(|(idx, _)| idx).collect();
        let LayerStats { layers, .. } = LayerStats::of_layers(&network.parameters.entries);
        let mut rectified = Vec::new();
        let mut layer = None;
        let find = |name: &str| layers.iter().position(|layer| layer.name == name);
        for planned in network.rows() {
            layer = find(planned.name()).or(layer);
            if let Some(layer) = layer.filter(|_| planned.ends_in_relu()) {
                rectified.push((planned.output(), layer));
            }
        }
        rectified.extend(others.filter_map(|(name, y)| Some((y, find(name)?))));
        let units = rectified.iter().map(|&(y, _)| units(y)).max().unwrap_or(0);
        let piece = vec![0.0; Self::PIECE.max(units)];
        LayerStats { layers, weights, rectified, piece, alive: vec![false; units] }
    }

    /// Empty statistics of a whole network with these parameters, to [combine](Self::combine) those
    /// of its parts.
    pub fn of_layers(entries: &[Parameter]) -> LayerStats {
        let weights = entries.iter().filter(|entry| entry.role == Role::Weight);
        let name = |entry: &Parameter| entry.layer().to_string();
        let layer = |entry| LayerNumbers { name: name(entry), ..LayerNumbers::default() };
        let layers = weights.map(layer).collect();
        let (weights, rectified, piece, alive) = (vec![], vec![], vec![], vec![]);
        LayerStats { layers, weights, rectified, piece, alive }
    }

    /// Serializes for [`from_bytes`](Self::from_bytes) in another process.
    pub fn to_bytes(&self) -> Vec<u8> {
        let numbers = self.layers.iter().flat_map(|layer| {
            let dead = layer.dead_relus.unwrap_or(f64::NAN);
            [layer.weight_norm, layer.gradient_norm, layer.update_ratio, dead]
        });
        numbers.flat_map(f64::to_le_bytes).collect()
    }

    /// Those of another process, of layers with these parameters.
    pub fn from_bytes(entries: &[Parameter], bytes: &[u8]) -> LayerStats {
        let mut stats = LayerStats::of_layers(entries);
        for (layer, numbers) in stats.layers.iter_mut().zip(bytes.as_chunks::<32>().0) {
            let (numbers, _) = numbers.as_chunks::<8>();
            let number = |idx: usize| f64::from_le_bytes(numbers[idx]);
            layer.dead_relus = Some(number(3)).filter(|dead| !dead.is_nan());
            [layer.weight_norm, layer.gradient_norm, layer.update_ratio] = [0, 1, 2].map(number);
        }
        stats
    }

    /// Combines the statistics of a network's parts.
    pub fn combine(&mut self, parts: &[Vec<LayerNumbers>]) {
        for layer in &mut self.layers {
            let of_it = || parts.iter().flatten().filter(|part| part.name == layer.name);
            let norm = |number: fn(&LayerNumbers) -> f64| {
                of_it().map(|part| number(part) * number(part)).sum::<f64>().sqrt()
            };
            let weight_norm = norm(|part| part.weight_norm);
            let update_norm = norm(|part| part.update_ratio * part.weight_norm);
            let dead: Vec<f64> = of_it().filter_map(|part| part.dead_relus).collect();
            *layer = LayerNumbers {
                name: layer.name.clone(),
                weight_norm,
                gradient_norm: norm(|part| part.gradient_norm),
                update_ratio: update_norm / weight_norm.max(f64::MIN_POSITIVE),
                // All parts have the same number of units.
                dead_relus: (!dead.is_empty())
                    .then(|| dead.iter().sum::<f64>() / dead.len() as f64),
            };
        }
    }

    /// Called between the forward pass and the backward pass, which overwrites activations.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device).
    pub fn after_loss(&mut self, device: &Device) -> Result<()> {
        let LayerStats { layers, rectified, piece, alive, .. } = self;
        for &(y, layer) in &*rectified {
            let units = units(y);
            let alive = &mut alive[..units];
            alive.fill(false);
            let whole_rows = piece.len() / units * units;
            in_pieces(device, y, &mut piece[..whole_rows], |piece| {
                for row in piece.chunks_exact(units) {
                    alive.iter_mut().zip(row).for_each(|(alive, &y)| *alive |= y > 0.0);
                }
            })?;
            let dead = alive.iter().filter(|alive| !**alive).count();
            layers[layer].dead_relus = Some(dead as f64 / units as f64);
        }
        Ok(())
    }

    /// Called between the backward pass and the clipping of gradients.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device).
    pub(crate) fn before_clipping(
        &mut self,
        device: &Device,
        plan: &SingleDevicePlan,
    ) -> Result<()> {
        for (numbers, &idx) in self.layers.iter_mut().zip(&self.weights) {
            let Segment { start, len } = plan.optimizer.segment(idx);
            let gradient = plan.network.gradients.part(start, Shape::from([len]));
            numbers.gradient_norm = norm_of(device, gradient, &mut self.piece)?;
        }
        Ok(())
    }

    /// Called after the update. Uses the parts of gradients and updates that this device holds.
    pub fn after_update(&mut self, device: &Device, plan: &SingleDevicePlan) -> Result<()> {
        let SingleDevicePlan { network, optimizer, .. } = plan;
        for (numbers, &idx) in self.layers.iter_mut().zip(&self.weights) {
            let Segment { start, len } = optimizer.segment(idx);
            let here = |block: Slot| block.part(start, Shape::from([len]));
            numbers.weight_norm = norm_of(device, network.parameters.value(idx), &mut self.piece)?;
            if optimizer.clip().is_none() {
                numbers.gradient_norm = norm_of(device, here(network.gradients), &mut self.piece)?;
            }
            let update = match optimizer.update_norm(device, network, idx, &mut self.piece)? {
                Some(update) => update,
                // The velocity includes the learning rate.
                None => norm_of(device, here(network.velocities), &mut self.piece)?,
            };
            numbers.update_ratio = update / numbers.weight_norm.max(f64::MIN_POSITIVE);
        }
        Ok(())
    }

    /// The first tensor that is not finite: `conv2.weight`, `the gradient of conv2.weight`.
    pub fn not_finite(&self) -> Option<String> {
        self.layers.iter().find_map(|layer| {
            let name = format!("{}.weight", layer.name);
            match (layer.weight_norm.is_finite(), layer.gradient_norm.is_finite()) {
                (_, false) => Some(format!("the gradient of {name}")),
                (false, true) => Some(name),
                (true, true) => None,
            }
        })
    }
}

/// The number of channels, or of units of a linear layer.
fn units(y: Slot) -> usize {
    *y.shape().dims().last().expect("an output has a shape")
}

/// Copies a tensor from the device, in pieces of the buffer's length.
fn in_pieces(
    device: &Device,
    slot: Slot,
    room: &mut [f32],
    mut see: impl FnMut(&[f32]),
) -> Result<()> {
    let most = room.len();
    for start in (0..slot.len()).step_by(most) {
        let count = most.min(slot.len() - start);
        device.download_into(slot.part(start, Shape::from([count])), &mut room[..count])?;
        see(&room[..count]);
    }
    Ok(())
}

/// The norm of a tensor, read through `room`.
fn norm_of(device: &Device, slot: Slot, room: &mut [f32]) -> Result<f64> {
    let mut sum = 0.0;
    in_pieces(device, slot, room, |piece| sum += squares(piece))?;
    Ok(sum.sqrt())
}
