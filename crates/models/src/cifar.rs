//! cuda-convnet's networks for CIFAR-10 (`example-layers`, `layers-cifar`): 5 x 5 convolutions,
//! overlapping pools whose last window hangs over the edge, and averages from the second layer on.

use layers::{Lrn, Spec, Window, window};

const OVERLAPPING: Window = window(3).stride(2).ceil();
const FIVE: Window = window(5).pad(2);
const THREE: Window = window(3).pad(1);

/// `layers-80sec.cfg`: 26 % test error in 80 seconds on a GPU of 2011.
pub fn eighty_seconds(classes: usize) -> Spec {
    three_maps("cifar-80sec", None).linear("fc64", 64).relu().linear("fc10", classes)
}

/// `layers-19pct.cfg`.
pub fn nineteen_percent(classes: usize) -> Spec {
    three_maps("cifar-19pct", None).linear("fc10", classes)
}

/// `layers-18pct.cfg`: the 19 % net with response normalisation within maps after the first two
/// pools.
pub fn eighteen_percent(classes: usize) -> Spec {
    let within = Lrn {
        size: 3,
        alpha: 5e-5,
        k: 1.0,
        divide_alpha: true,
        within_channel: true,
        ..Lrn::default()
    };
    three_maps("cifar-18pct", Some(within)).linear("fc10", classes)
}

/// `layers-conv-local-13pct.cfg`: two convolutions, then two locally connected layers.
#[rustfmt::skip]
pub fn thirteen_percent(classes: usize) -> Spec {
    Spec::image("cifar-13pct", 24, 24, 3)
        .conv("conv1", 64, FIVE).relu().pool(OVERLAPPING)                  // 12 x 12 x 64
        .conv("conv2", 64, FIVE).relu().pool(OVERLAPPING)                  //  6 x  6 x 64
        .local("local3", 32, THREE).relu()                                 //  6 x  6 x 32
        .local("local4", 32, THREE).relu()                                 //  6 x  6 x 32
        .linear("fc10", classes)
}

/// `layers-conv-local-11pct.cfg`: the 13 % net with response normalisation across nine channels,
/// and twice the filters in `local3`.
#[rustfmt::skip]
pub fn eleven_percent(classes: usize) -> Spec {
    let across = Lrn { size: 9, alpha: 1e-3, k: 1.0, divide_alpha: true, ..Lrn::default() };
    Spec::image("cifar-11pct", 24, 24, 3)
        .conv("conv1", 64, FIVE).relu().pool(OVERLAPPING).lrn_with(across) // 12 x 12 x 64
        .conv("conv2", 64, FIVE).relu().lrn_with(across).pool(OVERLAPPING) //  6 x  6 x 64
        .local("local3", 64, THREE).relu()                                 //  6 x  6 x 64
        .local("local4", 32, THREE).relu()                                 //  6 x  6 x 32
        .linear("fc10", classes)
}

/// The layers that the first three networks share: 32, 32 and 64 filters.
fn three_maps(name: &str, lrn: Option<Lrn>) -> Spec {
    let normalized = |spec: Spec| match lrn {
        Some(lrn) => spec.lrn_with(lrn),
        None => spec,
    };
    let image = Spec::image(name, 32, 32, 3);
    let maps = image.conv("conv1", 32, FIVE).pool(OVERLAPPING).relu(); // 16 x 16 x 32
    let maps = normalized(maps).conv("conv2", 32, FIVE).relu();
    let maps = maps.average_pool(OVERLAPPING); // 8 x 8 x 32
    normalized(maps).conv("conv3", 64, FIVE).relu().average_pool(OVERLAPPING) // 4 x 4 x 64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The counts that follow from cuda-convnet's layer files.
    #[test]
    fn counts_equal_the_layer_files() {
        assert_eq!(eighty_seconds(10).parameters(), Ok(145_578));
        assert_eq!(nineteen_percent(10).parameters(), Ok(89_578));
        assert_eq!(eighteen_percent(10).parameters(), Ok(89_578));
        assert_eq!(thirteen_percent(10).parameters(), Ok(1_116_490));
        assert_eq!(eleven_percent(10).parameters(), Ok(2_112_970));
        let in_millions = |macs: usize| (macs as f64 / 1e4).round() / 100.0;
        assert_eq!(in_millions(eighty_seconds(10).macs().unwrap()), 12.35);
        assert_eq!(in_millions(nineteen_percent(10).macs().unwrap()), 12.30);
        assert_eq!(in_millions(thirteen_percent(10).macs().unwrap()), 18.52);
        assert_eq!(in_millions(eleven_percent(10).macs().unwrap()), 19.51);
    }

    #[test]
    fn maps_halve_three_times() {
        let table = eighteen_percent(10).describe().unwrap();
        let pools = table.iter().filter(|row| row.name.starts_with("pool"));
        let shapes: Vec<String> = pools.map(|row| row.output.to_string()).collect();
        assert_eq!(shapes, ["16 x 16 x 32", "8 x 8 x 32", "4 x 4 x 64"]);
    }
}
