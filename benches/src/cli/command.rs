//! The command line, for repeating a measurement.

/// The command without paths of this machine and without output options.
pub fn command(args: impl IntoIterator<Item = String>) -> String {
    let mut command = "cargo xtask bench".to_string();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let (name, inline) = match arg.split_once('=') {
            Some((name, _)) => (name, true),
            None => (arg.as_str(), false),
        };
        let placeholder = match name {
            "--write" => continue,
            "--save" | "--baseline" | "--regression" => "",
            "--python" => " --python VENV/bin/python",
            "--data" => " --data DIR",
            _ => {
                command += &format!(" {arg}");
                continue;
            }
        };
        if !inline {
            args.next();
        }
        command += placeholder;
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
