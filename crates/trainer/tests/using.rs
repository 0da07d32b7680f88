//! Networks in use: eval's files, ensembles, predict, neighbours, the report.

mod program;

use program::{Scratch, coloured, expect, last_line};
use serde_json::Value;
use std::fs;
use std::path::Path;

#[test]
fn eval_leaves_files_that_agree_with_what_it_says() {
    let scratch = Scratch::new("eval");
    coloured(&scratch, &["a", "b"]);
    let (run, other) = (scratch.path("a"), scratch.path("b"));
    let path = |name: &str| scratch.path(name);
    let (stdout, _) = expect(
        0,
        &[
            "eval",
            "--run",
            &run,
            "--json",
            "--predictions",
            &path("p.csv"),
            "--submission",
            &path("s.txt"),
            "--confusion",
            &path("c.json"),
            "--per-class",
            &path("k.csv"),
            "--metrics",
            &path("m.csv"),
            "--reliability",
            &path("r.svg"),
        ],
    );
    let told = last_line(&stdout);
    assert_eq!(told["top5_error"], Value::Null, "of three classes it says nothing");
    let read = |name: &str| fs::read_to_string(scratch.0.join(name)).unwrap();

    // The error counted from the file of probabilities is the one that was told.
    let table = read("p.csv");
    let rows: Vec<Vec<&str>> =
        table.lines().skip(1).map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 12);
    assert_eq!(table.lines().next().unwrap(), "image,name,class,predicted,p blue,p green,p red");
    let wrong = rows.iter().filter(|row| row[2] != row[3]).count() as f64 / 12.0;
    assert!((told["top1_error"].as_f64().unwrap() - wrong).abs() < 1e-9, "{told} {table}");
    for row in &rows {
        let sum: f64 = row[4..].iter().map(|p| p.parse::<f64>().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{row:?}");
    }
    // The contest's text: classes counted from one, the most probable first; here there are three.
    let submission = read("s.txt");
    assert_eq!(submission.lines().count(), 12);
    for (line, row) in submission.lines().zip(&rows) {
        let labels: Vec<usize> = line.split(' ').map(|label| label.parse().unwrap()).collect();
        assert_eq!(["blue", "green", "red"][labels[0] - 1], row[3]);
        assert_eq!(labels.iter().sum::<usize>(), 1 + 2 + 3);
    }
    let metrics = read("m.csv");
    let accuracy = metrics.lines().find_map(|line| line.strip_prefix("accuracy,")).unwrap();
    assert!((accuracy.parse::<f64>().unwrap() - (1.0 - wrong)).abs() < 1e-9, "{metrics}");
    assert_eq!(told["metrics"]["accuracy"].to_string().parse::<f64>(), accuracy.parse::<f64>());
    assert!(read("r.svg").starts_with("<svg class=\"plot reliability\""));
    let confusion: Value = serde_json::from_str(&read("c.json")).unwrap();
    let diagonal: u64 = (0..3).map(|at| confusion["counts"][at][at].as_u64().unwrap()).sum();
    assert_eq!(diagonal as f64, (12.0 * (1.0 - wrong)).round());
    assert!(
        read("k.csv").starts_with("class,images,top1_error") && read("k.csv").lines().count() == 4
    );

    let (text, _) = expect(0, &["eval", "--run", &run, "--views", "ten"]);
    assert!(text.contains("10 views: loss") && text.contains("rows are true classes"), "{text}");
    let (_, stderr) = expect(2, &["eval", "--run", &run, "--confusion", "c.gif"]);
    assert!(stderr.contains("c.gif: end the name in .csv or .json or .svg or .png"), "{stderr}");

    // An ensemble of a network with itself is that network.
    let (stdout, _) = expect(0, &["eval", "--ensemble", &run, &run, "--json"]);
    let twice = last_line(&stdout);
    let (a, b) = (twice["loss"].as_f64().unwrap(), told["loss"].as_f64().unwrap());
    assert!((a - b).abs() < 1e-5 * b.abs().max(1.0), "{a} and {b}");
    let (text, _) = expect(0, &["eval", "--ensemble", &run, &other, "--search-weights"]);
    assert!(text.contains("together: loss") && text.contains("did not look at: loss"), "{text}");
}

