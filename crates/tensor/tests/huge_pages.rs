//! A device's memory is in huge pages, where the system grants them.
#![cfg(target_os = "linux")]

use alexnet_tensor::{DType, Device, Planner, Shape};
use std::fs;

/// Memory that was written before the advice would stay in small pages.
#[test]
fn the_cpus_memory_is_in_huge_pages() {
    let setting = "/sys/kernel/mm/transparent_hugepage/enabled";
    let Ok(granted) = fs::read_to_string(setting) else {
        return eprintln!("SKIPPED: there is no {setting}");
    };
    if granted.contains("[never]") {
        return eprintln!("SKIPPED: the system grants no huge pages ({setting})");
    }
    const LEN: usize = 64 << 20;
    let mut planner = Planner::new();
    let slot = planner.claim(DType::U8, Shape::from([LEN]));
    let mut device = Device::cpu(1);
    device.reserve(planner.total()).unwrap();
    let Device::Cpu(cpu) = &device else { unreachable!("opened as a CPU") };
    let middle = cpu.slice::<u8>(slot).as_ptr().addr() + LEN / 2;
    // A mapping has a line with its range, then a line for each of its sizes.
    let maps = fs::read_to_string("/proc/self/smaps").unwrap();
    let has_middle = |line: &str| {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let hex = |text| usize::from_str_radix(text, 16);
        range.is_some_and(|(start, end)| {
            hex(start).is_ok_and(|start| start <= middle) && hex(end).is_ok_and(|end| middle < end)
        })
    };
    let mut lines = maps.lines().skip_while(|line| !has_middle(line));
    let huge = lines.find_map(|line| line.strip_prefix("AnonHugePages:")).unwrap();
    let kilobytes: usize = huge.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(1024 * kilobytes > LEN / 2, "{kilobytes} kB of {LEN} bytes");
}
