//! Weights that PyTorch saved, in every command; the networks of inference's `make_networks.py`.

mod program;

use program::{Scratch, alexnet, expect, read_json, write_png};
use safetensors::tensor::{Dtype, TensorView};
use std::path::Path;

fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../inference/tests/import");
    folder.join(name).display().to_string()
}

/// A data set with these classes, each with a colour of its own.
fn data(scratch: &Scratch, name: &str, classes: &[&str]) -> String {
    for part in ["train", "val"] {
        for (at, class) in classes.iter().enumerate() {
            let folder = scratch.0.join(name).join(part).join(class);
            std::fs::create_dir_all(&folder).unwrap();
            for image in 0..4u8 {
                write_png(&folder.join(format!("{image}.png")), [60 * at as u8, 90, 10 * image]);
            }
        }
    }
    scratch.path(name)
}

#[test]
fn every_command_opens_a_file_of_pytorch() {
    let scratch = Scratch::new("imported");
    let (model, data) = (fixture("small.toml"), data(&scratch, "data", &["a", "b", "c", "d"]));
    let picture = fixture("picture1.png");
    for ending in ["pth", "safetensors", "onnx"] {
        let file = fixture(&format!("small.{ending}"));
        let weights = ["--weights", &file, "--model", &model];
        let (stdout, stderr) =
            expect(0, &[&["predict", &picture, "--json", "--top", "1"][..], &weights].concat());
        assert!(stdout.contains("\"class\":\"1\""), "{stdout}");
        let note = format!("small.{ending}: weights of `small`, 4 classes, input 32 x 32, (pixel");
        assert!(stderr.contains(&note), "{stderr}");
    }
    let file = fixture("small.pth");
    let weights = ["--weights", &file, "--model", &model];
    let (_, stderr) = expect(0, &[&["eval", "--data", &data][..], &weights].concat());
    assert!(stderr.contains("its classes have no names; they are taken to be the data's"));
    let out = scratch.path("conv2.npy");
    let layer = ["features", &picture, "--layer", "conv2", "--out", &out];
    expect(0, &[&layer[..], &weights].concat());
    let out = scratch.path("near.png");
    let near = ["neighbours", &picture, "--data", &data, "--out", &out];
    expect(0, &[&near[..], &weights].concat());
    let (stdout, _) = expect(0, &["inspect", &file, "--model", &model]);
    for line in ["a PyTorch file", "small\n", "features.0.weight", "f32 [8, 3, 5, 5], norm "] {
        assert!(stdout.contains(line), "{line}: {stdout}");
    }
    let page = scratch.path("report.html");
    expect(0, &["report", &file, "--model", &model, "--data", &data, "--out", &page]);
    let (_, stderr) = expect(4, &["inspect", &file, "--model", "caffe"]);
    assert!(stderr.contains("its 4 layers do not fit `caffe`"), "{stderr}");
    let (_, stderr) = expect(4, &["inspect", &scratch.path("no.pth")]);
    assert!(stderr.contains("no.pth: cannot read: there is no such file"), "{stderr}");
    // Without the model, the nearest built-in one is compared.
    let (_, stderr) = expect(4, &["predict", &picture, "--weights", &file]);
    assert!(stderr.contains("its 4 layers do not fit `"), "{stderr}");
    assert!(stderr.contains("[12, 8, 3, 3] [12] features.3"), "{stderr}");
}

/// A file like torchvision's `alexnet`, of which nothing but the header is there.
fn torchvision_header(path: &Path) {
    let spec = models::find("torchvision").unwrap();
    let mut at = 0;
    let mut header = serde_json::Map::new();
    for (name, shape) in spec.parameter_shapes().unwrap() {
        let shape = match shape.dims() {
            &[filters, height, width, channels] => vec![filters, channels, height, width],
            other => other.to_vec(),
        };
        let end = at + 4 * shape.iter().product::<usize>();
        let tensor = serde_json::json!({
            "dtype": "F32", "shape": shape, "data_offsets": [at, end]
        });
        header.insert(name, tensor);
        at = end;
    }
    let header = serde_json::Value::Object(header).to_string();
    let file = std::fs::File::create(path).unwrap();
    file.set_len(8 + header.len() as u64 + at as u64).unwrap(); // zeros, which take no space
    let start = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    std::os::unix::fs::FileExt::write_all_at(&file, &start, 0).unwrap();
}

