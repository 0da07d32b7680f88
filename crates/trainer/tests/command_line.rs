//! The program as its users meet it: exit codes, messages, a tiny run and what it leaves.

mod program;

use program::{Scratch, alexnet, expect, last_line, read_json};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

/// A run of a few steps on 64 random images.
fn tiny<'a>(run: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["train", "--run", run, "--fake-data", "64", "--batch-size", "8"];
    arguments.extend(more);
    arguments
}

#[test]
fn slips_of_the_finger_are_answered_and_cost_code_2() {
    for (arguments, expected) in [
        (&["train", "--model", "alxnet"][..], "did you mean `alexnet`?"),
        (&["train", "--recipe", "papper"], "did you mean `paper`?"),
        (&["train", "--set", "recipe.momentun=0.5"], "did you mean `momentum`?"),
        (&["train", "--set", "recipe.layers.fc66.decay=1"], "did you mean `fc6`?"),
        (&["train", "--bach-size", "3"], "--batch-size"),
        (&["train", "--device", "gpu"], "use auto, cpu, cuda or cuda:N"),
        (&["train", "--precision", "fp16"], "use f32, tf32 or bf16"),
        (&["train", "--config", "/no/such.toml"], "/no/such.toml: cannot read"),
        (&["train", "--model", "/no/such.toml"], "/no/such.toml: cannot read the model"),
        (&["eval"], "there is no run in runs/ with weights or a checkpoint: name a run"),
        (&["describe", "--model", "resnet"], "there is no model `resnet`"),
    ] {
        let (stdout, stderr) = expect(2, arguments);
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
        assert_eq!(stdout, "");
    }
}

#[test]
fn several_processes_are_not_taken_for_one_run() {
    let without_mpi = "cargo build --release --features mpi`, or let one process use this";
    for (variable, arguments, told) in [
        ("OMPI_COMM_WORLD_SIZE", &["train"][..], without_mpi),
        ("PMI_SIZE", &["reproduce", "cifar-80sec", "--rehearse"], "start it without a launcher"),
    ] {
        if cfg!(feature = "mpi") && arguments == ["train"] {
            continue; // it would look for the other process
        }
        let output = alexnet(arguments).env(variable, "2").output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.starts_with(&format!("alexnet: {variable} is 2: ")), "{stderr}");
        assert!(stderr.contains(told), "{stderr}");
    }
    let output = alexnet(&["train", "--print-config"]).env("PMI_SIZE", "1").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn every_failure_has_its_code() {
    let scratch = Scratch::new("codes");
    let (_, stderr) = expect(3, &["train", "--data", &scratch.path("nothing")]);
    assert!(stderr.contains("nothing of this name"), "{stderr}");

    fs::write(scratch.0.join("bad.safetensors"), "no").unwrap();
    let bad = scratch.path("bad.safetensors");
    let (_, stderr) = expect(4, &["eval", "--data", "shapes", "--weights", &bad]);
    assert!(stderr.contains("bad.safetensors: this is not an intact"), "{stderr}");

    let run = scratch.path("diverged");
    let (_, stderr) = expect(5, &tiny(&run, &["--lr", "1e20", "--progress", "none"]));
    assert!(stderr.contains("the first tensor that is not finite is"), "{stderr}");
    let status: Value = read_json(&Path::new(&run).join("run.json"));
    assert_eq!(status["status"], "failed");

    let run = scratch.path("too-large");
    let (_, stderr) =
        expect(1, &["train", "--run", &run, "--fake-data", "64", "--batch-size", "1000000"]);
    assert!(stderr.contains("are free: use a smaller batch"), "{stderr}");
    assert!(!Path::new(&run).exists(), "nothing is left of a run that could not begin");

    // On a machine with GPUs this one is not there either.
    let (_, stderr) = expect(6, &["train", "--device", "cuda:99"]);
    assert!(stderr.starts_with("alexnet: cuda:99 cannot be used: "), "{stderr}");
    assert!(stderr.contains("--device cpu"), "{stderr}");
    let on_the_processor = ["--device", "cpu", "--precision", "tf32"];
    let reduced = scratch.path("reduced");
    let (_, stderr) = expect(6, &tiny(&reduced, &on_the_processor));
    assert!(
        stderr.contains("cpu cannot multiply in tf32: processors multiply in f32 and bf16"),
        "{stderr}"
    );
    assert!(!Path::new(&reduced).exists(), "nothing is left of a run that could not begin");
    let diverged = scratch.path("diverged");
    let (_, stderr) = expect(2, &tiny(&diverged, &[]));
    assert!(stderr.contains("not empty"), "{stderr}");
    if cfg!(target_os = "linux") {
        expect(7, &tiny("/proc/alexnet-run", &["--progress", "none"]));
    }
}

