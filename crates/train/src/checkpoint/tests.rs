//! A small checkpoint, damaged, killed and starved in every way there is.

use super::*;
use crate::folder::{RunState, Status};
use crate::recipe::{Input, Mean};
use crate::recipes;
use evaluate::Score;
use files::atomic;
use files::disk::Disk;
use layers::{Role, Spec};
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use tensor::Shape;
use testkit::disk::power::PowerLossDisk;
use testkit::disk::{FailingDisk, ReadKind, Unreadable};
use weights::tensors::CHECKSUM;

/// A run's folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("alexnet-checkpoint-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn load(&self) -> (Result<Option<Checkpoint>>, Vec<String>) {
        let mut said = Vec::new();
        let loaded = load_newest(&self.0, &mut |text| said.push(text.to_string()));
        (loaded, said)
    }

    fn step(&self) -> Option<u64> {
        self.load().0.unwrap().map(|checkpoint| checkpoint.progress.step)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run_metadata() -> RunMetadata {
    let entry = |name: &str, role, shape, start| Parameter {
        name: name.to_string(),
        role,
        shape,
        fan_in: 3,
        initial: None,
        start,
    };
    let mut identity = Identity::default();
    identity.insert("seed", 7);
    RunMetadata {
        about: About {
            format: 1,
            classes: vec!["a".into(), "b".into()],
            class_names: Vec::new(),
            input: Input { mean: Mean::Color, ..recipes::paper().input },
            model: Spec::image("tiny", 1, 1, 3).linear("fc1", 2),
        },
        identity,
        mean: Values { shape: vec![3], values: vec![1.0, 2.0, 3.0] },
        state: vec![VELOCITY],
        entries: vec![
            entry("fc1.weight", Role::Weight, Shape::from([2, 3]), 0),
            entry("fc1.bias", Role::Bias, Shape::from([2]), 16),
        ],
    }
}

fn snapshot(step: u64) -> Snapshot {
    let block = |scale: f32| (0..32).map(|i| scale * (i as f32 + step as f32)).collect();
    let score = Score { loss: 0.1 + 0.2, top1_error: 1.0 / 3.0, top5_error: Some(0.0), images: 9 };
    let progress = Progress {
        step,
        epoch: 2,
        batches: 3,
        validation: Some((step, score)),
        seconds: 1e-300,
        ..Progress::default()
    };
    Snapshot { values: block(1.0), state: block(-0.1), progress }
}

fn bytes(step: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    run_metadata().checkpoint(&snapshot(step)).write(&mut bytes).unwrap();
    bytes
}

fn read(bytes: &[u8]) -> std::result::Result<Checkpoint, String> {
    Checkpoint::from_bytes(bytes, Path::new("it")).map_err(|refusal| refusal.to_string())
}

fn list(run: &Path) -> Vec<(u64, PathBuf)> {
    weights::run::list(run).unwrap()
}

#[test]
fn what_is_written_is_read() {
    let (run, snapshot) = (run_metadata(), snapshot(5));
    let contents = run.checkpoint(&snapshot);
    let bytes = bytes(5);
    assert_eq!(contents.bytes(), bytes.len() as u64);
    let checkpoint = read(&bytes).unwrap();
    assert_eq!(checkpoint.progress, snapshot.progress);
    assert_eq!((&checkpoint.identity, &checkpoint.about), (&run.identity, &run.about));
    let (value, velocity) =
        checkpoint.parameter(&run.entries[1].name, run.entries[1].shape).unwrap();
    assert_eq!((value, velocity), (&snapshot.values[16..18], &snapshot.state[16..18]));
    let wrong = Parameter { shape: Shape::from([3]), ..run.entries[1].clone() };
    let error = checkpoint.parameter(&wrong.name, wrong.shape).unwrap_err().to_string();
    assert!(error.contains("`fc1.bias` is [2], and the network has [3] there"), "{error}");

    // It is a file of weights, too.
    let folder = Folder::new();
    let path = folder.0.join("w.safetensors");
    fs::write(&path, &bytes).unwrap();
    let weights = weights::Weights::read(&path).unwrap();
    assert_eq!((weights.parameters.len(), weights.mean), (2, run.mean));
    let views = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(views.tensor(CHECKSUM).unwrap().data(), &bytes[bytes.len() - 32..]);
}

#[test]
fn weights_and_other_formats_are_no_checkpoints() {
    let mut weights = Vec::new();
    run_metadata().weights(&snapshot(1)).write(&mut weights).unwrap();
    assert_eq!(read(&weights).unwrap_err(), "these are weights, and no checkpoint");
    let (run, snapshot) = (run_metadata(), snapshot(1));
    let mut newer = run.checkpoint(&snapshot);
    newer.metadata.insert("checkpoint", r#"{"format":2,"more":[]}"#.to_string());
    let mut bytes = Vec::new();
    newer.write(&mut bytes).unwrap();
    assert_eq!(read(&bytes).unwrap_err(), "it is of format 2, and this program reads 1");
    let mut unchecked = run.checkpoint(&snapshot);
    unchecked.checked = false;
    let mut bytes = Vec::new();
    unchecked.write(&mut bytes).unwrap();
    assert_eq!(read(&bytes).unwrap_err(), "it has no checksum");
}

#[test]
fn every_truncation_and_every_flipped_bit_is_seen() {
    let whole = bytes(5);
    let (mut truncations, mut flips) = ((0, 0), (0, 0));
    for cut in 0..whole.len() {
        truncations.0 += u32::from(read(&whole[..cut]).is_err());
        truncations.1 += 1;
    }
    let mut damaged = whole.clone();
    for bit in 0..8 * whole.len() {
        damaged[bit / 8] ^= 1 << (bit % 8);
        flips.0 += u32::from(read(&damaged).is_err());
        flips.1 += 1;
        damaged[bit / 8] ^= 1 << (bit % 8);
    }
    println!(
        "checkpoint of {} bytes: {} of {} truncations and {} of {} flipped bits seen",
        whole.len(),
        truncations.0,
        truncations.1,
        flips.0,
        flips.1
    );
    assert_eq!((truncations.0, flips.0), (truncations.1, flips.1));
    assert!(read(&damaged).is_ok());
    assert!(read(&[&whole[..], b"\0"].concat()).is_err(), "something more at the end");
}

#[test]
fn a_damaged_one_is_told_and_the_one_before_is_taken() {
    let folder = Folder::new();
    let store = Store::open(&folder.0, 2).unwrap();
    (1..=3).for_each(|step| store.save(&run_metadata(), &snapshot(step)).unwrap());
    assert_eq!(list(&folder.0).len(), 2, "two are kept");
    let mut taken = 0;
    let whole = fs::read(store.path(3)).unwrap();
    for cut in 0..whole.len() {
        fs::write(store.path(3), &whole[..cut]).unwrap();
        let (loaded, said) = folder.load();
        assert!(said[0].starts_with("WARNING") && said[0].contains("step-00000003"), "{said:?}");
        assert!(said[1].contains("falls back") && said[1].contains("step-00000002"), "{said:?}");
        taken += u32::from(loaded.unwrap().unwrap().progress.step == 2);
    }
    println!("fallback taken for {taken} of {} truncated files", whole.len());
    assert_eq!(taken as usize, whole.len());
    assert!(store.path(3).with_extension("safetensors.damaged").exists());

    fs::write(store.path(2), "no").unwrap();
    let error = folder.load().0.unwrap_err().to_string();
    assert!(error.contains("none of its 1 checkpoints is intact"), "{error}");
    fs::remove_file(store.path(2)).unwrap();
    let error = folder.load().0.unwrap_err().to_string();
    assert!(error.contains("although `latest` names one"), "{error}");
    fs::remove_file(folder.0.join("checkpoints/latest")).unwrap();
    assert_eq!(folder.step(), None);
}

#[test]
fn the_newest_and_the_best_are_kept_and_named() {
    let folder = Folder::new();
    let store = Store::open(&folder.0, 2).unwrap();
    let named = |name: &str| fs::read_to_string(folder.0.join("checkpoints").join(name)).unwrap();
    for step in 1..=6 {
        let mut snapshot = snapshot(step);
        snapshot.progress.best = Some((step.min(3), 0.5));
        store.save(&run_metadata(), &snapshot).unwrap();
        assert_eq!(named("latest"), format!("step-{step:08}.safetensors\n"));
    }
    assert_eq!(named("best"), "step-00000003.safetensors\n");
    let steps: Vec<u64> = list(&folder.0).into_iter().map(|(step, _)| step).collect();
    assert_eq!(steps, [6, 5, 3]);
}

/// Two saves one after another, killed before every operation that changes the disk, or in the
/// middle of it.
#[test]
fn killed_at_any_operation_of_two_saves_the_last_one_acknowledged_is_there() {
    let (mut kills, mut loadable) = (0, 0);
    let operations = {
        let folder = Folder::new();
        let disk = FailingDisk::after(u64::MAX);
        let store = Store::on(&folder.0, 1, Box::new(disk.clone())).unwrap();
        (1..=2).for_each(|step| store.save(&run_metadata(), &snapshot(step)).unwrap());
        disk.operations()
    };
    for operation in 0..operations {
        let folder = Folder::new();
        Store::open(&folder.0, 1).unwrap().save(&run_metadata(), &snapshot(1)).unwrap();
        let disk = FailingDisk::after(operation);
        let store = Store::on(&folder.0, 1, Box::new(disk)).unwrap();
        let mut acknowledged = 1;
        for step in 2..=3 {
            match store.save(&run_metadata(), &snapshot(step)) {
                Ok(()) => acknowledged = step,
                Err(_) => break,
            }
        }
        drop(store);
        kills += 1;
        let found = folder.step();
        loadable += u32::from(found.is_some_and(|step| step >= acknowledged));
        // The next start removes what is left lying about, and the next save works.
        let store = Store::open(&folder.0, 1).unwrap();
        store.save(&run_metadata(), &snapshot(9)).unwrap();
        assert_eq!(fs::read_dir(folder.0.join("checkpoints")).unwrap().count(), 2);
    }
    println!("killed at {kills} operations of two saves: {loadable} times a loadable run");
    assert_eq!(loadable, kills);
    assert!(kills > 20, "{kills}");
}

#[test]
fn a_disk_that_fills_up_says_what_is_needed_and_what_is_free() {
    let size = bytes(2).len() as u64;
    let mut kept = 0;
    for tells in [false, true] {
        for sixteenth in 0..16 {
            let folder = Folder::new();
            Store::open(&folder.0, 2).unwrap().save(&run_metadata(), &snapshot(1)).unwrap();
            let disk = FailingDisk::full_after(size * sixteenth / 16, tells);
            let store = Store::on(&folder.0, 2, Box::new(disk)).unwrap();
            let error = store.save(&run_metadata(), &snapshot(2)).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(&format!("{size} bytes are needed")), "{text}");
            if tells {
                let free = size * sixteenth / 16;
                assert!(text.contains(&format!("{free} are free")), "{text}");
            }
            assert!(matches!(error, Error::File(files::Error::NoRoom { .. })));
            kept += u32::from(folder.step() == Some(1));
            assert_eq!(list(&folder.0).len(), 1);
        }
    }
    println!("disk full at 16 sizes, seen before and while writing: {kept} of 32 kept the last");
    assert_eq!(kept, 32);
}

#[test]
fn what_is_not_finite_is_not_written() {
    let folder = Folder::new();
    let writer = CheckpointWriter {
        store: Store::open(&folder.0, 2).unwrap(),
        run: run_metadata(),
        logs: Vec::new(),
        weights: folder.0.join("weights.safetensors"),
    };
    let mut writer = WriterThread::start(writer);
    *writer.free().unwrap().unwrap() = snapshot(1);
    writer.send(Files::CheckpointAndWeights);
    writer.wait().unwrap();
    assert!(folder.0.join("weights.safetensors").exists());
    *writer.free().unwrap().unwrap() = snapshot(2);
    writer.free().unwrap().unwrap().state[17] = f32::NAN;
    writer.send(Files::Checkpoint);
    assert_eq!(writer.saved(), Some(1));
    let error = writer.wait().unwrap_err().to_string();
    assert!(error.contains("step 2: velocity.fc1.bias is not finite"), "{error}");
    assert_eq!(folder.step(), Some(1));
}

/// Three saves as a run makes them, on a disk that loses power after any operation: whatever of
/// what was not synced is there, the run goes on from the last save that was acknowledged or a
/// later one, and its log has the lines that were written before.
#[test]
fn a_power_failure_at_any_operation_loses_no_acknowledged_save() {
    let (most, seed) = if testkit::is_long() { (10_000, 5) } else { (48, 7) };
    let disk = PowerLossDisk::new();
    three_saves(&disk);
    let mut older = 0;
    let states = disk.failures(most, seed, true, &mut |files, promised| {
        let (after, mut said) = (PowerLossDisk::of(files.clone()), Vec::new());
        let mut say = |text: &str| said.push(text.to_string());
        let loaded = store::load_newest_on(&after, Path::new(RUN), &mut say);
        let loaded = loaded.unwrap_or_else(|error| panic!("{promised:?}: {error}"));
        let step = loaded.as_ref().map(|checkpoint| checkpoint.progress.step);
        older += u32::from(step < promised);
        if let Some(checkpoint) = loaded {
            let log = files.read(&Path::new(RUN).join("metrics.jsonl")).unwrap();
            let written: Vec<u8> = (1..=checkpoint.progress.step).flat_map(line).collect();
            assert_eq!(checkpoint.progress.logs["metrics.jsonl"], written.len() as u64);
            assert!(log.starts_with(&written), "the log of step {step:?}");
        }
        assert!(said.iter().all(|said| !said.contains("WARNING")), "{said:?}");
    });
    println!("a power failure in {states} states: {older} times older than what was acknowledged");
    assert!(states > 500 && older == 0);

    // Without a single sync the same check finds what is lost.
    let mut lost = 0;
    disk.failures(most.min(200), seed, false, &mut |files, promised| {
        let loaded = store::load_newest_on(&PowerLossDisk::of(files), Path::new(RUN), &mut |_| ());
        let step = loaded.ok().flatten().map(|checkpoint| checkpoint.progress.step);
        lost += u32::from(step < promised);
    });
    assert!(lost > 0);
}

const RUN: &str = "/runs/run";

fn line(step: u64) -> Vec<u8> {
    format!("a line of step {step}\n").into_bytes()
}

fn three_saves(disk: &PowerLossDisk) {
    let run = Path::new(RUN);
    files::disk::make_folders(disk, run).unwrap();
    let log_path = run.join("metrics.jsonl");
    let mut log = disk.create(&log_path).unwrap();
    disk.sync_folder(run).unwrap();
    let mut status = Status::begun();
    let write_status = |status: &Status| {
        let text = serde_json::to_vec(status).unwrap();
        let path = run.join("run.json");
        atomic::write_on(disk, &path, 0, |file| file.write_all(&text)).unwrap();
    };
    write_status(&status);
    let mut writer = CheckpointWriter {
        store: Store::on(run, 1, Box::new(disk.clone())).unwrap(),
        run: run_metadata(),
        logs: vec![disk.again(&log_path)],
        weights: run.join("weights.safetensors"),
    };
    let mut length = 0;
    for step in 1..=3 {
        log.write_all(&line(step)).unwrap();
        length += line(step).len() as u64;
        let mut snapshot = snapshot(step);
        snapshot.progress.best = Some((step.min(2), 0.5));
        snapshot.progress.logs = [("metrics.jsonl".to_string(), length)].into();
        let files = if step == 2 { Files::CheckpointAndWeights } else { Files::Checkpoint };
        writer.write(&snapshot, files).unwrap();
        disk.promise(step);
        status = Status { saved: Some(step), step, ..status };
        write_status(&status);
    }
}

/// A folder or a file that cannot be read at the moment is neither empty nor damaged: the run is
/// refused, and nothing of it is changed.
#[test]
fn what_cannot_be_read_now_is_left_as_it_is() {
    let folder = Folder::new();
    let store = Store::open(&folder.0, 2).unwrap();
    (1..=2).for_each(|step| store.save(&run_metadata(), &snapshot(step)).unwrap());
    let checkpoints = folder.0.join("checkpoints");
    let names = || {
        let entries = fs::read_dir(&checkpoints).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    let refused = |what: ReadKind, path: PathBuf, error: ErrorKind| {
        let disk = Unreadable { what, path: path.clone(), error };
        let error = store::load_newest_on(&disk, &folder.0, &mut |_| ()).unwrap_err();
        assert!(matches!(error, Error::Checkpoint { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(&path.display().to_string()), "{text}");
        assert!(text.contains("cannot be read: ") && text.contains("othing was changed"), "{text}");
    };
    // EIO has no kind of its own.
    for error in [ErrorKind::Other, ErrorKind::PermissionDenied, ErrorKind::TimedOut] {
        refused(ReadKind::List, checkpoints.clone(), error);
        refused(ReadKind::Kind, checkpoints.clone(), error);
        refused(ReadKind::Kind, store.path(2), error);
        refused(ReadKind::Read, store.path(2), error);
    }
    assert_eq!(names(), before);
    assert_eq!(folder.step(), Some(2));

    // While a save is made it is no reason to remove the wrong files, either.
    let disk =
        Unreadable { what: ReadKind::List, path: checkpoints.clone(), error: ErrorKind::Other };
    let blind = Store { folder: checkpoints.clone(), keep: 1, disk: Box::new(disk) };
    assert!(blind.save(&run_metadata(), &snapshot(3)).is_err());
    assert_eq!(folder.step(), Some(3));

    // Without checkpoints, whether there were any is not guessed.
    fs::remove_dir_all(&checkpoints).unwrap();
    fs::write(folder.0.join("run.json"), serde_json::to_vec(&Status::begun()).unwrap()).unwrap();
    assert_eq!(folder.step(), None);
    for (what, name) in [
        (ReadKind::Read, "run.json"),
        (ReadKind::Kind, "run.json"),
        (ReadKind::Kind, "metrics.jsonl"),
        (ReadKind::Kind, "weights.safetensors"),
        (ReadKind::Kind, "checkpoints/latest"),
    ] {
        refused(what, folder.0.join(name), ErrorKind::PermissionDenied);
    }
}

/// A run whose checkpoints are gone does not begin again over its own logs.
#[test]
fn a_run_that_has_lost_its_checkpoints_is_refused() {
    let traces: [(&str, &[u8], &str); 7] = [
        ("checkpoints/latest", b"", "`latest` names one"),
        ("checkpoints/best", b"", "`best` names one"),
        ("weights.safetensors", b"", "there is weights.safetensors"),
        ("run.json", br#""running","saved":7"#, "says that step 7 was saved"),
        ("run.json", br#""interrupted""#, "says that step 5 was saved"),
        ("run.json", br#""finished""#, "says that step 5 was saved"),
        ("metrics.jsonl", b"{}\n", "metrics.jsonl has lines"),
    ];
    for (name, text, told) in traces {
        let folder = Folder::new();
        let text = match name {
            "run.json" => [
                &br#"{"started":"","pid":1,"step":5,"epoch":1,"validation":null,"#[..],
                br#""error":null,"status":"#,
                text,
                b"}",
            ]
            .concat(),
            "metrics.jsonl" => text.to_vec(),
            _ => {
                fs::create_dir_all(folder.0.join("checkpoints")).unwrap();
                text.to_vec()
            }
        };
        fs::write(folder.0.join(name), &text).unwrap();
        let error = folder.load().0.unwrap_err().to_string();
        assert!(error.contains(told) && error.contains("Put its checkpoints back"), "{error}");
        assert_eq!(fs::read(folder.0.join(name)).unwrap(), text);
    }
    // Killed before its first save, a run begins again: its folder is there, and empty.
    let folder = Folder::new();
    let status = Status { step: 5, ..Status::begun() };
    assert_eq!(status.status, RunState::Running);
    fs::write(folder.0.join("run.json"), serde_json::to_vec(&status).unwrap()).unwrap();
    fs::create_dir(folder.0.join("checkpoints")).unwrap();
    fs::write(folder.0.join("metrics.jsonl"), "{}\n").unwrap();
    assert_eq!(folder.step(), None);
    let failed = Status { status: RunState::Failed, ..status };
    fs::write(folder.0.join("run.json"), serde_json::to_vec(&failed).unwrap()).unwrap();
    assert_eq!(folder.step(), None);
}

/// A copy under a later name neither wins nor takes a place among those that are kept.
#[test]
fn a_checkpoint_under_another_steps_name_is_put_aside() {
    let folder = Folder::new();
    let store = Store::open(&folder.0, 1).unwrap();
    store.save(&run_metadata(), &snapshot(1)).unwrap();
    fs::copy(store.path(1), store.path(99_999_999)).unwrap();
    store.save(&run_metadata(), &snapshot(2)).unwrap(); // the copy was made while the run trained
    let steps: Vec<u64> = list(&folder.0).into_iter().map(|(step, _)| step).collect();
    assert_eq!(steps, [99_999_999, 2]);
    let (loaded, said) = folder.load();
    assert_eq!(loaded.unwrap().unwrap().progress.step, 2);
    assert!(said[0].contains("its name says step 99999999, and it holds step 1"), "{said:?}");
    assert!(said[0].contains("put aside as *.misnamed"), "{said:?}");
    assert!(said[1].starts_with("goes on after step 2"), "{said:?}");
    assert!(folder.0.join("checkpoints/step-99999999.safetensors.misnamed").exists());
    let (loaded, said) = folder.load();
    assert_eq!((loaded.unwrap().unwrap().progress.step, said.len()), (2, 1));

    // Alone it is named, and stays.
    fs::rename(store.path(2), store.path(3)).unwrap();
    let error = folder.load().0.unwrap_err().to_string();
    assert!(error.contains("its name says step 3, and it holds step 2"), "{error}");
    assert!(store.path(3).exists());
}

/// What another version of the program wrote is intact, and not put aside.
#[test]
fn a_checkpoint_of_another_version_stops_and_stays() {
    let folder = Folder::new();
    let store = Store::open(&folder.0, 2).unwrap();
    store.save(&run_metadata(), &snapshot(1)).unwrap();
    let (run, snapshot) = (run_metadata(), snapshot(2));
    for metadata in [r#"{"format":2,"more":[]}"#, r#"{"format":1,"more":[]}"#] {
        let mut newer = run.checkpoint(&snapshot);
        newer.metadata.insert("checkpoint", metadata.to_string());
        let mut bytes = Vec::new();
        newer.write(&mut bytes).unwrap();
        fs::write(store.path(2), bytes).unwrap();
        let error = folder.load().0.unwrap_err().to_string();
        assert!(error.contains("step-00000002") && error.contains("it is intact: "), "{error}");
        assert!(store.path(2).exists());
    }
}

/// A pipe with a checkpoint's name is not waited for.
#[cfg(unix)]
#[test]
fn what_is_no_file_is_ignored() {
    let folder = Folder::new();
    let store = Store::open(&folder.0, 2).unwrap();
    store.save(&run_metadata(), &snapshot(1)).unwrap();
    let pipe = store.path(7);
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    fs::create_dir(store.path(8)).unwrap();
    assert_eq!(list(&folder.0).len(), 1);
    let (loaded, said) = folder.load();
    assert_eq!(loaded.unwrap().unwrap().progress.step, 1);
    for (said, step) in said.iter().zip([8, 7]) {
        assert!(said.contains(&format!("step-{step:08}")), "{said}");
        assert!(said.contains("no regular file"), "{said}");
    }
    store.save(&run_metadata(), &snapshot(2)).unwrap();
    store.save(&run_metadata(), &snapshot(3)).unwrap();
    let steps: Vec<u64> = list(&folder.0).into_iter().map(|(step, _)| step).collect();
    assert_eq!(steps, [3, 2]);
    assert!(pipe.exists() && Checkpoint::read(&pipe).is_err());
}
