//! A network as a list of rows; nothing is allocated.

mod bounds;
mod summary;

use crate::custom::{Custom, CustomLayer};
use crate::layer::{self, Layer};
use crate::parameters;
use crate::rows::{
    BatchNorm, Conv, Dropout, LayerNorm, LeakyRelu, Linear, Local, Lrn, NoOptions, Pad, Pool, Row,
    Tanh, Tower, Window,
};
use serde::{Deserialize, Serialize};
use summary::summary;
use tensor::Shape;

/// A network: the size of its images and its rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The network's name.
    pub name: String,
    /// Height, width and channels of an image.
    pub input: [usize; 3],
    /// From the image to the class scores.
    pub rows: Vec<Row>,
}

/// A network that cannot be built.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// A row does not fit what comes before it.
    #[error("{network}, row `{row}`: {reason}")]
    Row {
        /// The network.
        network: String,
        /// The row.
        row: String,
        /// What does not fit, with both shapes.
        reason: String,
    },
    /// Two layers with parameters share a name.
    #[error("{network}: two rows are called `{row}`; each needs its own name")]
    Twice {
        /// The network.
        network: String,
        /// The name.
        row: String,
    },
    /// Its images are too large, or it has too many rows.
    #[error("{network}: {reason}")]
    Size {
        /// The network.
        network: String,
        /// The size and its bound.
        reason: String,
    },
    /// No row has parameters, or the last one is not linear.
    #[error("{network} must end in a `linear` row, whose outputs are the class scores")]
    NoClassifier {
        /// The network.
        network: String,
    },
    /// The TOML text is not a specification.
    #[error("{0}")]
    Toml(String),
}

/// A row's description: a line of `alexnet describe`.
#[derive(Clone, Debug, PartialEq)]
pub struct RowInfo {
    /// `conv1`, `relu1`, `lrn1`, `pool1`: the kind, with the number of the last convolution or
    /// linear layer before it.
    pub name: String,
    /// Its options in short, e.g. `96 of 11 x 11, stride 4`.
    pub summary: String,
    /// Shape of its output for one image.
    pub output: Shape,
    /// Trainable values: weights, biases, slopes, scales, shifts; not running statistics.
    pub parameters: usize,
    /// Multiply-accumulates of one image's forward pass, in layers with weights.
    pub macs: usize,
}

impl Spec {
    /// A network on images of `height` x `width` x `channels`, with no rows yet.
    pub fn image(name: &str, height: usize, width: usize, channels: usize) -> Spec {
        Spec { name: name.to_string(), input: [height, width, channels], rows: Vec::new() }
    }

    fn row(mut self, row: Row) -> Spec {
        self.rows.push(row);
        self
    }

    /// A convolution of `filters` windows.
    pub fn conv(self, name: &str, filters: usize, window: Window) -> Spec {
        let Window { size: window, stride, pad, groups, direct, .. } = window;
        let name = name.to_string();
        self.row(Row::Conv(Conv {
            name,
            filters,
            window,
            stride,
            pad,
            groups,
            direct,
            towers: 1,
            relu: false,
            masked: false,
        }))
    }

    /// A locally connected layer: `filters` windows at every output pixel, each with its own
    /// weights.
    pub fn local(self, name: &str, filters: usize, window: Window) -> Spec {
        let Window { size: window, stride, pad, groups, .. } = window;
        let name = name.to_string();
        self.row(Row::Local(Local { name, filters, window, stride, pad, groups, relu: false }))
    }

    /// A fully connected layer of `outputs` units.
    pub fn linear(self, name: &str, outputs: usize) -> Spec {
        self.row(Row::Linear(Linear { name: name.to_string(), outputs, towers: 1, relu: false }))
    }

    /// max(0, x).
    pub fn relu(self) -> Spec {
        self.row(Row::Relu(NoOptions {}))
    }

    /// tanh(x).
    pub fn tanh(self) -> Spec {
        self.row(Row::Tanh(Tanh { outer: 1.0, inner: 1.0 }))
    }

    /// 1 / (1 + exp(-x)).
    pub fn logistic(self) -> Spec {
        self.row(Row::Logistic(NoOptions {}))
    }

    /// x where x > 0, else `slope` x.
    pub fn leaky_relu(self, slope: f32) -> Spec {
        self.row(Row::LeakyRelu(LeakyRelu { slope }))
    }

    /// A leaky ReLU with a learned slope for each channel.
    pub fn prelu(self) -> Spec {
        self.row(Row::Prelu(NoOptions {}))
    }

