//! A server from its opening to its end.

use crate::app::App;
use crate::error::{Error, Result};
use crate::index::{self, Images, Index};
use crate::limits::Limits;
use crate::{http, listen, network};
use evaluate::Stop;
use inference::device::Placement;
use inference::{Model, Predictor};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Training images that are looked at together in the background: so few that a request never
/// waits long for them.
const INDEX_BATCH: usize = 16;

/// How a [`Server`] is opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Address and port to listen at, as in `127.0.0.1:8080`; port 0 means any that is free.
    /// Without it the server finds a free port of 127.0.0.1, from [`PORT`](crate::PORT) upwards.
    pub listen: Option<String>,
    /// Neighbours are looked for among so many training images at most, spread over all; 0 means
    /// none are.
    pub among: usize,
    /// Threads that read those images; 0 means one for each core.
    pub workers: usize,
    /// A request must have come whole after so long; an hour at most.
    pub patience: Duration,
    /// The remedy in the error for a client that calls a local server by another name.
    pub way_in: String,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            listen: None,
            among: 20_000,
            workers: 0,
            patience: Duration::from_secs(30),
            way_in: "have it listen at an address that others may use".to_string(),
        }
    }
}

/// A network that is ready to be served: it has its memory, and its address is taken.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    app: App,
    /// The thread that has the network.
    network: JoinHandle<()>,
    /// The same network for the training images, if any are looked at.
    batches: Option<Predictor>,
    among: usize,
    workers: usize,
}

impl Server {
    /// Takes memory for the network where `placement` says, and then the address. `name` is what
    /// the network is called on the page. `say` gets the reason if the CPU computes where it was
    /// not asked for.
    ///
    /// # Errors
    /// [`Error::Inference`] if the network cannot be had there; [`Error::Address`],
    /// [`Error::Listen`], [`Error::Ports`]; [`Error::System`].
    pub fn open(
        mut model: Model,
        name: String,
        placement: Placement,
        options: Options,
        say: &mut dyn FnMut(&str),
    ) -> Result<Server> {
        let Options { listen: named, among, workers, patience, way_in } = options;
        let predictor = model.predictor(1, placement, say)?;
        let silent = &mut |_: &str| {}; // where it computes has been said
        let batches = match among {
            0 => None,
            _ => Some(model.predictor(INDEX_BATCH, placement, silent)?),
        };
        model.weights.parameters = Vec::new(); // they are on the device now
        let listener = listen::listen(named.as_deref())?;
        let address = listen::address(&listener)?;
        let (model, index) = (Arc::new(model), Arc::new(Index::new(among)));
        let maps = network::convolutions(&model);
        let (queue, network) =
            network::start(predictor, model.clone(), index.clone(), maps.clone())?;
        let limits = Limits::with(patience);
        let app = App { model, name, maps, index, queue, limits, way_in };
        Ok(Server { listener, address, app, network, batches, among, workers })
    }

    /// Where it listens. Clients that connect before [`run`](Self::run) wait for it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the network is called on the page.
    pub fn name(&self) -> &str {
        &self.app.name
    }

    /// What is known of the network: all but its parameters, which are on the device.
    pub fn model(&self) -> &Model {
        &self.app.model
    }

    /// Answers requests until `stop` is requested, and returns the signal; requests that have
    /// come by then have half a second to be answered. Meanwhile a thread opens the network's
    /// data set through `images`, which gives a sentence if there is none, and looks at its
    /// training images. `note` gets lines on the result, for people.
    ///
    /// # Errors
    /// [`Error::Ended`] if the network's thread has panicked; [`Error::System`].
    ///
    /// # Panics
    /// In an asynchronous task of tokio's: give it a thread of its own.
    pub fn run(
        self,
        images: impl FnOnce() -> std::result::Result<Images, String> + Send + 'static,
        note: impl FnMut(&str) + Send + 'static,
        stop: &Stop,
    ) -> Result<usize> {
        let Server { listener, app, network, batches, among, workers, .. } = self;
        let making = index::Making {
            index: Arc::clone(&app.index),
            model: Arc::clone(&app.model),
            among,
            workers,
            busy: app.queue.busy(),
            stop: stop.clone(),
        };
        making.start(batches, images, note);
        http::run(listener, Arc::new(app), || match stop.requested() {
            Some(signal) => Some(Ok(signal)),
            None => network.is_finished().then_some(Err(Error::Ended)),
        })?
    }
}
