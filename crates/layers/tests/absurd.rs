//! Absurd specifications are planned or refused with an error, quickly and without a panic.

use alexnet_layers::{Network, Spec, SpecError, TrainableNetwork};
use proptest::prelude::*;
use std::time::{Duration, Instant};
use tensor::{Planner, Target};

/// Numbers near the limits of bounds and types.
fn number() -> impl Strategy<Value = u64> {
    let edges = vec![
        0,
        1,
        2,
        3,
        5,
        7,
        11,
        16,
        224,
        1000,
        1 << 12,
        (1 << 20) - 1,
        1 << 20,
        (1 << 20) + 1,
        1 << 31,
        1 << 32,
        1 << 48,
        1 << 56,
        (1 << 63) - 1, // the largest in TOML
    ];
    // Mostly small numbers, so that some rows fit and later ones are reached.
    prop_oneof![6 => 1u64..6, 2 => 1u64..70, 2 => proptest::sample::select(edges)]
}

fn float() -> impl Strategy<Value = &'static str> {
    let edges = ["0.5", "0.0", "-1.0", "1.0", "2.0", "1e-30", "1e38", "1e300", "nan", "-inf"];
    proptest::sample::select(edges.to_vec())
}

/// A row in TOML.
fn row() -> impl Strategy<Value = String> {
    let windows = (number(), number(), number(), number(), number()).prop_map(|(f, w, s, p, g)| {
        format!("filters = {f}, window = {w}, stride = {s}, pad = {p}, groups = {g}")
    });
    let sides = (number(), number(), number(), number(), number()).prop_map(|(f, t, b, l, r)| {
        format!("filters = {f}, window = 3, pad = [{t}, {b}, {l}, {r}]")
    });
    let windows = prop_oneof![3 => windows, 1 => sides];
    let kind = proptest::sample::select(vec!["conv", "local"]);
    prop_oneof![
        4 => (kind, "[a-z]{1,3}", windows)
            .prop_map(|(kind, n, windows)| format!("{kind} = {{ name = \"{n}\", {windows} }}")),
        1 => (number(), number(), number(), number()).prop_map(|(f, w, t, g)| format!(
            "conv = {{ name = \"t\", filters = {f}, window = {w}, towers = {t}, groups = {g} }}"
        )),
        2 => (number(), number(), any::<bool>()).prop_map(|(n, towers, plain)| {
            let towers = if plain { String::new() } else { format!(", towers = {towers}") };
            format!("linear = {{ name = \"l\", outputs = {n}{towers} }}")
        }),
        3 => (number(), number(), number(), any::<[bool; 3]>()).prop_map(|(w, s, p, [a, c, t])| {
            format!(
                "pool = {{ window = {w}, stride = {s}, pad = {p}, average = {a}, ceil = {c}, \
                 first_tie = {t} }}"
            )
        }),
        2 => (number(), float(), float(), any::<bool>(), number()).prop_map(|(n, a, k, w, t)| {
            format!(
                "lrn = {{ size = {n}, alpha = {a}, k = {k}, within_channel = {w}, towers = {t} }}"
            )
        }),
        1 => float().prop_map(|x| format!("dropout = {{ drop = {x} }}")),
        1 => float().prop_map(|x| format!("leaky_relu = {{ slope = {x} }}")),
        1 => float().prop_map(|x| format!("tanh = {{ outer = {x} }}")),
        1 => float().prop_map(|x| format!("batch_norm = {{ epsilon = {x} }}")),
        1 => float().prop_map(|x| format!("layer_norm = {{ epsilon = {x} }}")),
        2 => proptest::sample::select(vec!["relu = {}", "prelu = {}", "gelu = {}"])
            .prop_map(str::to_string),
    ]
}

fn network() -> impl Strategy<Value = String> {
    let input = prop_oneof![
        3 => (1u64..40, 1u64..40, 1u64..9),
        1 => (number(), number(), number()),
    ];
    let rows = proptest::collection::vec(row(), 0..7);
    (input, rows, number()).prop_map(|((h, w, c), rows, classes)| {
        let rows: String = rows.iter().map(|row| format!("[[rows]]\n{row}\n")).collect();
        format!(
            "name = \"net\"\ninput = [{h}, {w}, {c}]\n{rows}\
             [[rows]]\nlinear = {{ name = \"last\", outputs = {classes} }}\n"
        )
    })
}

