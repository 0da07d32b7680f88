//! One network cut into towers, each for a device of its own (section 3.5, figure 2).
//!
//! Every tower has an equal share of each layer's filters or units, with their weights: none is on
//! two devices, and no gradient of weights crosses. A layer with a group for each tower sees its
//! own tower only. Any other layer sees all of them: before it, the towers exchange what they have
//! made, and in the backward pass the gradients of the same, each tower's contribution to be added
//! up by the one that made the values. The last layer, the classifier, is on the first tower alone,
//! as in the 2012 source. Every tower reads the images.
//!
//! * [`split`]: the towers' rows, with an [exchange](Exchange) where a layer sees all towers
//! * [`Traffic`]: what crosses there, and how many bytes
//! * [`forward`], [`backward`]: a tower's passes
//! * [`Towers::take`], [`Towers::merge`]: between the weights of the whole and those of its towers

mod weights;

use crate::layer::{Crossing, Phase};
use crate::network::{Network, TrainableNetwork};
use crate::rows::{Conv, Dropout, Exchange, Linear, Lrn, Part, Row};
use crate::spec::{Spec, SpecError};
use tensor::Device;
pub use weights::{Named, WeightsError};

/// A network in towers.
#[derive(Clone, Debug, PartialEq)]
pub struct Towers {
    /// A network for each tower; all have the whole's name.
    pub specs: Vec<Spec>,
    /// What crosses between them, in the order of the forward pass.
    pub traffic: Vec<Traffic>,
    /// The layers that are on the first tower alone.
    first_only: Vec<String>,
}

/// What crosses in front of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// The row whose output crosses.
    pub from: String,
    /// The layer that sees it.
    pub to: String,
    /// Floats that a tower has made of an image.
    pub floats: usize,
    /// How many times such a share crosses: once to each other tower, or only to the first.
    pub copies: usize,
}

impl Traffic {
    /// Bytes that cross in the forward pass for so many images, all directions together; the
    /// backward pass has as many, the other way.
    pub fn bytes(&self, images: usize) -> usize {
        4 * self.floats * self.copies * images
    }
}

impl Towers {
    /// Bytes that cross in a forward pass, all directions together; backward has as many.
    pub fn bytes(&self, images: usize) -> usize {
        self.traffic.iter().map(|traffic| traffic.bytes(images)).sum()
    }
}

/// A tower's forward pass: `cross` does what the towers have to send and receive.
///
/// # Errors
/// If the device fails, or `cross` does.
pub fn forward<E: From<tensor::Error>>(
    tower: &Network,
    device: &mut Device,
    phase: Phase,
    cross: &mut impl FnMut(&mut Device, Crossing) -> Result<(), E>,
) -> Result<(), E> {
    tower.rows().iter().try_for_each(|row| row.forward_across(device, phase, cross))
}

/// A tower's backward pass, as [`forward`].
///
/// # Errors
/// As there.
pub fn backward<E: From<tensor::Error>>(
    tower: &TrainableNetwork,
    device: &mut Device,
    cross: &mut impl FnMut(&mut Device, Crossing) -> Result<(), E>,
) -> Result<(), E> {
    tower.rows().iter().rev().try_for_each(|row| row.backward_across(device, cross))
}

/// Cuts a network into `towers` equal towers.
///
/// # Errors
/// [`SpecError::Row`] naming the first row that cannot be cut, and what to change.
///
/// # Panics
/// If there are to be fewer than two.
pub fn split(spec: &Spec, towers: usize) -> Result<Towers, SpecError> {
    assert!(towers > 1, "{towers} towers");
    let infos = spec.describe()?;
    let cut = Cut { towers, name: &spec.name };
    if !spec.rows.iter().any(|row| matches!(row, Row::Conv(conv) if conv.groups == towers)) {
        let reason = format!(
            "no row has groups = {towers}: this network has not {towers} towers; use one that \
             has, as alexnet-source has two"
        );
        return Err(cut.refuse(&infos[0].name, reason));
    }
    let mut made = Towers {
        specs: vec![Spec { rows: Vec::new(), ..spec.clone() }; towers],
        traffic: Vec::new(),
        first_only: Vec::new(),
    };
    let mut divided = false; // the images are not
    for (idx, (row, info)) in spec.rows.iter().zip(&infos).enumerate() {
        let is_last = idx + 1 == infos.len();
        let crosses = divided && sees_all(row);
        if crosses {
            let from = &infos[idx - 1];
            made.traffic.push(Traffic {
                from: from.name.clone(),
                to: info.name.clone(),
                floats: from.output.len() / towers,
                copies: if is_last { towers - 1 } else { towers * (towers - 1) },
            });
        }
        for (index, half) in made.specs.iter_mut().enumerate() {
            let part = Part { index, of: towers };
            if crosses {
                half.rows.push(Row::Exchange(Exchange { part, to_first: is_last }));
            }
            if !is_last {
                half.rows.push(cut.row(row, &info.name, part, divided)?);
            } else if index == 0 {
                half.rows.push(row.clone());
            }
        }
        if is_last {
            made.first_only.push(info.name.clone());
        }
        divided |= info.parameters > 0;
    }
    Ok(made)
}

