//! `alexnet data prepare`: from downloads or folders to shards that training reads fast.

use crate::cli::{KeepArg, PrepareArgs};
use crate::console;
use crate::fault::{Fault, Result};
use data::collection::Collection;
use data::ilsvrc::{Contest, has_published_md5, verify_md5};
use data::prepare::{PrepareProgress, PrepareSummary};
use data::shards::{Encoding, Keep};
use data::{PrepareOptions, prepare};
use files::numbers::mebibytes;
use report::duration;
use report::grouped;
use serde_json::json;
use std::path::Path;
use std::time::Instant;
use terminal::progress::Reading;
use terminal::signals;

/// Runs the command; the exit code of a run that was stopped is its signal's. The same command
/// goes on with it.
///
/// # Errors
/// Exit codes 2, 3 and 7 as `alexnet --help` lists them.
pub fn run(args: &PrepareArgs) -> Result<u8> {
    let shown = Shown { reading: Reading::new(args.output.progress), began: Instant::now() };
    let stop = signals::listen()?;
    if !args.skip_md5 && !data::prepare::has_begun(&args.out) {
        shown.check_sums(&args.from)?;
    }
    let walked = |done, of| shown.bytes("archives walked through", done, of);
    let labelling = args.labelling.to_labelling()?;
    let collection = Collection::open_labelled(&args.from, &labelling, &walked)?;
    collection.notes.iter().for_each(console::note);
    let options = PrepareOptions {
        side: args.side,
        keep: match args.keep {
            KeepArg::Centre => Keep::Centre,
            KeepArg::Whole => Keep::Whole,
        },
        encoding: if args.raw { Encoding::Raw } else { Encoding::Jpeg { quality: args.quality } },
        images_per_shard: args.images_per_shard,
        threads: args.workers.unwrap_or(0),
        exif: args.exif.map(Into::into).unwrap_or_default(),
    };
    let mut last = PrepareProgress::default();
    let mut first = None;
    let mut report = |progress: PrepareProgress| {
        shown.images(&progress, *first.get_or_insert(progress.done));
        last = progress;
    };
    let stopped = || stop.requested().is_some();
    let summary = prepare(&collection, &args.out, &options, &mut report, &stopped)?;
    let seconds = shown.began.elapsed().as_secs_f64();
    let (json, out) = (args.output.json, &args.out);
    let as_json = || as_json(&summary, &last, seconds, out);
    console::result(json, as_json, || as_text(&summary, &last, seconds, out))?;
    Ok(stop.requested().map_or(0, signals::exit_code))
}

/// The progress message.
struct Shown {
    reading: Reading,
    began: Instant,
}

impl Shown {
    /// Compares the archives' MD5 with what was published.
    fn check_sums(&self, from: &Path) -> Result<()> {
        let names = Contest::ALL.into_iter().flat_map(Contest::archives);
        let here = names.map(|name| from.join(name)).filter(|path| path.is_file());
        for path in here.filter(|path| has_published_md5(path)) {
            let name = path.file_name().unwrap_or_default().display();
            let what = format!("{name} compared with its published MD5");
            verify_md5(&path, &|done, of| self.bytes(&what, done, of)).map_err(|error| {
                Fault::new(3, format!("{error}, or take it as it is with --skip-md5"))
            })?;
            console::note(format_args!("{name}: MD5 as published"));
        }
        Ok(())
    }

    fn bytes(&self, what: &str, done: u64, of: u64) {
        self.reading.say(&format!("{what} (MiB)"), (done >> 20) as usize, (of >> 20) as usize);
    }

    fn images(&self, progress: &PrepareProgress, first: usize) {
        let seconds = self.began.elapsed().as_secs_f64();
        let rate = (progress.done - first) as f64 / seconds.max(1e-9);
        let left = duration((progress.total - progress.done) as f64 / rate.max(1e-9));
        let what = format!("{rate:.0} images/s, {left} left; images prepared");
        self.reading.say(&what, progress.done, progress.total);
    }
}

fn as_json(
    summary: &PrepareSummary,
    last: &PrepareProgress,
    seconds: f64,
    out: &Path,
) -> serde_json::Value {
    let [train, val] = summary.images;
    json!({
        "finished": summary.manifest.is_some(),
        "train": train,
        "val": val,
        "bad": summary.bad,
        "bytes": last.bytes,
        "seconds": seconds,
        "fingerprint": summary.manifest.as_ref().map(|manifest| &manifest.fingerprint),
        "out": out.to_string_lossy(),
    })
}

fn as_text(summary: &PrepareSummary, last: &PrepareProgress, seconds: f64, out: &Path) -> String {
    let ([train, val], out) = (summary.images.map(grouped), out.display());
    let mut text = format!("{out}: {train} training and {val} test images, ");
    text += &format!("{} written in {}\n", mebibytes(last.bytes as usize), duration(seconds));
    if summary.bad > 0 {
        text += &format!("{} files are not images: {out}/bad.jsonl lists them\n", summary.bad);
    }
    match &summary.manifest {
        Some(manifest) => text += &format!("fingerprint {}\n", manifest.fingerprint),
        None => text += "stopped: the same command goes on\n",
    }
    text
}
