//! `cargo xtask bench --loader`: loader throughput, compared with torchvision and memcpy.

use crate::loader_peer::LoaderPeer;
use crate::machine::peak_memory;
use crate::median;
use augment::{ResizedCrop, View};
use clap::{Parser, ValueEnum};
use data::collection::Collection;
use data::shards::Encoding;
use data::{
    CropMode, Crops, Folder, Loader, LoaderPlan, PrepareOptions, ReadBuffer, Shards, Source,
    prepare,
};
use random::{Purpose, Stream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Times the data path: full-size JPEGs, prepared JPEGs, raw pixels, and preparation.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench --loader", max_term_width = 100)]
struct Cli {
    /// (selects this table)
    #[arg(long, required = true)]
    loader: bool,
    /// Images in one folder per class
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Decoder threads, in torchvision too
    #[arg(long, default_value_t = 2, value_name = "N")]
    workers: usize,
    /// Number of repetitions; the median is shown
    #[arg(long, default_value_t = 3, value_name = "N")]
    rounds: usize,
    /// Measure torchvision alternately
    #[arg(long, value_enum)]
    peer: Option<PeerKind>,
    /// Python with torchvision
    #[arg(long, default_value = "python3", value_name = "FILE")]
    python: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PeerKind {
    Torch,
}

/// Images of a batch, and the sides of stored images and of crops.
const BATCH: usize = 64;
const SIDE: usize = 256;
const CROP: usize = 227;
/// Batches before and during a measurement.
const WARM_UP: usize = 2;
const BATCHES: usize = 6;
/// Crops of raw pixels that each thread copies per round.
const CROPS: usize = 1024;

/// Prints the table.
///
/// # Errors
/// If the images cannot be prepared or read, or torchvision cannot be started.
pub fn run() -> Result<(), String> {
    let cli = Cli::parse();
    let folders = ScratchFolders::new()?;
    let message = |error: data::Error| error.to_string();
    let collection = Collection::open(&cli.data, &|_, _| ()).map_err(message)?;
    time_prepare(&collection, &folders.jpeg, Encoding::Jpeg { quality: 95 }, cli.workers)?;
    time_prepare(&collection, &folders.raw, Encoding::Raw, cli.workers)?;

    println!("\n| batches of {CROP} x {CROP} crops | workers | images/s | torchvision | ratio |");
    println!("|---|---:|---:|---:|---:|");
    let folder: Arc<dyn Source> = Arc::new(Folder::open(&cli.data, SIDE).map_err(message)?);
    let shards: Arc<dyn Source> = Arc::new(Shards::open(&folders.jpeg, SIDE).map_err(message)?.0);
    let raw: Arc<dyn Source> = Arc::new(Shards::open(&folders.raw, SIDE).map_err(message)?.0);
    let crops = LoaderPlan::training(BATCH, (CROP, CROP), 0);
    let views = CropMode::Resized { crop: ResizedCrop::default(), mirror: true };
    let resized = LoaderPlan { views, ..crops };
    let tar = folders.jpeg.join("train-000000.tar");
    let all = cli.workers;
    cli.row("full-size JPEGs", &folder, crops, all, Some(("folder", &cli.data)))?;
    cli.row("JPEG shards", &shards, crops, 1, Some(("shard", &tar)))?;
    cli.row("JPEG shards, resized rectangles", &shards, resized, 1, Some(("resized", &tar)))?;
    cli.row("raw shards", &raw, crops, 1, None)?;
    cli.row("raw shards", &raw, crops, all, None)?;

    println!("\n| crops of raw shards, copied | threads | GB/s | memcpy GB/s | of memcpy |");
    println!("|---|---:|---:|---:|---:|");
    (1..=all).for_each(|threads| time_copies(&*raw, threads, cli.rounds));
    Ok(())
}

/// Folders for prepared images, removed when dropped.
struct ScratchFolders {
    root: PathBuf,
    jpeg: PathBuf,
    raw: PathBuf,
}

impl ScratchFolders {
    fn new() -> Result<ScratchFolders, String> {
        let root = std::env::temp_dir().join(format!("alexnet-bench-{}", std::process::id()));
        std::fs::create_dir_all(&root).map_err(|error| format!("{}: {error}", root.display()))?;
        Ok(ScratchFolders { jpeg: root.join("jpeg"), raw: root.join("raw"), root })
    }
}

impl Drop for ScratchFolders {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

/// Prepares the images as `alexnet data prepare` does and prints the rate.
fn time_prepare(
    collection: &Collection,
    out: &Path,
    encoding: Encoding,
    threads: usize,
) -> Result<(), String> {
    let options = PrepareOptions { side: SIDE, encoding, threads, ..PrepareOptions::default() };
    let start = Instant::now();
    let done = prepare(collection, out, &options, &mut |_| (), &|| false);
    let done = done.map_err(|error| error.to_string())?;
    let images = done.images[0] + done.images[1];
    let rate = images as f64 / start.elapsed().as_secs_f64();
    let peak = peak_memory().map_or(String::new(), |bytes| {
        format!(", peak memory {:.0} MiB", bytes as f64 / (1 << 20) as f64)
    });
    println!(
        "prepare: {images} images to {encoding:?}, {threads} threads: {rate:.0} images/s{peak}"
    );
    Ok(())
}

impl Cli {
    /// Prints a source's loader rate, and torchvision's if it has such a source.
    fn row(
        &self,
        name: &str,
        source: &Arc<dyn Source>,
        plan: LoaderPlan,
        workers: usize,
        peer: Option<(&str, &Path)>,
    ) -> Result<(), String> {
        let peer = peer.filter(|_| self.peer == Some(PeerKind::Torch));
        let start =
            |(what, path)| LoaderPeer::start(&self.python, what, path, workers, BATCH, CROP);
        let mut peer = peer.map(start).transpose()?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        rate(source, plan, workers)?; // fills the page cache and checks checksums
        for _ in 0..self.rounds {
            ours.push(rate(source, plan, workers)?);
            if let Some(peer) = &mut peer {
                theirs.push(peer.rate(BATCHES)?);
            }
        }
        let ours = median(ours);
        let against = if theirs.is_empty() {
            " | ".to_owned()
        } else {
            let theirs = median(theirs);
            format!("{theirs:.0} | {:.2}", ours / theirs)
        };
        println!("| {name} | {workers} | {ours:.0} | {against} |");
        Ok(())
    }
}

/// Images per second of a loader after a warm-up.
fn rate(source: &Arc<dyn Source>, plan: LoaderPlan, workers: usize) -> Result<f64, String> {
    let mut loader = Loader::new(Arc::clone(source), plan, workers, 0);
    let mut images = 0;
    let mut take = |batches: usize| {
        for _ in 0..batches {
            let batch = loader.next_batch().map_err(|error| error.to_string())?;
            images += batch.expect("training never ends").images;
        }
        Ok::<usize, String>(std::mem::take(&mut images))
    };
    // Raw pixels load so fast that a few batches are too short to time.
    let fast = if source.name(0).ends_with(".rgb") { 20 } else { 1 };
    take(WARM_UP + 4)?;
    let start = Instant::now();
    let images = take(BATCHES * fast)?;
    Ok(images as f64 / start.elapsed().as_secs_f64())
}

/// Times the same random crops, read by the source and copied by memcpy from memory, alternately.
fn time_copies(raw: &dyn Source, threads: usize, rounds: usize) {
    let mut buffer = ReadBuffer::default();
    let images = 0..raw.len();
    let memory: Vec<Vec<u8>> =
        images.map(|index| raw.read(index, &mut buffer).expect("just prepared").to_vec()).collect();
    let by_source = |index: usize, view: View, into: &mut [u8], buffer: &mut ReadBuffer| {
        let crops = Crops { views: &[view], size: (CROP, CROP), into };
        raw.read_crops(index, crops, buffer).expect("just prepared");
    };
    let by_memcpy = |index: usize, view: View, into: &mut [u8], _: &mut ReadBuffer| {
        let View { top, left, .. } = view;
        augment::crop(&memory[index], SIDE, top, left, (CROP, CROP), into);
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=2 * rounds {
        let times =
            [copy(threads, memory.len(), &by_source), copy(threads, memory.len(), &by_memcpy)];
        if round > 0 {
            ours.push(times[0]);
            theirs.push(times[1]);
        }
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!(
        "| read_crops | {threads} | {ours:.1} | {theirs:.1} | {:.0} % |",
        100.0 * ours / theirs
    );
}

type Copy<'a> = &'a (dyn Fn(usize, View, &mut [u8], &mut ReadBuffer) + Sync);

/// Gigabytes per second that `threads` threads copy, each into separate batches.
fn copy(threads: usize, images: usize, copy: Copy) -> f64 {
    const BYTES: usize = CROP * CROP * 3;
    let ring = || vec![1u8; 2 * BATCH * BYTES];
    let mut rings: Vec<Vec<u8>> = (0..threads).map(|_| ring()).collect();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for (thread, ring) in rings.iter_mut().enumerate() {
            scope.spawn(move || {
                let mut draws = Stream::new(1, Purpose::Test, 0, thread as u32);
                let mut buffer = ReadBuffer::default();
                for number in 0..CROPS {
                    let into = &mut ring[number % (2 * BATCH) * BYTES..][..BYTES];
                    let mut below = |end: usize| draws.below(end as u32) as usize;
                    let index = below(images);
                    let (top, left) = (below(SIDE - CROP + 1), below(SIDE - CROP + 1));
                    copy(index, View { top, left, mirror: false }, into, &mut buffer);
                }
            });
        }
    });
    (threads * CROPS * BYTES) as f64 / start.elapsed().as_secs_f64() / 1e9
}