/// A run in bf16 that stops and goes on, on other threads, comes to the bits of one that does not.
/// Without AMX it is refused.
#[test]
fn bf16_is_for_processors_with_amx() {
    let scratch = Scratch::new("bf16");
    let [whole, parts] = ["whole", "parts"].map(|name| scratch.path(name));
    let bf16 = ["--device", "cpu", "--precision", "bf16", "--progress", "none"];
    let run =
        |code, run: &str, more: &[&str]| expect(code, &tiny(run, &[&bf16[..], more].concat())).1;
    if let Err(why) = tensor::amx() {
        eprintln!("SKIPPED: {why}");
        let stderr = run(6, &whole, &["--max-steps", "1"]);
        assert!(stderr.contains(&format!("cpu cannot multiply in bf16: {why}")), "{stderr}");
        assert!(stderr.contains("--precision f32"), "{stderr}");
        return;
    }
    run(0, &whole, &["--max-steps", "4", "--threads", "2"]);
    run(0, &parts, &["--max-steps", "2", "--threads", "1"]);
    let on = ["train", "--resume", &parts, "--max-steps", "4", "--threads", "3"];
    let (_, stderr) = expect(0, &on);
    assert!(stderr.contains("cpu, bf16, 3 threads"), "{stderr}");
    let read = |run: &str, file: &str| fs::read(Path::new(run).join(file)).unwrap();
    assert!(read(&whole, "weights.safetensors") == read(&parts, "weights.safetensors"));
    let config = String::from_utf8(read(&parts, "config.toml")).unwrap();
    assert!(config.contains("precision = \"bf16\""), "{config}");
}

#[test]
fn a_run_leaves_all_that_is_promised_and_its_test_can_be_repeated() {
    let scratch = Scratch::new("run");
    let run = scratch.path("run");
    let (stdout, stderr) = expect(0, &tiny(&run, &["--max-steps", "12", "--json"]));
    let result = last_line(&stdout);
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    for key in ["loss", "top1_error", "top5_error", "images_per_s", "seconds"] {
        assert!(result[key].is_number(), "{key}: {result}");
    }
    assert_eq!(result["steps"], 12);
    assert_eq!(result["run"], run);
    for said in ["1,440,330 parameters", "paper-64", "64 training", "MiB at batch 8", &run] {
        assert!(stderr.contains(said), "{said}: {stderr}");
    }

    let folder = Path::new(&run);
    assert_eq!(read_json(&folder.join("run.json"))["status"], "finished");
    assert_eq!(read_json(&folder.join("env.json"))["data"]["train"], 64);
    let metrics = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let kinds: Vec<Value> = metrics
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["kind"].clone())
        .collect();
    assert_eq!(kinds.iter().filter(|kind| *kind == "train").count(), 12);
    assert_eq!(kinds.iter().filter(|kind| *kind == "validation").count(), 2); // 8 steps an epoch
    let config = folder.join("config.toml").display().to_string();
    let (printed, _) = expect(0, &["train", "--config", &config, "--print-config"]);
    assert_eq!(printed, fs::read_to_string(&config).unwrap());

    let (stdout, _) = expect(0, &["eval", "--run", &run, "--json", "--batch-size", "8"]);
    let again = last_line(&stdout);
    for key in ["loss", "top1_error", "top5_error"] {
        let (a, b) = (again[key].as_f64().unwrap(), result[key].as_f64().unwrap());
        assert!((a - b).abs() <= 1e-6 * b.abs(), "{key}: {a} and {b}");
    }
    let (stdout, _) = expect(0, &["eval", "--run", &run, "--ten-crop"]);
    assert!(stdout.contains("10 views: loss"), "{stdout}");
    let (stdout, stderr) = expect(0, &["eval", "--run", &run, "--multiview"]);
    assert!(stdout.contains("9 views: loss") && !stderr.contains("all nine"), "{stdout}{stderr}");
    expect(2, &["eval", "--run", &run, "--multiview", "--ten-crop"]);
}

