//! Parameters that a run inherits from another one.

use crate::checkpoint::{self, Checkpoint};
use crate::pattern::fits;
use crate::recipe::Optimizer;
use crate::{Error, Result};
use kernels::denormal;
use layers::{Parameter, TrainableNetwork, layer_of};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use tensor::Device;
use weights::import::ImportOptions;
use weights::{About, Mean, Values, Weights};

/// Parameters of another run or of another program's file, by name, with their classes and input.
#[derive(Clone, Debug)]
pub struct Pretrained {
    path: PathBuf,
    about: About,
    mean: Values,
    /// Patterns of the layers to copy; `None`: all, but the last only if its shape is the same.
    layers: Option<Vec<String>>,
    values: HashMap<String, Values>,
    velocities: HashMap<String, Values>,
    /// The `recipe.optimizer` of the run that has the velocities.
    optimizer: String,
}

/// The optimizer of runs whose recipe names none.
const DEFAULT_OPTIMIZER: &str = "sgd";

impl Pretrained {
    /// Reads the parameters of a run from its folder, of a file of weights or a checkpoint, or of a
    /// file of another program that `options` describe. For a run without weights, the newest
    /// checkpoint is read, and a note passed to `say`. `layers` are names, in which `*` matches any
    /// text; without them all layers are copied, the last only if both networks have the same
    /// classes ([`match_classes`](Self::match_classes)).
    ///
    /// With `velocities`, those are copied, too: `from` is then a run's folder, whose newest
    /// checkpoint is read.
    ///
    /// # Errors
    /// [`Error::Weights`] or [`Error::Checkpoint`] if nothing can be read.
    pub fn read(
        from: impl AsRef<Path>,
        layers: Option<Vec<String>>,
        velocities: bool,
        options: &ImportOptions,
        say: &mut dyn FnMut(&str),
    ) -> Result<Pretrained> {
        let from = from.as_ref();
        if velocities {
            let Some(checkpoint) = checkpoint::find_newest(from, &mut |_| ())? else {
                let reason = "this run has no checkpoint, which velocities are read from";
                return Err(Error::Checkpoint { path: from.into(), reason: reason.to_string() });
            };
            let optimizer = checkpoint.identity.get("recipe.optimizer");
            let optimizer = optimizer.unwrap_or(DEFAULT_OPTIMIZER).trim_matches('"').to_string();
            let Checkpoint { path, about, mean, parameters: values, velocities, .. } = checkpoint;
            return Ok(Pretrained { path, about, mean, layers, values, velocities, optimizer });
        }
        let (path, weights) = if from.is_dir() {
            weights::run::newest_weights(from, say)?
        } else {
            (from.to_path_buf(), Weights::open(from, options)?)
        };
        let Weights { about, mean, parameters } = weights;
        let values = parameters.into_iter().collect();
        let (velocities, optimizer) = (HashMap::new(), DEFAULT_OPTIMIZER.to_string());
        Ok(Pretrained { path, about, mean, layers, values, velocities, optimizer })
    }