/// Plans a network for all targets and returns how many plans succeeded.
fn plan(text: &str, images: usize) -> usize {
    let Ok(spec) = Spec::from_toml(text) else { return 0 };
    let described = spec.describe();
    if let Err(error) = &described {
        assert!(error.to_string().starts_with("net"), "{error}");
    }
    let targets = [
        Target::Cpu { threads: 1 },
        Target::Cpu { threads: 1024 },
        Target::CpuBf16 { threads: 2 },
        Target::Cuda,
    ];
    let mut planned = 0;
    for target in targets {
        let planner = &mut Planner::new();
        let forward_only = Network::plan(&spec, images, planner, target).is_ok();
        let trainable = TrainableNetwork::plan(&spec, images, planner, target).is_ok();
        for planned_one in [forward_only, trainable] {
            assert!(described.is_ok() || !planned_one);
            planned += usize::from(planned_one);
        }
    }
    if let Ok(rows) = described {
        spec.macs().unwrap();
        spec.parameters().unwrap();
        assert_eq!(rows.len(), spec.rows.len());
        let _ = alexnet_layers::towers::split(&spec, 2);
    }
    planned
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn absurd_networks_are_planned_or_refused(
        text in network(),
        images in prop_oneof![3 => 1usize..200, 1 => number().prop_map(|n| n.max(1) as usize)],
    ) {
        let began = Instant::now();
        plan(&text, images);
        prop_assert!(began.elapsed() < Duration::from_secs(5), "{:?}: {text}", began.elapsed());
    }
}

#[test]
fn an_exceeded_bound_is_reported_with_its_row() {
    let net = |rows: &str| {
        format!(
            "name = \"net\"\ninput = [227, 227, 3]\n[[rows]]\n{rows}\n\
             [[rows]]\nlinear = {{ name = \"last\", outputs = 10 }}\n"
        )
    };
    for (row, expected) in [
        (
            "conv = { name = \"conv1\", filters = 96, window = 11, pad = 72057594037927936 }",
            "net, row `conv1`: pad is 72057594037927936; it must be at most 1048576",
        ),
        (
            "conv = { name = \"conv1\", filters = 281474976710656, window = 11 }",
            "net, row `conv1`: filters is 281474976710656; it must be at most 1048576",
        ),
        (
            "conv = { name = \"conv1\", filters = 4, window = 3, stride = 1025 }",
            "net, row `conv1`: stride is 1025; it must be at most 1024",
        ),
        (
            "conv = { name = \"conv1\", filters = 4, window = 4097, pad = 4000 }",
            "net, row `conv1`: window is 4097; it must be at most 4096",
        ),
        (
            "conv = { name = \"conv1\", filters = 4, window = 3, pad = 1000000 }",
            "net, row `conv1`: its padded input has 1 x 2000227 x 2000227 x 3 elements; at most",
        ),
        (
            "local = { name = \"local1\", filters = 100000, window = 11 }",
            "net, row `local1`: its weights are 217 x 217 x 100000 x 11 x 11 x 3 elements; at most",
        ),
        (
            "linear = { name = \"fc1\", outputs = 1048577 }",
            "net, row `fc1`: outputs is 1048577; it must be at most 1048576",
        ),
        ("pool = { window = 3, stride = 1099511627776 }", "row `pool`: stride is 1099511627776"),
        ("pool = { window = 3, stride = 0 }", "must be at least 1"),
        ("lrn = { size = 4611686018427387904 }", "net, row `lrn`: size is 4611686018427387904"),
        ("lrn = { k = inf }", "net, row `lrn`: k is inf; it must be finite"),
        ("tanh = { outer = nan }", "net, row `tanh`: outer NaN and inner 1 must be finite"),
        ("linear = { name = \"\", outputs = 3 }", "\"\" is not a valid name"),
    ] {
        let spec = Spec::from_toml(&net(row)).unwrap();
        let error = spec.describe().unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let spec = Spec::from_toml(&net("relu = {}")).unwrap();
    let planned = |images| {
        let mut planner = Planner::new();
        TrainableNetwork::plan(&spec, images, &mut planner, Target::Cpu { threads: 2 })
    };
    assert!(planned(128).is_ok());
    let SpecError::Size { reason, .. } = planned(1 << 48).unwrap_err() else { panic!() };
    assert!(reason.contains("281474976710656 x 227 x 227 x 3 elements; at most"), "{reason}");
    for (input, expected) in [
        ([0, 8, 3], "each must be at least 1"),
        ([1_000_000_000, 8, 3], "the height of its input is 1000000000"),
        ([1 << 20, 1 << 20, 3], "its input has 1 x 1048576 x 1048576 x 3 elements"),
    ] {
        let error = Spec { input, ..spec.clone() }.describe().unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let mut long = spec.clone();
    (0..2000).for_each(|_| long = std::mem::replace(&mut long, spec.clone()).relu());
    let error = long.describe().unwrap_err().to_string();
    assert!(error.contains("it has 2002 rows; at most 1024"), "{error}");
}
