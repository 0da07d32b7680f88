//! The devices of a run: from what was typed to an executor.

use crate::cli::{Exchange, Parallel};
use crate::fault::{Fault, Result};
use crate::images::memory_line;
use crate::machine;
use crate::run_file;
use crate::settings::Settings;
use inference::device::{self, Placement};
use layers::Spec;
use layers::towers;
use parallel::processes::{Group, ProcessInfo};
use parallel::{DevicePlan, Engine, Mode, ProcessLink, share_threads};
use std::path::Path;
use std::slice;
use tensor::{Choice, Device, Precision};
use train::checkpoint::Identity;
use train::executor::Executor;
use train::run::Blueprint;
use train::start::Start;

/// Devices with what each is to do, before any memory is taken.
pub struct Devices {
    /// This process's.
    pub own: parallel::Devices,
    /// How they share the work.
    parallel: Option<Parallel>,
    exchange: Exchange,
    /// Where this is one of several processes: all of them, once they have met.
    processes: Vec<ProcessInfo>,
}

/// The paper's two GPUs.
pub(crate) const TOWERS: usize = 2;

/// What `--device` says, and whether `--parallel` says how several share the work.
///
/// # Errors
/// Exit code 2.
pub fn choices(settings: &Settings) -> Result<Vec<Choice>> {
    let named = settings.device.split(',').map(|name| name.trim().parse());
    let choices: Vec<Choice> = named.collect::<tensor::Result<_>>()?;
    if choices.len() > 1 && settings.parallel.is_none() {
        return Err(Fault::usage(format!(
            "--device {}: say how these share the work, with --parallel towers, data or hybrid",
            settings.device
        )));
    }
    if choices.len() > 1 && choices.contains(&Choice::Auto) {
        return Err(Fault::usage(format!(
            "--device {}: auto is one device; name each: cpu, cuda:N",
            settings.device
        )));
    }
    Ok(choices)
}

/// Opens the GPUs that were named: one that is not there is told before data is read. Whoever
/// holds them opens them again at little cost.
///
/// # Errors
/// Exit code 6.
pub fn open_gpus(choices: &[Choice], threads: usize) -> Result<Vec<Device>> {
    let gpus = choices.iter().filter(|choice| matches!(choice, Choice::Cuda(_)));
    Ok(gpus.map(|&gpu| Device::open(gpu, threads)).collect::<tensor::Result<_>>()?)
}

/// Whether these devices can exchange through NCCL: GPUs, each once, and the library.
///
/// # Errors
/// Exit codes 2 and 6.
fn check_gpus(choices: &[Choice]) -> Result<()> {
    let is_other_gpu = |(at, choice): (usize, &Choice)| {
        matches!(choice, Choice::Cuda(_)) && !choices[..at].contains(choice)
    };
    if !choices.iter().enumerate().all(is_other_gpu) {
        return Err(Fault::usage(
            "--exchange nccl joins GPUs, each named once (--device cuda:0,cuda:1); --exchange \
             host joins any devices",
        ));
    }
    tensor::nccl::Nccl::find()?;
    Ok(())
}

/// The network as its devices sum: a run in towers has the same bits on one device, if that adds up
/// as they do. A run that goes on keeps its own order.
///
/// # Errors
/// Exit code 2 if it has no such towers.
pub fn settle(
    spec: Spec,
    settings: &Settings,
    devices: usize,
    is_resumed: bool,
    say: &mut dyn FnMut(&str),
) -> Result<Spec> {
    if settings.parallel != Some(Parallel::Towers) {
        return Ok(spec);
    }
    let whole = towers::on_one_device(&spec, devices.max(TOWERS))?;
    if !is_resumed {
        return Ok(whole);
    }
    if whole != spec && devices > 1 {
        say("the run began without --parallel towers: from here on some sums are taken tower by \
             tower, and the last bits are not those of one device");
    }
    Ok(spec)
}

