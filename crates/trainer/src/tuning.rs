//! `--vendor tune`: in which ways the cards of a run work, found once, kept and read again.
//!
//! Ways decide bits, so a run has its own in `choices.toml`, and goes on with them whatever is
//! faster by then. What was timed is kept in the user's cache, too, a file for each card, driver,
//! set of libraries and version of this program: another run of the same shapes times nothing. The
//! cache is a convenience: one that is broken or cannot be written is told and done without.

use crate::devices::Devices;
use crate::fault::{Fault, Result};
use crate::ranks::Ranks;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tensor::cublaslt::CublasLt;
use tensor::cudnn::Cudnn;
use tensor::tune::{Choices, Met, Way, Why};
use tensor::{Cuda, Device};

/// What the run's file is called.
pub const FILE: &str = "choices.toml";

const HEAD: &str = "\
# In which way a card does the work that it can do in several. A way decides the last bits.
# own/T/S: this program's kernels, in tiles of T x T, with sums over k cut into S slices.
# cublaslt/N: cuBLASLt's way N; 0 is the one that it holds for the best.
# cudnn/N: cuDNN's algorithm N.
# `tried` has what was timed, the rule's way first.

";

/// Ways, and where they were found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuned {
    card: String,
    driver: String,
    libraries: String,
    program: String,
    #[serde(default)]
    work: BTreeMap<String, Chosen>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Chosen {
    way: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tried: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<String>,
}

/// What a run may take its ways from, beside rules.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The folder of a run that goes on.
    pub run: Option<&'a Path>,
    /// Not from a clock, nor from the cache, where a clock's choices are.
    pub deterministic: bool,
}

/// Chooses ways for all that these devices, which are cards, will do; of several processes the
/// first does so for all.
///
/// # Errors
/// Exit code 4 if the run's own choices cannot be read, 6 if they cannot be followed here, 1 if a
/// card fails.
pub fn settle(
    devices: &mut Devices,
    ranks: &mut Ranks,
    sources: Sources<'_>,
    say: &mut dyn FnMut(&str),
) -> Result<Tuned> {
    let is_first = ranks.is_first();
    let Some(group) = &mut ranks.group else { return tune(devices, sources, say) };
    let first = || -> Result<_> { Ok(tune(devices, sources, say)?.to_toml().into_bytes()) };
    let text = group.share(first)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let told = |reason: String| Fault::failure(format!("the first rank's choices: {reason}"));
    let tuned = Tuned::read(&text).map_err(told)?;
    if !is_first {
        // What only this rank does, if there is such, it does by rule.
        rehearse(devices, &tuned.choices().map_err(told)?, false)?;
    }
    Ok(tuned)
}

fn tune(devices: &mut Devices, sources: Sources<'_>, say: &mut dyn FnMut(&str)) -> Result<Tuned> {
    let begun = Instant::now();
    let mut tuned = Tuned::here(devices);
    let cache = Cache::of(&tuned).filter(|_| !sources.deterministic);
    let own = sources.run.map(|run| tuned.of_run(run, say)).transpose()?.flatten();
    let is_own = own.is_some();
    let (mut known, from) = match (own, &cache) {
        (Some(own), _) => (own, "the run has them".to_string()),
        (None, Some(cache)) => (cache.read(say), format!("{} has them", cache.path.display())),
        (None, None) => (Tuned::default(), String::new()),
    };
    let mut choices = known.choices().map_err(Fault::failure)?;
    let mut met = match (rehearse(devices, &choices, false), sources.run, &cache) {
        (Err(error), Some(run), _) if is_own && is_no_way(&error) => {
            let message = format!("{}: {error}; {TUNE_ANEW}", run.join(FILE).display());
            return Err(Fault { code: 6, message });
        }
        (Err(error), _, Some(cache)) if is_no_way(&error) => {
            cache.tell(&error.to_string(), say);
            (known, choices) = (Tuned::default(), Choices::new());
            rehearse(devices, &choices, false)?
        }
        (met, ..) => met?,
    };
    let unknown = met.iter().filter(|met| met.why == Why::Rule).count();
    if unknown > 0 && !sources.deterministic {
        let (card, libraries) = (&tuned.card, tuned.named_libraries());
        say(&format!("tuning  {unknown} products on {card}, with {libraries}"));
        met = rehearse(devices, &choices, true)?;
    }
    let timed = met.iter().filter(|met| matches!(met.why, Why::Timed { .. })).count();
    tuned.take(met, &known);
    tuned.tell_left_out(say);
    let (counted, seconds) = (tuned.counted(), begun.elapsed().as_secs_f64());
    say(&match (timed, unknown) {
        (0, 0) => format!("tuned   {counted} as {from}"),
        (0, all) if all == tuned.work.len() => {
            format!("tuned   {counted} by rule, as --deterministic asks")
        }
        (0, some) => format!("tuned   {counted} as {from}, but {some} by rule"),
        _ => format!("tuned   {counted} in {seconds:.1} s"),
    });
    if let Some(cache) = cache.filter(|_| timed > 0) {
        cache.add(&tuned, say);
    }
    if is_own {
        // What it has and does not do now it may do again; and it still was found where it was.
        let work = known.work.into_iter().chain(tuned.work).collect();
        tuned = Tuned { work, ..known };
    }
    Ok(tuned)
}

