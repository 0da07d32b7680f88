use super::*;

fn machine(cpu: &str) -> Machine {
    Machine { cpu: cpu.into(), cores: 2, threads: 2 }
}

fn work(model: &str, batch: usize) -> Workload {
    Workload { model: model.into(), mode: "train".into(), batch }
}

/// A run on one machine of alexnet's rows, given as (what, values, PyTorch's values).
fn run(rows: &[(&str, &[f64], &[f64])]) -> Results {
    let measure = |&(what, values, peer): &(&str, &[f64], &[f64])| {
        Measurement::ms(&work("alexnet", 128), what, values.to_vec(), peer.to_vec())
    };
    Results::here(machine("A"), "cargo xtask bench", rows.iter().map(measure).collect())
}

fn change(before: &[f64], now: &[f64], allowed: f64) -> Change {
    let (before, now) = (run(&[("step", before, &[])]), run(&[("step", now, &[])]));
    compare(&before, &now, Basis::Values, allowed).rows[0].change
}

#[test]
fn a_loss_is_above_the_limit() {
    let before = [100.0, 101.0, 102.0, 103.0, 104.0];
    let times = |factor: f64| before.map(|time| time * factor);
    assert_eq!(change(&before, &times(1.04), 0.05), Change::Same);
    assert_eq!(change(&before, &times(1.06), 0.05), Change::Slower);
    assert_eq!(change(&before, &times(1.06), 0.10), Change::Same);
    assert_eq!(change(&before, &times(0.90), 0.05), Change::Faster);
    assert_eq!(change(&before, &times(0.97), 0.05), Change::Same);
    // Equal values are never a loss.
    assert_eq!(change(&before, &before, 0.0), Change::Same);
    // A single value has no spread: only the limit counts.
    assert_eq!(change(&[100.0], &[106.0], 0.05), Change::Slower);
}

#[test]
fn single_slow_rounds_and_overlapping_ranges_are_no_loss() {
    let before = [100.0, 101.0, 99.0, 100.0, 102.0];
    // One stall of the machine: the median does not move.
    assert_eq!(change(&before, &[100.0, 900.0, 101.0, 99.0, 100.0], 0.05), Change::Same);
    // The median is 20 % up, but a quarter of the rounds was as fast as before.
    assert_eq!(change(&before, &[99.0, 100.0, 120.0, 130.0, 140.0], 0.05), Change::Noisy);
    // A noisy baseline.
    let wild = [80.0, 90.0, 100.0, 130.0, 160.0];
    assert_eq!(change(&wild, &[109.0, 110.0, 111.0, 112.0, 113.0], 0.05), Change::Noisy);
    // Wide ranges that do not overlap.
    assert_eq!(change(&before, &[110.0, 118.0, 120.0, 130.0, 140.0], 0.05), Change::Slower);
}

#[test]
fn rows_of_one_run_are_listed_and_are_no_loss() {
    let before = run(&[("step", &[10.0], &[]), ("lrn1 forward", &[3.0], &[])]);
    let now = run(&[("step", &[10.0], &[]), ("lrn1+pool1 forward", &[4.0], &[])]);
    let comparison = compare(&before, &now, Basis::Values, 0.05);
    let found: Vec<_> = comparison.rows.iter().map(|row| (row.what.as_str(), row.change)).collect();
    assert_eq!(
        found,
        [
            ("step", Change::Same),
            ("lrn1+pool1 forward", Change::New),
            ("lrn1 forward", Change::Gone)
        ]
    );
    assert_eq!(comparison.slower().count(), 0);
    let text = comparison.table().render();
    assert!(text.contains("| lrn1 forward | 3.000 |  |  | gone |"), "{text}");
}

#[test]
fn workloads_of_one_run_are_left_out() {
    let mut before = run(&[("step", &[10.0], &[])]);
    before.rows.push(Measurement::ms(&work("torchvision", 128), "step", vec![9.0], vec![]));
    let mut now = run(&[("step", &[20.0], &[])]);
    now.rows.push(Measurement::ms(&work("alexnet", 64), "step", vec![5.0], vec![]));
    let comparison = compare(&before, &now, Basis::Values, 0.05);
    assert_eq!(comparison.rows.len(), 1);
    let slower: Vec<_> = comparison.slower().map(|row| row.work.to_string()).collect();
    assert_eq!(slower, ["alexnet train, batch 128"]);
    assert!(comparison.table().render().contains("| 2.000 | SLOWER |"));
}

#[test]
fn a_baseline_of_other_workloads_is_refused() {
    let before = run(&[("step", &[10.0], &[20.0])]);
    for other in [work("torchvision", 128), work("alexnet", 64)] {
        let error = basis(&before, &machine("A"), &[other], true).unwrap_err();
        assert!(error.contains("the baseline measured alexnet train, batch 128"), "{error}");
        assert!(error.contains("select the same"), "{error}");
    }
}

#[test]
fn between_machines_ratios_are_compared() {
    let workloads = [work("alexnet", 128)];
    let before = run(&[("step", &[100.0, 110.0], &[300.0, 330.0]), ("conv1 forward", &[9.0], &[])]);
    assert_eq!(basis(&before, &machine("A"), &workloads, false), Ok(Basis::Values));
    let error = basis(&before, &machine("B"), &workloads, false).unwrap_err();
    assert!(error.contains("(A, 2 cores, 2 threads; this is B, 2 cores"), "{error}");
    assert!(error.contains("--peer torch"), "{error}");
    assert_eq!(basis(&before, &machine("B"), &workloads, true), Ok(Basis::Peer));
    let alone = run(&[("step", &[100.0], &[])]);
    assert!(basis(&alone, &machine("B"), &workloads, true).is_err());

    // Twice as fast a machine with the same ratio: no change. Rows without a ratio are skipped.
    let now = run(&[("step", &[50.0, 55.0], &[150.0, 165.0]), ("conv1 forward", &[99.0], &[])]);
    let comparison = compare(&before, &now, Basis::Peer, 0.05);
    assert_eq!(comparison.rows.len(), 1);
    assert_eq!(comparison.rows[0].change, Change::Same);
    // Faster in milliseconds, and yet a loss.
    let now = run(&[("step", &[60.0, 66.0], &[150.0, 165.0])]);
    let comparison = compare(&before, &now, Basis::Peer, 0.05);
    assert_eq!(comparison.slower().count(), 1);
}

#[test]
fn threads_are_part_of_the_machine() {
    let before = run(&[("step", &[10.0], &[])]);
    let one = Machine { threads: 1, ..machine("A") };
    assert!(basis(&before, &one, &[work("alexnet", 128)], false).is_err());
}
