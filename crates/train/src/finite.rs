//! Which tensor stopped being a number first.

use crate::Error;
use layers::{Network, Parameter, TrainableNetwork};
use tensor::{Device, Slot};

/// The error for a loss that is not finite, seen after the forward pass and before anything is
/// overwritten: parameters are those that made the loss, gradients those of the pass before.
pub(crate) fn diverged(
    device: &Device,
    network: &TrainableNetwork,
    step: u64,
    loss: f64,
    rate: f32,
) -> Error {
    // A tensor that cannot be downloaded counts as not finite; a failing GPU is reported as another
    // error.
    let finite = |slot: Slot| {
        let values = device.download::<f32>(slot);
        values.is_ok_and(|values| values.iter().all(|value| value.is_finite()))
    };
    let unheld = if network.parameters.has_statistics() {
        ""
    } else {
        ": there is no batch normalisation to hold a network like this one back"
    };
    let lower =
        format!("The learning rate of {rate} is the likely cause{unheld}. Try {}", rate / 10.0);
    let (tensor, hint) = if !finite(network.input) {
        let hint = "The images or their mean are at fault, not the training".to_string();
        ("the preprocessed images".to_string(), hint)
    } else if let Some(name) = first_gradient(network, &finite) {
        (format!("the gradient of {name}, of the pass before"), lower)
    } else if let Some(name) = first_value(network, &finite) {
        (name, lower)
    } else if let Some(name) = first_activation(network, &finite) {
        (format!("the output of {name}"), lower)
    } else {
        ("the loss itself".to_string(), lower)
    };
    Error::Diverged { step, loss, tensor, hint }
}

/// Gradients arise from the last layer to the first.
fn first_gradient(network: &TrainableNetwork, finite: &impl Fn(Slot) -> bool) -> Option<String> {
    // Where running statistics have theirs, there are those of the batch meanwhile.
    let is_trainable = |(_, entry): &(usize, &Parameter)| !entry.role.is_statistic();
    let mut entries = network.parameters.entries.iter().enumerate().rev().filter(is_trainable);
    let first = entries.find(|(idx, _)| !finite(network.gradient(*idx)));
    first.map(|(_, entry)| entry.name.clone())
}

fn first_value(network: &Network, finite: &impl Fn(Slot) -> bool) -> Option<String> {
    let parameters = &network.parameters;
    let mut entries = parameters.entries.iter().enumerate();
    let first = entries.find(|(idx, _)| !finite(parameters.value(*idx)));
    first.map(|(_, entry)| entry.name.clone())
}

fn first_activation(network: &Network, finite: &impl Fn(Slot) -> bool) -> Option<String> {
    let spoilt = network.rows().iter().find(|row| !finite(row.output()));
    spoilt.map(|row| row.name().to_string())
}