    /// x F(x), F the normal distribution.
    pub fn gelu(self) -> Spec {
        self.row(Row::Gelu(NoOptions {}))
    }

    /// Local response normalisation with the paper's constants.
    pub fn lrn(self) -> Spec {
        self.lrn_with(Lrn::default())
    }

    /// Local response normalisation.
    pub fn lrn_with(self, lrn: Lrn) -> Spec {
        self.row(Row::Lrn(lrn))
    }

    /// Batch normalisation.
    pub fn batch_norm(self) -> Spec {
        self.row(Row::BatchNorm(BatchNorm::default()))
    }

    /// Layer normalisation: over the channels of each pixel, or over all units.
    pub fn layer_norm(self) -> Spec {
        self.row(Row::LayerNorm(LayerNorm::default()))
    }

    /// Max pooling.
    pub fn pool(self, window: Window) -> Spec {
        self.pooling(false, window)
    }

    /// Average pooling.
    pub fn average_pool(self, window: Window) -> Spec {
        self.pooling(true, window)
    }

    fn pooling(self, average: bool, window: Window) -> Spec {
        let Window { size, stride, pad: Pad::Same(pad), ceil, .. } = window else {
            panic!("pooling needs the same padding on all sides");
        };
        let (window, first_tie, relu) = (size, false, false);
        self.row(Row::Pool(Pool { average, window, stride, pad, ceil, first_tie, relu }))
    }

    /// Dropout as in the paper: outputs are scaled down at test time.
    pub fn dropout(self, drop: f32) -> Spec {
        self.row(Row::Dropout(Dropout { drop, inverted: false, tower: Tower::default() }))
    }

    /// Dropout that scales up in training.
    pub fn inverted_dropout(self, drop: f32) -> Spec {
        self.row(Row::Dropout(Dropout { drop, inverted: true, tower: Tower::default() }))
    }

    /// A layer that the program defines.
    ///
    /// # Panics
    /// As [`Custom::new`].
    pub fn custom(self, layer: impl CustomLayer + Serialize + 'static) -> Spec {
        self.row(Row::Custom(Custom::new(layer)))
    }

    /// Parses a specification in TOML. Kinds of custom layers must be
    /// [registered](crate::custom::register).
    ///
    /// # Errors
    /// [`SpecError::Toml`] with line and column.
    pub fn from_toml(text: &str) -> Result<Spec, SpecError> {
        toml::from_str(text).map_err(|error| SpecError::Toml(error.to_string()))
    }

