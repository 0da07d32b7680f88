//! The state that request handlers share.

use crate::index::Index;
use crate::limits::Limits;
use crate::network::Queue;
use inference::Model;
use std::sync::Arc;

/// The state that request handlers share.
pub struct App {
    /// The network's metadata; its parameters are on the device.
    pub model: Arc<Model>,
    /// The run's name, or the file's.
    pub name: String,
    /// Rows whose feature maps are shown: convolutions.
    pub maps: Vec<String>,
    /// The kinds of explanations that the network has.
    pub explanations: Vec<&'static str>,
    /// The training images' features.
    pub index: Arc<Index>,
    /// The queue of the inference thread.
    pub queue: Queue,
    /// Limits of clients.
    pub limits: Limits,
    /// The remedy in the error for a refused host name.
    pub way_in: String,
}