#[test]
fn threads_and_workers_do_not_change_a_bit() {
    let scratch = Scratch::new("bits");
    let weights = |name: &str, threads: &str, workers: &str| {
        let run = scratch.path(name);
        let machine = ["--threads", threads, "--workers", workers];
        let few = ["--max-steps", "3", "--progress", "none", "--model", "alexnet-64"];
        expect(
            0,
            &tiny(
                &run,
                &[machine, ["--seed", "5", "--recipe", "paper"]]
                    .concat()
                    .iter()
                    .chain(&few)
                    .copied()
                    .collect::<Vec<_>>(),
            ),
        );
        fs::read(Path::new(&run).join("weights.safetensors")).unwrap()
    };
    let one = weights("one", "1", "1");
    for (threads, workers) in [("2", "3"), ("3", "2"), ("8", "5")] {
        let other = weights(threads, threads, workers);
        assert!(one == other, "{threads} threads and {workers} workers give other weights");
    }
}

#[test]
fn overfitting_learns_by_heart() {
    let scratch = Scratch::new("overfit");
    let run = scratch.path("run");
    let arguments = [
        "train",
        "--run",
        &run,
        "--model",
        "cifar-80sec",
        "--overfit",
        "20",
        "--max-steps",
        "150",
        "--json",
        "--progress",
        "none",
    ];
    let (stdout, _) = expect(0, &arguments);
    let result = last_line(&stdout);
    assert!(result["train_loss"].as_f64().unwrap() < 0.5, "{result}");
    let later = ["--set", "recipe.ema.decay=0.9", "--set", "recipe.layers.conv1.train-from=2"];
    let (config, _) =
        expect(0, &[&["train", "--overfit", "20", "--print-config"], &later[..]].concat());
    for gone in ["ema", "train-from"] {
        assert!(!config.contains(gone), "{gone}: {config}");
    }
    for said in ["batch = 20", "crop = false", "mirror = false", "kind = \"constant\"", "side = 72"]
    {
        assert!(config.contains(said), "{said}: {config}");
    }
    let varied = ["recipe.sampling", "recipe.class-weights"].map(|key| format!("{key}=balanced"));
    let varied = varied.iter().flat_map(|set| ["--set", set]);
    let smooth =
        ["train", "--overfit", "20", "--print-config", "--set", "recipe.label-smoothing=0.1"];
    let (plain, _) = expect(0, &smooth.into_iter().chain(varied).collect::<Vec<_>>());
    assert_eq!(plain, config, "each image once an epoch, with the plain loss");
}

#[test]
fn modern_augmentation_trains_and_is_kept() {
    let scratch = Scratch::new("modern");
    let run = scratch.path("run");
    let set = ["--set", "recipe.augment.resized={}", "--set", "recipe.augment.jitter.hue=0.1"];
    let few = ["--max-steps", "3", "--progress", "none"];
    expect(0, &tiny(&run, &[set.as_slice(), &few].concat()));
    let config = fs::read_to_string(Path::new(&run).join("config.toml")).unwrap();
    for said in ["[recipe.augment.resized]", "area = [0.08, 1.0]", "hue = 0.1"] {
        assert!(config.contains(said), "{said}: {config}");
    }
}

