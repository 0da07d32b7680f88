use super::*;
use models::find;

fn network(name: &str) -> Network {
    Network::new(&find(name).unwrap()).unwrap()
}

fn free(machine: Machine) -> Machine {
    let link = Link { alpha: 0.0, beta: f64::INFINITY };
    Machine { inside: link, between: link, ..machine }
}

#[test]
fn a_ring_moves_what_it_must() {
    let link = Link { alpha: 0.0, beta: 1.0 };
    let machine = Machine { inside: link, between: link, ..Machine::H200 };
    // 2 (N - 1) / N of the bytes leave every device.
    assert_eq!(machine.all_reduce(1, 800.0), 0.0);
    assert_eq!(machine.all_reduce(2, 800.0), 800.0);
    assert_eq!(machine.all_reduce(8, 800.0), 1400.0);
    // Of two hosts: 700 inside, an eighth of 800 to the other, and both back again.
    assert_eq!(machine.all_reduce(16, 800.0), 2.0 * (700.0 + 50.0));
    assert_eq!(machine.all_gather_inside(8, 800.0), 700.0);
    assert_eq!(machine.among_pairs(2, 800.0), 0.0);
    assert_eq!(machine.among_pairs(4, 800.0), 800.0);
    let slow = Machine { inside: Link { alpha: 1.0, beta: f64::INFINITY }, ..machine };
    assert_eq!(slow.all_reduce(4, 800.0), 6.0, "six messages one after another");
    let far = Machine { between: Link { alpha: 1.0, beta: f64::INFINITY }, ..free(machine) };
    assert_eq!(far.all_reduce(512, 800.0), 12.0, "64 hosts: a tree of six, up and down");
}

#[test]
fn without_wires_every_mode_scales() {
    let (network, machine) = (network("alexnet-source"), free(Machine::H200));
    let alone = network.step(&machine, Mode::Data, 1, 128.0).unwrap();
    for devices in [2, 16, 512] {
        let data = network.step(&machine, Mode::Data, devices, 128.0).unwrap();
        assert!((data / alone - 1.0).abs() < 1e-9, "{devices} replicas compute what one does");
        // Weights that are divided are read and updated in pieces: a little faster than one.
        for mode in [Mode::Towers, Mode::Hybrid] {
            let step = network.step(&machine, mode, devices, 128.0).unwrap();
            assert!((0.3..1.01).contains(&(step / alone)), "{mode:?} {devices}: {}", step / alone);
        }
    }
}

#[test]
fn wires_only_cost() {
    let network = network("alexnet-source");
    for mode in Mode::ALL {
        for devices in [2, 8, 64] {
            let real = network.step(&Machine::H200, mode, devices, 128.0).unwrap();
            let free = network.step(&free(Machine::H200), mode, devices, 128.0).unwrap();
            assert!(real > free, "{mode:?} {devices}");
        }
    }
}

#[test]
fn a_network_that_does_not_come_apart_has_no_towers() {
    let network = network("torchvision");
    assert_eq!(
        network.step(&Machine::H200, Mode::Towers, 2, 128.0).is_some(),
        network.towers.is_some()
    );
    let odd = self::network("alexnet-source").step(&Machine::H200, Mode::Towers, 3, 128.0);
    assert_eq!(odd, None);
}

/// Table 1 of arXiv 1404.5997: 90 epochs took 98.05 h on one K20, 50.24 h on two (batch 256),
/// 26.2 h on four (512) and 15.7 h on eight (1,024) with the hybrid. Two and four come out; of
/// eight the model promises a third more than was measured, for nothing stands in its way.
#[test]
fn the_weird_tricks_own_speed_ups_are_not_exceeded_by_much() {
    let network = network("torchvision");
    let alone = network.step(&Machine::K20, Mode::Hybrid, 1, 128.0).unwrap();
    for (devices, hours, above) in [(2, 50.24, 1.05), (4, 26.2, 1.10), (8, 15.7, 1.35)] {
        let step = network.step(&Machine::K20, Mode::Hybrid, devices, 128.0).unwrap();
        let (ours, theirs) = (devices as f64 * alone / step, 98.05 / hours);
        let within = (1.0..above).contains(&(ours / theirs));
        assert!(within, "{devices}: {ours:.2}, measured {theirs:.2}");
        let data = network.step(&Machine::K20, Mode::Data, devices, 128.0).unwrap();
        assert!(step < data, "what the trick is for");
    }
    // 1.28 million images, 90 times.
    let hours = 1_281_167.0 / 128.0 * 90.0 * alone / 3600.0;
    assert!((90.0..106.0).contains(&hours), "one K20: {hours:.0} h, measured 98");
}
