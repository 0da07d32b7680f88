//! `alexnet serve`: a page on which a network shows what it makes of an image, and the same for
//! programs.
//!
//! * [`http`]: connections, their limits, and who may ask
//! * [`client`], [`clients`]: what a client may take up; who is connected, and who has to go
//! * [`replies`]: the forms of answers
//! * [`upload`]: what was sent: an image, or a form with some
//! * [`routes`]: from a path to an answer
//! * [`network`]: the one thread that has the network, and the queue before it
//! * [`answer`]: what is said of an image
//! * [`index`]: vectors of the training images, made in the background
//! * [`page`]: the page, its style and its script

mod answer;
mod client;
mod clients;
mod http;
mod index;
mod network;
mod page;
mod replies;
mod routes;
mod upload;

use crate::cli::ServeArgs;
use crate::console;
use crate::fault::{Fault, Result};
use crate::signals;
use crate::trained::{Trained, run_of};
use client::Limits;
use index::Index;
use network::Queue;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

/// Training images that are looked at together in the background: so few that a request never
/// waits long for them.
const INDEX_BATCH: usize = 16;
/// The first port that is tried where none was named, and how many after it.
const PORT: u16 = 8080;
const PORTS: u16 = 32;

/// What answers requests.
struct App {
    trained: Arc<Trained>,
    /// The run's name, or the file's.
    name: String,
    /// Rows whose output is shown: convolutions.
    maps: Vec<String>,
    index: Arc<Index>,
    queue: Queue,
    limits: Limits,
}

/// Runs the command, until a signal comes.
///
/// # Errors
/// Exit codes 1, 2, 4 and 6 as `alexnet --help` lists them.
pub fn serve(args: &ServeArgs) -> Result<u8> {
    let mut trained = Trained::open(args.run.as_deref(), args.weights.as_deref())?;
    trained.set_exif(args.exif);
    let mut say = |text: &str| console::note(text);
    let predictor = trained.predictor(1, &args.machine, &mut say)?;
    let mut silent = |_: &str| {}; // where it computes has been said
    let batches = match args.among {
        0 => None,
        _ => Some(trained.predictor(INDEX_BATCH, &args.machine, &mut silent)?),
    };
    trained.model.weights.parameters = Vec::new(); // they are on the device now
    let trained = Arc::new(trained);
    let listener = listen(args.listen.as_deref())?;
    let stop = signals::listen()?;

    let index = Arc::new(Index::new(args.among));
    let maps = network::convolutions(&trained);
    let (queue, network) = network::start(predictor, trained.clone(), index.clone(), maps.clone())?;
    index::start(batches, args, &index, &trained, queue.busy(), &stop);
    let limits = Limits { patience: Duration::from_secs(args.patience), ..Limits::default() };
    let app = App { name: name(&trained), trained, maps, index, queue, limits };
    tell(&listener, &app)?;
    http::run(listener, Arc::new(app), || match stop.requested() {
        Some(signal) => Some(Ok(signals::exit_code(signal))),
        None => network.is_finished().then(|| {
            Err(Fault::failure("the network's thread has ended: the message above says why"))
        }),
    })?
}

/// Binds the address that was named, or the first free port of the usual ones.
fn listen(named: Option<&str>) -> Result<TcpListener> {
    if let Some(named) = named {
        return TcpListener::bind(named).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput => Fault::usage(format!(
                "--listen {named}: say an address and a port, as in 127.0.0.1:8080 or [::1]:8080"
            )),
            _ => Fault::failure(format!(
                "--listen {named}: cannot listen there: {error}; without --listen a free port is \
                 found"
            )),
        });
    }
    let mut last = None;
    for port in PORT..PORT + PORTS {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => {
                if port != PORT {
                    console::note(format_args!("port {PORT} is taken: listening on {port}"));
                }
                return Ok(listener);
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = Some(error),
            Err(error) => return Err(refused(&error)),
        }
    }
    Err(refused(&last.expect("some port was tried")))
}

fn refused(error: &io::Error) -> Fault {
    let last = PORT + PORTS - 1;
    Fault::failure(format!(
        "cannot listen on ports {PORT} to {last} of 127.0.0.1: {error}; name another with --listen"
    ))
}

/// Says where it is, and who can reach it.
fn tell(listener: &TcpListener, app: &App) -> Result<()> {
    let address = local(listener)?;
    if !address.ip().is_loopback() {
        console::note(format_args!(
            "warning: {address} can be reached from other machines, and whoever reaches it can use \
             this network and see its training images: there is no password"
        ));
    }
    console::progress(format_args!("{} ({})", app.name, app.trained.weights.about.model.name));
    console::progress(format_args!("open http://{address}/ (Ctrl-C ends this)"));
    Ok(())
}

/// Where a listener listens.
fn local(listener: &TcpListener) -> Result<SocketAddr> {
    listener.local_addr().map_err(|error| Fault::failure(format!("cannot listen: {error}")))
}

/// The run's folder, or the file if it lies in none.
fn name(trained: &Trained) -> String {
    let path = std::fs::canonicalize(&trained.path).unwrap_or_else(|_| trained.path.clone());
    let run = trained.config.as_ref().and_then(|_| run_of(&path));
    let name = run.unwrap_or(&path).file_name();
    name.map_or(String::new(), |name| name.to_string_lossy().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_passed_over_and_a_taken_address_is_told() {
        let held = [listen(None).unwrap(), listen(None).unwrap()];
        let [first, second] = held.each_ref().map(|listener| listener.local_addr().unwrap());
        assert!(first.ip().is_loopback() && first.port() < second.port());
        let fault = listen(Some(&first.to_string())).unwrap_err();
        assert!(fault.code == 1 && fault.message.contains("cannot listen there"), "{fault:?}");
        let fault = listen(Some("8080")).unwrap_err();
        assert!(fault.code == 2 && fault.message.contains("an address and a port"), "{fault:?}");
    }
}
