//! `alexnet completions` and `alexnet man`: the command line for shells and for `man`.

use crate::cli::{Cli, CompletionsArgs, ManArgs};
use crate::console;
use crate::fault::Result;
use crate::output;
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use std::io;

/// The headings of help texts, and what `man` calls them.
const SECTIONS: [(&str, &str); 3] =
    [("Example:", "EXAMPLES"), ("Examples:", "EXAMPLES"), ("Exit codes:", "EXIT STATUS")];

/// Prints a script that completes the program's words.
///
/// # Errors
/// Exit code 7 if it cannot be written.
pub fn completions(args: &CompletionsArgs) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "alexnet", &mut script);
    console::print(String::from_utf8_lossy(&script))
}

/// Writes manual pages.
///
/// # Errors
/// Exit code 7 if a file cannot be written.
pub fn man(args: &ManArgs) -> Result<()> {
    let pages = pages();
    let Some(folder) = &args.out else {
        return console::print(String::from_utf8_lossy(&pages[0].1));
    };
    output::make_folder(folder)?;
    for (name, page) in &pages {
        output::write(&folder.join(name), page)?;
    }
    console::println(format_args!(
        "{} pages: man -l {}",
        pages.len(),
        folder.join(&pages[0].0).display()
    ))?;
    Ok(())
}

/// Every command's page with its file's name: `alexnet-data-verify.1`; the program's own first.
fn pages() -> Vec<(String, Vec<u8>)> {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let mut pages = Vec::new();
    add_pages(&program, &mut pages);
    pages
}

fn add_pages(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) {
    let version = env!("CARGO_PKG_VERSION");
    let man = Man::new(command.clone()).source(format!("alexnet {version}"));
    pages.push((man.get_filename(), page(&man, command).expect("memory takes every byte")));
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        add_pages(inner, pages);
    }
}

/// A page as people expect it. clap_mangen would run the examples together in one paragraph.
fn page(man: &Man, command: &Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    let arguments = command.get_arguments();
    if arguments.filter(|argument| !argument.is_hide_set()).count() > 0 {
        man.render_options_section(&mut page)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let notes = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    help_sections(&notes).to_writer(&mut page)?;
    Ok(page)
}

/// What stands below the options: lists under their headings, line by line, and plain paragraphs.
fn help_sections(text: &str) -> Roff {
    let mut roff = Roff::new();
    for paragraph in text.split("\n\n") {
        let heading =
            SECTIONS.iter().find(|(heading, _)| paragraph.lines().next() == Some(heading));
        match heading {
            Some((_, section)) => {
                roff.control("SH", [*section]).control("EX", []);
                for line in paragraph.lines().skip(1) {
                    roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
                }
                roff.control("EE", []);
            }
            None => {
                roff.control("PP", []).text([roman(paragraph.replace('\n', " "))]);
            }
        }
    }
    roff
}

#[cfg(test)]
mod tests;
