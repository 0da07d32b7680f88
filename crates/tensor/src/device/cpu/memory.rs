//! The memory that this process can still allocate, limited by the system and by control groups.
//!
//! A container's limit is that of a control group. The kernel kills a process that exceeds it,
//! without a message; so plans are checked before memory is allocated.

use std::fs;
use std::path::{Path, PathBuf};

/// Memory that can be taken, and what limits it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreeMemory {
    /// Bytes that can be taken without swapping and without exceeding a limit.
    pub bytes: usize,
    /// The control group whose limit decides, if one does: its folder.
    pub group: Option<PathBuf>,
}

/// The memory that this process can still allocate; `None` if the system does not report it.
///
/// It is the minimum of Linux's MemAvailable and, for the process's memory control group and each
/// group above it (versions 1 and 2), the limit minus the group's use; file pages that the kernel
/// can drop do not count as used.
pub fn free_memory() -> Option<FreeMemory> {
    free_memory_under(Path::new("/"))
}

/// [`free_memory`] of a system whose files lie under `root`.
fn free_memory_under(root: &Path) -> Option<FreeMemory> {
    let groups = groups(root).into_iter().filter_map(|group| {
        let bytes = room_in(&root.join(group.folder.strip_prefix("/").ok()?), group.version)?;
        Some(FreeMemory { bytes, group: Some(group.folder) })
    });
    let system = available(root).map(|bytes| FreeMemory { bytes, group: None });
    system.into_iter().chain(groups).min_by_key(|free| free.bytes)
}

/// MemAvailable.
fn available(root: &Path) -> Option<usize> {
    let meminfo = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: usize = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// A memory control group.
struct Group {
    folder: PathBuf,
    version: &'static Version,
}

/// What the files of a version of control groups are called.
struct Version {
    limits: &'static [&'static str],
    usage: &'static str,
    /// Lines of `memory.stat`: pages of files, which are dropped before anything is killed.
    droppable: &'static [&'static str],
}

/// Above `memory.high` nothing is killed, but everything that takes memory is slowed down.
static V2: Version = Version {
    limits: &["memory.max", "memory.high"],
    usage: "memory.current",
    droppable: &["inactive_file", "active_file", "slab_reclaimable"],
};

static V1: Version = Version {
    limits: &["memory.limit_in_bytes"],
    usage: "memory.usage_in_bytes",
    droppable: &["total_inactive_file", "total_active_file"],
};

/// The process's memory control groups, each with all those above it as far as they are mounted.
fn groups(root: &Path) -> Vec<Group> {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let (own, mounts) = (read("proc/self/cgroup"), read("proc/self/mountinfo"));
    let mut groups = Vec::new();
    for mount in mounts.lines().filter_map(Mount::read) {
        let Some(path) = own.lines().find_map(|line| mount.version.path_in(line)) else { continue };
        // A container may see only a part of the tree, in which its own path may not even lie.
        let inside = Path::new(path).strip_prefix(&mount.part).unwrap_or(Path::new(""));
        let plain = inside.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        let inside = if plain { inside } else { Path::new("") };
        for inside in inside.ancestors() {
            let is_root = inside.as_os_str().is_empty();
            let folder = if is_root { mount.at.clone() } else { mount.at.join(inside) };
            groups.push(Group { folder, version: mount.version });
        }
    }
    groups
}

/// Where a tree of control groups is mounted.
struct Mount {
    version: &'static Version,
    /// Which part of the tree.
    part: PathBuf,
    at: PathBuf,
}

impl Mount {
    /// A line of mountinfo: `32 31 0:29 PART AT rw,relatime - cgroup cgroup rw,memory`.
    fn read(line: &str) -> Option<Mount> {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let [part, at] = [place.next()?, place.next()?].map(|path| PathBuf::from(unescaped(path)));
        let mut kind = kind.split(' ');
        let version = match (kind.next()?, kind.nth(1)?) {
            ("cgroup2", _) => &V2,
            ("cgroup", options) if options.split(',').any(|option| option == "memory") => &V1,
            _ => return None,
        };
        Some(Mount { version, part, at })
    }
}

impl Version {
    /// The path in a line of `/proc/self/cgroup`, `4:memory:/docker/1f` or `0::/user.slice`, if
    /// it is of this version.
    fn path_in<'a>(&self, line: &'a str) -> Option<&'a str> {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let is_own = if std::ptr::eq(self, &V2) {
            controllers.is_empty()
        } else {
            controllers.split(',').any(|controller| controller == "memory")
        };
        is_own.then_some(path)
    }
}

/// In mountinfo spaces, tabs, line breaks and backslashes are written in octal.
fn unescaped(path: &str) -> String {
    let plain = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    plain.iter().fold(path.to_string(), |path, (octal, plain)| path.replace(octal, plain))
}

