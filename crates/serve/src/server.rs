//! The server.

use crate::app::App;
use crate::error::{Error, Result};
use crate::explain::{Explanations, Method};
use crate::index::{self, Images, Index};
use crate::limits::Limits;
use crate::{http, listen, network};
use evaluate::Stop;
use inference::device::Placement;
use inference::{Model, Predictor};
use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Batch size for training images in the background: small, so that requests do not wait long.
const INDEX_BATCH: usize = 16;

/// Options of a [`Server`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Address and port to listen at, as in `127.0.0.1:8080`; port 0 means any that is free.
    /// Without it the server finds a free port of 127.0.0.1, from [`PORT`](crate::PORT) upwards.
    pub listen: Option<String>,
    /// Maximum number of training images among which neighbours are searched, evenly spaced; 0
    /// disables the search.
    pub among: usize,
    /// Threads that read those images; 0 means one per core.
    pub workers: usize,
    /// Time limit for receiving a request; at most an hour.
    pub patience: Duration,
    /// Whether to explain predictions. It takes the memory of two more copies of the parameters,
    /// which is allocated when the server is opened.
    pub explanations: bool,
    /// The remedy in the error for a client that uses another host name for a local server.
    pub way_in: String,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            listen: None,
            among: 20_000,
            workers: 0,
            patience: Duration::from_secs(30),
            explanations: true,
            way_in: "let the server listen on an address that others may use".to_string(),
        }
    }
}

/// A server with an opened network and a bound address.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    app: App,
    /// The inference thread.
    network: JoinHandle<()>,
    /// The same network for batches of training images, if neighbours are searched.
    batches: Option<Predictor>,
    among: usize,
    workers: usize,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Opens the network on a device and binds the address. `name` is the network's name on the
    /// page. `say` receives the reason for a fallback to the CPU, and why predictions cannot be
    /// explained, for example for lack of memory.
    ///
    /// # Errors
    /// [`Error::Inference`] if the network cannot be opened there; [`Error::Address`],
    /// [`Error::Listen`], [`Error::Ports`]; [`Error::System`].
    pub fn open(
        mut model: Model,
        name: String,
        placement: Placement,
        options: Options,
        say: &mut dyn FnMut(&str),
    ) -> Result<Server> {
        let Options { listen: named, among, workers, patience, way_in, explanations: wanted } =
            options;
        let predictor = model.predictor(1, placement, say)?;
        let silent = &mut |_: &str| {}; // the device has been reported
        let batches = match among {
            0 => None,
            _ => Some(model.predictor(INDEX_BATCH, placement, silent)?),
        };
        let explanations = if wanted {
            let explainer = model.explainer(placement, silent).map(Explanations::new);
            explainer.map_err(|error| error.to_string())
        } else {
            Err("the server was started without them".to_string())
        };
        if let (Err(reason), true) = (&explanations, wanted) {
            say(&format!("no explanations: {reason}"));
        }
        model.weights.parameters = Vec::new(); // they are on the device now
        let listener = listen::listen(named.as_deref())?;
        let address = listen::address(&listener)?;
        let (model, index) = (Arc::new(model), Arc::new(Index::new(among)));
        let maps = network::convolutions(&model);
        let has = |method: &Method| explanations.as_ref().is_ok_and(|them| them.has(*method));
        let methods = Method::ALL.into_iter().filter(has).map(Method::name).collect();
        let network = (predictor, explanations);
        let (queue, network) = network::start(network, model.clone(), index.clone(), maps.clone())?;
        let limits = Limits::with(patience);
        let app = App { model, name, maps, explanations: methods, index, queue, limits, way_in };
        Ok(Server { listener, address, app, network, batches, among, workers })
    }

    /// The bound address. Clients that connect before [`run`](Self::run) wait for it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The network's name on the page.
    pub fn name(&self) -> &str {
        &self.app.name
    }

    /// The network's metadata, without its parameters, which are on the device.
    pub fn model(&self) -> &Model {
        &self.app.model
    }

    /// Answers requests until `stop` is requested, and returns the signal; requests received by
    /// then have half a second to be answered. In the background a thread opens the network's data
    /// set with `images`, which returns a message if there is none, and computes features of its
    /// training images; `note` receives messages about the result.
    ///
    /// # Errors
    /// [`Error::Ended`] if the network's thread has panicked; [`Error::System`].
    ///
    /// # Panics
    /// If called in an asynchronous task of tokio: use a separate thread.
    pub fn run(
        self,
        images: impl FnOnce() -> std::result::Result<Images, String> + Send + 'static,
        note: impl FnMut(&str) + Send + 'static,
        stop: &Stop,
    ) -> Result<usize> {
        let Server { listener, app, network, batches, among, workers, .. } = self;
        let builder = index::IndexBuilder {
            index: Arc::clone(&app.index),
            model: Arc::clone(&app.model),
            among,
            workers,
            busy: app.queue.busy(),
            stop: stop.clone(),
        };
        builder.start(batches, images, note);
        http::run(listener, Arc::new(app), || match stop.requested() {
            Some(signal) => Some(Ok(signal)),
            None => network.is_finished().then_some(Err(Error::Ended)),
        })?
    }
}
