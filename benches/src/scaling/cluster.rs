//! Devices, hosts and the links between them.

/// A link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// Latency in seconds.
    pub alpha: f64,
    /// Bytes per second in each direction.
    pub beta: f64,
}

impl Link {
    /// Seconds of a message.
    pub fn time(&self, bytes: f64) -> f64 {
        self.alpha + bytes / self.beta
    }

    /// Seconds of a reduce-scatter or an all-gather in a ring.
    fn half_ring(&self, devices: f64, bytes: f64) -> f64 {
        (devices - 1.0) * self.time(bytes / devices)
    }
}

/// Equal devices in equal hosts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cluster {
    /// Peak floating-point operations per second of a device.
    pub flops: f64,
    /// Memory bandwidth in bytes per second.
    pub bytes: f64,
    /// Efficiency of kernels relative to the lower bound.
    pub reached: f64,
    /// Devices per host.
    pub per_host: usize,
    /// Between two devices of a host.
    pub inside: Link,
    /// Between two devices of different hosts, while all devices communicate.
    pub between: Link,
}

impl Cluster {
    /// H200s, eight a host: 790 TFLOP/s dense bf16 and 4.3 TB/s as measured by others; NVLink 4 at
    /// 360 of its 450 GB/s a direction, NDR InfiniBand (400 Gbit/s a device) at 45 of 50 GB/s.
    pub const H200: Cluster = Cluster {
        flops: 790e12,
        bytes: 4.3e12,
        reached: 0.5,
        per_host: 8,
        inside: Link { alpha: 3e-6, beta: 360e9 },
        between: Link { alpha: 6e-6, beta: 45e9 },
    };

    /// The eight K20 of "One weird trick": 3.5 TFLOP/s, 208 GB/s, PCI Express 2 at 6 GB/s.
    /// The efficiency of 0.43 follows from the published time on one of them.
    pub const K20: Cluster = Cluster {
        flops: 3.52e12,
        bytes: 208e9,
        reached: 0.43,
        per_host: 8,
        inside: Link { alpha: 20e-6, beta: 6e9 },
        between: Link { alpha: 20e-6, beta: 6e9 },
    };

    /// Seconds of a computation: the larger of operations and bytes at the peak rates, divided by
    /// the efficiency.
    pub fn compute(&self, flops: f64, bytes: f64) -> f64 {
        (flops / self.flops).max(bytes / self.bytes) / self.reached
    }

    /// Seconds of an all-reduce: reduce-scatter inside the hosts, trees between the hosts for each
    /// of a host's devices, and all-gather inside the hosts.
    pub fn all_reduce(&self, devices: usize, bytes: f64) -> f64 {
        self.two_levels(devices, self.per_host, bytes)
    }

    /// Seconds of an all-gather of `bytes` in total among devices of one host.
    pub fn all_gather_inside(&self, devices: usize, bytes: f64) -> f64 {
        self.inside.half_ring(devices as f64, bytes)
    }

    /// Seconds of an all-reduce among the devices with the same index in their hosts, in NCCL's
    /// double binary tree: the ring's bytes, with the latency of the tree's depth.
    pub fn all_reduce_between(&self, hosts: usize, bytes: f64) -> f64 {
        let (hosts, Link { alpha, beta }) = (hosts as f64, self.between);
        2.0 * (hosts.log2().ceil() * alpha + (hosts - 1.0) / hosts * bytes / beta)
    }

    /// Seconds of an all-reduce among one device of each pair, while the other devices do the same.
    pub fn among_pairs(&self, devices: usize, bytes: f64) -> f64 {
        self.two_levels(devices / 2, self.per_host.div_ceil(2), bytes)
    }

    /// The number of devices per host, and of hosts.
    pub fn hosts(&self, devices: usize) -> (usize, usize) {
        (devices.min(self.per_host), devices.div_ceil(self.per_host))
    }

    fn two_levels(&self, devices: usize, per_host: usize, bytes: f64) -> f64 {
        let (inside, hosts) = (devices.min(per_host), devices.div_ceil(per_host));
        let inner = self.inside.half_ring(inside as f64, bytes);
        2.0 * inner + self.all_reduce_between(hosts, bytes / inside as f64)
    }
}
