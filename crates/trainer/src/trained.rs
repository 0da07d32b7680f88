//! A trained network, from a run's folder or a file of weights, and the images of its run.

use crate::cli::{ExifArg, ImportArgs, MachineArgs, NetworkArgs, UsingArgs};
use crate::console;
use crate::fault::{Fault, Result};
use crate::images::{self, Images};
use crate::importing;
use crate::limits;
use crate::machine;
use crate::run_file;
use crate::settings::Settings;
use data::formats::SkippedFormats;
use data::unlabelled::{ImagePaths, UnlabelledFiles};
use data::{DatasetOptions, Labelling};
use inference::device::Placement;
use inference::{Model, Predictor};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tensor::Choice;
use terminal::progress::Reading;
use weights::Weights;
use weights::import::is_foreign;

/// The name of the weights in a run's folder.
pub const WEIGHTS: &str = Weights::FILE;

/// A trained network and where it came from.
pub struct Trained {
    /// What was learned.
    pub model: Model,
    /// The settings of its run, if it lies in a run's folder.
    pub config: Option<Settings>,
}

impl Deref for Trained {
    type Target = Model;

    fn deref(&self) -> &Model {
        &self.model
    }
}

impl Trained {
    /// A run's network, or one in a file. Of a run that has written no weights yet, its newest
    /// checkpoint that is intact, with a note on stderr.
    ///
    /// # Errors
    /// Exit code 4 if the file, or the run's configuration, cannot be read.
    pub fn open(
        run: Option<&Path>,
        weights: Option<&Path>,
        import: &ImportArgs,
    ) -> Result<Trained> {
        if let (None, Some(flag)) = (weights, import.typed()) {
            return Err(Fault::usage(format!("{flag}: name a weights file of another program")));
        }
        let run = match (run, weights) {
            (Some(run), _) => run.to_path_buf(),
            (None, Some(weights)) => return Trained::file(weights, import),
            (None, None) => newest_run()?,
        };
        let config = Some(Settings::read(&run.join("config.toml"))?);
        let model = Model::open(&run, &mut |text| console::note(text))?;
        Ok(Trained { model, config })
    }

    /// The network of a run.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn of_run(run: &Path) -> Result<Trained> {
        Trained::open(Some(run), None, &ImportArgs::default())
    }

    /// The network in a file, with the settings of the run in whose folder it lies.
    fn file(typed: &Path, import: &ImportArgs) -> Result<Trained> {
        let path = importing::resolve(typed)?;
        let options = importing::options(&path, import)?;
        if is_foreign(&path) {
            let model = Model::open_with(&path, &options, &mut |text| console::note(text))?;
            let Weights { about, mean, .. } = &model.weights;
            console::note(importing::note(&path, about, &mean.values));
            return Ok(Trained { model, config: None });
        }
        let config = run_of(&path).map(|run| run.join("config.toml"));
        let config = match config {
            Some(path) if run_file::exists(&path)? => Some(Settings::read(&path)?),
            _ => None,
        };
        let model = Model { weights: Weights::read(&path)?, path };
        Ok(Trained { model, config })
    }

    /// As [`open`](Self::open), for what was typed.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn named(network: &NetworkArgs) -> Result<Trained> {
        Trained::open(network.run.as_deref(), network.weights.as_deref(), &network.import)
    }

    /// As [`named`](Self::named), with the EXIF orientation that was typed.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn chosen(using: &UsingArgs) -> Result<Trained> {
        let mut trained = Trained::named(&using.network)?;
        trained.set_exif(using.exif);
        Ok(trained)
    }

    /// Has EXIF orientation treated as was typed.
    pub fn set_exif(&mut self, typed: Option<ExifArg>) {
        if let Some(typed) = typed {
            self.model.weights.about.input.exif = typed.into();
        }
    }

    /// The network on the device that was typed, for batches of `rows` rows, with the outputs of
    /// `layers`; `say` receives the reason for a fallback to the CPU.
    ///
    /// # Errors
    /// Exit codes 1, 2, 4 and 6; 2 also if there is no such layer.
    pub fn predictor(
        &self,
        rows: usize,
        layers: &[&str],
        args: &MachineArgs,
        say: &mut dyn FnMut(&str),
    ) -> Result<Predictor> {
        let warning = limits::too_many_threads(args.threads.unwrap_or(0));
        warning.into_iter().for_each(|warning| say(&warning));
        Ok(self.model.predictor_for_layers(rows, placement(args)?, layers, say)?)
    }

    /// The image files that were typed: files, folders and patterns; `note` receives what was
    /// skipped.
    ///
    /// # Errors
    /// Exit codes 2 and 3.
    pub fn files(
        &self,
        typed: &[PathBuf],
        note: &mut dyn FnMut(&str),
    ) -> Result<Arc<UnlabelledFiles>> {
        let ImagePaths { files, others } = ImagePaths::resolve(typed)?;
        let mut skipped = SkippedFormats::default();
        others.iter().for_each(|path| skipped.add(path));
        skipped.notes().iter().for_each(|text| note(text));
        let (square, exif) = (self.centre_square(), self.exif());
        Ok(Arc::new(UnlabelledFiles::new(files, square, exif, self.classes())))
    }

    /// The images that its run learned from and was tested on, or those of the data set that was
    /// named instead.
    ///
    /// # Errors
    /// Exit code 2 if no data set is given, 3 if they cannot be read or have other classes.
    pub fn images(&self, named: Option<&str>, workers: usize, reading: &Reading) -> Result<Images> {
        let config = self.config.as_ref();
        let Some(name) = named.or(config.map(|config| config.data.as_str())) else {
            return Err(Fault::usage(
                "--data: say which images; the weights lie in no run's folder",
            ));
        };
        let labelling = config.map(|config| labelling_of(config, name)).unwrap_or_default();
        let config = config.filter(|_| named.is_none());
        let images = match config.and_then(|config| config.fake_data) {
            Some(count) => Images::random(count, self.side(), self.classes().len()),
            None => {
                let (threads, exif) = (workers, self.exif());
                let centre = self.weights.about.input.centre;
                let side = DatasetOptions::with_side(self.side());
                images::open(
                    name,
                    &DatasetOptions { threads, labelling, exif, centre, ..side },
                    reading,
                )?
            }
        };
        self.check_classes(images.train.classes())?;
        Ok(match config.and_then(|config| config.overfit) {
            Some(count) => images.few(count),
            None => images,
        })
    }

    /// Labels are places in a list of names: the two lists must be one.
    ///
    /// # Errors
    /// Exit code 3 if they are not.
    pub fn check_classes(&self, found: &[String]) -> Result<()> {
        let learned = self.classes();
        if learned == found {
            return Ok(());
        }
        let has_numbers_only = self.weights.about.has_numbered_classes() && is_foreign(&self.path);
        if has_numbers_only && learned.len() == found.len() {
            console::note(format_args!(
                "{}: its classes have no names; they are taken to be the data's, in their order",
                self.path.display()
            ));
            return Ok(());
        }
        let differing = learned.iter().zip(found).find(|(a, b)| a != b);
        let how = match differing {
            Some((learned, found)) => {
                format!("`{learned}` was learned where the data has `{found}`")
            }
            None => format!("{} were learned, the data has {}", learned.len(), found.len()),
        };
        let path = self.path.display();
        Err(Fault::new(3, format!("{path}: its classes are not the data's: {how}")))
    }
}

