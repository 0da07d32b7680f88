//! A network split into towers, one per device (section 3.5, figure 2).
//!
//! Every tower has an equal share of each layer's filters or units, with their weights: no weight
//! is on two devices, and no weight gradient is exchanged. A layer with one group per tower reads
//! only its own tower's activations. Before any other layer the towers exchange their activations;
//! in the backward pass they return the gradients, and each tower sums those of its own
//! activations. The last layer, the classifier, is on the first tower only, as in the 2012 source.
//! Every tower reads the images.
//!
//! * [`split`]: the towers' rows, with an [exchange](Exchange) before a layer that reads all towers
//! * [`TowerTraffic`]: the bytes exchanged there
//! * [`forward`], [`backward`]: a tower's passes
//! * [`Towers::take`], [`Towers::merge`]: convert between the weights of the network and its towers

mod weights;

use crate::layer::Transfer;
use crate::network::{Network, TrainableNetwork};
use crate::rows::{Conv, Dropout, Exchange, Linear, Lrn, Row, Tower};
use crate::slots::Phase;
use crate::spec::{Spec, SpecError};
use tensor::Device;
pub use weights::{NamedValues, WeightsError};

/// A network split into towers.
#[derive(Clone, Debug, PartialEq)]
pub struct Towers {
    /// One network per tower; all have the name of the whole network.
    pub specs: Vec<Spec>,
    /// The exchanges between them, in the order of the forward pass.
    pub traffic: Vec<TowerTraffic>,
    /// The layers that are on the first tower only.
    first_only: Vec<String>,
}

/// One exchange between towers, before a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TowerTraffic {
    /// The row whose output is sent.
    pub from: String,
    /// The layer that reads it.
    pub to: String,
    /// Floats of one image that one tower sends in one copy.
    pub floats: usize,
    /// Copies sent by all towers: one to each other tower, or only to the first.
    pub copies: usize,
}

impl TowerTraffic {
    /// Bytes sent by all towers in the forward pass of `images` images; the backward pass sends as
    /// many.
    pub fn bytes(&self, images: usize) -> usize {
        4 * self.floats * self.copies * images
    }
}

impl Towers {
    /// Bytes sent by all towers in a forward pass; the backward pass sends as many.
    pub fn bytes(&self, images: usize) -> usize {
        self.traffic.iter().map(|traffic| traffic.bytes(images)).sum()
    }
}

/// A tower's forward pass; `transfer` runs the transfers between the towers.
///
/// # Errors
/// If the device or `transfer` fails.
pub fn forward<E: From<tensor::Error>>(
    tower: &Network,
    device: &mut Device,
    phase: Phase,
    transfer: &mut impl FnMut(&mut Device, Transfer) -> Result<(), E>,
) -> Result<(), E> {
    tower.rows().iter().try_for_each(|row| row.forward_exchanging(device, phase, transfer))
}

/// A tower's backward pass; `transfer` runs the transfers between the towers.
///
/// # Errors
/// If the device or `transfer` fails.
pub fn backward<E: From<tensor::Error>>(
    tower: &TrainableNetwork,
    device: &mut Device,
    transfer: &mut impl FnMut(&mut Device, Transfer) -> Result<(), E>,
) -> Result<(), E> {
    tower.rows().iter().rev().try_for_each(|row| row.backward_exchanging(device, transfer))
}

/// Splits a network into `towers` equal towers.
///
/// # Errors
/// [`SpecError::Row`] naming the first row that cannot be split, and what to change.
///
/// # Panics
/// If `towers` is less than 2.
pub fn split(spec: &Spec, towers: usize) -> Result<Towers, SpecError> {
    assert!(towers > 1, "{towers} towers");
    let infos = spec.describe()?;
    let splitter = Splitter { towers, name: &spec.name };
    if !spec.rows.iter().any(|row| matches!(row, Row::Conv(conv) if conv.groups == towers)) {
        let reason = format!(
            "no row has groups = {towers}, so the network cannot be split into {towers} towers; \
             use one with such groups, e.g. alexnet-source with two"
        );
        return Err(splitter.refuse(&infos[0].name, reason));
    }
    let mut made = Towers {
        specs: vec![Spec { rows: Vec::new(), ..spec.clone() }; towers],
        traffic: Vec::new(),
        first_only: Vec::new(),
    };
    let mut divided = false; // every tower reads whole images
    for (idx, (row, info)) in spec.rows.iter().zip(&infos).enumerate() {
        let is_last = idx + 1 == infos.len();
        let exchanges = divided && reads_all_channels(row);
        if exchanges {
            let from = &infos[idx - 1];
            made.traffic.push(TowerTraffic {
                from: from.name.clone(),
                to: info.name.clone(),
                floats: from.output.len() / towers,
                copies: if is_last { towers - 1 } else { towers * (towers - 1) },
            });
        }
        for (index, spec) in made.specs.iter_mut().enumerate() {
            let tower = Tower { index, count: towers };
            if exchanges {
                spec.rows.push(Row::Exchange(Exchange { tower, to_first: is_last }));
            }
            if !is_last {
                spec.rows.push(splitter.row(row, &info.name, tower, divided)?);
            } else if index == 0 {
                spec.rows.push(row.clone());
            }
        }
        if is_last {
            made.first_only.push(info.name.clone());
        }
        divided |= info.parameters > 0;
    }
    Ok(made)
}

/// The same network for one device, with sums in the order of its towers, so that results are
/// bit-identical: the input gradient of a layer that reads all towers is summed tower by tower.
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
fn reads_all_channels(row: &Row) -> bool {
    match row {
        Row::Conv(conv) => conv.groups == 1,
        Row::Linear(_) => true,
        _ => false,
    }
}

struct Splitter<'a> {
    towers: usize,
    name: &'a str,
}

impl Splitter<'_> {
    fn refuse(&self, row: &str, reason: String) -> SpecError {
        SpecError::Row { network: self.name.to_string(), row: row.to_string(), reason }
    }

    /// A tower's part of a row; `divided` if its input is divided among the towers.
    fn row(&self, row: &Row, name: &str, tower: Tower, divided: bool) -> Result<Row, SpecError> {
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
                // With a stride only a convolution without groups has another algorithm than the
                // direct one, and the whole network's convolution has groups here.
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
            Row::Custom(_) => {
                let reason = "custom layers cannot be divided into towers; use data parallelism, or \
                              one device";
                return Err(self.refuse(name, reason.to_string()));
            }
            Row::LrnPool(_) | Row::Exchange(_) => {
                let reason = "it is not a row of a written specification: split a network before \
                              its rows are fused, and only once";
                return Err(self.refuse(name, reason.to_string()));
            }
            Row::Prelu(_) | Row::BatchNorm(_) if !divided => {
                let reason = "its input, the images, is not divided into towers, but its \
                              parameters would be: put it after the first convolution";
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
            Row::Dropout(dropout) if divided => Row::Dropout(Dropout { tower, ..*dropout }),
            other => other.clone(),
        })
    }
}

#[cfg(test)]
mod tests;
