//! Fits the tensors of another program's file into a network.
//!
//! Layers are paired by their names, if those of the file are the network's. Else they are paired
//! by the shapes of all their parameters, and those with equal shapes in their order: that of the
//! file, or of their names where a format sorts tensors. Most programs store
//! filters as `[filters, channels, height, width]` and flatten maps in that order; here channels
//! come last, so filters and the columns of the first linear layer are transposed. Filters
//! `[filters, height, width, channels]` are recognised by their shapes; such a file is taken to
//! flatten maps in that order, too.

mod expected;
mod layout;

use super::names::{shown, suffix};
use super::{Format, TensorInfo, TensorReader};
use crate::Values;
use ::layers::{Role, Row, Spec};
pub(crate) use expected::layers;
use expected::{Expected, Layer};
pub(crate) use layout::{Layout, Order};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt::Write;

/// A network whose parameters a file has.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// The network, with as many classes as the file has. Its dropout scales in training, as that of
    /// all these programs does.
    pub spec: Spec,
    /// For each parameter of the network, in its order: name, shape and the tensor's index.
    parameters: Vec<Source>,
}

/// Where a parameter of the network comes from.
#[derive(Clone, Debug, PartialEq)]
struct Source {
    name: String,
    shape: Vec<usize>,
    /// Among the tensors of the file.
    tensor: usize,
    layout: Layout,
}

/// A layer's parameters in the file: those of one name up to its last dot.
struct Group<'a> {
    name: &'a str,
    /// Indices of tensors with what each is.
    tensors: Vec<(Role, usize)>,
}

impl Fitted {
    /// Fits the tensors of `file` into `spec`; the file determines the number of classes.
    ///
    /// # Errors
    /// A table of all layers with both shapes, if they do not fit; or what is wrong with `spec`.
    pub fn new(file: &dyn TensorReader, spec: &Spec) -> Result<Fitted, String> {
        let groups = groups(file);
        Fitted::of(file, &groups, spec)?.ok_or_else(|| mismatch(file, &groups, spec))
    }

