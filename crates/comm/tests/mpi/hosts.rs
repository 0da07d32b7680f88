//! Two hosts on one: connected network namespaces, each with its own address.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs, process};

/// Namespaces, until dropped.
pub struct TwoHosts {
    names: [String; 2],
    agent: PathBuf,
}

/// How mpirun finds the hosts.
pub const ADDRESSES: [&str; 2] = ["10.213.7.1", "10.213.7.2"];

impl TwoHosts {
    /// Connects the namespaces, which needs root and `ip`.
    pub fn new() -> Result<TwoHosts, String> {
        let names = ["a", "b"].map(|host| format!("alexnet-{}-{host}", process::id()));
        let agent = env::temp_dir().join(format!("alexnet-{}-agent", process::id()));
        let hosts = TwoHosts { names, agent };
        let [a, b] = &hosts.names;
        for name in [a, b] {
            ip(&format!("netns add {name}"))?;
        }
        ip(&format!("link add mpi0 netns {a} type veth peer name mpi0 netns {b}"))?;
        for (name, address) in [a, b].into_iter().zip(ADDRESSES) {
            ip(&format!("-n {name} addr add {address}/24 dev mpi0"))?;
            ip(&format!("-n {name} link set lo up"))?;
            ip(&format!("-n {name} link set mpi0 up"))?;
        }
        // The remote shell of mpirun: HOST COMMAND...
        let [first, _] = ADDRESSES;
        let script = format!(
            "#!/bin/sh\nhost=$1; shift\ncase $host in {first}) at={a};; *) at={b};; esac\n\
             exec ip netns exec $at sh -c \"$*\"\n"
        );
        fs::write(&hosts.agent, script).map_err(|error| error.to_string())?;
        let agent = hosts.agent.to_str().ok_or("an odd temporary folder")?;
        run(Command::new("chmod").args(["+x", agent]))?;
        Ok(hosts)
    }

    /// mpirun on the first host, for a rank on each.
    pub fn mpirun(&self) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.names[0], "mpirun", "--allow-run-as-root"]);
        command.args(["--mca", "plm_rsh_agent"]).arg(&self.agent);
        command.args(["--host", &ADDRESSES.map(|address| format!("{address}:1")).join(",")]);
        command.args(["-np", "2"]);
        command
    }

    /// Bytes that the first host has sent.
    pub fn bytes(&self) -> u64 {
        let path = "/sys/class/net/mpi0/statistics/tx_bytes";
        let mut cat = Command::new("ip");
        let output = cat.args(["netns", "exec", &self.names[0], "cat", path]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().parse().unwrap()
    }
}

impl Drop for TwoHosts {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = ip(&format!("netns del {name}"));
        }
        let _ = fs::remove_file(&self.agent);
    }
}

fn ip(words: &str) -> Result<(), String> {
    run(Command::new("ip").args(words.split(' ')))
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    output.status.success().then_some(()).ok_or_else(|| format!("{command:?}: {}", stderr.trim()))
}