#[test]
fn the_model_and_the_input_of_a_run_are_those_of_its_initial_weights() {
    let scratch = Scratch::new("imported-settings");
    let file = scratch.0.join("some.bin");
    torchvision_header(&file);
    let file = file.display().to_string();
    let (config, _) = expect(0, &["train", "--init", &file, "--print-config"]);
    for line in
        ["model = \"torchvision\"", "mean = \"color\"", "side = 256", "centre = \"half-even\""]
    {
        assert!(config.contains(line), "{line}: {config}");
    }
    assert!(config.contains("scale = [0.0171"), "{config}");
    let scaled = ["train", "--init", &file, "--print-config", "--set", "recipe.input.scale=0.5"];
    let (config, _) = expect(0, &scaled);
    assert!(config.contains("scale = 0.5") && config.contains("mean = \"color\""), "{config}");
}

#[test]
fn weights_that_torchvision_has_not_downloaded_are_explained() {
    let scratch = Scratch::new("imported-missing");
    for arguments in [&["train", "--pretrained"][..], &["train", "--init", "torchvision"]] {
        let mut command = alexnet(arguments);
        let output = command.env("TORCH_HOME", scratch.path("torch")).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{stderr}");
        let file = scratch.path("torch/hub/checkpoints/alexnet-owt-7be5be79.pth");
        assert!(stderr.contains(&format!("there is no {file}")), "{stderr}");
        assert!(stderr.contains(&format!("curl -fL --create-dirs -o {file} https://")), "{stderr}");
    }
}

#[test]
fn files_of_other_kinds_are_named() {
    let scratch = Scratch::new("imported-others");
    let image = scratch.0.join("image.png");
    write_png(&image, [1, 2, 3]);
    let image = image.display().to_string();
    for (name, start, kind) in [
        ("net.h5", &b"\x89HDF\r\n\x1a\n"[..], "this is a Keras HDF5 file"),
        ("net.npz", b"PK\x03\x04", "a damaged zip file"),
        ("net.pth", b"<!DOCTYPE html><html>", "this is a web page"),
        ("net.pkl", b"\x80\x04\x95\x00", "this is a Python pickle that PyTorch did not write"),
        ("net.txt", b"weights", "this is a file of an unknown format"),
    ] {
        let path = scratch.0.join(name);
        std::fs::write(&path, start).unwrap();
        let path = path.display().to_string();
        for arguments in [
            &["predict", &image, "--weights", &path][..],
            &["train", "--init", &path, "--fake-data", "8"],
            &["inspect", &path],
        ] {
            let (_, stderr) = expect(4, arguments);
            assert!(stderr.contains(&format!("{path}: {kind}")), "{arguments:?}: {stderr}");
        }
    }
}

/// Trains a run of four classes from `small`, whose own classes have numbers for names, or from an
/// earlier run; returns what it reported.
fn train(scratch: &Scratch, run: &str, data: &str, init: &str, more: &[&str]) -> String {
    let (model, run) = (fixture("small.toml"), scratch.path(run));
    let train = ["train", "--init", init, "--model", &model, "--data", data, "--run", &run];
    let steps = ["--max-steps", "1", "--batch-size", "4", "--lr", "1e-30"];
    expect(0, &[&train[..], &steps, more].concat()).1
}

