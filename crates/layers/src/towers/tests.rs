use super::*;
use crate::rows::window;
use crate::{Clock, Network, Phase, TrainableNetwork, Transfer};
use std::collections::BTreeMap;
use tensor::{Device, Planner, Target};

/// A small network with the paper's structure.
fn net() -> Spec {
    let across = Lrn { towers: 2, ..Lrn::default() };
    Spec::image("net", 16, 16, 3)
        .conv("conv1", 8, window(3).pad(1))
        .relu()
        .lrn_with(across)
        .pool(window(2).stride(2))
        .conv("conv2", 12, window(3).pad(1).groups(2))
        .relu()
        .pool(window(2).stride(2))
        .conv("conv3", 8, window(3).pad(1))
        .relu()
        .linear("fc4", 10)
        .relu()
        .dropout(0.5)
        .linear("fc5", 7)
}

#[test]
fn towers_have_half_of_each_layer_and_exchange_before_layers_without_groups() {
    let towers = split(&net(), 2).unwrap();
    let rows = |tower: usize| -> Vec<String> {
        let infos = towers.specs[tower].describe().unwrap();
        infos.iter().map(|row| format!("{} {}", row.name, row.output)).collect()
    };
    let common = [
        "conv1 16 x 16 x 4",
        "relu1 16 x 16 x 4",
        "lrn1 16 x 16 x 4",
        "pool1 8 x 8 x 4",
        "conv2 8 x 8 x 6",
        "relu2 8 x 8 x 6",
        "pool2 4 x 4 x 6",
        "exchange2 4 x 4 x 12",
        "conv3 4 x 4 x 4",
        "relu3 4 x 4 x 4",
        "exchange3 4 x 4 x 8",
        "fc4 5",
        "relu4 5",
        "dropout4 5",
    ];
    assert_eq!(rows(0)[..14], common);
    assert_eq!(rows(1)[..14], common);
    assert_eq!(rows(0)[14..], ["exchange4 10", "fc5 7"]);
    assert_eq!(rows(1)[14..], ["exchange4 0"]);
    let parameters = |spec: &Spec| spec.parameters().unwrap();
    assert_eq!(towers.specs.iter().map(parameters).sum::<usize>(), parameters(&net()));
}

#[test]
fn exchanged_bytes_are_counted() {
    let towers = split(&net(), 2).unwrap();
    let lines: Vec<_> =
        towers.traffic.iter().map(|t| (&*t.from, &*t.to, t.floats, t.copies)).collect();
    let expected = [("pool2", "conv3", 96, 2), ("relu3", "fc4", 64, 2), ("dropout4", "fc5", 5, 1)];
    assert_eq!(lines, expected);
    assert_eq!(towers.bytes(3), 4 * 3 * (2 * 96 + 2 * 64 + 5));
}

#[test]
fn slopes_are_shared_like_the_filters_below() {
    let mut spec = net();
    spec.rows.insert(1, Row::Prelu(crate::rows::NoOptions {}));
    let towers = split(&spec, 2).unwrap();
    assert_eq!(towers.specs[1].describe().unwrap()[1].parameters, 4);
    assert_eq!(towers.share("prelu1.slope", 8, 1), Ok(Some(4..8)));
    spec.rows.insert(0, Row::Prelu(crate::rows::NoOptions {}));
    let refused = |spec: &Spec| split(spec, 2).unwrap_err().to_string();
    assert!(refused(&spec).contains("row `prelu`: its input, the images, is not divided"));
    let mut spec = net();
    spec.rows.insert(1, Row::LayerNorm(crate::rows::LayerNorm::default()));
    assert!(refused(&spec).contains("row `layer_norm1`: it normalises over the channels of all"));
}

#[test]
fn a_network_splits_into_four_towers() {
    let mut spec = net();
    let Row::Lrn(lrn) = &mut spec.rows[2] else { unreachable!() };
    lrn.towers = 4;
    let Row::Conv(conv) = &mut spec.rows[4] else { unreachable!() };
    conv.groups = 4;
    let Row::Linear(linear) = &mut spec.rows[9] else { unreachable!() };
    linear.outputs = 12;
    let towers = split(&spec, 4).unwrap();
    assert_eq!(towers.traffic.iter().map(|t| t.copies).collect::<Vec<_>>(), [12, 12, 3]);
    let parameters = |spec: &Spec| spec.parameters().unwrap();
    assert_eq!(towers.specs.iter().map(parameters).sum::<usize>(), parameters(&spec));
}