/// Bytes that may still be taken in a group, if it has a limit.
fn room_in(folder: &Path, version: &Version) -> Option<usize> {
    let read = |file: &str| fs::read_to_string(folder.join(file)).ok();
    let number = |file: &str| read(file)?.trim().parse::<u64>().ok();
    // Without a limit there is `max` in version 2, and in version 1 a number of almost 2^63.
    let limits = version.limits.iter().filter_map(|file| number(file));
    let limit = limits.filter(|&limit| limit < 1 << 62).min()?;
    let stat = read("memory.stat").unwrap_or_default();
    let lines = stat.lines().filter_map(|line| line.split_once(' '));
    let droppable: u64 = lines
        .filter(|(name, _)| version.droppable.contains(name))
        .filter_map(|(_, bytes)| bytes.trim().parse::<u64>().ok())
        .fold(0, u64::saturating_add);
    let used = number(version.usage).unwrap_or(0).saturating_sub(droppable);
    Some(usize::try_from(limit.saturating_sub(used)).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;
    const MOUNT_2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate";
    const MOUNT_1: &str = "32 31 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory";

    /// A folder with these files, which goes with the test.
    struct Root(PathBuf);

    impl Root {
        fn new(name: &str, files: &[(&str, &str)]) -> Root {
            let name = format!("alexnet-cgroup-{name}-{}", std::process::id());
            let root = Root(std::env::temp_dir().join(name));
            let _ = fs::remove_dir_all(&root.0);
            root.add("proc/meminfo", "MemTotal: 99 kB\nMemAvailable:    1048576 kB\n");
            files.iter().for_each(|(path, text)| root.add(path, text));
            root
        }

        fn add(&self, path: &str, text: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn free(&self) -> (usize, Option<String>) {
            let FreeMemory { bytes, group } = free_memory_under(&self.0).unwrap();
            (bytes / MIB, group.map(|group| group.display().to_string()))
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn mib(n: usize) -> String {
        format!("{}\n", n * MIB)
    }

    #[test]
    fn without_groups_it_is_what_the_system_has() {
        assert_eq!(Root::new("none", &[]).free(), (1024, None));
        let files = [("proc/self/cgroup", "garbage\n::\n"), ("proc/self/mountinfo", "1 - \n - -")];
        assert_eq!(Root::new("garbage", &files).free(), (1024, None));
        assert_eq!(free_memory_under(Path::new("/no/such/system")), None);
    }

    #[test]
    fn the_tightest_group_on_the_way_up_decides() {
        let root = Root::new(
            "v2",
            &[
                ("proc/self/cgroup", "0::/pod/job/task\n"),
                ("proc/self/mountinfo", MOUNT_2),
                ("sys/fs/cgroup/pod/job/task/memory.max", "max\n"),
                ("sys/fs/cgroup/pod/job/task/memory.current", &mib(10)),
            ],
        );
        assert_eq!(root.free(), (1024, None), "no limit");
        root.add("sys/fs/cgroup/pod/job/memory.max", &mib(700));
        root.add("sys/fs/cgroup/pod/job/memory.current", &mib(100));
        let job = Some("/sys/fs/cgroup/pod/job".to_string());
        assert_eq!(root.free(), (600, job.clone()));
        // Pages of files do not count, anonymous ones do.
        let stat = format!("anon {}inactive_file {}active_file {}", mib(40), mib(20), mib(30));
        root.add("sys/fs/cgroup/pod/job/memory.stat", &stat);
        assert_eq!(root.free(), (650, job));
        root.add("sys/fs/cgroup/pod/job/task/memory.high", &mib(300));
        let task = Some("/sys/fs/cgroup/pod/job/task".to_string());
        assert_eq!(root.free(), (290, task));
        root.add("sys/fs/cgroup/pod/memory.max", &mib(50));
        root.add("sys/fs/cgroup/pod/memory.current", &mib(60));
        assert_eq!(root.free(), (0, Some("/sys/fs/cgroup/pod".to_string())), "over its limit");
    }

    #[test]
    fn version_1_is_read_where_it_is_mounted() {
        let root = Root::new(
            "v1",
            &[
                ("proc/self/cgroup", "5:cpu:/other\n4:memory,hugetlb:/docker/1f\n0::/x\n"),
                ("proc/self/mountinfo", MOUNT_1),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ("sys/fs/cgroup/memory/memory.usage_in_bytes", &mib(5000)),
                ("sys/fs/cgroup/memory/docker/1f/memory.limit_in_bytes", &mib(512)),
                ("sys/fs/cgroup/memory/docker/1f/memory.usage_in_bytes", &mib(112)),
                ("sys/fs/cgroup/memory/docker/1f/memory.stat", "total_inactive_file 52428800\n"),
            ],
        );
        let group = Some("/sys/fs/cgroup/memory/docker/1f".to_string());
        assert_eq!(root.free(), (450, group));
        // In a container only its own part of the tree is mounted, at the tree's place.
        let part = MOUNT_1.replace(" / ", " /docker/1f ");
        root.add("proc/self/mountinfo", &part);
        root.add("sys/fs/cgroup/memory/memory.limit_in_bytes", &mib(128));
        root.add("sys/fs/cgroup/memory/memory.usage_in_bytes", &mib(28));
        assert_eq!(root.free(), (100, Some("/sys/fs/cgroup/memory".to_string())));
        // Or one that does not even hold the path: what is mounted is all there is.
        for path in ["4:memory:/elsewhere\n", "4:memory:/../../x\n"] {
            root.add("proc/self/cgroup", path);
            assert_eq!(root.free().0, 100, "{path}");
        }
    }

    #[test]
    fn a_folder_with_a_space_is_found() {
        let root = Root::new(
            "space",
            &[
                ("proc/self/cgroup", "0::/a b\n"),
                ("proc/self/mountinfo", &MOUNT_2.replace("/sys/fs/cgroup", "/my\\040groups")),
                ("my groups/a b/memory.max", &mib(30)),
            ],
        );
        assert_eq!(root.free(), (30, Some("/my groups/a b".to_string())));
    }
}
