//! The walks of the documentation, line by line as they stand there.

mod program;

use program::{Scratch, read_json, write_png};
use safetensors::tensor::{Dtype, TensorView};
use std::path::Path;
use std::process::Command;

/// The text of a section of a page.
fn section(page: &str, heading: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(page);
    let page = std::fs::read_to_string(path).unwrap();
    let (_, after) = page.split_once(&format!("\n## {heading}\n")).expect("the page has a walk");
    after.split("\n## ").next().unwrap().to_string()
}

/// Runs lines in a shell in the scratch folder, which is also the home folder; returns what they
/// printed to stdout and to stderr. `None` if there is no shell.
fn run(scratch: &Scratch, lines: &[String]) -> Option<[String; 2]> {
    let alexnet = Path::new(env!("CARGO_BIN_EXE_alexnet"));
    let mut path = alexnet.parent().unwrap().as_os_str().to_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    // A line that hangs is ended after five minutes, and nothing is left running.
    let script = format!(
        "set -eu; trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n\
         (sleep 300; kill $$) >/dev/null 2>&1 &\n{}\n",
        lines.join("\n")
    );
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", &script]).current_dir(&scratch.0).env("PATH", path);
    bash.env("NO_PROXY", "127.0.0.1").env("HOME", std::fs::canonicalize(&scratch.0).unwrap());
    bash.env_remove("TORCH_HOME").env_remove("XDG_CACHE_HOME");
    let Ok(output) = bash.output() else {
        println!("SKIPPED: there is no bash here");
        return None;
    };
    let [said, told] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{:?}\n{said}\n{told}", output.status);
    Some([said.into_owned(), told.into_owned()])
}

/// The lines of all blocks of a kind, in order.
fn blocks(section: &str, kind: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for block in section.split("\n```").collect::<Vec<_>>().chunks(2).filter_map(|two| two.get(1)) {
        let (found, text) = block.split_once('\n').unwrap();
        if found == kind {
            lines.extend(text.lines().map(str::to_string));
        }
    }
    lines
}

/// Numbers are another run's own: each becomes one sign.
fn without_numbers(text: &str) -> String {
    let mut plain = String::new();
    for letter in text.chars() {
        let letter = if letter.is_ascii_digit() { '#' } else { letter };
        let repeats = plain.ends_with('#') && (letter == '#' || letter == '.');
        if !repeats {
            plain.push(letter);
        }
    }
    plain
}

#[test]
fn its_lines_do_what_it_says() {
    let scratch = Scratch::new("walk");
    let section = section("tutorial.md", "A walk from nothing to a report");
    let lines = blocks(&section, "sh");
    assert!(lines.iter().filter(|line| line.starts_with("alexnet ")).count() >= 10, "{lines:?}");
    if Command::new("curl").arg("--version").output().is_err() {
        println!("SKIPPED: there is no curl here");
        return;
    }
    let Some([said, told]) = run(&scratch, &lines) else { return };

    let plain = without_numbers(&said);
    for line in blocks(&section, "text") {
        assert!(plain.contains(&without_numbers(&line)), "`{line}` was not said:\n{said}");
    }
    assert!(said.contains("\"probability\":"), "the page's server did not answer:\n{said}\n{told}");
    // Whatever file it names is there.
    let outside = section.split("```").step_by(2);
    let words = outside.flat_map(|text| text.split('`').skip(1).step_by(2).collect::<Vec<_>>());
    let own = |word: &&str| !word.contains(' ') && !word.starts_with("target/");
    let files: Vec<&str> = words.filter(own).filter(|w| w.contains(['/', '.'])).collect();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        let found = std::fs::metadata(scratch.0.join(file)).is_ok_and(|file| file.len() > 0);
        assert!(found, "there is no {file}:\n{said}");
    }
    let run = read_json(&scratch.0.join("runs/walk/run.json"));
    assert_eq!((&run["status"], &run["resumed"]), (&"finished".into(), &1.into()));
}

