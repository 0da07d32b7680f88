//! The command line that repeats a measurement, for BENCHMARKS.md.

/// The `cargo xtask bench` command with these arguments. Paths of this machine are replaced by
/// placeholders, and options for output and for comparison with earlier results are left out.
pub fn command(args: impl IntoIterator<Item = String>) -> String {
    let mut command = "cargo xtask bench".to_string();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let (name, has_inline_value) = match arg.split_once('=') {
            Some((name, _)) => (name, true),
            None => (arg.as_str(), false),
        };
        let replacement = match name {
            "--write" => continue,
            "--save" | "--baseline" | "--regression" => "",
            "--python" => " --python VENV/bin/python",
            "--data" => " --data DIR",
            _ => {
                command += &format!(" {arg}");
                continue;
            }
        };
        if !has_inline_value {
            args.next(); // the option's value
        }
        command += replacement;
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_has_no_paths_of_this_machine() {
        let line = "--peer torch --python /a/b/python --data=/c --write --save x --regression=3% \
                     --baseline y --rounds 3";
        let command = command(line.split_whitespace().map(String::from));
        assert_eq!(
            command,
            "cargo xtask bench --peer torch --python VENV/bin/python --data DIR --rounds 3"
        );
    }
}