/// Two classes of some PNG files each, with one that is no image and one that is grey.
fn pictures(scratch: &Scratch) -> String {
    for (class, shade) in [("cats", 40), ("dogs", 200)] {
        let folder = scratch.0.join("pictures").join(class);
        fs::create_dir_all(&folder).unwrap();
        for number in 0..12u8 {
            let file = fs::File::create(folder.join(format!("{number:02}.png"))).unwrap();
            let mut encoder = png::Encoder::new(file, 30 + u32::from(number), 20);
            let channels = if class == "dogs" && number == 3 { 1 } else { 3 };
            encoder.set_color(if channels == 1 {
                png::ColorType::Grayscale
            } else {
                png::ColorType::Rgb
            });
            let pixels = vec![shade + number; (30 + usize::from(number)) * 20 * channels];
            encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
        }
    }
    scratch.path("pictures")
}

#[test]
fn verify_names_every_file_that_is_wrong() {
    let scratch = Scratch::new("verify");
    let folder = pictures(&scratch);
    let (stdout, _) = expect(0, &["data", "verify", &folder]);
    assert!(stdout.contains("03.png: grey, copied"), "{stdout}");
    assert!(stdout.ends_with("24 files, 0 unusable\n"), "{stdout}");
    fs::write(Path::new(&folder).join("cats/05.png"), "<html>").unwrap();
    let arguments = ["data", "verify", &folder, "--json", "--smaller-than", "21"];
    let (stdout, _) = expect(3, &arguments);
    let report = last_line(&stdout);
    assert_eq!((&report["files"], &report["unusable"]), (&24.into(), &1.into()));
    assert_eq!(report["kinds"]["not-an-image"], 1);
    assert_eq!(report["kinds"]["small"], 23);
    assert_eq!(report["findings"].as_array().unwrap().len(), 25);
    assert!(report["findings"][5]["name"].as_str().unwrap().ends_with("cats/05.png"), "{report}");
    let (stdout, _) = expect(3, &["data", "verify", &folder]);
    assert!(stdout.contains("not-an-image           1  unusable"), "{stdout}");
    let (_, stderr) = expect(3, &["data", "verify", &scratch.path("nothing")]);
    assert!(stderr.contains("nothing of this name"), "{stderr}");
    fs::create_dir(scratch.0.join("empty")).unwrap();
    let (stdout, _) = expect(3, &["data", "verify", &scratch.path("empty")]);
    assert!(stdout.contains("layout") && stdout.contains("no folder with images"), "{stdout}");
    expect(2, &["data", "verify"]);
    expect(2, &["data"]);
}

#[test]
fn stats_count_and_measure() {
    let scratch = Scratch::new("stats");
    let folder = pictures(&scratch);
    let (stdout, _) = expect(0, &["data", "stats", &folder, "--json", "--side", "16"]);
    let stats = last_line(&stdout);
    assert_eq!(
        (&stats["train"], &stats["test"], &stats["side"]),
        (&22.into(), &2.into(), &16.into())
    );
    assert_eq!(stats["classes"][1]["name"], "dogs");
    assert_eq!(stats["classes"][1]["train"], 11);
    assert_eq!(stats["heights"]["max"], 20);
    assert_eq!((&stats["widths"]["min"], &stats["widths"]["max"]), (&30.into(), &41.into()));
    // Grey images: one component, along the diagonal of the colours' cube.
    let first = stats["pca"]["eigenvectors"][0][1].as_f64().unwrap();
    assert!((first.abs() - 3f64.sqrt().recip()).abs() < 1e-6, "{stats}");
    let mean = stats["mean"][0].as_f64().unwrap();
    assert!((110.0..140.0).contains(&mean), "{stats}");
    let (stdout, _) = expect(0, &["data", "stats", &folder]);
    for said in ["22 training and 2 test images in 2 classes", "cats", "median", "PCA 1:"] {
        assert!(stdout.contains(said), "{said}: {stdout}");
    }
}

