use super::*;
use crate::rows::window;
use crate::{Clock, Phase};
use tensor::{Device, Slot};

const IMAGES: usize = 3;
const SHARDS: usize = 4;

fn net() -> Spec {
    Spec::image("net", 9, 9, 3)
        .conv("conv1", 6, window(3).stride(2))
        .relu()
        .dropout(0.1)
        .linear("fc2", 11)
        .relu()
        .dropout(0.5)
        .linear("fc3", 7)
        .logistic()
        .prelu()
        .linear("fc4", 5)
}

fn shares(rank: usize, world: usize) -> Shares {
    Shares { images: IMAGES, shards: SHARDS, rank, world }
}

#[test]
fn block_edges_do_not_depend_on_the_number_of_devices() {
    let of = |world: usize| shares(0, world).units_of_all(11).collect::<Vec<_>>();
    assert_eq!(of(4), [0..2, 2..5, 5..8, 8..11]);
    assert_eq!(of(2), [0..5, 5..11]);
    assert_eq!(of(1), [Range { start: 0, end: 11 }]);
}

#[test]
fn a_device_has_all_convolutions_and_its_share_of_units() {
    let mut planner = Planner::new();
    let (network, head) =
        plan(&net(), shares(1, 2), &mut planner, Target::Cpu { threads: 1 }).unwrap();
    let entries = network.parameters.entries.iter();
    let shapes: Vec<String> = entries.map(|e| format!("{} {}", e.name, e.shape)).collect();
    let expected = [
        "conv1.weight 6 x 3 x 3 x 3",
        "conv1.bias 6",
        "fc2.weight 6 x 96",
        "fc2.bias 6",
        "fc3.weight 4 x 11",
        "fc3.bias 4",
        "prelu3.slope 4",
        "fc4.weight 3 x 7",
        "fc4.bias 3",
    ];
    assert_eq!(shapes, expected);
    assert_eq!(network.output.shape().dims(), [IMAGES, 4, 4, 6]);
    assert_eq!(head.units("fc2"), Some((5..11, 11)));
    assert_eq!(head.units("prelu3"), Some((3..7, 7)));
    assert_eq!(head.units("conv1"), None);
    assert_eq!(head.inputs().collect::<Vec<_>>(), [96, 11, 7]);
    assert_eq!(head.output(2, (1, 0)).shape().dims(), [IMAGES, 3]);
}

#[test]
fn exchanged_bytes_are_counted() {
    let traffic = traffic(&net(), 4).unwrap();
    let lines: Vec<_> = traffic
        .iter()
        .map(|row| (row.from.as_str(), row.to.as_deref(), row.floats, row.bytes(8)))
        .collect();
    let expected = [
        ("dropout1", Some("fc2"), 96, 4 * 96 * 3 * 8),
        ("dropout2", Some("fc3"), 11, 4 * 11 * 3 * 8),
        ("prelu3", Some("fc4"), 7, 4 * 7 * 3 * 8),
        ("fc4", None, 5, 4 * 5 * 3 * 8 / 4),
    ];
    assert_eq!(lines, expected);
}

/// Distinct values, small enough that nothing saturates.
fn fill(device: &mut Device, slot: Slot, scale: f32, seed: usize) {
    let value = |i: usize| (((i + seed) * 2_654_435_761 % 1999) as f32 / 1000.0 - 1.0) * scale;
    device.upload(slot, &(0..slot.len()).map(value).collect::<Vec<f32>>()).unwrap();
}

/// On one device the head equals the network's linear layers: outputs are bit-identical, gradients
/// close (sums have another order).
#[test]
fn a_head_with_all_units_equals_the_network() {
    let spec = net();
    let mut device = Device::cpu(2);
    let mut planner = Planner::new();
    let target = device.target();
    let whole = TrainableNetwork::plan(&spec, IMAGES, &mut planner, target).unwrap();
    let (network, head) = plan(&spec, shares(0, 1), &mut planner, target).unwrap();
    device.reserve(planner.total()).unwrap();
    for parameters in [&whole.parameters, &network.parameters] {
        fill(&mut device, parameters.values, 0.5, 3);
    }
    let mut sums = vec![0.0f32; whole.gradients.len()];
    for round in 0..SHARDS {
        fill(&mut device, whole.input, 1.0, 7 * round);
        fill(&mut device, network.input, 1.0, 7 * round);
        let clock = [1, 2, round as u32];
        let step = Clock { share: 0.0, ..Clock::new(1 + (2 << 32), round as u32, 0) };
        whole.set_clock(&mut device, step).unwrap();
        network.set_clock(&mut device, step).unwrap();
        head.set_clock(&mut device, 0, clock).unwrap();

        whole.forward(&mut device, Phase::Train).unwrap();
        network.forward(&mut device, Phase::Train).unwrap();
        let (of, mut made) = ((0, round), network.output);
        for stage in 0..head.stages() {
            let floats = device.download::<f32>(made).unwrap();
            device.upload(head.input(stage, of), &floats).unwrap();
            head.forward(&mut device, stage, of, Phase::Train).unwrap();
            made = head.output(stage, of);
        }
        let scores = device.download::<f32>(whole.output).unwrap();
        assert_eq!(device.download::<f32>(made).unwrap(), scores, "round {round}");

        fill(&mut device, whole.d_output, 1.0, round);
        fill(&mut device, head.d_output(2, of), 1.0, round);
        whole.backward(&mut device).unwrap();
        let gradients = device.download::<f32>(whole.gradients).unwrap();
        sums.iter_mut().zip(gradients).for_each(|(sum, gradient)| *sum += gradient);
        for stage in (0..head.stages()).rev() {
            let gradient = head.backward(&mut device, stage, of).unwrap();
            let floats = device.download::<f32>(gradient).unwrap();
            match stage.checked_sub(1) {
                Some(below) => device.upload(head.d_output(below, of), &floats).unwrap(),
                None => device.upload(network.d_output, &floats).unwrap(),
            }
        }
        network.backward(&mut device).unwrap();
        let conv = |device: &Device, network: &TrainableNetwork| {
            device.download::<f32>(network.gradient(0)).unwrap()
        };
        testkit::close(&conv(&device, &network), &conv(&device, &whole), 1e-5);
    }
    (0..head.stages()).for_each(|stage| head.backward_weights(&mut device, stage).unwrap());
    for (idx, entry) in network.parameters.entries.iter().enumerate().skip(2) {
        let made = device.download::<f32>(network.gradient(idx)).unwrap();
        testkit::close(&made, &sums[entry.start..entry.start + entry.len()], 1e-5);
    }
}
