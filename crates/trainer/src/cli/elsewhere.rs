//! Flags of other programs: what does the same here.

use super::Cli;
use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::collections::HashSet;

/// Flags, and what does the same in this program.
const ELSEWHERE: [(&[&str], &str); 19] = [
    (
        &["--amp", "--fp16", "--half", "--bf16", "--mixed-precision"],
        "the precision of products is --precision bf16 or --precision tf32",
    ),
    (
        &["--val", "--val-data", "--val-dir", "--valid", "--validation", "--test-data"],
        "validation images are those of --data DIR, in DIR/val/CLASS; --hold-out N takes every Nth \
         training image instead",
    ),
    (
        &["--val-split", "--validation-split", "--val-ratio"],
        "--hold-out 10 holds out every tenth training image for validation",
    ),
    (
        &["--img-size", "--imgsz", "--image-size", "--input-size", "--crop-size", "--resolution"],
        "crops have the size of the model's input: choose another --model, or edit the one that \
         `alexnet describe --model NAME --toml` prints; --set recipe.input.side=N is the size of \
         the images that they are cut from",
    ),
    (
        &["--num-classes", "--classes", "--nb-classes"],
        "the number of classes is the data's, also of a model that has another",
    ),
    (&["--arch", "-a", "--network"], "the network is --model NAME"),
    (&["--gpu", "--gpus", "--cuda", "--use-gpu"], "a GPU is --device cuda:0"),
    (&["--cpu", "--no-cuda"], "the CPU is --device cpu"),
    (&["--num-workers", "-j", "--nw"], "threads that decode images are --workers N"),
    (
        &["--output-dir", "--output", "--out", "-o", "--save-dir", "--logdir", "--project"],
        "a run is written into --run DIR",
    ),
    (
        &["--checkpoint", "--ckpt", "--start-epoch"],
        "a run goes on from its last checkpoint with --resume RUN; --init RUN starts a new one with \
         its weights",
    ),
    (
        &["--iterations", "--iters", "--steps", "--num-steps"],
        "the number of steps is --max-steps N",
    ),
    (&["--patience"], "early stopping is --early-stopping N"),
    (
        &["--lr-step-size", "--lr-steps", "--lr-milestones", "--milestones", "--step-size"],
        "drops of the rate are --lr-schedule steps --set recipe.schedule.after=[30,60]",
    ),
    (
        &["--lr-gamma", "--gamma"],
        "the factor of a drop is --lr-schedule steps --set recipe.schedule.factor=0.1",
    ),
    (
        &["--warmup-epochs", "--lr-warmup-epochs"],
        "the rate is raised over the first epochs with --warmup N",
    ),
    (&["--evaluate", "--test-only"], "a trained network is tested with `alexnet eval --run RUN`"),
    (
        &["--print-freq", "--log-interval"],
        "every measurement is in the run's metrics.jsonl and metrics.csv; --progress plain prints \
         some of them",
    ),
    (
        &["--lr-finder", "--auto-lr", "--auto-lr-find"],
        "a learning rate is found with `alexnet find-lr`",
    ),
];

/// Subcommands whose unknown flags are looked up.
const TRAINING: [&str; 2] = ["train", "find-lr"];

/// A usage error of a subcommand, with what does the same as a flag that it does not have, if its
/// own flags do.
pub fn with_hint(mut error: clap::Error, command: &str) -> clap::Error {
    if error.kind() != ErrorKind::UnknownArgument || !TRAINING.contains(&command) {
        return error;
    }
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let typed = typed.split('=').next().unwrap_or_default();
    let found = ELSEWHERE.iter().find(|(flags, _)| flags.contains(&typed));
    let found = found.filter(|(_, remedy)| {
        let own = flags_of(command);
        flags_in(remedy).all(|flag| own.contains(flag))
    });
    if let Some((_, remedy)) = found {
        let remedy = ContextValue::StyledStrs(vec![(*remedy).into()]);
        error.remove(ContextKind::SuggestedArg);
        error.insert(ContextKind::Suggested, remedy);
    }
    error
}

