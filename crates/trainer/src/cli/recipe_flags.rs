//! Settings of the recipe that many programs have as flags.

use clap::Args;

/// Settings of the recipe. Values are the names in `config.toml`, so that the list of those that
/// exist is in one place.
#[derive(Clone, Debug, Default, Args)]
pub struct RecipeArgs {
    /// Update rule, by its name in recipe.optimizer, such as sgd or adam [default: the recipe's]
    #[arg(long, value_name = "NAME")]
    pub optimizer: Option<String>,
    /// Momentum; Adam's beta1 (recipe.momentum)
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub momentum: Option<f64>,
    /// Weight decay (recipe.decay)
    #[arg(long, value_name = "X", visible_alias = "wd", allow_negative_numbers = true)]
    pub weight_decay: Option<f64>,
    /// Learning-rate schedule, by its name in recipe.schedule.kind: constant, steps, plateau ...;
    /// its other settings follow with --set [default: the recipe's]
    #[arg(long, value_name = "KIND")]
    pub lr_schedule: Option<String>,
    /// Raise the learning rate from a small one over the first N epochs (recipe.warmup.epochs)
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub warmup: Option<f64>,
    /// Stop after N validations in a row without improvement, and keep the weights of the best one
    /// (recipe.early-stopping) [N: 10]
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "10")]
    pub early_stopping: Option<u32>,
}
