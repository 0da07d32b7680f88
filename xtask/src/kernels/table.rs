//! The table `crates/kernels/sm_90.txt`: what each kernel uses on an H100 or H200. The tests of the
//! kernels compare the parameters, and the benchmarks compute expected times.

use super::cubin::{self, Entry};
use super::{op_of, read, sass};
use std::fs;
use std::path::Path;

const NAME: &str = "sm_90.txt";
const HEAD: &str = "\
# What each kernel uses on sm_90 (H100, H200), written by `cargo xtask kernels`.
# threads: of a block at most, by its launch bounds (0: none); blocks: of so many threads that fit
# a multiprocessor; parameters: bytes of each. Of tensor-core kernels also, for a panel of `DEPTH`
# k: tile; products (HMMA) of a warp; slots: instructions of a warp; clocks: of a block in shared
# memory. The latter two with copies of 16 and of 4 bytes.
# op kernel threads registers shared_bytes blocks parameters tile products slots clocks
";

// A multiprocessor of compute capability 9.0 (CUDA C++ Programming Guide, technical
// specifications): registers, given to a warp in units of 256; bytes of shared memory, of which
// each block takes 1 KB more than it declares; and threads.
const REGISTERS: u32 = 65_536;
const SHARED_BYTES: u32 = 228 * 1024;
const RESERVED_BYTES: u32 = 1024;
const THREADS: u32 = 2048;

/// Limits of tensor-core kernels: registers of a thread, and blocks that a multiprocessor shall
/// hold at least.
const MOST_REGISTERS: u32 = 128;
const LEAST_BLOCKS: u32 = 2;

/// The most instructions for each HMMA, with copies of 16 bytes; 8 are the aim. Smaller and oblong
/// tiles have fewer HMMA for nearly as many other instructions.
fn most_slots(kernel: &str, [rows, columns]: [u32; 2]) -> u32 {
    match (rows, columns) {
        _ if rows * columns <= 64 * 64 => 32,
        (128, 128) if kernel.ends_with("_bf16") => 10,
        _ if kernel.ends_with("_bf16") => 16,
        _ => 14,
    }
}

/// Blocks that fit a multiprocessor.
fn blocks(entry: &Entry) -> u32 {
    let threads = if entry.threads == 0 { 256 } else { entry.threads };
    let of_warp = (entry.registers.max(1) * 32).next_multiple_of(256);
    let by_registers = REGISTERS / of_warp / threads.div_ceil(32);
    let by_shared = SHARED_BYTES / (entry.shared_bytes + RESERVED_BYTES);
    by_registers.min(by_shared).min(THREADS / threads).min(32)
}

/// The rows of an op, and what is wrong with its kernels. `path` is its `.cu` file, `depth` the k
/// of a panel.
pub fn rows(
    path: &Path,
    cubin: &[u8],
    sass: &str,
    depth: u32,
) -> Result<(Vec<String>, Vec<String>), String> {
    let (op, source) = (op_of(path), read(path)?);
    let source = &String::from_utf8_lossy(&source);
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    for entry in cubin::entries(cubin).map_err(|error| format!("{op}: {error}"))? {
        problems.extend(wrong_bounds(&entry, source));
        let (kernel, blocks) = (&entry.kernel, blocks(&entry));
        let parameters: Vec<String> = entry.parameters.iter().map(u32::to_string).collect();
        let Entry { threads, registers, shared_bytes, .. } = entry;
        let parameters = parameters.join(",");
        let mut row =
            format!("{op} {kernel} {threads} {registers} {shared_bytes} {blocks} {parameters}");
        if kernel.ends_with("_bf16") || kernel.ends_with("_tf32") {
            let sass::Cost { tile: [down, across], wide, narrow } =
                sass::cost(kernel, sass, depth)?;
            row += &format!(
                " {down}x{across} {} {}/{} {}/{}",
                wide.products, wide.slots, narrow.slots, wide.shared, narrow.shared
            );
            let most = most_slots(kernel, [down, across]);
            for (what, value, most) in [
                ("registers", registers, MOST_REGISTERS),
                ("instructions for each HMMA", wide.slots.div_ceil(wide.products), most),
            ] {
                if value > most {
                    problems
                        .push(format!("{kernel} has {value} {what} on sm_90, more than {most}"));
                }
            }
            if blocks < LEAST_BLOCKS {
                let fit = format!("{blocks} blocks of {kernel} fit a multiprocessor of sm_90");
                problems.push(format!("{fit}, fewer than {LEAST_BLOCKS}"));
            }
        }
        rows.push(row);
    }
    Ok((rows, problems))
}