    /// As [`new`](Self::new), for a file's tensors by layers; `None` if they do not fit.
    fn of(
        file: &dyn TensorReader,
        groups: &[Group<'_>],
        spec: &Spec,
    ) -> Result<Option<Fitted>, String> {
        for order in [Order::ChannelsFirst, Order::ChannelsLast] {
            let layers = layers(spec, order, file.is_bgr())?;
            if let Some(paired) = pair(file.tensors(), groups, &layers) {
                return Fitted::paired(file, spec, order, (&layers, &paired)).map(Some);
            }
        }
        Ok(None)
    }

    /// The network whose layers have been paired with those of the file.
    fn paired(
        file: &dyn TensorReader,
        spec: &Spec,
        order: Order,
        (layers, paired): (&[Layer], &[&Group<'_>]),
    ) -> Result<Fitted, String> {
        let outputs = match (layers.last(), paired.last()) {
            (Some(layer), Some(group)) => {
                let weight = find(group, layer.parameters[0].role).expect("a pair has its weight");
                file.tensors()[weight].shape[0]
            }
            _ => return Err(format!("`{}` has no parameters", spec.name)),
        };
        let mut spec = spec.clone().with_classes(outputs).map_err(|error| error.to_string())?;
        for row in &mut spec.rows {
            if let Row::Dropout(dropout) = row {
                dropout.inverted = true;
            }
        }
        let layers = self::layers(&spec, order, file.is_bgr())?;
        let parameters = layers.into_iter().zip(paired).flat_map(|(layer, group)| {
            layer.parameters.into_iter().map(move |expected| Source {
                tensor: find(group, expected.role).expect("a pair has all its parameters"),
                name: expected.name,
                shape: expected.shape,
                layout: expected.layout,
            })
        });
        Ok(Fitted { parameters: parameters.collect(), spec })
    }

    /// Those of `candidates` that `file` fits into.
    ///
    /// # Errors
    /// If there are none, what differs from the one that most layers fit.
    pub fn among(file: &dyn TensorReader, candidates: &[Spec]) -> Result<Vec<Fitted>, String> {
        let (groups, mut fitted) = (groups(file), Vec::new());
        for spec in candidates {
            fitted.extend(Fitted::of(file, &groups, spec)?);
        }
        if !fitted.is_empty() {
            return Ok(fitted);
        }
        let common = |spec: &&Spec| {
            let layers = layers(spec, Order::ChannelsFirst, false).unwrap_or_default();
            let fits = |layer: &Layer| groups.iter().any(|g| layer.fits(file.tensors(), g, false));
            layers.iter().filter(|layer| fits(layer)).count()
        };
        let nearest = candidates.iter().max_by_key(common);
        let nearest = nearest.ok_or("there is no network to compare its tensors with")?;
        Err(mismatch(file, &groups, nearest))
    }

    /// Reads the parameters, in this program's names and layout.
    ///
    /// # Errors
    /// If the file cannot be read or is damaged.
    pub fn read(&self, file: &mut dyn TensorReader) -> Result<Vec<(String, Values)>, String> {
        let read = |source: &Source| {
            let values = source.layout.apply(file.read(source.tensor)?);
            if values.len() != source.shape.iter().product::<usize>() {
                let (name, count, shape) = (&source.name, values.len(), &source.shape);
                return Err(format!("{name} has {count} values instead of {shape:?}"));
            }
            Ok((source.name.clone(), Values { shape: source.shape.clone(), values }))
        };
        self.parameters.iter().map(read).collect()
    }
}

impl Layer {
    /// Whether a group has these parameters and no others; the last layer may have any number of
    /// outputs.
    fn fits(&self, tensors: &[TensorInfo], group: &Group<'_>, is_last: bool) -> bool {
        let shape = |expected: &Expected| {
            find(group, expected.role).map(|at| squeezed(&tensors[at].shape, expected))
        };
        let outputs = self.parameters.first().and_then(shape).and_then(|s| s.first().copied());
        group.tensors.len() == self.parameters.len()
            && self.parameters.iter().all(|expected| {
                let mut wanted = expected.foreign.clone();
                if let (true, Some(outputs), Some(first)) = (is_last, outputs, wanted.first_mut()) {
                    *first = outputs;
                }
                shape(expected) == Some(wanted)
            })
    }
}

/// The shape of a tensor; `[outputs, channels, height, width]` of a linear layer that is stored as a
/// convolution over all of its input becomes `[outputs, inputs]`.
fn squeezed(shape: &[usize], expected: &Expected) -> Vec<usize> {
    match shape {
        [outputs, rest @ ..] if expected.foreign.len() == 2 && rest.len() == 3 => {
            vec![*outputs, rest.iter().product()]
        }
        shape => shape.to_vec(),
    }
}

/// The tensor of a group with the name of a role. Shapes are compared by the caller, so layers whose
/// parameters only differ in what they do, as those of a program's own layers, fit too.
fn find(group: &Group<'_>, role: Role) -> Option<usize> {
    let is = |own: Role| suffix(own) == suffix(role);
    group.tensors.iter().find(|(own, _)| is(*own)).map(|(_, tensor)| *tensor)
}

/// Pairs each layer with the group of its name if all groups have names and shapes of layers, else
/// with the first group of its shapes that is left; `None` if some are left over.
fn pair<'a, 'b>(
    tensors: &[TensorInfo],
    groups: &'b [Group<'a>],
    layers: &[Layer],
) -> Option<Vec<&'b Group<'a>>> {
    by_name(tensors, groups, layers).or_else(|| by_shape(tensors, groups, layers))
}

fn by_name<'a, 'b>(
    tensors: &[TensorInfo],
    groups: &'b [Group<'a>],
    layers: &[Layer],
) -> Option<Vec<&'b Group<'a>>> {
    let named: HashMap<&str, &Group<'_>> = groups.iter().map(|group| (group.name, group)).collect();
    if groups.len() != layers.len() || named.len() != layers.len() {
        return None;
    }
    let of = |(at, layer): (usize, &Layer)| {
        let group = *named.get(layer.name.as_str())?;
        layer.fits(tensors, group, at + 1 == layers.len()).then_some(group)
    };
    layers.iter().enumerate().map(of).collect()
}

fn by_shape<'a, 'b>(
    tensors: &[TensorInfo],
    groups: &'b [Group<'a>],
    layers: &[Layer],
) -> Option<Vec<&'b Group<'a>>> {
    let mut left: Vec<&Group<'_>> = groups.iter().collect();
    let (last, others) = layers.split_last()?;
    let mut take = |layer: &Layer, is_last| {
        let at = left.iter().position(|group| layer.fits(tensors, group, is_last))?;
        Some(left.remove(at))
    };
    let mut paired: Vec<_> =
        others.iter().map(|layer| take(layer, false)).collect::<Option<_>>()?;
    paired.push(take(last, true)?);
    left.is_empty().then_some(paired)
}

/// The floating-point tensors of a file by layers, in their order.
fn groups(file: &dyn TensorReader) -> Vec<Group<'_>> {
    // Integers are counts, such as `num_batches_tracked`.
    let is_float = |(_, tensor): &(usize, &TensorInfo)| tensor.element.is_float();
    let tensors: Vec<_> = file.tensors().iter().enumerate().filter(is_float).collect();
    let mut groups: Vec<Group<'_>> = Vec::new();
    let split = |tensor: &'_ TensorInfo| tensor.name.rsplit_once('.').map(|(layer, _)| layer.len());
    let suffix = |tensor: &'_ TensorInfo| tensor.name[split(tensor).unwrap_or(0)..].to_string();
    if !tensors.iter().all(|(_, tensor)| role(&suffix(tensor), false).is_some()) {
        tensors.iter().for_each(|&(index, tensor)| add_in_order(&mut groups, tensor, index));
        return groups;
    }
    let mut places = HashMap::new();
    for (index, tensor) in tensors {
        let layer = &tensor.name[..split(tensor).unwrap_or(0)];
        let at = *places.entry(layer).or_insert(groups.len());
        if at == groups.len() {
            groups.push(Group { name: layer, tensors: Vec::new() });
        }
        groups[at].tensors.push((Role::Weight, index));
    }
    for Group { tensors, .. } in &mut groups {
        let has_vectors_only = tensors.iter().all(|(_, at)| file.tensors()[*at].shape.len() == 1);
        let is_slope = has_vectors_only && tensors.len() == 1;
        for (own, index) in tensors {
            let suffix = suffix(&file.tensors()[*index]);
            *own = role(&suffix, has_vectors_only).expect("every suffix is known here");
            if is_slope {
                *own = Role::Slope;
            }
        }
    }
    if file.format() == Format::Safetensors {
        groups.sort_by(|a, b| natural(a.name, b.name));
    }
    groups
}

