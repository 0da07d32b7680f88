//! The devices of a run: from the command line's options to an executor.

use crate::cli::{Exchange, Parallel};
use crate::fault::{Fault, Result};
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

/// The devices of a run and their plans, before memory is allocated.
pub struct Devices {
    /// This process's devices.
    pub own: parallel::Devices,
    /// How devices share the work.
    mode: Mode,
    exchange: Exchange,
    /// All processes, if there are several; filled by [`meet`](Self::meet).
    processes: Vec<ProcessInfo>,
}

/// The number of towers in the paper, one for each of its GPUs.
pub(crate) const TOWERS: usize = 2;

/// Parses `--device`, and checks that several devices come with `--parallel`.
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

/// Opens the GPUs among `choices`, so that a missing one is reported before data is read. As long
/// as the returned devices exist, opening the same GPUs again is fast.
///
/// # Errors
/// Exit code 6.
pub fn open_gpus(choices: &[Choice], threads: usize) -> Result<Vec<Device>> {
    let gpus = choices.iter().filter(|choice| matches!(choice, Choice::Cuda(_)));
    Ok(gpus.map(|&gpu| Device::open(gpu, threads)).collect::<tensor::Result<_>>()?)
}

/// Checks that these devices can exchange through NCCL: all are GPUs, none is named twice, and the
/// NCCL library is installed.
///
/// # Errors
/// Exit codes 2 and 6.
fn check_gpus(choices: &[Choice]) -> Result<()> {
    let is_new_gpu = |(at, choice): (usize, &Choice)| {
        matches!(choice, Choice::Cuda(_)) && !choices[..at].contains(choice)
    };
    if !choices.iter().enumerate().all(is_new_gpu) {
        return Err(Fault::usage(
            "--exchange nccl joins GPUs, each named once (--device cuda:0,cuda:1); --exchange \
             host joins any devices",
        ));
    }
    tensor::nccl::Nccl::find()?;
    Ok(())
}

/// The network with the order of sums that the run uses. With `--parallel towers`, sums are taken
/// tower by tower even on one device, so that results are bit-identical on one device and several.
/// A resumed run keeps the order that `spec` has.
///
/// # Errors
/// Exit code 2 if the network cannot be split into that many towers.
pub fn resolve_spec(
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
             tower, and results differ from those of one device in the last bits");
    }
    Ok(spec)
}

/// Sets the precision of a resumed run to the one with which it began, unless `settings` name one.
/// If that differs, it is used all the same, and the note returned says that results change. Runs
/// whose `config.toml` has no precision began in f32. `run` is the folder of the resumed run, and
/// `saved` the text of its `config.toml`, if that was read already.
///
/// # Errors
/// Exit code 2 if the precision is unknown, 4 if the run's settings cannot be read.
pub fn resolve_precision(
    settings: &mut Settings,
    (run, saved): (Option<&Path>, Option<String>),
) -> Result<Option<String>> {
    machine::precision(settings.precision.as_deref())?;
    let Some(run) = run else { return Ok(None) };
    let saved = match saved {
        Some(saved) => Some(saved),
        None => run_file::read(&run.join("config.toml"))?,
    };
    let saved = saved.and_then(|text| text.parse::<toml::Table>().ok()).unwrap_or_default();
    let began = saved.get("precision").and_then(toml::Value::as_str).unwrap_or("f32");
    let now = settings.precision.get_or_insert_with(|| began.to_string());
    let note = format!("the run began in {began}; resuming in {now} changes its results");
    Ok((began != now).then_some(note))
}

/// Notes a resumed run's change to or from `--parallel hybrid`, whose sums over units are taken in
/// another order than in the other modes.
///
/// # Errors
/// Exit code 4 if the run's settings cannot be read.
pub fn note_mode(run: &Path, settings: &Settings, say: &mut dyn FnMut(&str)) -> Result<()> {
    let began = Settings::read(&run.join("config.toml"))?.parallel;
    let is_hybrid = |parallel| parallel == Some(Parallel::Hybrid);
    if is_hybrid(began) != is_hybrid(settings.parallel) {
        let with = if is_hybrid(began) { "with" } else { "without" };
        say(&format!(
            "the run began {with} --parallel hybrid: from here on some sums are taken in \
             another order, and the last bits of results differ"
        ));
    }
    Ok(())
}