/// Launch bounds that differ from the source's.
fn wrong_bounds(entry: &Entry, source: &str) -> Option<String> {
    let Entry { kernel, threads, .. } = entry;
    let name = format!("{kernel}(");
    let at = source.match_indices(&name).map(|(at, _)| at).find(|&at| {
        !source[..at].ends_with(|before: char| before.is_alphanumeric() || "_(".contains(before))
    })?;
    let declaration = &source[source[..at].rfind("__global__")?..at];
    let bounds = declaration.split_once("__launch_bounds__(").map_or("0", |(_, bounds)| bounds);
    let wanted = bounds.split([',', ')']).next().unwrap_or_default().trim();
    let wanted: u32 = if wanted == "THREADS" { 256 } else { wanted.parse().ok()? };
    (wanted != *threads).then(|| {
        format!("{kernel} is compiled for {threads} threads, and its source says {wanted}")
    })
}

/// The table after `new` rows replace those of their ops; `ops` are all that exist.
fn updated(old: &str, new: &[String], ops: &[&str]) -> String {
    let op = |row: &str| row.split(' ').next().unwrap_or_default().to_string();
    let replaced: Vec<String> = new.iter().map(|row| op(row)).collect();
    let kept =
        old.lines().filter(|row| ops.contains(&op(row).as_str()) && !replaced.contains(&op(row)));
    let mut rows: Vec<&str> = kept.chain(new.iter().map(String::as_str)).collect();
    rows.sort_by_key(|row| op(row));
    HEAD.to_string() + &rows.iter().map(|row| format!("{row}\n")).collect::<String>()
}

/// Writes the table.
pub fn write(kernels: &Path, new: &[String], ops: &[&str]) -> Result<(), String> {
    let path = kernels.join(NAME);
    let old = fs::read_to_string(&path).unwrap_or_default();
    fs::write(&path, updated(&old, new, ops))
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// A message if the table would change.
pub fn stale(kernels: &Path, new: &[String], ops: &[&str]) -> Result<Option<String>, String> {
    let old = String::from_utf8(read(&kernels.join(NAME))?).map_err(|error| error.to_string())?;
    let message =
        format!("crates/kernels/{NAME} differs from the kernels: run cargo xtask kernels");
    Ok((updated(&old, new, ops) != old).then_some(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(registers: u32, shared_bytes: u32, threads: u32) -> Entry {
        Entry { kernel: "f".into(), registers, shared_bytes, threads, parameters: vec![8] }
    }

    #[test]
    fn blocks_are_limited_by_registers_shared_memory_and_threads() {
        assert_eq!(blocks(&entry(128, 0, 256)), 2);
        assert_eq!(blocks(&entry(129, 0, 256)), 1);
        assert_eq!(blocks(&entry(32, 75 * 1024, 256)), 3);
        assert_eq!(blocks(&entry(16, 0, 256)), 8);
    }

    #[test]
    fn other_launch_bounds_than_the_sources_are_reported() {
        let source =
            "extern \"C\" __global__ void __launch_bounds__(THREADS, BLOCKS)\n    f(int a)";
        assert_eq!(wrong_bounds(&entry(1, 0, 256), source), None);
        let wrong = wrong_bounds(&entry(1, 0, 128), source).unwrap();
        assert_eq!(wrong, "f is compiled for 128 threads, and its source says 256");
        assert!(wrong_bounds(&entry(1, 0, 256), "__global__ void f(int a)").is_some());
    }

    #[test]
    fn rows_replace_those_of_their_op() {
        let old = format!("{HEAD}a f 1\nb g 2\nc h 3\n");
        let new = updated(&old, &["b k 4".to_string()], &["a", "b"]);
        assert_eq!(new, format!("{HEAD}a f 1\nb k 4\n"));
    }
}