/// What to do about choices that cannot be followed.
const TUNE_ANEW: &str = "without that file the run is tuned anew, and with --vendor none it needs \
                         no library; both have other bits from here on";

/// Has every card follow `choices`, and what they do not name their rules or, if it is timed, what
/// is fastest; a card follows what those before it found. Gives what all of them met.
fn rehearse(devices: &mut Devices, choices: &Choices, times: bool) -> train::Result<Vec<Met>> {
    let (mut choices, mut all) = (choices.clone(), Vec::<Met>::new());
    for (device, plan) in devices.own.members_mut() {
        card(device).tune(choices.clone(), times);
        let done = plan.check(device);
        let met = card(device).tuned();
        done?;
        choices.extend(met.iter().map(|met| (met.name.clone(), met.way)));
        let is_new = |met: &Met| all.iter().all(|known| known.name != met.name);
        let new: Vec<Met> = met.into_iter().filter(is_new).collect();
        all.extend(new);
    }
    Ok(all)
}

fn is_no_way(error: &train::Error) -> bool {
    matches!(error, train::Error::Device(tensor::Error::NoWay { .. }))
}

fn card(device: &mut Device) -> &mut Cuda {
    match device {
        Device::Cuda(cuda) => cuda,
        Device::Cpu(_) => unreachable!("only cards are tuned"),
    }
}

impl Tuned {
    /// Nothing yet, on these cards.
    fn here(devices: &mut Devices) -> Tuned {
        let mut cards: Vec<String> = Vec::new();
        let mut here = Tuned::default();
        for (device, _) in devices.own.members_mut() {
            let cuda = card(device);
            let cublaslt = cuda.cublaslt().map(|library| format!("cuBLASLt {}", library.version()));
            let cudnn = cuda.cudnn().map(|library| format!("cuDNN {}", library.version()));
            let libraries: Vec<String> = cublaslt.into_iter().chain(cudnn).collect();
            here.libraries = libraries.join(", ");
            here.driver = cuda.driver();
            cards.push(cuda.model());
        }
        cards.dedup();
        here.card = cards.join(" and ");
        let commit = option_env!("ALEXNET_COMMIT").unwrap_or_default();
        let commit = &commit[..commit.len().min(12)];
        here.program = format!("{} {commit}", env!("CARGO_PKG_VERSION")).trim_end().to_string();
        here
    }