/// How a run's labels were had, if `data` is the run's; of other data, only how to take them from
/// the names of files.
fn labelling_of(config: &Settings, data: &str) -> Labelling {
    let place = |path: &str| std::fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path));
    let labelling = config.labelling.clone();
    if place(data) == place(&config.data) {
        labelling
    } else {
        Labelling { from: labelling.from, ..Labelling::default() }
    }
}

/// Reports the images among `count` that could not be read; `ending` completes the message.
///
/// # Errors
/// Exit code 3 if there are any.
pub fn report_bad(bad: &[data::Error], count: usize, ending: &str) -> Result<()> {
    match bad {
        [] => Ok(()),
        [only] if count == 1 => Err(only.clone().into()),
        _ => {
            bad.iter().for_each(|error| console::note(format_args!("alexnet: {error}")));
            let message = format!("{} of {count} images could not be read{ending}", bad.len());
            Err(Fault::new(3, message))
        }
    }
}

/// Where a command computes.
///
/// # Errors
/// Exit code 2.
pub fn placement(args: &MachineArgs) -> Result<Placement> {
    let device: Choice = args.device.as_deref().unwrap_or("auto").parse()?;
    let (threads, precision) = (args.threads.unwrap_or(0), args.precision.as_deref());
    Ok(Placement { device, threads, precision: machine::precision(precision)? })
}

/// The newest run in `runs/` that has a network.
///
/// # Errors
/// Exit codes 2 if there is none, 4 if a folder cannot be read.
pub fn newest_run() -> Result<PathBuf> {
    newest(Path::new("runs"), has_network)?.ok_or_else(|| {
        Fault::usage("there is no run in runs/ with weights or a checkpoint: name a run")
    })
}

/// The newest run in `runs/` that has begun.
///
/// # Errors
/// As [`newest_run`].
pub fn newest_begun() -> Result<PathBuf> {
    newest(Path::new("runs"), |run| run_file::exists(&run.join("run.json")))?
        .ok_or_else(|| Fault::usage("there is no run in runs/: name the folder of a run"))
}

/// The run that is accepted whose name, which begins with a time, is the last.
///
/// # Errors
/// Exit code 4 if a folder cannot be read.
fn newest(runs: &Path, accepts: fn(&Path) -> Result<bool>) -> Result<Option<PathBuf>> {
    if !run_file::exists(runs)? {
        return Ok(None);
    }
    let failed = |error| run_file::unreadable(runs, error);
    let mut newest = None;
    for entry in std::fs::read_dir(runs).map_err(failed)? {
        let run = entry.map_err(failed)?.path();
        if newest.as_ref() < Some(&run) && !run.is_symlink() && accepts(&run)? {
            newest = Some(run);
        }
    }
    Ok(newest)
}

/// Whether a run has come so far that there is something to use.
///
/// # Errors
/// Exit code 4 if its folder cannot be read.
pub fn has_network(run: &Path) -> Result<bool> {
    Ok(run_file::exists(&run.join(WEIGHTS))? || !weights::run::list(run)?.is_empty())
}

/// The folder that is a run's, if a file of weights or a checkpoint lies in one.
pub fn run_of(weights: &Path) -> Option<&Path> {
    let folder = weights.parent()?;
    if folder.ends_with("checkpoints") { folder.parent() } else { Some(folder) }
}