#[test]
fn classes_are_matched_by_their_names() {
    let scratch = Scratch::new("imported-classes");
    let first = data(&scratch, "first", &["dog", "horse", "tabby_cat", "zebra"]);
    let stderr = train(&scratch, "first-run", &first, &fixture("small.pth"), &[]);
    assert!(stderr.contains("init    fc4 is reinitialised: "), "{stderr}");
    assert!(stderr.contains("does not have the class `dog`"), "{stderr}");
    assert!(stderr.contains("init    6 of 8 parameters from "), "{stderr}");

    // Numbers of a file without names are no names.
    let numbers = data(&scratch, "numbers", &["1", "2"]);
    let stderr = train(&scratch, "numbers-run", &numbers, &fixture("small.pth"), &[]);
    assert!(stderr.contains("fc4 is reinitialised: "), "{stderr}");

    // Other classes, as many: a new layer. The same in another order and case: its rows.
    let first_run = scratch.path("first-run");
    let others = data(&scratch, "others", &["ant", "bee", "cow", "dog"]);
    let stderr = train(&scratch, "others-run", &others, &first_run, &[]);
    assert!(
        stderr.contains("fc4 is reinitialised: ") && stderr.contains("class `ant`"),
        "{stderr}"
    );
    let fewer = data(&scratch, "fewer", &["Zebra", "dog"]);
    let stderr = train(&scratch, "fewer-run", &fewer, &first_run, &[]);
    assert!(stderr.contains("init    8 of 8 parameters from "), "{stderr}");
    assert!(stderr.contains("init    fc4: the outputs of 2 of the 4 classes of "), "{stderr}");
    let row = |run: &str, row: usize| {
        let path = scratch.0.join(run).join("weights.safetensors");
        let weights = weights::Weights::read(&path).unwrap();
        let (_, weight) = weights.parameters.iter().find(|(name, _)| name == "fc4.weight").unwrap();
        weight.values[20 * row..20 * (row + 1)].to_vec()
    };
    assert_eq!(row("fewer-run", 0), row("first-run", 3), "zebra");
    assert_eq!(row("fewer-run", 1), row("first-run", 0), "dog");

    // A layer that was asked for is kept, with a warning.
    let named = ["--init-layers", "fc4", "fc3"];
    let stderr = train(&scratch, "named-run", &others, &first_run, &named);
    assert!(stderr.contains("WARNING: fc4 keeps the order of its outputs in "), "{stderr}");
    assert_eq!(row("named-run", 2), row("first-run", 2));
    // Two classes with one name.
    let twice = data(&scratch, "twice", &["dog", "tabby cat", "tabby_cat", "zebra"]);
    let (model, run) = (fixture("small.toml"), scratch.path("twice-run"));
    let (_, stderr) = expect(
        4,
        &["train", "--init", &first_run, "--model", &model, "--data", &twice, "--run", &run],
    );
    assert!(stderr.contains("the class `tabby_cat` matches several"), "{stderr}");
}

#[test]
fn the_mean_of_the_initial_weights_is_kept_and_resumed() {
    let scratch = Scratch::new("imported-mean");
    let data = data(&scratch, "data", &["a", "b"]);
    let stderr = train(&scratch, "run", &data, &fixture("small.pth"), &[]);
    let input = "input   (pixel - mean 123.6750 116.2800 103.5300) x 0.0171 0.0175 0.0174";
    assert!(stderr.contains(input), "{stderr}");
    let mean = |run: &str| {
        let path = scratch.0.join(run).join("weights.safetensors");
        weights::Weights::read(&path).unwrap().mean.values
    };
    assert_eq!(mean("run"), [123.675, 116.28, 103.53]);
    expect(0, &["train", "--resume", &scratch.path("run"), "--max-steps", "3"]);
    assert_eq!(mean("run"), [123.675, 116.28, 103.53], "the resumed run does not read the file");
    let status = read_json(&scratch.0.join("run/run.json"));
    assert_eq!(status["status"], "finished");
    // The data's own mean, if an image is asked for.
    train(&scratch, "own", &data, &fixture("small.pth"), &["--set", "recipe.input.mean=image"]);
    assert_eq!(mean("own").len(), 32 * 32 * 3);
}

#[test]
fn flags_for_other_programs_files_are_errors_for_own_files() {
    let scratch = Scratch::new("imported-flags");
    let path = scratch.0.join("own.safetensors");
    let metadata = std::collections::HashMap::from([("alexnet".to_string(), "x".to_string())]);
    let view = TensorView::new(Dtype::F32, vec![1], &[0; 4]).unwrap();
    std::fs::write(&path, safetensors::serialize([("a", view)], Some(metadata)).unwrap()).unwrap();
    let path = path.display().to_string();
    for (flag, arguments) in [
        ("--model", &["predict", "x.png", "--weights", &path, "--model", "caffe"][..]),
        ("--mean", &["predict", "x.png", "--weights", &path, "--mean", "caffe"]),
        ("--init-mean", &["train", "--init", &path, "--init-mean", "mean.npy"]),
        ("--model", &["inspect", &path, "--model", "caffe"]),
    ] {
        let (_, stderr) = expect(2, arguments);
        assert!(stderr.contains(&format!("{flag}: {path} is a file of this program")), "{stderr}");
    }
    for arguments in
        [&["predict", "x.png", "--model", "caffe"][..], &["report", ".", "--model", "caffe"]]
    {
        let (_, stderr) = expect(2, arguments);
        assert!(stderr.contains("--model: name a weights file of another program"), "{stderr}");
    }
}