/// What a parameter is, by the end of its name; a layer with vectors only is a normalisation.
fn role(suffix: &str, is_norm: bool) -> Option<Role> {
    Some(match suffix {
        ".weight" if is_norm => Role::Scale,
        ".bias" if is_norm => Role::Shift,
        ".weight" => Role::Weight,
        ".bias" => Role::Bias,
        ".running_mean" => Role::Mean,
        ".running_var" => Role::Variance,
        _ => return None,
    })
}

/// Without names to go by, a tensor of several dimensions begins a layer, and vectors follow: one
/// bias, or the four of a batch normalisation.
fn add_in_order<'a>(groups: &mut Vec<Group<'a>>, tensor: &'a TensorInfo, index: usize) {
    const NORM: [Role; 4] = [Role::Scale, Role::Shift, Role::Mean, Role::Variance];
    let new = |role| Group { name: &tensor.name, tensors: vec![(role, index)] };
    if tensor.shape.len() > 1 {
        return groups.push(new(Role::Weight));
    }
    match groups.last_mut() {
        Some(Group { tensors, .. }) if tensors[0].0 == Role::Weight && tensors.len() == 1 => {
            tensors.push((Role::Bias, index));
        }
        Some(Group { tensors, .. }) if tensors[0].0 == Role::Scale && tensors.len() < 4 => {
            tensors.push((NORM[tensors.len()], index));
        }
        _ => groups.push(new(Role::Scale)),
    }
}

/// Compares names with the numbers in them as numbers: `features.3` before `features.10`, and
/// `conv2` before `conv10`.
fn natural(a: &str, b: &str) -> Ordering {
    fn runs(part: &str) -> impl Iterator<Item = (u64, String)> {
        let runs = part.as_bytes().chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit());
        runs.map(|run| {
            let run = String::from_utf8_lossy(run).into_owned();
            (run.parse().unwrap_or(u64::MAX), run)
        })
    }
    let key =
        |name: &str| -> Vec<(u64, String)> { name.split(['.', '_']).flat_map(runs).collect() };
    key(a).cmp(&key(b))
}

/// Layers of the table in [`mismatch`].
const MAX_ROWS: usize = 40;

/// All layers of a network beside those of the file: first each with the one that it fits, and with
/// `!` each layer that fits none beside one that is left over.
fn mismatch(file: &dyn TensorReader, groups: &[Group<'_>], spec: &Spec) -> String {
    let layers = layers(spec, Order::ChannelsFirst, false).unwrap_or_default();
    let tensors = file.tensors();
    let mut text = format!(
        "its {} layers do not fit `{}`, which has {}:\n",
        groups.len(),
        spec.name,
        layers.len()
    );
    let shapes = |all: Vec<&[usize]>| {
        let each: Vec<String> = all.iter().map(|shape| format!("{shape:?}")).collect();
        each.join(" ")
    };
    let mut left: Vec<&Group<'_>> = groups.iter().collect();
    let fitting = layers.iter().enumerate().map(|(at, layer)| {
        let is_last = at + 1 == layers.len();
        let found = left.iter().position(|group| layer.fits(tensors, group, is_last));
        found.map(|found| left.remove(found))
    });
    let fitting: Vec<Option<&Group<'_>>> = fitting.collect();
    let mut left = left.into_iter();
    let mut rows: Vec<_> = layers
        .iter()
        .zip(fitting)
        .map(|(layer, fits)| {
            let mark = if fits.is_some() { ' ' } else { '!' };
            (mark, Some(layer), fits.or_else(|| left.next()))
        })
        .collect();
    rows.extend(left.map(|group| ('!', None, Some(group))));
    let _ = writeln!(text, "  {:<28} {:<28} in the file", "layer", "the network");
    for (mark, layer, group) in rows.iter().take(MAX_ROWS) {
        let ours = layer.map_or(String::new(), |layer| {
            shapes(layer.parameters.iter().map(|expected| &expected.foreign[..]).collect())
        });
        let theirs = group.map_or(String::new(), |group| {
            let all = group.tensors.iter().map(|(_, index)| &tensors[*index].shape[..]).collect();
            format!("{} {}", shapes(all), shown(group.name))
        });
        let name = layer.map_or("", |layer| &layer.name);
        let _ = writeln!(text, "{mark} {name:<28} {ours:<28} {theirs}");
    }
    if rows.len() > MAX_ROWS {
        let _ = writeln!(text, "  and {} more", rows.len() - MAX_ROWS);
    }
    text
}

#[cfg(test)]
mod tests;