#[test]
fn rows_that_cannot_be_split_are_refused_with_a_remedy() {
    let with = |idx: usize, row: Row| {
        let mut spec = net();
        spec.rows[idx] = row;
        split(&spec, 2).unwrap_err().to_string()
    };
    let windows = with(2, Row::Lrn(Lrn::default()));
    assert!(windows.starts_with("net, row `lrn1`: its windows cross"), "{windows}");
    assert!(windows.contains("write towers = 2"), "{windows}");
    let Row::Conv(conv2) = net().rows[4].clone() else { unreachable!() };
    let one_tower = with(4, Row::Conv(Conv { groups: 1, ..conv2 }));
    assert!(one_tower.contains("no row has groups = 2"), "{one_tower}");
    let Row::Linear(fc4) = net().rows[9].clone() else { unreachable!() };
    let odd = with(9, Row::Linear(Linear { outputs: 9, ..fc4 }));
    assert!(odd.contains("row `fc4`: its 9 units cannot be shared by 2 towers"), "{odd}");
    let local = Spec::image("net", 4, 4, 8).local("local3", 8, window(3).pad(1)).rows.remove(0);
    let local = with(7, local);
    assert!(local.contains("row `local3`: locally connected layers cannot be"), "{local}");
    let fused = split(&crate::fuse::fuse(&net()), 2).unwrap_err().to_string();
    assert!(fused.contains("split a network before its rows are fused"), "{fused}");
}

#[test]
fn one_device_sums_in_the_order_of_the_towers() {
    let rows: BTreeMap<String, usize> = on_one_device(&net(), 2)
        .unwrap()
        .rows
        .iter()
        .filter_map(|row| match row {
            Row::Conv(conv) => Some((conv.name.clone(), conv.towers)),
            Row::Linear(linear) => Some((linear.name.clone(), linear.towers)),
            _ => None,
        })
        .collect();
    let expected = [("conv1", 2), ("conv2", 1), ("conv3", 2), ("fc4", 2), ("fc5", 1)];
    assert_eq!(rows, expected.map(|(name, towers)| (name.to_string(), towers)).into());
    let spec = on_one_device(&net(), 2).unwrap();
    assert_eq!(Spec::from_toml(&spec.to_toml()), Ok(spec));
}

#[test]
fn weights_survive_splitting_and_merging() {
    let whole: Vec<NamedValues> = [("conv1.weight", 216), ("conv1.bias", 8), ("conv3.weight", 864)]
        .iter()
        .chain(&[("fc5.weight", 70), ("fc5.bias", 7)])
        .map(|&(name, len)| (name.to_string(), (0..len).map(|i| i as f32).collect()))
        .collect();
    let towers = split(&net(), 2).unwrap();
    let parts = [0, 1].map(|tower| towers.take(&whole, tower).unwrap());
    assert_eq!(parts[0][1].1, [0.0, 1.0, 2.0, 3.0]);
    assert_eq!(parts[1][1].1, [4.0, 5.0, 6.0, 7.0]);
    assert_eq!(parts[0][4].1.len(), 7, "the classifier is on the first");
    assert_eq!(parts[1].len(), 3);
    assert_eq!(towers.merge(&parts), Ok(whole.clone()));
    let strangers = [parts[0].clone(), parts[1][1..].to_vec()];
    let error = towers.merge(&strangers).unwrap_err().to_string();
    assert!(error.starts_with("tower 1 has no `conv1.weight` of 108 values"), "{error}");
    let odd = [("conv1.weight".to_string(), vec![0.0; 3])];
    let error = towers.take(&odd, 0).unwrap_err().to_string();
    assert!(error.contains("3 values, which 2 towers cannot share"), "{error}");
}

/// Compares the bytes of the transfers that the towers' networks request with `Towers::bytes`.
#[test]
fn transfers_of_a_step_match_the_reported_traffic() {
    const IMAGES: usize = 3;
    let towers = split(&net(), 2).unwrap();
    let (mut forward_bytes, mut backward_bytes) = (0, 0);
    for spec in &towers.specs {
        let mut planner = Planner::new();
        let network =
            TrainableNetwork::plan(spec, IMAGES, &mut planner, Target::Cpu { threads: 1 }).unwrap();
        let mut device = Device::cpu(1);
        device.reserve(planner.total()).unwrap();
        network.set_clock(&mut device, Clock::new(0, 1, IMAGES as u32)).unwrap();
        let sent = |transfer: Transfer| match transfer {
            Transfer::AllGather { own, .. } | Transfer::ReduceScatter { own, .. } => {
                own.range().len()
            }
            Transfer::Send { x, .. } => x.range().len(),
            Transfer::Receive { .. } => 0,
        };
        let result = forward(&network, &mut device, Phase::Train, &mut |_, transfer| {
            forward_bytes += sent(transfer);
            Ok::<(), tensor::Error>(())
        });
        result.unwrap();
        let result = backward(&network, &mut device, &mut |_, transfer| {
            backward_bytes += sent(transfer);
            Ok::<(), tensor::Error>(())
        });
        result.unwrap();
    }
    assert_eq!([forward_bytes, backward_bytes], [towers.bytes(IMAGES); 2]);
}

#[test]
#[should_panic(expected = "this row exchanges activations")]
fn a_tower_does_not_run_without_its_exchanges() {
    let tower = &split(&net(), 2).unwrap().specs[0];
    let mut planner = Planner::new();
    let target = Target::Cpu { threads: 1 };
    let network = Network::plan(tower, 1, &mut planner, target).unwrap();
    let mut device = Device::cpu(1);
    device.reserve(planner.total()).unwrap();
    let _ = network.forward(&mut device, Phase::Train);
}
