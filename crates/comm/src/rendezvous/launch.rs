//! The environment variables that launchers set.

use crate::{Error, Result};

/// This process's rank, and the address of rank 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The rank, from 0.
    pub rank: usize,
    /// The number of ranks.
    pub world: usize,
    /// The local rank among the processes of this host, which is also the index of its GPU.
    pub local: usize,
    /// The host on which rank 0 listens.
    pub host: String,
    /// The port on which rank 0 listens.
    pub port: u16,
}

/// Slurm sets no port: it is derived from the job's number, above the ports of services and below
/// those that systems assign automatically.
const PORTS: std::ops::Range<u64> = 20_000..32_000;

impl Launch {
    /// Reads the variables of torchrun (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT), or
    /// else those of Slurm's srun. `None` if neither are set, or only one process was started.
    ///
    /// # Errors
    /// [`Error::Rendezvous`] if some are missing or invalid.
    pub fn from_environment() -> Result<Option<Launch>> {
        Launch::from_variables(&|name| std::env::var(name).ok())
    }

    /// As [`from_environment`](Self::from_environment), of variables that `look_up` finds.
    ///
    /// # Errors
    /// As [`from_environment`](Self::from_environment).
    pub fn from_variables(look_up: &dyn Fn(&str) -> Option<String>) -> Result<Option<Launch>> {
        let torchrun = look_up("RANK").and(look_up("WORLD_SIZE"));
        let names = match (torchrun, look_up("SLURM_STEP_NODELIST")) {
            (Some(_), _) => ["RANK", "WORLD_SIZE", "LOCAL_RANK"],
            // Batch scripts also have ranks and tasks; only steps of srun have a node list.
            (None, Some(_)) => ["SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"],
            (None, None) => return Ok(None),
        };
        let world = count(look_up, names[1])?;
        if world == 1 {
            return Ok(None); // some launchers set no more for one process
        }
        let (rank, local) = (count(look_up, names[0])?, count(look_up, names[2])?);
        if rank >= world || local > rank {
            let [is_rank, is_world, is_local] = names;
            return Err(Error::Rendezvous(format!(
                "{is_rank}={rank}, {is_world}={world} and {is_local}={local} are inconsistent"
            )));
        }
        let (host, port) = match (look_up("MASTER_ADDR"), look_up("SLURM_STEP_NODELIST")) {
            (Some(host), _) => (host, port(look_up)?),
            (None, Some(nodes)) => (first_of(&nodes)?, port(look_up)?),
            (None, None) => return Err(missing("MASTER_ADDR")),
        };
        Ok(Some(Launch { rank, world, local, host, port }))
    }
}

fn port(look_up: &dyn Fn(&str) -> Option<String>) -> Result<u16> {
    let Some(text) = look_up("MASTER_PORT") else {
        let job = look_up("SLURM_JOB_ID").ok_or_else(|| missing("MASTER_PORT"))?;
        let job = job.parse::<u64>().map_err(|_| nonsense("SLURM_JOB_ID", &job))?;
        return Ok((PORTS.start + job % (PORTS.end - PORTS.start)) as u16);
    };
    let port: u16 = text.parse().map_err(|_| nonsense("MASTER_PORT", &text))?;
    // torchrun's agent may listen on that port itself, for PyTorch's processes.
    let taken = look_up("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|used| used == "True");
    match (taken, port.checked_add(1)) {
        (true, Some(next)) => Ok(next),
        (true, None) => Ok(port - 1),
        (false, _) => Ok(port),
    }
}

fn count(look_up: &dyn Fn(&str) -> Option<String>, name: &str) -> Result<usize> {
    let text = look_up(name).ok_or_else(|| missing(name))?;
    let number: u32 = text.parse().map_err(|_| nonsense(name, &text))?;
    Ok(number as usize)
}

/// The first of Slurm's `a[01-04,7],b`: `a01`.
fn first_of(nodes: &str) -> Result<String> {
    let wrong = || nonsense("SLURM_STEP_NODELIST", nodes);
    let end = nodes.find([',', '[']).unwrap_or(nodes.len());
    let mut name = nodes[..end].to_string();
    if let Some(rest) = nodes[end..].strip_prefix('[') {
        let inside = &rest[..rest.find(']').ok_or_else(wrong)?];
        name += &inside[..inside.find([',', '-']).unwrap_or(inside.len())];
        let after = &rest[inside.len() + 1..];
        if after.starts_with('[') {
            return Err(wrong()); // several dimensions
        }
        name += &after[..after.find(',').unwrap_or(after.len())];
    }
    if name.is_empty() { Err(wrong()) } else { Ok(name) }
}

fn missing(name: &str) -> Error {
    Error::Rendezvous(format!("the launcher has not set {name}, as torchrun and srun do"))
}

fn nonsense(name: &str, text: &str) -> Error {
    Error::Rendezvous(format!("{name}={text} is not what a launcher sets"))
}