/// The same network for one device that sums as its towers do, and so has their bits: the gradient
/// in front of a layer that sees all towers is each tower's sum, added up.
///
/// # Errors
/// As [`split`].
///
/// # Panics
/// As [`split`].
pub fn on_one_device(spec: &Spec, towers: usize) -> Result<Spec, SpecError> {
    let split = split(spec, towers)?;
    let is_cut = |layer: &String| !split.first_only.contains(layer);
    let mut whole = spec.clone();
    for row in &mut whole.rows {
        match row {
            Row::Conv(conv) if conv.groups == 1 && is_cut(&conv.name) => conv.towers = towers,
            Row::Linear(linear) if is_cut(&linear.name) => linear.towers = towers,
            _ => {}
        }
    }
    Ok(whole)
}

/// Whether a row's outputs depend on all channels of its input.
fn sees_all(row: &Row) -> bool {
    match row {
        Row::Conv(conv) => conv.groups == 1,
        Row::Linear(_) => true,
        _ => false,
    }
}

struct Cut<'a> {
    towers: usize,
    name: &'a str,
}

impl Cut<'_> {
    fn refuse(&self, row: &str, reason: String) -> SpecError {
        SpecError::Row { network: self.name.to_string(), row: row.to_string(), reason }
    }

    /// A tower's part of a row, on a part of its input or, at the beginning, on all of it.
    fn row(&self, row: &Row, name: &str, part: Part, divided: bool) -> Result<Row, SpecError> {
        let towers = self.towers;
        let share = |what: &str, n: usize| {
            if n.is_multiple_of(towers) {
                Ok(n / towers)
            } else {
                let reason = format!("its {n} {what} cannot be shared by {towers} towers evenly");
                Err(self.refuse(name, reason))
            }
        };
        Ok(match row {
            Row::Conv(conv) => {
                let groups = match (conv.groups, divided) {
                    (1, _) => 1,
                    (groups, true) => share("groups", groups)?,
                    (groups, false) => {
                        let reason = format!(
                            "the images are not divided into towers, and it has {groups} groups: \
                             write groups = 1"
                        );
                        return Err(self.refuse(name, reason));
                    }
                };
                let filters = share("filters", conv.filters)?;
                // With a stride, only a convolution without groups has another form; one device's
                // has groups here.
                let direct = conv.direct || (conv.groups > 1 && conv.stride > 1);
                Row::Conv(Conv { filters, groups, direct, towers: 1, ..conv.clone() })
            }
            Row::Linear(linear) => {
                let outputs = share("units", linear.outputs)?;
                Row::Linear(Linear { outputs, towers: 1, ..linear.clone() })
            }
            Row::Local(_) => {
                let reason = "locally connected layers cannot be divided into towers; use a \
                              network without them, or one device";
                return Err(self.refuse(name, reason.to_string()));
            }
            Row::LrnPool(_) | Row::Exchange(_) => {
                let reason = "it is not a row as specifications have it: cut a network before its \
                              rows are fused, and once";
                return Err(self.refuse(name, reason.to_string()));
            }
            Row::Prelu(_) | Row::BatchNorm(_) if !divided => {
                let reason = "the images in front of it are not divided into towers, and its \
                              parameters would be: put it behind the first convolution";
                return Err(self.refuse(name, reason.to_string()));
            }
            Row::LayerNorm(_) => {
                let reason = "it normalises over the channels of all towers, which are on other \
                              devices: use batch_norm, or one device";
                return Err(self.refuse(name, reason.to_string()));
            }
            Row::Lrn(lrn) if divided && !lrn.within_channel => {
                if !lrn.towers.is_multiple_of(towers) {
                    let reason = format!(
                        "its windows cross the edge between towers: write towers = {towers}, as \
                         the 2012 source does (alexnet-source)"
                    );
                    return Err(self.refuse(name, reason));
                }
                Row::Lrn(Lrn { towers: lrn.towers / towers, ..*lrn })
            }
            Row::Dropout(dropout) if divided => Row::Dropout(Dropout { part, ..*dropout }),
            other => other.clone(),
        })
    }
}

#[cfg(test)]
mod tests;