/// The precision of a run that goes on is the one in which it began; of one that was begun before
/// there was a choice, f32. Another, if it is asked for, gives other bits from here on. `saved` is
/// the text of its `config.toml`, if that was read already.
///
/// # Errors
/// Exit codes 2 if there is no such precision, 4 if the run's settings cannot be read.
pub fn settle_precision(
    settings: &mut Settings,
    (run, saved): (Option<&Path>, Option<String>),
    say: &mut dyn FnMut(&str),
) -> Result<()> {
    machine::precision(settings.precision.as_deref())?;
    let Some(run) = run else { return Ok(()) };
    let saved = match saved {
        Some(saved) => Some(saved),
        None => run_file::read(&run.join("config.toml"))?,
    };
    let saved = saved.and_then(|text| text.parse::<toml::Table>().ok()).unwrap_or_default();
    let began = saved.get("precision").and_then(toml::Value::as_str).unwrap_or("f32");
    let now = settings.precision.get_or_insert_with(|| began.to_string());
    if began != now {
        say(&format!("the run began in {began}: from here on it has the bits of {now}"));
    }
    Ok(())
}

/// Says so if a run goes on in a mode whose sums over units have another order than those so far.
///
/// # Errors
/// Exit code 4 if the run's settings cannot be read.
pub fn note_mode(run: &Path, settings: &Settings, say: &mut dyn FnMut(&str)) -> Result<()> {
    let began = Settings::read(&run.join("config.toml"))?.parallel;
    let is_hybrid = |parallel| parallel == Some(Parallel::Hybrid);
    if is_hybrid(began) != is_hybrid(settings.parallel) {
        let so = if is_hybrid(began) { "with" } else { "without" };
        say(&format!(
            "the run began {so} --parallel hybrid: from here on some sums are taken in another \
             order, and the last bits are not those that it would have come to"
        ));
    }
    Ok(())
}

impl Devices {
    /// Opens the devices, plans on each and finds out whether it can do its part.
    ///
    /// # Errors
    /// Exit codes 1, 2 and 6.
    pub fn open(
        choices: &[Choice],
        settings: &Settings,
        job: &Blueprint,
        say: &mut dyn FnMut(&str),
    ) -> Result<Devices> {
        let precision = machine::precision(settings.precision.as_deref())?;
        if let [choice] = choices {
            if settings.exchange == Exchange::Nccl {
                say("--exchange nccl: one device has nothing to exchange");
            }
            let mode = settings.parallel.map(Mode::from);
            let plan = |device: &Device| Mode::plan_alone(mode, job, device.target());
            let placement = Placement { device: *choice, threads: settings.threads, precision };
            let (device, plan) = device::open(placement, plan, DevicePlan::check, say)?;
            return Ok(Devices::of(parallel::Devices::one(device, plan), settings));
        }
        if settings.exchange == Exchange::Nccl {
            check_gpus(choices)?;
        }
        let each = share_threads(settings.threads, choices);
        let open = |(&choice, &threads): (&Choice, &usize)| Device::open(choice, threads);
        let mut devices: Vec<Device> =
            choices.iter().zip(&each).map(open).collect::<tensor::Result<_>>()?;
        device::set_precision(&mut devices, precision, say)?;
        let own = parallel::Devices::plan_each(devices, mode_of_several(settings), job)?;
        Ok(Devices::of(own, settings))
    }

    fn of(own: parallel::Devices, settings: &Settings) -> Devices {
        let &Settings { parallel, exchange, .. } = settings;
        Devices { own, parallel, exchange, processes: Vec::new() }
    }

