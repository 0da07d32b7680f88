//! The weights of the best validation, restored when a run is resumed.

use crate::Result;
use crate::early_stopping::EarlyStoppingState;
use evaluate::observe::Observer;
use layers::Parameter;
use std::path::Path;
use weights::Weights;
use weights::run::{CHECKPOINTS, checkpoint_name};

/// Writes the weights of the best validation into a resumed run's folder, from its checkpoint.
/// `entries` are the network's parameters in the order of the file. If the checkpoint is missing
/// or damaged, this is noted, and the weights there stay until a better validation.
///
/// # Errors
/// [`Error::File`](crate::Error::File).
pub(super) fn restore_best(
    run: &Path,
    state: &EarlyStoppingState,
    entries: &[Parameter],
    observer: &mut dyn Observer,
) -> Result<()> {
    let Some(best) = state.best else { return Ok(()) };
    let path = run.join(CHECKPOINTS).join(checkpoint_name(best.step));
    let mut weights = match Weights::read(&path) {
        Ok(weights) => weights,
        Err(error) => {
            observer.note(&format!(
                "WARNING: the weights of the best validation, after step {}, cannot be restored: \
                 {error}; {} stays as it is until a better validation",
                best.step,
                Weights::FILE
            ));
            return Ok(());
        }
    };
    weights.parameters.sort_by_key(|(name, _)| entries.iter().position(|it| it.name == *name));
    Ok(weights.write(run.join(Weights::FILE))?)
}
