//! The group of processes, until training takes over their communicator.

use super::error::Error;
use super::host::{self, Host};
use super::launch::{self, Joined};
use super::settings::{self, ProcessInfo};
use crate::Result;
use comm::{Comm, Local, bytes};
use std::path::Path;
use std::time::Duration;
use tensor::{Choice, DType, Device, Planner, Shape, Slot};
use train::checkpoint::Checkpoint;

/// The processes of a run, which a launcher started.
#[derive(Debug)]
pub struct Group {
    comm: Box<dyn Comm>,
    /// Messages go through this device: the CPU, or the GPU that the communicator is on.
    staging: Device,
    buffer: Slot,
    host: Host,
    /// The index of that GPU.
    gpu: Option<usize>,
}

/// The timeout before the first step, since reading and measuring images may take long. Afterwards
/// it is [`Local::TIMEOUT`].
const PREPARATION: Duration = Duration::from_secs(3600);

/// Floats of the buffer for transfers.
const BUFFER: usize = 1 << 20;

impl Group {
    /// Connects to the other processes; `None` if no launcher has started any.
    ///
    /// # Errors
    /// [`Error::WithoutMpi`] and [`Error::NoGpu`] if this program or machine lacks the means;
    /// [`Error::Parallel`] if a process cannot be reached.
    pub fn join() -> std::result::Result<Option<Group>, Error> {
        let Some(Joined { comm, mut staging, gpu }) = launch::join()? else { return Ok(None) };
        let mut planner = Planner::new();
        let buffer = planner.claim(DType::F32, Shape::from([BUFFER]));
        staging.reserve(planner.total()).map_err(crate::Error::from)?;
        let mut group = Group { comm, staging, buffer, host: Host::default(), gpu };
        let all = group.gather(host::own().as_bytes())?;
        group.host = Host::of(group.rank(), &all);
        group.comm.set_timeout(PREPARATION);
        Ok(Some(group))
    }

    /// This process's rank.
    pub fn rank(&self) -> usize {
        self.comm.rank()
    }

    /// The number of processes.
    pub fn world(&self) -> usize {
        self.comm.world()
    }

    /// The index of the GPU that the communicator is on, if it is on one.
    pub fn gpu(&self) -> Option<usize> {
        self.gpu
    }

    /// This process's share of the host's cores.
    pub fn cores(&self) -> usize {
        let available = std::thread::available_parallelism().map_or(1, usize::from);
        (available / self.host.sharing).max(1)
    }

    /// The name of this process's device, where `auto`, `cuda` or a device is set for all of them;
    /// each process of a host gets its own GPU. `None` if `named` is another device than the GPU
    /// that the communicator is on.
    pub fn device(&self, named: &str) -> Option<String> {
        let has_gpu = |gpu| Device::open(Choice::Cuda(gpu), 1).is_ok();
        match self.gpu {
            None => Some(self.host.device(named, &has_gpu)),
            Some(gpu) => communicating_gpu(gpu, named),
        }
    }

    /// Gathers bytes from every process, in the order of the ranks.
    ///
    /// # Errors
    /// [`Error::Comm`](crate::Error::Comm) if a rank is lost.
    pub fn gather(&mut self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        Ok(bytes::gather(&mut *self.comm, &mut self.staging, self.buffer, own)?)
    }

    /// Broadcasts what rank 0 gets from `first`; the other ranks do not call it.
    ///
    /// # Errors
    /// The error of `first`; [`Error::Comm`](crate::Error::Comm) if a rank is lost.
    pub fn share<E: From<crate::Error>>(
        &mut self,
        first: impl FnOnce() -> std::result::Result<Vec<u8>, E>,
    ) -> std::result::Result<Vec<u8>, E> {
        let mut shared = if self.rank() == 0 { first()? } else { Vec::new() };
        let Group { comm, staging, buffer, .. } = self;
        bytes::broadcast(&mut **comm, staging, *buffer, 0, &mut shared)
            .map_err(crate::Error::from)?;
        Ok(shared)
    }

    /// Broadcasts the checkpoint that rank 0 has found.
    ///
    /// # Errors
    /// [`train::Error::Checkpoint`] if it cannot be read, or what arrives is not what was written.
    pub fn checkpoint(&mut self, found: Option<Checkpoint>) -> train::Result<Option<Checkpoint>> {
        let path = found.as_ref().map_or(Path::new(""), |found| &found.path);
        let name = self.share(|| train::Result::Ok(path.display().to_string().into_bytes()))?;
        if name.is_empty() {
            return Ok(None);
        }
        let read = || {
            files::read(path).map_err(|error| train::Error::Checkpoint {
                path: path.into(),
                reason: format!("cannot read: {error}"),
            })
        };
        let bytes = self.share(read)?;
        match found {
            Some(found) => Ok(Some(found)),
            None => {
                let name = String::from_utf8_lossy(&name);
                Ok(Some(Checkpoint::from_file(&bytes, Path::new(&*name))?))
            }
        }
    }

    /// Exchanges process information and checks that all settings are equal. Returns the
    /// information of all processes, and the bytes that those of this host need together.
    ///
    /// # Errors
    /// [`Error::Disagree`], in all processes, if settings differ; [`Error::OtherProgram`] if
    /// another process sends something unknown.
    pub fn compare_settings(
        &mut self,
        own: ProcessInfo,
    ) -> std::result::Result<(Vec<ProcessInfo>, usize), Error> {
        let own = own.on_host(&self.host.name).to_json();
        let all = settings::parse(&self.gather(&own)?).map_err(Error::OtherProgram)?;
        settings::compare(&all)?;
        let bytes = settings::bytes_on(&self.host.name, &all);
        Ok((all, bytes))
    }

    /// The communicator, with the shorter timeout of training.
    pub fn into_comm(self) -> Box<dyn Comm> {
        let mut comm = self.comm;
        comm.set_timeout(Local::TIMEOUT);
        comm
    }
}

/// The device of a process whose communicator is on a GPU: that GPU.
fn communicating_gpu(gpu: usize, named: &str) -> Option<String> {
    let own = format!("cuda:{gpu}");
    (matches!(named, "auto" | "cuda") || named == own).then_some(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_trains_on_the_gpu_that_its_communicator_is_on() {
        assert_eq!(communicating_gpu(1, "auto").as_deref(), Some("cuda:1"));
        assert_eq!(communicating_gpu(1, "cuda:1").as_deref(), Some("cuda:1"));
        assert_eq!(communicating_gpu(1, "cuda:0"), None);
        assert_eq!(communicating_gpu(0, "cpu"), None);
    }
}
