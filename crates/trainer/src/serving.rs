//! `alexnet serve`: a page on which a network shows what it makes of an image
//! ([`serve`](mod@serve)).

use crate::cli::ServeArgs;
use crate::fault::Result;
use crate::trained::{Trained, placement, run_of};
use crate::{console, limits};
use serve::{Images, Options, PORT, Server};
use std::time::Duration;
use terminal::progress::{Progress, Reading};
use terminal::signals;

/// Runs the command, until a signal comes.
///
/// # Errors
/// Exit codes 1, 2, 4 and 6 as `alexnet --help` lists them.
pub fn serve(args: &ServeArgs) -> Result<u8> {
    let mut trained = Trained::open(args.run.as_deref(), args.weights.as_deref(), &args.import)?;
    trained.set_exif(args.exif);
    limits::too_many_threads(args.machine.threads.unwrap_or(0)).iter().for_each(console::note);
    let (name, placement) = (name(&trained), placement(&args.machine)?);
    let Trained { model, config } = trained;
    let server =
        Server::open(model, name, placement, options(args), &mut |text| console::note(text))?;
    let port = server.address().port();
    if args.listen.is_none() && port != PORT {
        console::note(format_args!("port {PORT} is taken: listening on {port}"));
    }
    let stop = signals::listen()?;
    print_address(&server);

    let trained = Trained { model: server.model().clone(), config };
    let (data, workers) = (args.data.clone(), args.machine.workers.unwrap_or(0));
    let images = move || {
        let reading = Reading::new(Progress::Auto);
        let images = trained.images(data.as_deref(), workers, &reading);
        let images = images.map_err(|fault| fault.message)?;
        Ok(Images { train: images.train, test: images.test })
    };
    let signal = server.run(images, |text| console::note(text), &stop)?;
    Ok(signals::exit_code(signal))
}

/// What was typed.
fn options(args: &ServeArgs) -> Options {
    let mut options = Options::default();
    options.listen = args.listen.clone();
    options.among = args.among;
    options.workers = args.machine.workers.unwrap_or(0);
    options.explanations = !args.no_explanations;
    options.patience = Duration::from_secs(args.patience);
    options.way_in = "start it with --listen and an address that others may use".to_string();
    options
}

/// Prints the address, and a warning if other machines can reach it.
fn print_address(server: &Server) {
    let address = server.address();
    if !address.ip().is_loopback() {
        console::note(format_args!(
            "warning: {address} can be reached from other machines, which can use this network and \
             see its training images: there is no password"
        ));
    }
    console::progress(format_args!(
        "{} ({})",
        server.name(),
        server.model().weights.about.model.name
    ));
    console::progress(format_args!("open http://{address}/ (Ctrl-C ends this)"));
}

/// The run's folder, or the file if it lies in none.
fn name(trained: &Trained) -> String {
    let path = std::fs::canonicalize(&trained.path).unwrap_or_else(|_| trained.path.clone());
    let run = trained.config.as_ref().and_then(|_| run_of(&path));
    let name = run.unwrap_or(&path).file_name();
    name.map_or(String::new(), |name| name.to_string_lossy().to_string())
}