    /// Reorders the last layer's outputs to the order of `classes`, ids with their readable `names`
    /// (as many, or none); removes the layer if one of the classes is not among its own. Classes are
    /// matched by their ids, or else by their names. A layer that was asked for by name and has as
    /// many outputs is kept in its order. What is done is passed to `say`.
    ///
    /// # Errors
    /// [`Error::Weights`] if a class matches several.
    pub fn match_classes(
        &mut self,
        classes: &[String],
        names: &[String],
        say: &mut dyn FnMut(&str),
    ) -> Result<()> {
        let shapes = self.about.model.parameter_shapes().unwrap_or_default();
        let last = shapes.last().map_or("", |(name, _)| layer_of(name)).to_string();
        if self.about.classes == classes || !self.is_chosen(&last) {
            return Ok(());
        }
        let refused = |reason: String| {
            Error::from(weights::Error::Unusable { path: self.path.clone(), reason })
        };
        let of_file = ClassNames { ids: &self.about.classes, names: &self.about.class_names };
        // Numbers that a file without names stands for match only all together.
        let matched = if self.about.has_numbered_classes() {
            Match::Missing(classes.first().cloned().unwrap_or_default())
        } else {
            of_file.positions(ClassNames { ids: classes, names })
        };
        let (path, count) = (self.path.display(), classes.len());
        match matched {
            Match::Rows(rows) => {
                say(&format!(
                    "init    {last}: the outputs of {count} of the {} classes of {path}",
                    self.about.classes.len()
                ));
                for tensors in [&mut self.values, &mut self.velocities] {
                    let of_last = tensors.iter_mut().filter(|(name, _)| layer_of(name) == last);
                    of_last.for_each(|(_, values)| take_rows(values, &rows));
                }
                self.about.classes = classes.to_vec();
            }
            Match::Ambiguous(class) => {
                return Err(refused(format!(
                    "the class `{class}` matches several: call the data's classes by their ids \
                     instead of names, or leave the last layer out"
                )));
            }
            // With another number of outputs `taken` reports both shapes.
            Match::Missing(_) if self.layers.is_some() && self.about.classes.len() != count => {}
            Match::Missing(class) if self.layers.is_some() => say(&format!(
                "WARNING: {last} keeps the order of its outputs in {path}, which does not have the \
                 class `{class}`"
            )),
            Match::Missing(class) => {
                say(&format!(
                    "init    {last} is reinitialised: {path} does not have the class `{class}`"
                ));
                for tensors in [&mut self.values, &mut self.velocities] {
                    tensors.retain(|name, _| layer_of(name) != last);
                }
            }
        }
        Ok(())
    }

    /// Whether a layer is to be copied if it fits.
    fn is_chosen(&self, layer: &str) -> bool {
        self.layers.as_ref().is_none_or(|layers| layers.iter().any(|name| fits(name, layer)))
    }

    /// The network's metadata.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// The mean that was subtracted from its images, if it is of this kind and, as an image, of this
    /// height and width.
    pub fn mean(&self, kind: Mean, (height, width): (usize, usize)) -> Option<&Values> {
        let is_same = self.about.input.mean == kind
            && (kind == Mean::Color || self.mean.shape == [height, width, 3]);
        is_same.then_some(&self.mean)
    }

    /// The file that was read.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The indices in `entries` of the parameters that are copied.
    ///
    /// # Errors
    /// [`Error::Weights`] if one of them is missing or has another shape, or if a name matches no
    /// layer.
    pub fn taken(&self, entries: &[Parameter]) -> Result<Vec<usize>> {
        let refused = |reason: String| {
            Error::from(weights::Error::Unusable { path: self.path.clone(), reason })
        };
        if let Some(layers) = &self.layers
            && let Some(idle) =
                layers.iter().find(|name| !entries.iter().any(|e| fits(name, e.layer())))
        {
            return Err(refused(format!("the new network has no layer that fits `{idle}`")));
        }
        let last = entries.last().map_or("", Parameter::layer);
        let mut taken = Vec::new();
        for (idx, entry) in entries.iter().enumerate() {
            let chosen = match &self.layers {
                Some(_) => self.is_chosen(entry.layer()),
                None => entry.layer() != last || self.has(entry),
            };
            if !chosen {
                continue;
            }
            if !self.has(entry) {
                let there = match self.values.get(&entry.name) {
                    Some(found) => format!("is {:?}", found.shape),
                    None => "is not there".to_string(),
                };
                return Err(refused(format!(
                    "`{}` {there}, and the new network has {}: name the layers to copy",
                    entry.name, entry.shape
                )));
            }
            taken.push(idx);
        }
        Ok(taken)
    }

    /// Checks that velocities mean the same to the optimizer that takes them over.
    ///
    /// # Errors
    /// [`Error::Recipe`].
    pub(crate) fn check_velocities(&self, optimizer: Optimizer) -> Result<()> {
        if self.velocities.is_empty() {
            return Ok(());
        }
        let remedy = "take its weights alone (leave velocities out of init)";
        if optimizer.is_adam() {
            return Err(Error::Recipe(format!(
                "velocities of another run are no moments of Adam's: {remedy}"
            )));
        }
        let own = match optimizer {
            Optimizer::SgdPytorch => "sgd-pytorch",
            _ => DEFAULT_OPTIMIZER,
        };
        if own == self.optimizer {
            return Ok(());
        }
        Err(Error::Recipe(format!(
            "{} has velocities of recipe.optimizer = \"{}\", and this run has \"{own}\", whose \
             velocities are scaled differently: use the same optimizer, or {remedy}",
            self.path.display(),
            self.optimizer
        )))
    }

