//! `export`: its files in the programs that they are for, by `exported/check.py`; and its errors.
//!
//! Python with numpy, onnx and onnxruntime is `target/python`, which `.ci/run` makes, or what
//! `ALEXNET_PYTHON` names. PyTorch may be there, too, or Debian's python3-torchvision, which
//! `.ci/run` installs, is used. Without them the files are not checked, which is reported;
//! `ALEXNET_REQUIRE_PYTHON=1` makes that an error.

mod program;

use layers::{Row, Spec, window};
use program::{Scratch, coloured, expect, last_line};
use random::{Purpose, Stream};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::{has_modules, is_long, python_is_missing};
use weights::{About, Input, Mean, Scale, Values, Weights};

/// Images that both compute.
const IMAGES: usize = 3;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Python with the packages; `None`, reported, if there is none.
fn python() -> Option<PathBuf> {
    let python = testkit::python();
    if has_modules(&python, "numpy, onnx, onnxruntime") {
        return Some(python);
    }
    let python = python.display();
    let message = format!("no {python} with numpy, onnx and onnxruntime (`cargo xtask python`)");
    python_is_missing("exported files in other programs", &message);
    None
}

/// Python with PyTorch and torchvision; `None`, reported, if there is none. Debian's is that of
/// `/usr/bin/python3`, which another `python3` may hide.
fn torch_python() -> Option<PathBuf> {
    let found = pythons_with_torch().next();
    if found.is_none() {
        let message = "no Python with PyTorch and torchvision (Debian's python3-torchvision, or \
                       `cargo xtask python --torch`)";
        python_is_missing("exported files in PyTorch", message);
    }
    found
}

fn pythons_with_torch() -> impl Iterator<Item = PathBuf> {
    let all = [testkit::python(), "python3".into(), "/usr/bin/python3".into()];
    all.into_iter().filter(|python| has_modules(python, "torch, torchvision"))
}

/// Random weights of a network, scaled so that activations keep their size.
fn random(model: Spec) -> Weights {
    let [height, width, _] = model.input;
    let classes = model.classes().unwrap();
    let mut inputs = 1;
    let parameter = |(at, (name, shape)): (usize, (String, tensor::Shape))| {
        let len = shape.len();
        if let [first, ..] = shape.dims()
            && name.ends_with(".weight")
        {
            inputs = len / first;
        }
        let bound = (6.0 / inputs as f32).sqrt();
        let (low, high) = match name.rsplit_once('.').unwrap().1 {
            "weight" => (-bound, bound),
            "variance" | "scale" => (0.5, 1.5),
            _ => (-0.1, 0.1),
        };
        let mut stream = Stream::new(7, Purpose::Test, 0, at as u32);
        let values = (0..len).map(|_| stream.between(low, high)).collect();
        (name, Values { shape: shape.dims().to_vec(), values })
    };
    let parameters = model.parameter_shapes().unwrap().into_iter().enumerate().map(parameter);
    let parameters = parameters.collect();
    let scale = Scale::Channels([1.0 / 58.0, 1.0 / 57.0, 1.0 / 58.0]);
    let side = Some(height.max(width) + 2);
    let input = Input { side, ..Input::new(Mean::Color, scale) };
    let (classes, class_names) = ((0..classes).map(|at| format!("n{at}")).collect(), Vec::new());
    let about = About { format: Weights::FORMAT, classes, class_names, input, model };
    let mean = Values { shape: vec![3], values: vec![123.0, 116.5, 103.25] };
    Weights { about, mean, parameters }
}

