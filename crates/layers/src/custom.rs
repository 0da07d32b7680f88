//! Layers that a program adds to networks.
//!
//! A [`CustomLayer`] states the shape of its output and its parameters, and computes its passes on
//! the slots of a planned network, as the built-in layers do. [`Spec::custom`](crate::Spec::custom)
//! adds it to a network; [`register`] makes it known to files that name it;
//! [`check_gradients`](crate::check_gradients) compares its backward pass with central differences.
//!
//! A network is a list of rows, and a custom layer has one input and one output. Memory is planned,
//! weights and checkpoints are saved, and batches are split into micro-shards and among replicas as
//! with other rows. Towers cannot divide it, nor can hybrid parallelism after a linear row; both are
//! an error at planning.
//!
//! ```
//! use alexnet_layers::custom::{self, CustomLayer};
//! use alexnet_layers::{Gradients, LayerSlots, Phase, Spec, check_gradients, window};
//! use serde::{Deserialize, Serialize};
//! use tensor::{Cpu, Device, Shape};
//!
//! /// x / (1 + exp(-x)), Ramachandran et al. 2017.
//! #[derive(Debug, Serialize, Deserialize)]
//! struct Swish {}
//!
//! impl CustomLayer for Swish {
//!     fn kind(&self) -> &'static str {
//!         "swish"
//!     }
//!
//!     fn output(&self, input: Shape) -> Result<Shape, String> {
//!         Ok(input)
//!     }
//!
//!     fn forward(&self, cpu: &mut Cpu, slots: &LayerSlots, _: Phase) {
//!         let [x, y] = cpu.floats([slots.x, slots.y]);
//!         y.iter_mut().zip(&*x).for_each(|(y, x)| *y = x / (1.0 + (-x).exp()));
//!     }
//!
//!     fn backward(&self, cpu: &mut Cpu, slots: &LayerSlots, gradients: &Gradients) {
//!         let Some(dx) = gradients.dx else { return };
//!         let [x, dy, dx] = cpu.floats([slots.x, gradients.dy, dx]);
//!         for ((dx, dy), x) in dx.iter_mut().zip(&*dy).zip(&*x) {
//!             let s = 1.0 / (1.0 + (-x).exp());
//!             *dx = dy * (s + x * s * (1.0 - s));
//!         }
//!     }
//! }
//!
//! check_gradients(Swish {}, &mut Device::cpu(1), Shape::from([2, 5, 5, 3]))?;
//!
//! let spec = Spec::image("tiny", 12, 12, 3)
//!     .conv("conv1", 8, window(3)).custom(Swish {}).linear("fc2", 10);
//! custom::register::<Swish>("swish"); // before a file is read
//! assert_eq!(Spec::from_toml(&spec.to_toml())?, spec);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod registry;

pub use registry::register;

use crate::init::Initializer;
use crate::parameters::Role;
use crate::slots::{Gradients, LayerSlots, Phase};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt::Debug;
use std::sync::Arc;
use tensor::{Cpu, Cuda, Result, Shape, Target};

/// A kind of layer with its settings, defined outside of this crate.
///
/// Activations are `[images, height, width, channels]` or `[images, units]`. Results must depend
/// only on the operands: a layer whose sums have an order that the shape fixes is bit-identical on
/// any number of threads. The gradient of a parameter is a sum over the images, and replicas add
/// theirs.
pub trait CustomLayer: Debug + Send + Sync {
    /// The name of the kind in specifications, e.g. `swish`; rows are named after it (`swish1`).
    fn kind(&self) -> &'static str;

    /// Its settings in short, for `alexnet describe`.
    fn summary(&self) -> String {
        String::new()
    }

    /// The shape of the output for an input of this shape, with the same number of images.
    ///
    /// # Errors
    /// The reason why the layer does not fit this input; it becomes a
    /// [`SpecError`](crate::SpecError) at planning.
    fn output(&self, input: Shape) -> std::result::Result<Shape, String>;

    /// The parameters for an input of this shape, at most one of each role.
    fn parameters(&self, input: Shape) -> Vec<CustomParameter> {
        let _ = input;
        Vec::new()
    }

