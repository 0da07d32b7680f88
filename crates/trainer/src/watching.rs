//! `alexnet watch`: a run on the whole screen, from what it writes into its folder.

mod reader;

use crate::cli::WatchArgs;
use crate::console;
use crate::fault::Result;
use crate::trained::newest_begun;
use reader::Reader;
use terminal::dashboard::{self, Ending};
use terminal::{output, signals};

/// Runs the command. On no terminal, prints the run's progress once.
///
/// # Errors
/// Exit codes 1 if the terminal cannot be used, 2 if there is no run, 4 if it cannot be read.
pub fn watch(args: &WatchArgs) -> Result<u8> {
    let folder = match &args.run {
        Some(folder) => folder.clone(),
        None => newest_begun()?,
    };
    let mut reader = Reader::open(&folder)?;
    if args.once || !output::has_screen() {
        return print(&mut reader).map(|()| 0);
    }
    let stop = signals::listen()?;
    match dashboard::follow(&stop, || reader.read())? {
        Ending::Left => Ok(0),
        Ending::Signal(signal) => Ok(signals::exit_code(signal)),
        Ending::RunEnded => print(&mut reader).map(|()| 0),
    }
}

fn print(reader: &mut Reader) -> Result<()> {
    console::print(reader.read()?.to_text(output::columns()))
}