#[test]
fn predict_and_neighbours_work_on_files() {
    let scratch = Scratch::new("using");
    let data = coloured(&scratch, &["a"]);
    let (run, image) = (scratch.path("a"), format!("{data}/val/red/0.png"));
    let (text, _) = expect(0, &["predict", &image, "--run", &run, "--top", "2"]);
    assert!(text.lines().count() == 3 && text.contains(" %  "), "{text}");
    let sheet = scratch.path("sheet.png");
    let (json, stderr) =
        expect(3, &["predict", &image, "/no/such.jpg", "--run", &run, "--json", "--out", &sheet]);
    let line: Value = serde_json::from_str(json.trim()).unwrap();
    let sum: f64 =
        line["top"].as_array().unwrap().iter().map(|c| c["probability"].as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-5 && stderr.contains("/no/such.jpg"), "{line} {stderr}");
    assert!(fs::read(&sheet).unwrap().starts_with(b"\x89PNG"));
    let (_, stderr) = expect(3, &["predict", "/no/such.jpg", "--run", &run]);
    assert!(stderr.contains("/no/such.jpg"), "{stderr}");

    let near = scratch.path("near.png");
    let train = format!("{data}/train/green/3.png");
    let asked = ["neighbours", &train, "--run", &run, "-o", &near, "--json", "--top", "3"];
    let (json, _) = expect(0, &asked);
    let line = last_line(&json);
    let nearest = line["nearest"].as_array().unwrap();
    assert_eq!((nearest.len(), &nearest[0]["distance"]), (3, &Value::from(0.0)), "itself: {line}");
    assert!(fs::read(&near).unwrap().starts_with(b"\x89PNG"));
    let (text, _) = expect(0, &["neighbours", "--run", &run, "-o", &near, "--queries", "2"]);
    assert_eq!(text.lines().count(), 2 * 7 + 1, "{text}");
}

#[test]
fn predict_takes_folders_and_patterns_and_writes_tables() {
    let scratch = Scratch::new("tables");
    let data = coloured(&scratch, &["a"]);
    let (run, photos) = (scratch.path("a"), scratch.0.join("photos"));
    fs::create_dir_all(photos.join("deep")).unwrap();
    for (from, to) in [
        ("red/0.png", "img10.png"),
        ("green/0.png", "img2.png"),
        ("blue/0.png", "deep/-1+1.PNG"),
        ("red/1.png", "deep/.hidden.png"),
    ] {
        fs::copy(format!("{data}/val/{from}"), photos.join(to)).unwrap();
    }
    fs::write(photos.join("notes.txt"), "no image").unwrap();
    let folder = photos.display().to_string();
    let (table, lines) = (scratch.path("p.csv"), scratch.path("p.jsonl"));
    let asked = ["predict", &folder, "--run", &run, "--out", &table, "--top", "2"];
    let (said, stderr) = expect(0, &[&asked[..], &["--batch-size", "2"]].concat());
    assert_eq!(said, format!("written: {table} (3 images)\n"));
    assert!(stderr.contains("1 file that is not an image was skipped"), "{stderr}");
    let text = fs::read_to_string(&table).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows[0], ["image", "class_1", "probability_1", "class_2", "probability_2"]);
    let names: Vec<&str> = rows[1..].iter().map(|row| row[0].rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["-1+1.PNG", "img2.png", "img10.png"]); // in natural order
    let best = |row: &Vec<&str>| row[2].parse::<f64>().unwrap() >= row[4].parse::<f64>().unwrap();
    assert!(rows[1..].iter().all(best), "{text}");

    // A file alone has the same answer; a pattern finds the same files; bad ones are counted.
    let one = photos.join("img2.png").display().to_string();
    let (json, _) = expect(0, &["predict", &one, "--run", &run, "--json", "--top", "2"]);
    let alone = last_line(&json);
    assert_eq!(alone["top"][0]["class"], rows[2][1]);
    let alone = alone["top"][0]["probability"].as_f64().unwrap();
    assert!((alone - rows[2][2].parse::<f64>().unwrap()).abs() < 1e-6, "{alone} {text}");
    fs::write(photos.join("img3.png"), "no image").unwrap();
    let pattern = format!("{folder}/img*.png");
    let (_, stderr) = expect(3, &["predict", &pattern, "--run", &run, "--out", &lines]);
    assert!(stderr.contains("img3.png: ") && stderr.contains("1 of 3 images could not be read"));
    let read = fs::read_to_string(&lines).unwrap();
    let read: Vec<Value> = read.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read.len(), 2);
    assert!(read[0]["image"].as_str().unwrap().ends_with("img2.png"), "{read:?}");
    assert_eq!(read[1]["top"].as_array().unwrap().len(), 3);

    let (_, stderr) = expect(3, &["predict", &format!("{folder}/*.gif"), "--run", &run]);
    assert!(stderr.contains("/*.gif: no image file there"), "{stderr}");
    let (_, stderr) = expect(2, &["predict", &one, "--run", &run, "--out", "p.txt"]);
    assert!(stderr.contains("p.txt: end the name in .csv or .jsonl or .png"), "{stderr}");
}

#[test]
fn progress_says_what_is_going_on() {
    let scratch = Scratch::new("nouns");
    let val = coloured(&scratch, &["a"]) + "/val";
    let (run, near, out) = (scratch.path("a"), scratch.path("n.png"), scratch.path("f.npy"));
    let few = ["--run", &run, "--batch-size", "4", "--progress", "plain"];
    for (command, said) in [
        (&["eval"][..], "test  4/12 images"),
        (&["neighbours", "--out", &near], "search  4/24 images"),
        (&["features", "--out", &out], "features  4/12 images"),
        (&["predict", &val], "test  4/12 images"),
    ] {
        let (_, stderr) = expect(0, &[command, &few].concat());
        assert!(stderr.contains(said) && !stderr.contains("validation"), "{command:?}: {stderr}");
    }
}