    /// Floats of scratch memory that a pass needs, for an input of this shape.
    fn scratch(&self, input: Shape, target: Target) -> usize {
        let _ = (input, target);
        0
    }

    /// Multiply-accumulates of the forward pass.
    fn macs(&self, input: Shape) -> usize {
        let _ = input;
        0
    }

    /// Whether a backward pass reads `y`. If not, the next row may write over it.
    fn reads_output(&self) -> bool {
        true
    }

    /// Whether a pass reads the clock in [`Phase::Train`]: the seed and the step of random draws, or
    /// the number of valid images.
    fn reads_clock(&self) -> bool {
        false
    }

    /// Computes `slots.y` from `slots.x` and `slots.parameters`.
    fn forward(&self, cpu: &mut Cpu, slots: &LayerSlots, phase: Phase);

    /// Computes `gradients.dx`, if present, and all of `gradients.parameters` from `gradients.dy`,
    /// which it may overwrite.
    fn backward(&self, cpu: &mut Cpu, slots: &LayerSlots, gradients: &Gradients);

    /// [`forward`](Self::forward) on a GPU, usually one [`Cuda::launch_on`]. It may be recorded:
    /// what changes from step to step is read from slots.
    ///
    /// # Errors
    /// [`Error::NoKernel`](tensor::Error::NoKernel) by default; if the GPU fails.
    fn forward_cuda(&self, cuda: &mut Cuda, slots: &LayerSlots, phase: Phase) -> Result<()> {
        let _ = (slots, phase);
        cuda.lacks(self.kind())
    }

    /// [`backward`](Self::backward) on a GPU.
    ///
    /// # Errors
    /// As [`forward_cuda`](Self::forward_cuda).
    fn backward_cuda(
        &self,
        cuda: &mut Cuda,
        slots: &LayerSlots,
        gradients: &Gradients,
    ) -> Result<()> {
        let _ = (slots, gradients);
        cuda.lacks(self.kind())
    }
}

/// A parameter of a custom layer. It is called `ROW.ROLE`, e.g. `channel_scale1.scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CustomParameter {
    /// What it does: recipes give roles different rates and decays.
    pub role: Role,
    /// Its shape.
    pub shape: Shape,
    /// Number of inputs summed into one output, for [`Initializer::FanIn`].
    pub fan_in: usize,
    /// Its initial values.
    pub initial: Initializer,
}

/// A row with a custom layer: in TOML `{ custom = { kind = "swish", settings = { beta = 1.5 } } }`.
#[derive(Clone, Debug, Serialize)]
pub struct Custom {
    kind: String,
    #[serde(skip_serializing_if = "toml::Table::is_empty")]
    settings: toml::Table,
    #[serde(skip)]
    layer: Arc<dyn CustomLayer>,
}

impl Custom {
    /// A row with this layer.
    ///
    /// # Panics
    /// If its settings cannot be written as a TOML table.
    pub fn new(layer: impl CustomLayer + Serialize + 'static) -> Custom {
        let kind = layer.kind().to_string();
        let settings = toml::Table::try_from(&layer)
            .unwrap_or_else(|error| panic!("the settings of a `{kind}` layer: {error}"));
        Custom { kind, settings, layer: Arc::new(layer) }
    }

    /// The kind.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The settings, as they are written to files.
    pub fn settings(&self) -> &toml::Table {
        &self.settings
    }

    /// The layer.
    pub fn layer(&self) -> &Arc<dyn CustomLayer> {
        &self.layer
    }
}

impl PartialEq for Custom {
    fn eq(&self, other: &Custom) -> bool {
        self.kind == other.kind && self.settings == other.settings
    }
}

impl<'de> Deserialize<'de> for Custom {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Custom, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            kind: String,
            #[serde(default)]
            settings: toml::Table,
        }
        let Written { kind, settings } = Written::deserialize(deserializer)?;
        let layer = registry::read(&kind, &settings).map_err(serde::de::Error::custom)?;
        Ok(Custom { kind, settings, layer })
    }
}
