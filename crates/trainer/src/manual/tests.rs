//! Every help page has examples, every example is one, and pages and scripts are well formed.

use super::*;
use clap::Parser;
use std::io::Write;
use std::process::{Command as Process, Stdio};

/// Calls `each` with every command and its words: `["alexnet", "data", "verify"]`.
fn walk(command: &Command, words: &[String], each: &mut dyn FnMut(&Command, &[String])) {
    let words = [words, &[command.get_name().to_string()]].concat();
    each(command, &words);
    for inner in command.get_subcommands() {
        walk(inner, &words, each);
    }
}

/// The lines under `Examples:`, without their explanations.
fn examples(command: &Command) -> Vec<String> {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let lists = help.split("\n\n").filter(|text| text.starts_with("Example"));
    let lines = lists.flat_map(|list| list.lines().skip(1).map(str::trim));
    lines.filter_map(|line| line.split("  ").next().map(str::to_string)).collect()
}

#[test]
fn every_command_has_examples_that_can_be_typed() {
    let mut commands = 0;
    walk(&Cli::command(), &[], &mut |command, words| {
        commands += 1;
        let (name, examples) = (words.join(" "), examples(command));
        assert!(!examples.is_empty(), "{name} --help has no example");
        let own = |example: &&String| example.starts_with(&name);
        assert!(examples.iter().any(|example| own(&example)), "{name}: {examples:?}");
        for example in &examples {
            let typed = shlex::split(example).expect("quotes are closed");
            let typed: Vec<&String> = typed.iter().take_while(|word| *word != ">").collect();
            let typed = match typed[0].as_str() {
                "curl" => continue,      // what can be asked of `serve`
                "mpirun" => &typed[3..], // -np N
                "torchrun" => &typed[4..],
                _ => &typed[..],
            };
            assert_eq!(typed[0], "alexnet", "{name}: {example}");
            if let Err(error) = Cli::try_parse_from(typed) {
                panic!("{name} --help: `{example}` cannot be typed: {error}");
            }
        }
        // Comments stand in one column, and nothing is wider than a terminal.
        let help = command.get_after_help().expect("it has examples").to_string();
        let widest = help.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(100), "{name}: {widest:?} columns");
    });
    assert!(commands >= 16, "{commands}");
}

#[test]
fn a_page_for_every_command_that_groff_takes_without_a_warning() {
    let pages = pages();
    let mut names = Vec::new();
    walk(&Cli::command(), &[], &mut |_, words| names.push(words.join("-") + ".1"));
    assert_eq!(
        pages.iter().map(|page| &page.0).collect::<Vec<_>>(),
        names.iter().collect::<Vec<_>>()
    );
    for (name, page) in &pages {
        let text = String::from_utf8(page.clone()).unwrap();
        assert!(text.contains(".SH EXAMPLES"), "{name}: {text}");
        let mut groff = Process::new("groff");
        groff.args(["-man", "-ww", "-Tascii", "-P-cbou"]); // no letter printed twice
        groff.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let Ok(mut child) = groff.spawn() else {
            println!("SKIPPED: there is no groff here");
            return;
        };
        child.stdin.take().unwrap().write_all(page).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{name}");
        let shown = String::from_utf8_lossy(&output.stdout);
        let heading = name.trim_end_matches(".1");
        assert!(shown.contains("NAME") && shown.contains(heading), "{name}: {shown}");
    }
}

#[test]
fn lists_keep_their_lines_and_paragraphs_flow() {
    let text = "Examples:\n  alexnet a    one\n  alexnet b\n\nA sentence\nof two lines.";
    let page = help_sections(text).to_roff();
    assert!(page.contains(".SH EXAMPLES\n.EX\nalexnet a    one\nalexnet b\n.EE\n"), "{page}");
    assert!(page.contains("A sentence of two lines."), "{page}");
}

#[test]
fn every_shell_has_a_script_and_bash_completes_with_its_own() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let asked = Cli::try_parse_from(["alexnet", "completions", shell]).unwrap();
        let crate::cli::Command::Completions(args) = asked.command else { panic!("{shell}") };
        let mut script = Vec::new();
        clap_complete::generate(args.shell, &mut Cli::command(), "alexnet", &mut script);
        let script = String::from_utf8(script).unwrap();
        for word in ["neighbours", "search-weights", "prepare"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        if shell == "bash" {
            bash_completes(&script);
        }
    }
}

/// Lets bash read the script and asks it what could follow some words.
fn bash_completes(script: &str) {
    let checked = Process::new("bash").args(["-n", "-c", script]).output();
    let Ok(checked) = checked else {
        println!("SKIPPED: there is no bash here");
        return;
    };
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    for (typed, expected) in [
        ("alexnet nei", "neighbours"),
        ("alexnet data ver", "verify"),
        ("alexnet train --res", "--resume"),
        ("alexnet eval --views n", "nine"),
    ] {
        let words: Vec<&str> = typed.split(' ').collect();
        let last = words.len() - 1;
        let ask = format!(
            "{script}\nCOMP_WORDS=({typed}); COMP_CWORD={last}\n\
             _alexnet alexnet '{}' '{}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words[last],
            words[last - 1]
        );
        let output = Process::new("bash").args(["--norc", "-c", &ask]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).trim().to_string();
        assert_eq!(said, expected, "{typed}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
