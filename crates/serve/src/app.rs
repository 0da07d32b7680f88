//! What answers requests: the network, the training images, and what is known of them.

use crate::index::Index;
use crate::limits::Limits;
use crate::network::Queue;
use inference::Model;
use std::sync::Arc;

/// What answers requests.
pub struct App {
    /// What is known of the network; its parameters are on the device.
    pub model: Arc<Model>,
    /// What it is called: the run's name, or the file's.
    pub name: String,
    /// Rows whose output is shown: convolutions.
    pub maps: Vec<String>,
    /// The training images' vectors.
    pub index: Arc<Index>,
    /// The way to the network.
    pub queue: Queue,
    /// What clients may take up.
    pub limits: Limits,
    /// How a client gets in that may not as things are.
    pub way_in: String,
}