    fn read(text: &str) -> std::result::Result<Tuned, String> {
        let tuned: Tuned = toml::from_str(text)
            .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_string())?;
        tuned.choices().and(Ok(tuned))
    }

    fn named_libraries(&self) -> &str {
        if self.libraries.is_empty() { "no library" } else { &self.libraries }
    }

    /// As a file.
    pub fn to_toml(&self) -> String {
        HEAD.to_string() + &toml::to_string(self).expect("strings in tables")
    }

    fn choices(&self) -> std::result::Result<Choices, String> {
        let parsed = self.work.iter().map(|(name, chosen)| {
            let way = chosen.way.parse::<Way>().map_err(|error| error.to_string())?;
            Ok((name.clone(), way))
        });
        parsed.collect()
    }

    /// The choices of a run that goes on, if it has any.
    fn of_run(&self, run: &Path, say: &mut dyn FnMut(&str)) -> Result<Option<Tuned>> {
        let path = run.join(FILE);
        let refused = |reason: String| {
            let message = format!("{}: {reason}; {TUNE_ANEW}", path.display());
            Fault { code: 4, message }
        };
        let text = match files::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                say("the run has no choices.toml: from here on it may have other bits");
                return Ok(None);
            }
            Err(error) => return Err(refused(error.to_string())),
        };
        let own = Tuned::read(&text).map_err(refused)?;
        for way in own.choices().map_err(refused)?.values() {
            let there = match way {
                Way::Own { .. } => Ok(()),
                Way::Cublaslt(_) => CublasLt::find().map(|_| ()),
                Way::Cudnn(_) => Cudnn::find().map(|_| ()),
            };
            let missing =
                |why| Fault { code: 6, message: format!("{}: {why}; {TUNE_ANEW}", path.display()) };
            there.map_err(missing)?;
        }
        let [found, here] = [&own, self]
            .map(|it| format!("{}, driver {}, with {}", it.card, it.driver, it.named_libraries()));
        if found != here {
            say(&format!(
                "the run's choices were made on {found}, and this is {here}: they are kept, and \
                 its last bits may not be those that it would have come to there"
            ));
        }
        Ok(Some(own))
    }

    /// Adds what was met; of what was known already also what was tried then.
    fn take(&mut self, met: Vec<Met>, known: &Tuned) {
        for Met { name, way, why } in met {
            let mut chosen = Chosen { way: way.to_string(), ..Chosen::default() };
            match why {
                Why::Timed { tried, failed } => {
                    let tried = tried.iter().map(|(way, ms)| format!("{way}: {ms:.4} ms"));
                    chosen.tried = tried.collect();
                    let failed = failed.iter().map(|(way, reason)| format!("{way}: {reason}"));
                    chosen.left_out = failed.collect();
                }
                Why::Given => chosen = known.work.get(&name).cloned().unwrap_or(chosen),
                Why::Rule => {}
            }
            self.work.insert(name, chosen);
        }
    }

    /// `24 products: 14 own, 10 cublaslt`
    fn counted(&self) -> String {
        let mut counts = BTreeMap::<&str, usize>::new();
        for chosen in self.work.values() {
            *counts.entry(chosen.way.split('/').next().unwrap_or_default()).or_default() += 1;
        }
        let counts = counts.iter().rev().map(|(whose, count)| format!("{count} {whose}"));
        let products = self.work.len();
        format!("{products} products: {}", counts.collect::<Vec<_>>().join(", "))
    }

    fn tell_left_out(&self, say: &mut dyn FnMut(&str)) {
        let each = self.work.iter();
        let left_out =
            each.flat_map(|(name, chosen)| chosen.left_out.iter().map(move |it| (name, it)));
        let mut left_out = left_out.peekable();
        if let Some((name, why)) = left_out.peek().copied() {
            let count = left_out.count();
            say(&format!("tuning  {count} ways are left out ({FILE} names all); of {name}: {why}"));
        }
    }
}

/// The user's file for cards, libraries and a program like these.
struct Cache {
    path: PathBuf,
    here: Tuned,
}

impl Cache {
    fn of(here: &Tuned) -> Option<Cache> {
        let Tuned { card, driver, libraries, program, .. } = here;
        let name = format!("{card} driver {driver} {libraries} alexnet {program}");
        let letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '.';
        let words: Vec<&str> = name.split(|it| !letter(it)).filter(|it| !it.is_empty()).collect();
        let path = folder()?.join(format!("choices-{}.toml", words.join("-")));
        Some(Cache { path, here: here.clone() })
    }

    /// What it holds; nothing, and a word about it, if that cannot be used.
    fn read(&self, say: &mut dyn FnMut(&str)) -> Tuned {
        let nothing = Tuned::default();
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return nothing,
            Err(error) => {
                self.tell(&error.to_string(), say);
                return nothing;
            }
        };
        let is_here = |it: &Tuned| Tuned { work: BTreeMap::new(), ..it.clone() } == self.here;
        let reason = match Tuned::read(&text) {
            Ok(tuned) if is_here(&tuned) => return tuned,
            Ok(tuned) => format!("it is of {} and program {}", tuned.card, tuned.program),
            Err(reason) => reason,
        };
        self.tell(&reason, say);
        nothing
    }

    fn tell(&self, reason: &str, say: &mut dyn FnMut(&str)) {
        say(&format!("{}: {reason}: it is not used", self.path.display()));
    }

    /// Adds what was found, or says why not.
    fn add(&self, tuned: &Tuned, say: &mut dyn FnMut(&str)) {
        let mut all = self.read(&mut |_| ());
        let work = all.work.into_iter().chain(tuned.work.clone()).collect();
        all = Tuned { work, ..self.here.clone() };
        let folder = self.path.parent().expect("a file in a folder");
        let made = fs::create_dir_all(folder).map_err(|error| error.to_string());
        let write = || files::atomic::write(&self.path, all.to_toml().as_bytes());
        if let Err(why) = made.and_then(|()| write().map_err(|error| error.to_string())) {
            say(&format!("{}: {why}: the next run times anew", folder.display()));
        }
    }
}

/// `ALEXNET_CACHE`, or the user's own.
fn folder() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|text| !text.is_empty()).map(PathBuf::from);
    let own = || set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    set("ALEXNET_CACHE").or_else(|| Some(own()?.join("alexnet")))
}