fn write_png(path: &Path, side: usize, pixels: &[u8]) {
    let file = fs::File::create(path).unwrap();
    let mut encoder = png::Encoder::new(file, side as u32, side as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(pixels).unwrap();
}

/// Exports the network in `weights` in every format, and writes what the script compares with.
fn export(weights: &str, folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let path = |name: &str| folder.join(name).display().to_string();
    let read = Weights::read(Path::new(weights)).unwrap();
    let about = &read.about;
    let mut torchvision = serde_json::Value::Null;
    for name in ["net.pth", "net.safetensors", "net.npz", "net.onnx"] {
        let command = ["export", "--weights", weights, "--to", &path(name), "--json"];
        let (stdout, _) = expect(0, &command);
        torchvision = last_line(&stdout)["torchvision"].clone();
        if name == "net.pth" && !torchvision.is_null() {
            let command = ["export", "--weights", weights, "--to", &path(name)];
            expect(0, &[&command[..], &["--format", "torchvision"]].concat());
        }
    }
    let whole = ["--with-preprocess", "--probabilities", "--to", &path("whole.onnx")];
    expect(0, &[&["export", "--weights", weights][..], &whole].concat());

    let [height, width, _] = about.model.input;
    let side = about.input.side.unwrap_or(height.max(width));
    let (top, left) = ((side - height) / 2, (side - width) / 2);
    let (mut files, mut crops) = (Vec::new(), Vec::new());
    for image in 0..IMAGES {
        let mut stream = Stream::new(9, Purpose::Test, 0, image as u32);
        let pixels: Vec<u8> = (0..3 * side * side).map(|_| stream.below(256) as u8).collect();
        let file = path(["photo.png", "photo2.png", "photo3.png"][image]);
        write_png(Path::new(&file), side, &pixels);
        files.push(file);
        for row in top..top + height {
            crops.extend(&pixels[3 * (row * side + left)..][..3 * width]);
        }
    }
    let header = files::npy_header("|u1", &[IMAGES, height, width, 3]);
    fs::write(folder.join("images.npy"), [header, crops].concat()).unwrap();
    let last = about.model.describe().unwrap().last().unwrap().name.clone();
    let out = path("logits.npy");
    let options = ["--weights", weights, "--layer", &last, "--out", &out];
    let images: Vec<&str> = files.iter().map(String::as_str).collect();
    expect(0, &[&["features", "--device", "cpu"][..], &images, &options].concat());
    let mean: Vec<Vec<Vec<f32>>> = match about.input.mean {
        Mean::Color => vec![vec![read.mean.values.clone()]],
        Mean::Image => (top..top + height)
            .map(|row| {
                let row = &read.mean.values[3 * (row * side + left)..][..3 * width];
                row.chunks(3).map(<[f32]>::to_vec).collect()
            })
            .collect(),
    };
    let names = if about.class_names.is_empty() { &about.classes } else { &about.class_names };
    let text = json!({
        "classes": about.classes, "names": names, "torchvision": torchvision,
        "mean": mean, "scale": about.input.scale.channels(),
    });
    fs::write(folder.join("about.json"), text.to_string()).unwrap();
}

/// Runs a script on a folder of exports.
fn check(python: &Path, script: &str, folder: &Path) {
    let script = root().join("crates/trainer/tests/exported").join(script);
    let mut command = Command::new(python);
    command.arg(script).arg(folder).arg(root().join("docs/deploy.md"));
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_string();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    eprint!("{stdout}");
}

/// Runs the scripts on a folder of exports, and removes it.
fn check_all(python: &Path, torch: Option<&Path>, folder: &Path) {
    check(python, "check.py", folder);
    if let Some(torch) = torch {
        check(torch, "with_torch.py", folder);
    }
    fs::remove_dir_all(folder).unwrap();
}

/// Every kind of row that the built-in models of a sample do not have.
fn other_rows() -> Spec {
    let mut spec = Spec::image("other-rows", 20, 18, 3)
        .conv("conv1", 8, window(5).stride(2).overhang(1))
        .lrn_with(layers::Lrn { towers: 2, size: 4, alpha: 0.1, ..layers::Lrn::default() })
        .batch_norm()
        .prelu()
        .conv("conv2", 12, window(3).pad(1).groups(2))
        .layer_norm()
        .gelu()
        .average_pool(window(3).stride(2).pad(1).ceil())
        .local("local3", 4, window(2).pad(1).stride(2).groups(2))
        .leaky_relu(0.1)
        .lrn_with(layers::Lrn { towers: 2, size: 3, alpha: 0.1, ..layers::Lrn::default() })
        .dropout(0.5)
        .linear("fc4", 24)
        .tanh()
        .layer_norm()
        .linear("fc5", 24)
        .batch_norm()
        .prelu()
        .dropout(0.25)
        .linear("fc6", 16)
        .logistic()
        .linear("fc7", 5);
    for row in &mut spec.rows {
        if let Row::Tanh(tanh) = row {
            (tanh.outer, tanh.inner) = (1.7159, 0.6667);
        }
    }
    spec
}

#[test]
fn other_programs_compute_the_same() {
    let Some(python) = python() else { return };
    let torch = torch_python();
    let scratch = Scratch::new("exported");
    let exports = scratch.0.join("exports");
    // A run that was trained here.
    coloured(&scratch, &["run"]);
    export(&scratch.path("run/weights.safetensors"), &exports.join("run"));
    check_all(&python, torch.as_deref(), &exports);
    let sample = ["alexnet-64", "cifar-18pct", "cifar-11pct"];
    let mut specs: Vec<Spec> = models::specs();
    specs.retain(|spec| is_long() || sample.contains(&spec.name.as_str()));
    for spec in [vec![other_rows()], specs].concat() {
        let own = scratch.0.join("weights.safetensors");
        let weights = random(spec);
        weights.write(&own).unwrap();
        export(&own.display().to_string(), &exports.join(&weights.about.model.name));
        check_all(&python, torch.as_deref(), &exports);
    }
}

/// torchvision's network, trained here on images of three colours.
#[test]
fn torchvision_loads_a_run() {
    let Some(torch) = torch_python() else { return };
    let scratch = Scratch::new("exported-torchvision");
    let data = coloured(&scratch, &[]);
    let run = scratch.path("run");
    let train = ["train", "--model", "torchvision", "--data", &data, "--run", &run];
    let short = ["--batch-size", "4", "--max-steps", "2", "--progress", "none"];
    expect(0, &[&train[..], &short].concat());
    let folder = scratch.0.join("exports/torchvision-run");
    fs::create_dir(folder.parent().unwrap()).unwrap();
    export(&scratch.path("run/weights.safetensors"), &folder);
    check(&torch, "with_torch.py", folder.parent().unwrap());
    if let Some(python) = python() {
        check(&python, "check.py", folder.parent().unwrap());
    }
}

#[test]
fn what_was_exported_can_be_used_like_any_weights() {
    let scratch = Scratch::new("export-used");
    let data = coloured(&scratch, &["run"]);
    let run = scratch.path("run");
    let image = format!("{data}/val/red/0.png");
    let predict = |weights: &[&str]| {
        let command = ["predict", &image, "--json", "--device", "cpu", "--threads", "1"];
        last_line(&expect(0, &[&command[..], weights].concat()).0)
    };
    let own = predict(&["--run", &run]);
    for name in ["net.onnx", "net.pth", "net.safetensors", "net.npz"] {
        let path = scratch.path(name);
        let (stdout, _) = expect(0, &["export", "--run", &run, "--to", &path]);
        for line in ["of `tiny`, 6 tensors", "weights of fc3 x 0.5: the scale of the dropout"] {
            assert!(stdout.contains(line), "{line}: {stdout}");
        }
        // Halving is exact: the same probabilities, of the same classes.
        let mut found = predict(&["--weights", &path]);
        let mut own = own.clone();
        for value in [&mut found, &mut own] {
            value.as_object_mut().unwrap().remove("model");
        }
        assert_eq!(found, own, "{name}");
        let (_, stderr) = expect(0, &["eval", "--weights", &path, "--data", &data]);
        assert!(!stderr.contains("have no names"), "{stderr}");
        expect(0, &["inspect", &path]);
    }
    let path = scratch.path("own.safetensors");
    expect(0, &["export", "--run", &run, "--to", &path, "--format", "ours"]);
    let exported = Weights::read(Path::new(&path)).unwrap();
    assert_eq!(exported, Weights::read(scratch.0.join("run/weights.safetensors")).unwrap());
}

#[test]
fn mistakes_are_explained() {
    let scratch = Scratch::new("export-mistakes");
    coloured(&scratch, &["run"]);
    let run = scratch.path("run");
    let refused = |code: i32, arguments: &[&str], expected: &str| {
        let (_, stderr) = expect(code, &[&["export", "--run", &run][..], arguments].concat());
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
    };
    let (odd, pth) = (scratch.path("net.bin"), scratch.path("net.pth"));
    refused(2, &["--to", &odd], "end the name in .onnx, .pth, .safetensors or .npz");
    refused(2, &["--to", &odd, "--format", "torchvision"], "end the name in .pth");
    let torchvision = ["--to", pth.as_str(), "--format", "torchvision"];
    refused(2, &torchvision, "`tiny` is none of torchvision's networks (torchvision, vgg11,");
    refused(2, &["--to", &pth, "--probabilities"], "only an ONNX file has a graph");
    refused(2, &["--to", &pth, "--with-preprocess"], "--with-preprocess: only an ONNX");
    refused(2, &["--to", &scratch.path("no/net.pth")], "there is no folder");
    refused(2, &["--to", &run], "this names no file to write");
    let own = scratch.path("run/weights.safetensors");
    let before = fs::read(&own).unwrap();
    refused(2, &["--to", &own], "this is a file of this program, which the export would replace");
    assert_eq!(fs::read(&own).unwrap(), before);
    // Whatever its name and the format are; a checkpoint, too.
    let checkpoint = fs::read_dir(scratch.path("run/checkpoints")).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        (path.extension()? == "safetensors").then_some(path)
    });
    fs::copy(checkpoint.unwrap(), scratch.path("step.safetensors")).unwrap();
    for name in ["kept.SafeTensors", "kept.onnx", "kept", "step.safetensors"] {
        let path = scratch.path(name);
        if !Path::new(&path).exists() {
            fs::write(&path, &before).unwrap();
        }
        let kept = fs::read(&path).unwrap();
        let format = if name.ends_with("onnx") { "onnx" } else { "ours" };
        refused(2, &["--to", &path, "--format", format], "this is a file of this program");
        assert_eq!(fs::read(&path).unwrap(), kept);
    }
    let (empty, onnx) = (scratch.path("empty.safetensors"), scratch.path("net.onnx"));
    fs::write(&empty, b"").unwrap();
    expect(0, &["export", "--run", &run, "--to", &empty]);
    for (format, path, ending) in [
        ("onnx", &pth, ".onnx"),
        ("pytorch", &onnx, ".pth"),
        ("npz", &pth, ".npz"),
        ("safetensors", &pth, ".safetensors"),
        ("ours", &pth, ".safetensors"),
    ] {
        let expected = format!("end it in {ending}, or leave --format out");
        refused(2, &["--to", path, "--format", format], &expected);
    }
    let (stdout, _) = expect(0, &["export", "--run", &run, "--to", &onnx, "--json"]);
    assert_eq!(last_line(&stdout)["format"], "onnx");
    let (_, stderr) = expect(4, &["export", "--run", &scratch.path("nothing"), "--to", &pth]);
    assert!(stderr.contains("nothing"), "{stderr}");
    assert!(!Path::new(&pth).exists());
}