    /// Opens this process's device, one of several processes', and plans its part.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_one(
        choice: Choice,
        settings: &Settings,
        job: &Blueprint,
        place: (usize, usize),
        say: &mut dyn FnMut(&str),
    ) -> Result<Devices> {
        let mut device = Device::open(choice, settings.threads)?;
        let precision = machine::precision(settings.precision.as_deref())?;
        device::set_precision(slice::from_mut(&mut device), precision, say)?;
        let mode = mode_of_several(settings);
        Ok(Devices::of(parallel::Devices::plan_one(device, mode, job, place)?, settings))
    }

    /// Meets the other processes before anything is written.
    ///
    /// # Errors
    /// Exit code 2 if one is about to do something else, 1 if those on this host do not fit into
    /// its memory.
    pub fn meet(&mut self, group: &mut Group, identity: &Identity, own: &Settings) -> Result<()> {
        let (device, plan) = &self.own.planned()[0];
        let bytes = match device {
            Device::Cpu(_) => plan.memory().total,
            Device::Cuda(_) => 0,
        };
        let name = (device::name(device), device.threads());
        let member = ProcessInfo::new(describe_one(device), name, bytes, what_to_do(identity, own));
        let (all, bytes_here) = group.compare_settings(member)?;
        if bytes > 0 {
            device.check_room(bytes_here)?;
        }
        self.processes = all;
        Ok(())
    }

    /// `cpu, 2 threads`; several have a number each.
    pub fn describe(&self) -> String {
        let each: Vec<String> = match &self.processes[..] {
            [] => self.own.planned().iter().map(|(device, _)| describe_one(device)).collect(),
            processes => processes.iter().map(|process| process.device.clone()).collect(),
        };
        if let [one] = &each[..] {
            return one.clone();
        }
        let each = each.iter().enumerate().map(|(rank, device)| format!("{rank}: {device}"));
        let how = self.parallel.map_or(Mode::Data, Mode::from).name();
        format!("{} ({how})", each.collect::<Vec<_>>().join("; "))
    }

    /// What they take of memory, a line a device.
    pub fn memory(&self, batch: usize) -> Vec<String> {
        self.own.planned().iter().map(|(_, plan)| memory_line(&plan.memory(), batch)).collect()
    }

    /// For the run's `env.json`: the device, or all of them, and their threads.
    pub fn machine(&self) -> machine::Machine {
        let own =
            self.own.planned().iter().map(|(device, _)| (device::name(device), device.threads()));
        let (names, threads): (Vec<String>, Vec<usize>) = match &self.processes[..] {
            [] => own.unzip(),
            processes => processes.iter().map(|process| process.name.clone()).unzip(),
        };
        let (name, threads) = (names.join(","), threads.iter().sum());
        machine::Machine { name, threads, precision: self.precision() }
    }

    /// In which numbers they multiply; of several processes this one's.
    pub fn precision(&self) -> Precision {
        let (device, _) = &self.own.planned()[0];
        device.precision()
    }

    /// Takes the memory, and fills it with what training starts from. One of several processes has
    /// its link.
    ///
    /// # Errors
    /// If there is not enough memory, or parameters are another network's.
    pub fn executor(
        self,
        whole: &Spec,
        link: Option<ProcessLink>,
        start: &Start,
    ) -> train::Result<Box<dyn Executor>> {
        let engine = match self.exchange {
            Exchange::Host => Engine::Host,
            Exchange::Nccl => Engine::Nccl,
        };
        self.own.executor(whole, engine, link, start)
    }
}

/// How devices share the work, where there are several.
pub fn mode_of_several(settings: &Settings) -> Mode {
    settings.parallel.map_or(Mode::Towers, Mode::from)
}

/// `cpu, 2 threads`; of a GPU, or where they are not f32, also in which numbers it multiplies.
fn describe_one(device: &Device) -> String {
    let threads = device.threads();
    let plural = if threads == 1 { "" } else { "s" };
    let precision = match (device, device.precision()) {
        (Device::Cpu(_), Precision::F32) => String::new(),
        (_, precision) => format!(", {precision}"),
    };
    format!("{}{precision}, {threads} thread{plural}", device::name(device))
}

/// What processes compare before they begin: the run's identity, and what else must be alike.
fn what_to_do(identity: &Identity, settings: &Settings) -> Identity {
    let mut plan = identity.clone();
    let commit = option_env!("ALEXNET_COMMIT").unwrap_or("a commit that is not known");
    plan.insert("program", format!("{} of {commit}", env!("CARGO_PKG_VERSION")));
    plan.insert(
        "parallel",
        settings.parallel.map_or("nothing", |parallel| Mode::from(parallel).name()),
    );
    let steps = settings.max_steps.map_or("all".to_string(), |steps| steps.to_string());
    plan.insert("max_steps", steps);
    plan
}
