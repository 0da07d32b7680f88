//! Loaders that come and go leave no thread and no open file. Alone in this file, because what the
//! whole process holds is counted.
#![cfg(target_os = "linux")]

use alexnet_data::{Folder, Loader, LoaderPlan, Source};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// Threads and open files of this process.
fn held() -> [usize; 2] {
    ["/proc/self/task", "/proc/self/fd"].map(|folder| fs::read_dir(folder).unwrap().count())
}

/// Two classes of five images, one of which cannot be read.
fn fill(root: &Path) {
    for class in ["a", "b"] {
        fs::create_dir_all(root.join(class)).unwrap();
        for number in 0..5 {
            let image = image::RgbImage::from_pixel(8, 8, image::Rgb([number, 1, 2]));
            image.save(root.join(class).join(format!("{number}.png"))).unwrap();
        }
    }
    fs::write(root.join("b/3.png"), "no image").unwrap();
}

/// A loader's short life, which ends in one of six ways.
fn live(source: &Arc<dyn Source>, number: usize) {
    let plan = match number % 2 {
        0 => LoaderPlan::training(3, (5, 5), number as u64),
        _ => LoaderPlan::testing(3, (5, 5)),
    };
    let mut loader = Loader::new(source.clone(), plan, 1 + number % 3, 0);
    let mut next = || loader.next_batch().unwrap();
    match number % 6 {
        0 => (),                                // at once
        1 => while next().is_some() {},         // at the end
        2 => (0..9).for_each(|_| drop(next())), // after two epochs
        3 => drop(next()),                      // in the midst
        4 => {
            let batch = next(); // before its batch
            drop(loader);
            drop(batch);
        }
        _ => {
            next();
            loader.start_at(0, 1); // while batches made in vain are under way
        }
    }
}

#[test]
fn a_thousand_loaders_leak_nothing() {
    let root = std::env::temp_dir().join(format!("alexnet-data-leaks-{}", std::process::id()));
    fill(&root);
    let source: Arc<dyn Source> = Arc::new(Folder::open(&root, 8).unwrap());
    let (done, wait) = channel();
    let lives = std::thread::spawn(move || {
        live(&source, 2);
        let before = settled(held());
        (0..1000).for_each(|number| live(&source, number));
        done.send((before, settled(before))).unwrap();
    });
    let counts = wait.recv_timeout(Duration::from_secs(60));
    fs::remove_dir_all(&root).unwrap();
    let (before, after) = counts.expect("a thousand short lives take no minute");
    lives.join().unwrap();
    assert!(after[0] <= before[0] && after[1] <= before[1], "{before:?} became {after:?}");
}

/// What is held once it is no more than `wanted`, or after five seconds: the system forgets a
/// thread a little after it has been joined.
fn settled(wanted: [usize; 2]) -> [usize; 2] {
    let start = Instant::now();
    loop {
        let now = held();
        let few = now[0] <= wanted[0] && now[1] <= wanted[1];
        if few || start.elapsed() > Duration::from_secs(5) {
            return now;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