#[test]
fn the_perceptual_distance_is_that_of_the_package_lpips() {
    // The package is in a folder of the environment of `cargo xtask python`, without PyTorch.
    let Some(package) = testkit::python().ancestors().nth(2).map(|folder| folder.join("lpips"))
    else {
        panic!("an environment has a folder")
    };
    let torch = pythons_with_torch().find(|python| has_modules(python, "torch, scipy, tqdm"));
    let Some(python) = torch.filter(|_| package.exists()) else {
        let message = "no PyTorch with scipy, tqdm and lpips (`cargo xtask python`, and Debian's \
                       python3-torchvision, python3-scipy and python3-tqdm)";
        return python_is_missing("the perceptual distance", message);
    };
    let scratch = Scratch::new("lpips");
    let script = root().join("crates/trainer/tests/exported/lpips_cases.py");
    let output = Command::new(&python)
        .env("PYTHONPATH", package)
        .arg(script)
        .arg(&scratch.0)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let [whole, trunk, linear] = ["lpips.pth", "alexnet.pth", "alex.pth"].map(|n| scratch.path(n));
    for case in program::read_json(&scratch.0.join("cases.json")).as_array().unwrap() {
        let image = |at: usize| scratch.path(case["images"][at].as_str().unwrap());
        let (a, b, expected) = (image(0), image(1), case["distance"].as_f64().unwrap());
        for files in [&[whole.as_str()][..], &[&trunk, &linear]] {
            let command = ["distance", &a, &b, "--json", "--device", "cpu", "--lpips"];
            let (stdout, _) = expect(0, &[&command[..], files].concat());
            let found = last_line(&stdout)["lpips"].as_f64().unwrap();
            assert!((found - expected).abs() <= 1e-5, "{case}: {found}");
        }
    }
    let [a, b, other] = ["0-a.png", "0-b.png", "1-a.png"].map(|name| scratch.path(name));
    let (_, stderr) = expect(3, &["distance", &a, &other, "--lpips", &whole]);
    assert!(stderr.contains("64 x 64 and 80 x 97 pixels: resize them to one size"), "{stderr}");
    let (_, stderr) = expect(4, &["distance", &a, &b, "--lpips", &linear]);
    let missing = "it has no tensor `net.slice1.0.weight` or `features.0.weight`";
    assert!(stderr.contains(missing), "{stderr}");
}
