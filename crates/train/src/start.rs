//! The initial state of training.

use crate::checkpoint::Checkpoint;
use crate::init::Pretrained;
use crate::recipe::Recipe;
use evaluate::LossSettings;
use std::sync::Arc;
use weights::{Scale, Values};

/// The initial parameters, and the preprocessing of images. Cheap to clone, for several devices.
#[derive(Clone, Debug)]
pub struct Start {
    /// The parameters.
    pub state: InitialState,
    /// The seed of all random draws.
    pub seed: u64,
    /// The mean that is subtracted from images.
    pub mean: Arc<Values>,
    /// The factor of the difference.
    pub scale: Scale,
    /// The loss of training.
    pub loss: LossSettings,
}

/// The source of the initial parameters.
#[derive(Clone, Debug)]
pub enum InitialState {
    /// Random parameters, and some inherited from another run.
    Fresh {
        /// The recipe with their distributions.
        recipe: Arc<Recipe>,
        /// The inherited parameters.
        inherit: Option<Arc<Pretrained>>,
    },
    /// Those of a checkpoint, with the optimizer's state.
    Checkpoint(Arc<Checkpoint>),
}

impl Start {
    /// Random parameters only, and a loss without class weights.
    pub fn fresh(recipe: &Recipe, seed: u64, mean: Values) -> Start {
        let (recipe, mean) = (Arc::new(recipe.clone()), Arc::new(mean));
        let scale = recipe.input.scale;
        let label_smoothing = recipe.label_smoothing;
        let loss = LossSettings { label_smoothing, ..LossSettings::default() };
        Start { state: InitialState::Fresh { recipe, inherit: None }, seed, mean, scale, loss }
    }
}
