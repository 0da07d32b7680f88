//! The processes of one host.

use std::fs;

/// This process's host, and its place there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) name: String,
    /// Its index among the host's processes.
    pub(super) rank: usize,
    /// Processes that may use the same cores as this one, including it.
    pub(super) sharing: usize,
}

/// What a process sends: its host's name, and the cores that it may use.
pub(super) fn own() -> String {
    format!("{}\n{}", host_name(), cores())
}

impl Host {
    /// From what all ranks have sent.
    pub(super) fn of(rank: usize, all: &[Vec<u8>]) -> Host {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let own = text(&all[rank]);
        let (name, _) = own.split_once('\n').unwrap_or((&own, ""));
        let here = |other: &Vec<u8>| text(other).split('\n').next() == Some(name);
        Host {
            name: name.to_string(),
            rank: all[..rank].iter().filter(|other| here(other)).count(),
            sharing: all.iter().filter(|other| text(other) == own).count(),
        }
    }

    /// The name of this process's device; each process of a host gets its own GPU.
    pub(super) fn device(&self, named: &str, has_gpu: &dyn Fn(usize) -> bool) -> String {
        let own = format!("cuda:{}", self.rank);
        match named {
            "cuda" => own,
            "auto" if has_gpu(self.rank) => own,
            // Some launchers make only its own GPU visible to a process.
            "auto" if self.rank > 0 && has_gpu(0) => "cuda:0".to_string(),
            "auto" => "cpu".to_string(),
            other => other.to_string(),
        }
    }
}

fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_string()
}

/// The cores that the launcher lets this process use, as the system writes them.
fn cores() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.unwrap_or_default().trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_a_host_share_its_cores_and_each_has_a_gpu() {
        // Two hosts; on the second a launcher has bound each process to cores of its own.
        let all = ["a\n0-7", "b\n0-3", "a\n0-7", "b\n4-7", "a\n0-7"].map(|text| text.into());
        let host = |rank| Host::of(rank, &all);
        let of = |name: &str, rank, sharing| Host { name: name.to_string(), rank, sharing };
        assert_eq!([host(0), host(4)], [of("a", 0, 3), of("a", 2, 3)]);
        assert_eq!([host(1), host(3)], [of("b", 0, 1), of("b", 1, 1)]);
        assert_eq!(host(2).device("auto", &|gpu| gpu < 2), "cuda:1");
        assert_eq!(host(4).device("auto", &|gpu| gpu < 1), "cuda:0");
        assert_eq!(host(4).device("auto", &|_| false), "cpu");
        assert_eq!(host(4).device("cuda", &|_| false), "cuda:2");
        assert_eq!(host(4).device("cuda:0", &|_| false), "cuda:0");
    }
}
