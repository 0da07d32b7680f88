use super::*;
use std::fs::{self, File};
use std::io::Write;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("watch-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    fn append(&self, text: &str) {
        let log = self.0.join("metrics.jsonl");
        let mut file = File::options().create(true).append(true).open(log).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn train(step: u64, loss: f64) -> String {
    format!(
        r#"{{"kind":"train","step":{step},"epoch":1,"loss":{loss},"top1_error":0.5,"rate":0.01,"images_per_s":100.0,"data_wait":0.1}}"#
    ) + "\n"
}

fn validation(step: u64, epoch: u32, (loss, error): (f64, f64)) -> String {
    let seconds = 2 * step;
    format!(
        r#"{{"kind":"validation","step":{step},"epoch":{epoch},"loss":{loss},"top1_error":{error},"top5_error":null,"images":10,"seconds":{seconds}.0}}"#
    ) + "\n"
}

/// A run of three epochs of ten steps with ten images each, by this process or another.
fn begun(name: &str, pid: u32, early_stopping: &str) -> Scratch {
    let scratch = Scratch::new(name);
    let mut recipe = train::recipes::paper_64();
    (recipe.batch, recipe.epochs) = (10, 3);
    let settings = Settings::new("tiny".into(), recipe);
    let config = settings.to_toml() + early_stopping;
    scratch.write("config.toml", &config);
    scratch.write("model.toml", &Spec::image("tiny", 8, 8, 3).linear("fc1", 2).to_toml());
    scratch.write("env.json", r#"{"data":{"train":95},"device":"cpu","threads":2}"#);
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    scratch.write("lock", &format!("process {pid} {}", host.trim()));
    let status = Status { pid, ..Status::begun() };
    scratch.write("run.json", &serde_json::to_string(&status).unwrap());
    scratch
}

#[test]
fn lines_are_read_as_they_come_and_only_complete_ones() {
    let run = begun("lines", std::process::id(), "");
    let mut reader = Reader::open(&run.0).unwrap();
    let view = reader.read().unwrap();
    assert_eq!((view.state.as_str(), view.has_ended, view.step), ("running", false, None));
    assert_eq!(view.setup, "tiny, cpu, 2 threads");
    let second = train(2, 3.0);
    run.append(&(train(1, 4.0) + &second[..30]));
    assert_eq!(reader.read().unwrap().curves.train.len(), 1);
    run.append(&second[30..]);
    let view = reader.read().unwrap();
    let step = view.step.unwrap();
    assert_eq!((step.step, step.steps, step.epochs, step.loss), (2, 30, 3, 3.5));
    // 28 steps of ten images at 100 images/s.
    assert!((step.eta_s - 2.8).abs() < 1e-9 && (view.seconds - 0.2).abs() < 1e-9, "{view:?}");
    run.append("{\"kind\":\"new\",\"step\":3}\nno JSON\n");
    run.append(&validation(10, 1, (2.0, 0.4)));
    let view = reader.read().unwrap();
    let (report, before) = &view.validations[0];
    assert_eq!((report.train_loss, report.is_best, before.unwrap().step), (3.5, true, 2));
    // Twenty seconds for ten steps, with their validation.
    assert!((view.step.unwrap().eta_s - 56.0).abs() < 1e-9 && view.seconds == 20.0);
}

#[test]
fn a_log_that_a_resumed_run_has_truncated_is_read_anew() {
    let run = begun("truncated", std::process::id(), "");
    let mut reader = Reader::open(&run.0).unwrap();
    run.append(&(1..=9).map(|step| train(step, 9.0)).collect::<String>());
    reader.read().unwrap();
    run.write("metrics.jsonl", &(1..=3).map(|step| train(step, 8.0)).collect::<String>());
    assert_eq!(reader.read().unwrap().curves.train.len(), 3);
    // Longer than before, between two readings.
    let text: String = (1..=2).map(|step| train(step, 8.0)).collect();
    run.write("metrics.jsonl", &(text + &(3..=8).map(|s| train(s, 7.0)).collect::<String>()));
    reader.read().unwrap();
    run.write("metrics.jsonl", &(1..=20).map(|step| train(step / 2, 6.0)).collect::<String>());
    let view = reader.read().unwrap();
    assert_eq!((view.curves.train.len(), view.curves.train[0].loss), (20, 6.0));
}

#[test]
fn the_best_validation_is_that_of_early_stopping() {
    let both = validation(10, 1, (2.0, 0.3)) + &validation(20, 2, (1.0, 0.4));
    for (rule, best) in [("", 0), ("\n[recipe.early-stopping]\nmetric = \"loss\"\n", 1)] {
        let run = begun(&format!("best{best}"), std::process::id(), rule);
        run.append(&both);
        let view = Reader::open(&run.0).unwrap().read().unwrap();
        let marked: Vec<bool> = view.validations.iter().map(|(v, _)| v.is_best).collect();
        assert_eq!(marked, [best == 0, best == 1]);
    }
}

#[test]
fn a_run_whose_process_is_gone_was_killed() {
    let run = begun("killed", u32::MAX, "");
    let view = Reader::open(&run.0).unwrap().read().unwrap();
    if Path::new("/proc/self").exists() {
        assert!(view.has_ended && view.state.starts_with("killed: no process 4294967295"));
    }
    run.write("lock", "process 4294967295 another-machine");
    assert_eq!(Reader::open(&run.0).unwrap().read().unwrap().state, "running");
    let failed =
        Status { status: RunState::Failed, error: Some("no disk".into()), ..Status::begun() };
    run.write("run.json", &serde_json::to_string(&failed).unwrap());
    let view = Reader::open(&run.0).unwrap().read().unwrap();
    assert!(view.has_ended && view.has_failed && view.state == "failed: no disk");
}

#[test]
fn no_run_and_unreadable_ones_are_errors() {
    let folder = Scratch::new("none");
    let fault = Reader::open(&folder.0).err().unwrap();
    assert!(fault.code == 2 && fault.message.contains("name the folder of a run"), "{fault:?}");
    folder.write("run.json", "{");
    let fault = Reader::open(&folder.0).unwrap().read().unwrap_err();
    assert!(fault.code == 4 && fault.message.contains("run.json"), "{fault:?}");
}