#[test]
fn show_writes_a_sheet_and_says_where() {
    let scratch = Scratch::new("show");
    let (folder, out) = (pictures(&scratch), scratch.path("sheet.png"));
    let few = ["--out", &out, "--rows", "2", "--columns", "3", "--model", "cifar-19pct"];
    let sheet = |more: &[&str]| {
        let (stdout, _) = expect(0, &[&["data", "show", &folder], &few[..], more].concat());
        assert!(
            stdout.starts_with(&format!("{out}: 6 images of 32 x 32 as cifar-19pct")),
            "{stdout}"
        );
        fs::read(&out).unwrap()
    };
    let plain = sheet(&[]);
    assert!(plain == sheet(&[]), "the same seed, another sheet");
    assert!(plain != sheet(&["--seed", "1"]), "another seed, the same sheet");
    assert!(plain != sheet(&["--recipe", "paper"]), "other colours, the same sheet");
    assert!(plain != sheet(&["--set", "recipe.augment.jitter.brightness=0.5"]));
    assert!(plain != sheet(&["--set", "recipe.augment.cutmix=1"]));
    let erase = ["--set", "recipe.augment.erase={probability=1}"];
    assert!(plain != sheet(&erase));
    assert!(sheet(&["--set", "recipe.sampling=balanced"]) != plain);
    let reader = png::Decoder::new(std::io::Cursor::new(plain)).read_info().unwrap();
    let info = reader.info();
    assert_eq!((info.height, info.width), (6 + 2 * (128 + 8 + 12), 6 + 3 * (128 + 6)));
    expect(0, &["data", "show", "shapes", "--out", &out]);
    let (_, stderr) =
        expect(7, &["data", "show", "shapes", "--out", &scratch.path("no/sheet.png")]);
    assert!(stderr.contains("no/sheet.png: cannot write"), "{stderr}");
    expect(2, &["data", "show", "shapes", "--rows", "0"]);
    let small = ["data", "show", "shapes", "--set", "recipe.input.side=20"];
    let (_, stderr) = expect(2, &small);
    assert!(stderr.contains("raise recipe.input.side"), "{stderr}");
}

#[test]
fn a_model_may_be_a_file() {
    let scratch = Scratch::new("model");
    let (toml, _) = expect(0, &["describe", "--model", "cifar-19pct", "--toml"]);
    let file = scratch.path("mine.toml");
    fs::write(&file, toml.replace("cifar-19pct", "mine")).unwrap();
    let (table, _) = expect(0, &["describe", "--model", &file]);
    assert!(table.contains("89,578") && table.starts_with("mine:"), "{table}");
    let run = scratch.path("run");
    let (_, stderr) = expect(0, &tiny(&run, &["--model", &file, "--max-steps", "1"]));
    assert!(stderr.contains("mine, 89,578 parameters"), "{stderr}");
    fs::write(&file, "name = 3").unwrap();
    let (_, stderr) = expect(2, &["describe", "--model", &file]);
    assert!(stderr.contains("mine.toml:"), "{stderr}");
}

#[test]
fn the_command_line_is_told_to_shells_and_to_man() {
    let scratch = Scratch::new("man");
    let folder = scratch.path("share/man1");
    let (stdout, _) = expect(0, &["man", &folder]);
    let pages = fs::read_dir(&folder).unwrap().count();
    assert!(pages >= 16 && stdout.starts_with(&format!("{pages} pages: man -l ")), "{stdout}");
    let page = fs::read_to_string(Path::new(&folder).join("alexnet-data-verify.1")).unwrap();
    assert!(page.contains("smaller\\-than"), "{page}");
    let (page, _) = expect(0, &["man"]);
    assert!(page.contains(".SH \"EXIT STATUS\"") && page.contains(".TH alexnet 1"), "{page}");
    let (script, _) = expect(0, &["completions", "bash"]);
    assert!(script.contains("complete -F _alexnet"), "{script}");
    let (_, stderr) = expect(2, &["completions", "bsh"]);
    assert!(stderr.contains("a similar value exists: 'bash'"), "{stderr}");
    let (_, stderr) = expect(7, &["man", "/dev/null/man1"]);
    assert!(stderr.contains("/dev/null/man1: cannot make the folder"), "{stderr}");
}