/// The flags of a subcommand.
fn flags_of(command: &str) -> HashSet<String> {
    let mut program = Cli::command();
    program.build();
    let command = program.find_subcommand(command);
    let arguments = command.into_iter().flat_map(clap::Command::get_arguments);
    let names = arguments.flat_map(|argument| {
        let long = argument.get_long().into_iter();
        let long = long.chain(argument.get_all_aliases().unwrap_or_default());
        let short = argument.get_short().map(|short| format!("-{short}"));
        long.map(|name| format!("--{name}")).chain(short).collect::<Vec<_>>()
    });
    names.collect()
}

/// The flags that a remedy names, without those of commands in backticks.
fn flags_in(remedy: &str) -> impl Iterator<Item = &str> {
    let own = remedy.split('`').step_by(2);
    own.flat_map(|text| text.split([' ', ',', ';'])).filter(|word| word.starts_with("--"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn message_of(command: &str, arguments: &[&str]) -> String {
        let typed = [&["alexnet", command], arguments].concat();
        with_hint(Cli::try_parse_from(typed).unwrap_err(), command).to_string()
    }

    fn message(arguments: &[&str]) -> String {
        message_of("train", arguments)
    }

    /// In other commands the same flags mean something else, and the remedies' flags do not exist.
    #[test]
    fn only_commands_that_train_name_remedies_and_only_flags_that_they_have() {
        let mut program = Cli::command();
        program.build();
        let names: Vec<&str> = program.get_subcommands().map(clap::Command::get_name).collect();
        assert!(names.len() > 15, "{names:?}");
        for command in names {
            let own = flags_of(command);
            for (flags, remedy) in ELSEWHERE {
                for flag in flags.iter().filter(|flag| !own.contains(**flag)) {
                    let Err(error) = Cli::try_parse_from(["alexnet", command, *flag, "1"]) else {
                        continue; // an argument of a command that takes any
                    };
                    let is_unknown = error.kind() == ErrorKind::UnknownArgument;
                    let is_named = with_hint(error, command).to_string().contains(remedy);
                    let expected = TRAINING.contains(&command)
                        && flags_in(remedy).all(|flag| own.contains(flag));
                    assert_eq!(is_named, expected && is_unknown, "{command} {flag}");
                }
            }
        }
        let said = message_of("find-lr", &["--amp"]);
        assert!(said.contains("--precision bf16"), "{said}");
        let said = message_of("find-lr", &["--iterations", "3"]);
        assert!(!said.contains("--max-steps"), "{said}");
        let said = message_of("predict", &["--patience", "3"]);
        assert!(!said.contains("--early-stopping"), "{said}");
    }

    #[test]
    fn flags_of_other_programs_are_answered_with_what_does_the_same() {
        for (typed, expected) in [
            (&["--amp"][..], "tip: the precision of products is --precision bf16"),
            (&["--val", "x"], "tip: validation images are those of --data DIR, in DIR/val/CLASS"),
            (&["--img-size=32"], "tip: crops have the size of the model's input"),
            (&["-j", "8"], "tip: threads that decode images are --workers N"),
            (&["--patience", "3"], "tip: early stopping is --early-stopping N"),
        ] {
            let message = message(typed);
            assert!(message.contains(expected), "{typed:?}: {message}");
            assert!(!message.contains("to pass"), "{message}");
        }
        assert!(message(&["--batchsize", "3"]).contains("--batch-size"));
        assert!(!message(&["--xyzzy"]).contains("the same"), "{}", message(&["--xyzzy"]));
    }

    /// A flag that `train` has would never be looked up, and a remedy must name flags that exist.
    #[test]
    fn no_flag_is_one_of_this_program_and_every_remedy_can_be_typed() {
        let mut own = flags_of("train");
        own.insert("--toml".to_string()); // of `describe`
        let mut seen = HashSet::new();
        for (flags, remedy) in ELSEWHERE {
            for flag in flags {
                assert!(!own.contains(*flag) && seen.insert(flag), "{flag}");
            }
            let words = remedy.split([' ', ',', ';', '`']);
            for word in words.filter(|word| word.starts_with("--")) {
                assert!(own.contains(word), "{word} in: {remedy}");
            }
        }
    }
}