    fn has(&self, entry: &Parameter) -> bool {
        self.values.get(&entry.name).is_some_and(|found| found.shape == entry.shape.dims())
    }

    /// Copies parameters to the device; `whole` are those of the whole network, and `share` returns
    /// the elements that the device holds.
    ///
    /// # Errors
    /// As [`taken`](Self::taken); [`Error::Device`].
    pub(crate) fn upload(
        &self,
        device: &mut Device,
        network: &TrainableNetwork,
        whole: &[Parameter],
        share: impl Fn(&Parameter) -> Range<usize>,
    ) -> Result<()> {
        for taken in self.taken(whole)? {
            let name = &whole[taken].name;
            let parameters = &network.parameters;
            let Some(idx) = parameters.entries.iter().position(|entry| entry.name == *name) else {
                continue; // it is on another device
            };
            let own = share(&parameters.entries[idx]);
            let values = &self.values[name].values[own.clone()];
            denormal::upload(device, parameters.value(idx), values)?;
            if let Some(from) = self.velocities.get(name) {
                denormal::upload(device, network.velocity(idx), &from.values[own])?;
            }
        }
        Ok(())
    }

    /// A digest of all parameters, which is part of a run's identity.
    pub(crate) fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for tensors in [&self.values, &self.velocities] {
            let mut names: Vec<&String> = tensors.keys().collect();
            names.sort();
            for name in names {
                hash.update(name);
                hash.update(bytemuck::cast_slice::<f32, u8>(&tensors[name].values));
            }
        }
        self.layers.iter().flatten().for_each(|name| hash.update(name));
        hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Replaces a tensor by some of its rows; its first extent counts them.
fn take_rows(values: &mut Values, rows: &[usize]) {
    let length: usize = values.shape[1..].iter().product();
    let row = |&row: &usize| &values.values[row * length..(row + 1) * length];
    values.values = rows.iter().flat_map(row).copied().collect();
    values.shape[0] = rows.len();
}

/// Where classes are among those of a file.
enum Match {
    /// The place of each.
    Rows(Vec<usize>),
    /// This one is not among them.
    Missing(String),
    /// This one's name is that of several.
    Ambiguous(String),
}

/// Classes: unique ids, and readable names or none.
#[derive(Clone, Copy)]
struct ClassNames<'a> {
    ids: &'a [String],
    names: &'a [String],
}

impl ClassNames<'_> {
    /// Finds each of `wanted` among these classes, by ids or else by names.
    fn positions(self, wanted: ClassNames<'_>) -> Match {
        let by_id: HashMap<&str, usize> =
            self.ids.iter().enumerate().map(|(at, id)| (id.as_str(), at)).collect();
        let all = wanted.ids.iter().map(|id| by_id.get(id.as_str()).copied());
        if let Some(positions) = all.collect::<Option<Vec<_>>>() {
            return Match::Rows(positions);
        }
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for at in 0..self.ids.len() {
            by_name.entry(self.name(at)).or_default().push(at);
        }
        let mut positions = Vec::new();
        for (at, id) in wanted.ids.iter().enumerate() {
            match by_name.get(&wanted.name(at)).map(Vec::as_slice) {
                None | Some([]) => return Match::Missing(id.clone()),
                Some([position]) if !positions.contains(position) => positions.push(*position),
                Some(_) => return Match::Ambiguous(id.clone()),
            }
        }
        Match::Rows(positions)
    }

    /// A class's name for comparisons: its id if it has none; `Tabby_Cat` is `tabby cat`.
    fn name(self, at: usize) -> String {
        let name = self.names.get(at).filter(|name| !name.is_empty()).unwrap_or(&self.ids[at]);
        name.to_lowercase().replace('_', " ")
    }
}
