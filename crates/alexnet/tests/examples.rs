//! The examples run and print what they should. `cargo test` has built them next to this test.

use std::path::PathBuf;
use std::process::Command;

/// Runs an example without arguments, and returns its output.
fn output(name: &str) -> String {
    // .../debug/deps/examples-HASH
    let test = std::env::current_exe().unwrap();
    let folder: PathBuf = test.ancestors().nth(2).unwrap().join("examples");
    let program = folder.join(name).with_extension(std::env::consts::EXE_EXTENSION);
    let output = Command::new(&program).output();
    let output = output.unwrap_or_else(|error| {
        panic!("{}: {error}; `cargo test -p alexnet` builds it", program.display())
    });
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {}\n{text}{errors}", output.status);
    text
}

/// The number that follows `before` in each line that has it.
fn numbers(text: &str, before: &str) -> Vec<f64> {
    let after = text.lines().filter_map(|line| line.split_once(before));
    let number = after.map(|(_, rest)| rest.split([' ', ',']).next().unwrap_or_default());
    number
        .map(|number| number.parse().unwrap_or_else(|_| panic!("`{number}` in\n{text}")))
        .collect()
}

#[test]
fn own_network_learns() {
    let text = output("own_network");
    let losses = numbers(&text, "training loss ");
    assert!(losses.len() == 3 && losses[2] < 0.6 * losses[0], "{text}");
    assert!(numbers(&text, "test error ")[2] < 60.0, "{text}");
}

#[test]
fn own_layer_learns() {
    let text = output("own_layer");
    assert!(text.starts_with("gradients agree\n"), "{text}");
    let losses = numbers(&text, "training loss ");
    assert!(losses.len() == 3 && losses[2] < 0.8 * losses[0], "{text}");
}

#[test]
fn own_data_is_loaded_and_its_error_reported() {
    let text = output("own_data");
    assert!(text.contains("of 199 images"), "{text}");
    assert_eq!(text.lines().filter(|line| line.ends_with("of 50 are vertical")).count(), 4);
    assert!(text.contains("replaced: stripes 77: the camera was unplugged"), "{text}");
}

#[test]
fn fine_tuning_is_better_than_training_from_scratch() {
    let text = output("fine_tune");
    let [_, scratch, tuned] = numbers(&text, "error ")[..] else { panic!("{text}") };
    assert!(tuned < scratch, "{text}");
}

#[test]
fn features_of_a_photograph() {
    let text = output("features");
    assert!(text.contains("2304 features"), "{text}");
    assert!(text.trim_end().ends_with("true"), "{text}");
}

#[cfg(all(feature = "image", feature = "rand"))]
#[test]
fn augmentation() {
    let text = output("augment");
    assert!(text.contains("4 views by a generator, inside the image: true"), "{text}");
    assert!(text.contains("10 views of (56, 56) pixels"), "{text}");
    let pixels: Vec<&str> =
        text.lines().filter_map(|line| line.split_once('[')).map(|(_, rest)| rest).collect();
    assert!(pixels.len() == 3 && pixels[0] != pixels[1] && pixels[1] != pixels[2], "{text}");
}

/// Sobel's filters at a vertical edge of height 1: by hand, 1 + 2 + 1 and 0.
#[cfg(feature = "ndarray")]
#[test]
fn a_convolution_of_arrays() {
    let text = output("conv_ndarray");
    assert!(text.contains("filter 0: [0.0, 0.0, 4.0, 4.0, 0.0, 0.0]"), "{text}");
    assert!(text.contains("filter 1: [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]"), "{text}");
    assert!(text.contains("does not fit a slot of [1, 6, 8, 1]"), "{text}");
}

#[cfg(feature = "report")]
#[test]
fn a_plot_is_written() {
    let text = output("plot");
    let file = text.trim_end().rsplit_once(" in ").expect("the file's name").1;
    let svg = std::fs::read_to_string(file).unwrap();
    assert!(svg.contains("<svg") && svg.contains("rate 0.001"), "{file}");
    std::fs::remove_file(file).unwrap();
}