    /// The specification in TOML.
    ///
    /// # Panics
    /// If it is one tower of a network: only whole networks are written.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a specification has only strings, numbers and lists")
    }

    /// Number of classes: the outputs of the last row.
    ///
    /// # Errors
    /// [`SpecError::NoClassifier`] if it is not linear.
    pub fn classes(&self) -> Result<usize, SpecError> {
        match self.rows.last() {
            Some(Row::Linear(last)) => Ok(last.outputs),
            _ => Err(SpecError::NoClassifier { network: self.name.clone() }),
        }
    }

    /// The same network for another number of classes.
    ///
    /// # Errors
    /// As [`classes`](Self::classes).
    pub fn with_classes(mut self, classes: usize) -> Result<Spec, SpecError> {
        match self.rows.last_mut() {
            Some(Row::Linear(last)) => last.outputs = classes,
            _ => return Err(SpecError::NoClassifier { network: self.name }),
        }
        Ok(self)
    }

    /// The description of every row.
    ///
    /// # Errors
    /// If the rows do not fit together.
    pub fn describe(&self) -> Result<Vec<RowInfo>, SpecError> {
        self.check_images(1)?;
        let mut output = Shape::from([1, self.input[0], self.input[1], self.input[2]]);
        let names = self.names();
        let mut table = Vec::new();
        for (row, name) in self.rows.iter().zip(names) {
            let layer = self.layer(row, &name, output)?;
            output = layer.output();
            let per_image = match *output.dims() {
                [_, height, width, channels] => Shape::from([height, width, channels]),
                _ => Shape::from([output.len()]),
            };
            table.push(RowInfo {
                summary: summary(row),
                output: per_image,
                parameters: parameters::trainable(&layer.parameters()),
                macs: layer.macs(),
                name,
            });
        }
        // The classifier is on the first tower only.
        if !matches!(self.rows.last(), Some(Row::Exchange(_))) {
            self.classes()?;
        }
        self.check_names()?;
        Ok(table)
    }

    /// Checks the bounds of the input for `images` images and of the number of rows. Describing or
    /// planning the network checks each row.
    ///
    /// # Errors
    /// [`SpecError::Size`] with the bound.
    pub fn check_images(&self, images: usize) -> Result<(), SpecError> {
        bounds::check_input(self.input, images, self.rows.len())
            .map_err(|reason| SpecError::Size { network: self.name.clone(), reason })
    }

    /// Parameters are stored by name, so no two layers may share one.
    fn check_names(&self) -> Result<(), SpecError> {
        let mut names = self.names();
        names.sort();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => {
                Err(SpecError::Twice { network: self.name.clone(), row: pair[0].clone() })
            }
            None => Ok(()),
        }
    }

    /// Number of trainable values.
    ///
    /// # Errors
    /// If the rows do not fit together.
    pub fn parameters(&self) -> Result<usize, SpecError> {
        Ok(self.describe()?.iter().map(|row| row.parameters).sum())
    }

    /// The name and shape of every parameter, including running statistics, in the order of the
    /// rows.
    ///
    /// # Errors
    /// If the rows do not fit together.
    pub fn parameter_shapes(&self) -> Result<Vec<(String, Shape)>, SpecError> {
        self.describe()?;
        let mut output = Shape::from([1, self.input[0], self.input[1], self.input[2]]);
        let mut shapes = Vec::new();
        for (row, name) in self.rows.iter().zip(self.names()) {
            let layer = self.layer(row, &name, output)?;
            output = layer.output();
            let own = layer.parameters().into_iter();
            shapes.extend(own.map(|parameter| (parameter.name, parameter.shape)));
        }
        Ok(shapes)
    }

    /// Multiply-accumulates of one image's forward pass.
    ///
    /// # Errors
    /// If the rows do not fit together.
    pub fn macs(&self) -> Result<usize, SpecError> {
        Ok(self.describe()?.iter().map(|row| row.macs).sum())
    }

    /// Builds the layer of a row on an input of shape `input`.
    pub(crate) fn layer(
        &self,
        row: &Row,
        name: &str,
        input: Shape,
    ) -> Result<Box<dyn Layer>, SpecError> {
        let built = bounds::check_row(row, input).and_then(|()| layer::build(row, name, input));
        let built = built.and_then(|layer| bounds::check_layer(&*layer).map(|()| layer));
        built.map_err(|reason| SpecError::Row {
            network: self.name.clone(),
            row: name.to_string(),
            reason,
        })
    }

    /// A name for every row: its own, or its kind with the number of the last named row (`lrn1`,
    /// `pool1`); a second row of that name gets a letter (`lrn2b`).
    pub(crate) fn names(&self) -> Vec<String> {
        let mut number = String::new();
        let mut names: Vec<String> = Vec::new();
        for row in &self.rows {
            let name = match row {
                Row::Conv(Conv { name, .. })
                | Row::Local(Local { name, .. })
                | Row::Linear(Linear { name, .. }) => {
                    number = name.trim_start_matches(|c: char| !c.is_ascii_digit()).to_string();
                    name.clone()
                }
                Row::Relu(_) => format!("relu{number}"),
                Row::Tanh(_) => format!("tanh{number}"),
                Row::Logistic(_) => format!("logistic{number}"),
                Row::LeakyRelu(_) => format!("leaky_relu{number}"),
                Row::Prelu(_) => format!("prelu{number}"),
                Row::Gelu(_) => format!("gelu{number}"),
                Row::Lrn(_) | Row::LrnPool(_) => format!("lrn{number}"),
                Row::BatchNorm(_) => format!("batch_norm{number}"),
                Row::LayerNorm(_) => format!("layer_norm{number}"),
                Row::Pool(_) => format!("pool{number}"),
                Row::Dropout(_) => format!("dropout{number}"),
                Row::Custom(custom) => format!("{}{number}", custom.kind()),
                Row::Exchange(_) => format!("exchange{number}"),
            };
            let learned = matches!(row, Row::Conv(_) | Row::Local(_) | Row::Linear(_));
            let letters = ('b'..='z').map(|letter| format!("{name}{letter}"));
            let mut names_to_try = std::iter::once(name.clone()).chain(letters);
            let free = names_to_try.find(|candidate| learned || !names.contains(candidate));
            names.push(free.unwrap_or(name));
        }
        names
    }
}