#[test]
fn a_run_without_weights_is_used_from_its_newest_checkpoint() {
    let scratch = Scratch::new("no-weights");
    let data = coloured(&scratch, &["a"]);
    let (run, image) = (scratch.path("a"), format!("{data}/val/red/0.png"));
    let eval = ["eval", "--run", &run, "--json", "--progress", "none"];
    let (stdout, stderr) = expect(0, &eval);
    assert_eq!(stderr, "");
    let expected = last_line(&stdout);
    fs::remove_file(Path::new(&run).join("weights.safetensors")).unwrap();

    let said = "a: there is no weights.safetensors yet; using ";
    let newest = format!("{run}/checkpoints/step-00000012.safetensors");
    let (stdout, stderr) = expect(0, &eval);
    assert!(stderr.contains(said) && stderr.contains("of step 12"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    let told = last_line(&stdout);
    assert_eq!(
        (&told["loss"], &told["weights"]),
        (&expected["loss"], &Value::from(newest.clone()))
    );
    // A checkpoint that is named knows its run, too.
    let (stdout, stderr) =
        expect(0, &["eval", "--weights", &newest, "--json", "--progress", "none"]);
    assert_eq!((&last_line(&stdout)["loss"], stderr.as_str()), (&expected["loss"], ""));

    let (out, near, page) = (scratch.path("f.npy"), scratch.path("n.png"), scratch.path("r.html"));
    for command in [
        &["predict", &image, "--run", &run][..],
        &["features", "--run", &run, "--out", &out],
        &["neighbours", "--run", &run, "--out", &near],
        &["report", &run, "--out", &page],
        &["eval", "--ensemble", &run, &run],
    ] {
        let (_, stderr) = expect(0, command);
        assert!(stderr.contains(said), "{command:?}: {stderr}");
    }
    assert!(fs::read_to_string(&page).unwrap().contains("<section id=\"kernels-0\""));
    let (stdout, _) = expect(0, &["inspect", &run]);
    assert!(stdout.contains("none yet: eval and the like use the newest checkpoint"), "{stdout}");

    // The newest is damaged: the one before. All are: code 4.
    fs::write(&newest, "no").unwrap();
    let (_, stderr) = expect(0, &eval);
    assert!(stderr.contains("WARNING") && stderr.contains(" yet; using "), "{stderr}");
    assert!(!stderr.contains("of step 12"), "{stderr}");
    for file in fs::read_dir(Path::new(&run).join("checkpoints")).unwrap() {
        fs::write(file.unwrap().path(), "no").unwrap();
    }
    let (_, stderr) = expect(4, &eval);
    assert!(stderr.contains("checkpoints is intact"), "{stderr}");
    fs::remove_dir_all(Path::new(&run).join("checkpoints")).unwrap();
    let (_, stderr) = expect(4, &eval);
    assert!(stderr.contains("neither weights nor checkpoints yet"), "{stderr}");
}

#[test]
fn a_report_shows_a_run_and_says_what_is_missing_from_another() {
    let scratch = Scratch::new("report");
    coloured(&scratch, &["a"]);
    let (run, page, pictures) = (scratch.path("a"), scratch.path("r.html"), scratch.path("pics"));
    let new = scratch.path("new");
    fs::create_dir(&new).unwrap();
    for name in ["config.toml", "model.toml", "run.json"] {
        fs::copy(Path::new(&run).join(name), Path::new(&new).join(name)).unwrap();
    }
    let (stdout, stderr) =
        expect(0, &["report", &run, &new, "-o", &page, "--pictures", &pictures, "--palette", "16"]);
    let html = fs::read_to_string(&page).unwrap();
    for id in ["kernels", "predictions", "neighbours", "confusion", "classes", "model", "settings"]
    {
        assert!(html.contains(&format!("<section id=\"{id}-0\"")), "{id}");
    }
    assert!(
        html.contains("There are no weights yet") && stderr.contains("no weights yet"),
        "{stderr}"
    );
    assert!(stderr.contains("--palette has no effect"), "{stderr}");
    assert!(
        !html.contains("http:") && !html.contains("https:")
            || html.matches("http").count() == html.matches("http://www.w3.org/2000/svg").count()
    );
    for name in ["kernels.png", "predictions.png", "neighbours.png", "confusion.svg", "loss.svg"] {
        let file = Path::new(&pictures).join(name);
        assert!(fs::metadata(&file).unwrap().len() > 100 && stdout.contains(name), "{name}");
    }
    // Weights that cannot be read cost their pictures, not the page.
    fs::write(Path::new(&new).join("weights.safetensors"), "no").unwrap();
    expect(0, &["report", &new, "-o", &page]);
    assert!(fs::read_to_string(&page).unwrap().contains("this is not an intact safetensors file"));
    let (_, stderr) = expect(2, &["report", &scratch.path("nothing"), "-o", &page]);
    assert!(stderr.contains("this is not a run's folder"), "{stderr}");
    assert_eq!(
        fs::read_dir(&scratch.0)
            .unwrap()
            .filter(|f| f.as_ref().unwrap().path().extension().is_some_and(|e| e == "tmp"))
            .count(),
        0
    );
}