/// A file like torchvision's with the parameters of a small network: of `cifar-80sec`, for a
/// thousand classes. Its format is safetensors, as only the name differs for the program.
fn write_like_torchvision(path: &Path) {
    let spec = models::find("cifar-80sec").unwrap().with_classes(1000).unwrap();
    let mut tensors = Vec::new();
    for (name, shape) in spec.parameter_shapes().unwrap() {
        let shape = match shape.dims() {
            &[filters, height, width, channels] => vec![filters, channels, height, width],
            other => other.to_vec(),
        };
        let fan_in: usize = shape[1..].iter().product();
        let scale = (6.0 / fan_in as f32).sqrt();
        let elements = 0..shape.iter().product::<usize>() as u32;
        let value = |at: u32| {
            let bits = (at + 1).wrapping_mul(2_654_435_761) >> 8;
            (bits as f32 / (1 << 23) as f32 - 1.0) * if shape.len() > 1 { scale } else { 0.1 }
        };
        let bytes: Vec<u8> = elements.flat_map(|at| value(at).to_le_bytes()).collect();
        tensors.push((name, shape, bytes));
    }
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

#[test]
fn fine_tuning_does_what_its_page_says() {
    let scratch = Scratch::new("finetune");
    let section = section("finetune.md", "Line by line");
    let lines = blocks(&section, "sh");
    assert!(lines.iter().filter(|line| line.starts_with("alexnet ")).count() >= 6, "{lines:?}");
    let weights = ".cache/torch/hub/checkpoints/alexnet-owt-7be5be79.pth";
    write_like_torchvision(&scratch.0.join(weights));
    for (part, images) in [("train", 16), ("test", 4)] {
        for (class, color) in [("cat", [200, 120, 40]), ("dog", [40, 60, 200])] {
            let folder = scratch.0.join("photos").join(part).join(class);
            std::fs::create_dir_all(&folder).unwrap();
            for at in 0..images {
                let shade = color.map(|channel: u8| channel + 3 * at);
                write_png(&folder.join(format!("{at}.png")), shade);
            }
        }
    }
    let Some([said, told]) = run(&scratch, &lines) else { return };

    let all = format!("{told}{said}");
    let plain = without_numbers(&all);
    for line in blocks(&section, "text") {
        assert!(plain.contains(&without_numbers(&line)), "`{line}` was not printed:\n{all}");
    }
    // Frozen layers are the file's, and others are not.
    let read = |run: &str| {
        let path = scratch.0.join("runs").join(run).join("weights.safetensors");
        weights::Weights::read(&path).unwrap()
    };
    let (mine, all) = (read("mine"), read("all"));
    let networks = vec![models::find("cifar-80sec").unwrap()];
    let options = weights::import::ImportOptions::new(networks);
    let before = weights::Weights::open(scratch.0.join(weights), &options).unwrap();
    let values = |of: &weights::Weights, name: &str| {
        let found = of.parameters.iter().find(|(own, _)| own == name);
        found.unwrap_or_else(|| panic!("there is no {name}")).1.clone()
    };
    for (name, is_frozen) in [("conv1.weight", true), ("conv3.bias", true), ("fc64.weight", false)]
    {
        let is_same = values(&mine, name) == values(&before, name);
        assert_eq!(is_same, is_frozen, "{name}");
        assert_ne!(values(&all, name), values(&mine, name), "{name}");
    }
    assert_eq!((mine.about.input, &mine.mean), (before.about.input, &before.mean));
}

#[test]
fn the_tutorial_is_read_correctly() {
    let text = "a\n\n```sh\none\ntwo\n```\n\nb `c.png`\n\n```text\n3.5 %\n```\nd";
    assert_eq!(
        (blocks(text, "sh"), blocks(text, "text")),
        (vec!["one".into(), "two".into()], vec!["3.5 %".to_string()])
    );
    assert_eq!(without_numbers("loss 2.25, 10 of 200."), "loss #, # of #");
}