impl Devices {
    /// Opens this process's devices, plans each one's work, and checks that it supports the plan.
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
        let threads = share_threads(settings.threads, choices);
        let open = |(&choice, &threads): (&Choice, &usize)| Device::open(choice, threads);
        let mut devices: Vec<Device> =
            choices.iter().zip(&threads).map(open).collect::<tensor::Result<_>>()?;
        device::set_precision(&mut devices, precision, say)?;
        let own = parallel::Devices::plan_each(devices, mode_of_several(settings), job)?;
        Ok(Devices::of(own, settings))
    }

    fn of(own: parallel::Devices, settings: &Settings) -> Devices {
        let (mode, exchange) = (mode_of_several(settings), settings.exchange);
        Devices { own, mode, exchange, processes: Vec::new() }
    }

    /// Opens this process's device and plans its part, where each of several processes has one
    /// device; `place` is the rank of this process and the number of processes.
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

    /// Exchanges the settings and devices of all processes, and checks that the settings are equal.
    /// Call it before anything is written.
    ///
    /// # Errors
    /// Exit code 2 if a process has other settings, 1 if this host has too little memory for its
    /// processes.
    pub fn meet(&mut self, group: &mut Group, identity: &Identity, own: &Settings) -> Result<()> {
        let (device, plan) = &self.own.planned()[0];
        // Bytes of host memory, which the processes of this host share.
        let bytes = match device {
            Device::Cpu(_) => plan.memory().total,
            Device::Cuda(_) => 0,
        };
        let name = (device::name(device), device.threads());
        let info = ProcessInfo::new(describe_one(device), name, bytes, what_to_do(identity, own));
        let (all, host_bytes) = group.compare_settings(info)?;
        if bytes > 0 {
            device.check_room(host_bytes)?;
        }
        self.processes = all;
        Ok(())
    }

    /// One device: `cpu, 2 threads`. Several, with their ranks and the mode:
    /// `0: cpu, 1 thread; 1: cpu, 1 thread (data)`.
    pub fn describe(&self) -> String {
        let each: Vec<String> = match &self.processes[..] {
            [] => self.own.planned().iter().map(|(device, _)| describe_one(device)).collect(),
            processes => processes.iter().map(|process| process.device.clone()).collect(),
        };
        if let [one] = &each[..] {
            return one.clone();
        }
        let each = each.iter().enumerate().map(|(rank, device)| format!("{rank}: {device}"));
        let mode = self.mode.name();
        format!("{} ({mode})", each.collect::<Vec<_>>().join("; "))
    }

    /// The memory that this process's devices need, one line each.
    pub fn memory(&self, batch: usize) -> Vec<String> {
        self.own.planned().iter().map(|(_, plan)| plan.memory().summary(batch)).collect()
    }

    /// For the run's `env.json`: the names of all devices, the sum of their threads, and the
    /// precision.
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

    /// The precision of multiplications on this process's devices.
    pub fn precision(&self) -> Precision {
        let (device, _) = &self.own.planned()[0];
        device.precision()
    }

    /// Allocates memory and loads the state that training starts from. `link` is the connection to
    /// the other processes, if there are several.
    ///
    /// # Errors
    /// If there is not enough memory, or the initial parameters are those of another network.
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

/// How several devices share the work; `towers` if the settings name no mode.
pub fn mode_of_several(settings: &Settings) -> Mode {
    settings.parallel.map_or(Mode::Towers, Mode::from)
}

/// `cpu, 2 threads`; with the precision if it is not f32, and always for a GPU.
fn describe_one(device: &Device) -> String {
    let threads = device.threads();
    let plural = if threads == 1 { "" } else { "s" };
    let precision = match (device, device.precision()) {
        (Device::Cpu(_), Precision::F32) => String::new(),
        (_, precision) => format!(", {precision}"),
    };
    format!("{}{precision}, {threads} thread{plural}", device::name(device))
}

/// The settings that must be equal in all processes: the run's identity, the program's version, the
/// mode and the number of steps.
fn what_to_do(identity: &Identity, settings: &Settings) -> Identity {
    let mut compared = identity.clone();
    let commit = option_env!("ALEXNET_COMMIT").unwrap_or("an unknown commit");
    compared.insert("program", format!("{} of {commit}", env!("CARGO_PKG_VERSION")));
    compared.insert(
        "parallel",
        settings.parallel.map_or("nothing", |parallel| Mode::from(parallel).name()),
    );
    let steps = settings.max_steps.map_or("all".to_string(), |steps| steps.to_string());
    compared.insert("max_steps", steps);
    compared
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::TrainArgs;
    use layers::window;

    #[test]
    fn several_devices_are_described_with_the_mode_of_their_plans() {
        for parallel in [None, Some(Parallel::Towers)] {
            let typed = TrainArgs { parallel, ..TrainArgs::default() };
            let settings = Settings::resolve(&typed).unwrap();
            let spec = Spec::image("two-towers", 32, 32, 3)
                .conv("conv1", 16, window(5).stride(2))
                .relu()
                .conv("conv2", 16, window(3).groups(2))
                .relu()
                .linear("fc3", 10);
            let spec = towers::on_one_device(&spec, 2).unwrap();
            let (recipe, [height, width, _]) = (&settings.recipe, spec.input);
            let job = Blueprint { spec: &spec, recipe, stored: [recipe.side(height, width); 2] };
            let devices = Devices::open(&[Choice::Cpu; 2], &settings, &job, &mut |_| ()).unwrap();
            let is_tower = |plan: &DevicePlan| matches!(plan, DevicePlan::Tower(_));
            assert!(devices.own.planned().iter().all(|(_, plan)| is_tower(plan)));
            assert!(devices.describe().ends_with(" (towers)"), "{}", devices.describe());
        }
    }
}
