//! What training starts from.

use crate::checkpoint::Checkpoint;
use crate::init::Init;
use crate::recipe::Recipe;
use std::sync::Arc;
use weights::Values;

/// Parameters and how an image enters. Cheap to clone: several devices may need it.
#[derive(Clone, Debug)]
pub struct Start {
    /// The parameters.
    pub state: InitialState,
    /// Names every random draw.
    pub seed: u64,
    /// What is subtracted from every image.
    pub mean: Arc<Values>,
    /// What the difference is multiplied by.
    pub scale: f64,
}

/// Where parameters come from.
#[derive(Clone, Debug)]
pub enum InitialState {
    /// They are drawn, and some may be taken over from another run.
    Fresh {
        /// How each is drawn.
        recipe: Arc<Recipe>,
        /// What is taken over.
        inherit: Option<Arc<Init>>,
    },
    /// They are as they were, with all that the optimizer knows of them.
    Checkpoint(Arc<Checkpoint>),
}

impl Start {
    /// Parameters that are drawn.
    pub fn fresh(recipe: &Recipe, seed: u64, mean: Values) -> Start {
        let (recipe, mean) = (Arc::new(recipe.clone()), Arc::new(mean));
        let scale = recipe.input.scale;
        Start { state: InitialState::Fresh { recipe, inherit: None }, seed, mean, scale }
    }
}