#[test]
fn describe_counts_as_the_paper_does() {
    let (json, _) = expect(0, &["describe", "--model", "alexnet", "--json", "--batch-size", "2"]);
    let table: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(table["parameters"], 60_965_224);
    assert_eq!(table["macs"], 724_406_816);
    assert!(table["train_bytes"].as_u64() > table["infer_bytes"].as_u64());
    let (list, _) = expect(0, &["describe"]);
    assert!(list.contains("cifar-18pct") && list.contains("torchvision"), "{list}");
    let (recipe, _) = expect(0, &["describe", "--recipe", "source"]);
    assert!(recipe.contains("weights = \"normal 0.03\""), "{recipe}");
}

#[test]
fn describe_draws_any_network() {
    let scratch = Scratch::new("drawn");
    let (net, picture) = (scratch.path("net.toml"), scratch.path("net.svg"));
    let (toml, _) = expect(0, &["describe", "--model", "cifar-19pct", "--toml"]);
    fs::write(&net, toml).unwrap();
    let (table, _) = expect(0, &["describe", "--model", &net, "--picture", &picture]);
    assert!(table.contains("89,578"), "{table}");
    let svg = fs::read_to_string(&picture).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("16 x 16 x 32"), "{svg}");
    let other = scratch.path("net.png");
    let (_, stderr) = expect(2, &["describe", "--model", &net, "--picture", &other]);
    assert!(stderr.contains("net.png: end the name in .svg"), "{stderr}");
    let nowhere = scratch.path("none/net.svg");
    let (_, stderr) = expect(7, &["describe", "--model", &net, "--picture", &nowhere]);
    assert!(stderr.contains("cannot write"), "{stderr}");
}

/// What `describe` tells of memory is what a run with the same words says that it takes.
#[test]
fn described_memory_is_a_runs() {
    let scratch = Scratch::new("described");
    let bf16 = [
        "--batch-size 4 --device cpu --precision bf16",
        "--batch-size 8 --parallel data --device cpu,cpu --precision bf16",
    ];
    for (number, words) in [
        "--batch-size 4",
        "--batch-size 8 --micro-shards 4 --recipe source",
        "--batch-size 4 --set recipe.optimizer=adam",
        "--batch-size 8 --parallel hybrid --device cpu,cpu",
        "--batch-size 8 --parallel data --device cpu,cpu",
    ]
    .into_iter()
    .chain(bf16.into_iter().filter(|_| tensor::amx().is_ok()))
    .enumerate()
    {
        let words: Vec<&str> = ["--model", "cifar-80sec", "--threads", "2"]
            .into_iter()
            .chain(words.split_whitespace())
            .collect();
        let (told, _) = expect(0, &[&["describe"][..], &words].concat());
        let run = scratch.path(&number.to_string());
        let more = ["--fake-data", "8", "--max-steps", "1", "--progress", "plain", "--run", &run];
        let (_, said) = expect(0, &[&["train"][..], &words, &more].concat());
        let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("memory")).collect();
        assert!(!lines.is_empty(), "{said}");
        for line in lines {
            let total = line.trim_start_matches("memory").split(" at batch").next().unwrap().trim();
            assert!(total.ends_with(" MiB") && told.contains(total), "{words:?}: {total}\n{told}");
        }
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_finishes_the_step_and_keeps_the_weights() {
    let scratch = Scratch::new("interrupt");
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let run = scratch.path(signal);
        let endless = tiny(&run, &["--epochs", "100000", "--progress", "none"]);
        let mut child = program::alexnet(&endless).spawn().unwrap();
        let metrics = Path::new(&run).join("metrics.jsonl");
        let patience = std::time::Instant::now();
        while fs::metadata(&metrics).map_or(0, |file| file.len()) == 0 {
            assert!(patience.elapsed().as_secs() < 60, "no step was made");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(code));
        assert!(Path::new(&run).join("weights.safetensors").exists());
        assert_eq!(read_json(&Path::new(&run).join("run.json"))["status"], "interrupted");
    }
}
