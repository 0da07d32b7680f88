//! Devices in hosts, and the wires between them.

/// A wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// Seconds before the first byte.
    pub alpha: f64,
    /// Bytes a second in each direction.
    pub beta: f64,
}

impl Link {
    /// Seconds of a message.
    pub fn time(&self, bytes: f64) -> f64 {
        self.alpha + bytes / self.beta
    }

    /// Seconds until each of n devices in a ring has a sum of its block of so many bytes; as many
    /// as until each has all blocks.
    fn half_ring(&self, devices: f64, bytes: f64) -> f64 {
        (devices - 1.0) * self.time(bytes / devices)
    }

    /// The same in two binary trees at once, as NCCL does it among many: a ring's bytes in as many
    /// messages one after another as a tree is deep.
    fn half_tree(&self, devices: f64, bytes: f64) -> f64 {
        devices.log2().ceil() * self.alpha + (devices - 1.0) / devices * bytes / self.beta
    }
}

/// Equal devices in equal hosts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Machine {
    /// Floating-point operations a second that a device can do.
    pub flops: f64,
    /// Bytes a second from and to its memory.
    pub bytes: f64,
    /// Share of the floor that kernels reach.
    pub reached: f64,
    /// Devices of a host.
    pub per_host: usize,
    /// Between two devices of a host.
    pub inside: Link,
    /// Between two devices of different hosts, while all of them use theirs.
    pub between: Link,
}

impl Machine {
    /// H200s, eight a host: 790 TFLOP/s dense bf16 and 4.3 TB/s as measured by others; NVLink 4 at
    /// 360 of its 450 GB/s a direction, NDR InfiniBand (400 Gbit/s a device) at 45 of 50 GB/s.
    pub const H200: Machine = Machine {
        flops: 790e12,
        bytes: 4.3e12,
        reached: 0.5,
        per_host: 8,
        inside: Link { alpha: 3e-6, beta: 360e9 },
        between: Link { alpha: 6e-6, beta: 45e9 },
    };

    /// The eight K20 of "One weird trick": 3.5 TFLOP/s, 208 GB/s, PCI Express 2 at 6 GB/s.
    /// 0.43 of the floor is what the published time on one of them says.
    pub const K20: Machine = Machine {
        flops: 3.52e12,
        bytes: 208e9,
        reached: 0.43,
        per_host: 8,
        inside: Link { alpha: 20e-6, beta: 6e9 },
        between: Link { alpha: 20e-6, beta: 6e9 },
    };

    /// Seconds for so many operations and bytes: the longer of both, as kernels reach it.
    pub fn compute(&self, flops: f64, bytes: f64) -> f64 {
        (flops / self.flops).max(bytes / self.bytes) / self.reached
    }

    /// Seconds until all devices have the sum of all: scattered sums inside the hosts, trees among
    /// the hosts for each of a host's devices, and the sums gathered inside the hosts.
    pub fn all_reduce(&self, devices: usize, bytes: f64) -> f64 {
        self.two_levels(devices, self.per_host, bytes)
    }

    /// Seconds until all devices of one host have all blocks of what is so many bytes together.
    pub fn all_gather_inside(&self, devices: usize, bytes: f64) -> f64 {
        self.inside.half_ring(devices as f64, bytes)
    }

    /// Seconds until each device has the sum over the hosts of what those in its place have.
    pub fn all_reduce_between(&self, hosts: usize, bytes: f64) -> f64 {
        2.0 * self.between.half_tree(hosts as f64, bytes)
    }

    /// [`all_reduce`](Self::all_reduce) among one device of each pair, while the others do the
    /// same: a host has half as many.
    pub fn among_pairs(&self, devices: usize, bytes: f64) -> f64 {
        self.two_levels(devices / 2, self.per_host.div_ceil(2), bytes)
    }

    /// Devices of a host, and hosts.
    pub fn hosts(&self, devices: usize) -> (usize, usize) {
        (devices.min(self.per_host), devices.div_ceil(self.per_host))
    }

    fn two_levels(&self, devices: usize, per_host: usize, bytes: f64) -> f64 {
        let (inside, hosts) = (devices.min(per_host), devices.div_ceil(per_host));
        let inner = self.inside.half_ring(inside as f64, bytes);
        2.0 * inner + self.all_reduce_between(hosts, bytes / inside as f64)
    }
}
