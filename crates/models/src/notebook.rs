//! The 2012 source's other networks: variants of its net 145 (`alexnet::source`) with one change
//! each, the paper's ablations. Shapes are noted where they differ.

use layers::{Lrn, Spec, Window, window};

const OVERLAP: Window = window(3).stride(2);
const FIRST: Window = window(11).stride(4).overhang(3);

/// Normalisation across the channels of each of `towers` towers, and within feature maps.
fn norms(towers: usize) -> [Lrn; 2] {
    let across = Lrn { divide_alpha: true, towers, ..Lrn::default() };
    [across, Lrn { alpha: 1e-3, k: 1.0, within_channel: true, towers: 1, ..across }]
}

/// `layers-145-half.cfg`: one tower, for one GPU: half of the filters of every convolution but the
/// last, so that the number of parameters stays about equal (section 3.2).
#[rustfmt::skip]
pub fn half(classes: usize) -> Spec {
    let [across, within] = norms(1);
    Spec::image("alexnet-half", 224, 224, 3)
        .conv("conv1",  48, FIRST)           .lrn_with(across).pool(OVERLAP).relu()
        .conv("conv2", 128, window(5).pad(2)).relu().lrn_with(across).lrn_with(within).pool(OVERLAP)
        .conv("conv3", 192, window(3).pad(1)).relu()
        .conv("conv4", 192, window(3).pad(1)).relu()
        .conv("conv5", 256, window(3).pad(1)).pool(OVERLAP).relu()
        .linear("fc6", 4096).relu().dropout(0.5)
        .linear("fc7", 4096).relu().dropout(0.5)
        .linear("fc8", classes)
}

/// `layers-146.cfg`: a sixth convolution, over both towers, after the last pool; the networks that
/// Table 2 marks with a star.
#[rustfmt::skip]
pub fn six_convolutions(classes: usize) -> Spec {
    let [across, within] = norms(2);
    Spec::image("alexnet-146", 224, 224, 3)
        .conv("conv1",  96, FIRST)                      .lrn_with(across).pool(OVERLAP).relu()
        .conv("conv2", 256, window(5).pad(2).groups(2)) .relu().lrn_with(across).lrn_with(within)
            .pool(OVERLAP)
        .conv("conv3", 384, window(3).pad(1))           .relu()
        .conv("conv4", 384, window(3).pad(1).groups(2)) .relu()
        .conv("conv5", 256, window(3).pad(1).groups(2)) .pool(OVERLAP).relu()
        .conv("conv6", 256, window(3).pad(1))           .relu()                     // 6 x 6 x 256
        .linear("fc6", 4096).relu().dropout(0.5)
        .linear("fc7", 4096).relu().dropout(0.5)
        .linear("fc8", classes)
}

/// `layers-147.cfg`: pooling without overlap (section 3.4). Two paddings change with it, so that
/// the last feature maps keep their size.
#[rustfmt::skip]
pub fn without_overlap(classes: usize) -> Spec {
    let [across, within] = norms(2);
    let apart = window(2).stride(2).ceil();
    Spec::image("alexnet-147", 224, 224, 3)
        .conv("conv1",  96, FIRST)                      .lrn_with(across).pool(apart).relu() // 28
        .conv("conv2", 256, window(5).pad(1).groups(2)) .relu().lrn_with(across)             // 26
            .lrn_with(within).pool(apart)                                                    // 13
        .conv("conv3", 384, window(3).pad(1))           .relu()                              // 13
        .conv("conv4", 384, window(3).groups(2))        .relu()                              // 11
        .conv("conv5", 256, window(3).pad(1).groups(2)) .pool(apart).relu()                  //  6
        .linear("fc6", 4096).relu().dropout(0.5)
        .linear("fc7", 4096).relu().dropout(0.5)
        .linear("fc8", classes)
}

/// `layers-148.cfg`: no normalisation at all (section 3.3); net 145 has three.
#[rustfmt::skip]
pub fn without_normalisation(classes: usize) -> Spec {
    Spec::image("alexnet-148", 224, 224, 3)
        .conv("conv1",  96, FIRST)                      .pool(OVERLAP).relu()
        .conv("conv2", 256, window(5).pad(2).groups(2)) .relu().pool(OVERLAP)
        .conv("conv3", 384, window(3).pad(1))           .relu()
        .conv("conv4", 384, window(3).pad(1).groups(2)) .relu()
        .conv("conv5", 256, window(3).pad(1).groups(2)) .pool(OVERLAP).relu()
        .linear("fc6", 4096).relu().dropout(0.5)
        .linear("fc7", 4096).relu().dropout(0.5)
        .linear("fc8", classes)
}

/// `layers-150.cfg`: two towers without connections below the last layer, wider so that the number
/// of parameters is about equal. A linear layer of one tower is a convolution whose window is the
/// whole feature map.
#[rustfmt::skip]
pub fn without_communication(classes: usize) -> Spec {
    let [across, within] = norms(2);
    Spec::image("alexnet-150", 224, 224, 3)
        .conv("conv1",  96, FIRST)                      .lrn_with(across).pool(OVERLAP).relu()
        .conv("conv2", 320, window(5).pad(2).groups(2)) .relu().lrn_with(across).lrn_with(within)
            .pool(OVERLAP)                                                      // 13 x 13 x 320
        .conv("conv3", 384, window(3).pad(1).groups(2)) .relu()
        .conv("conv4", 384, window(3).pad(1).groups(2)) .relu()
        .conv("conv5", 256, window(3).pad(1).groups(2)) .pool(OVERLAP).relu()
        .conv("fc6", 8192, window(6).groups(2))         .relu().dropout(0.5)    //  1 x  1 x 8192
        .conv("fc7", 4096, window(1).groups(2))         .relu().dropout(0.5)    //  1 x  1 x 4096
        .linear("fc8", classes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alexnet;

    /// The counts that follow from the source's layer files.
    #[test]
    fn counts_equal_the_layer_files() {
        for (model, parameters) in [
            (half as fn(usize) -> Spec, 59_798_312),
            (six_convolutions, 61_555_304),
            (without_overlap, 60_965_224),
            (without_normalisation, 60_965_224),
            (without_communication, 60_714_408),
        ] {
            assert_eq!(model(1000).parameters(), Ok(parameters), "{}", model(1000).name);
        }
        assert_eq!(half(1000).macs(), Ok(391_514_384));
        assert_eq!(six_convolutions(1000).macs(), Ok(745_640_480));
        let rounded = |spec: Spec| (spec.macs().unwrap() as f64 / 1e5).round() / 10.0;
        assert_eq!(rounded(without_communication(1000)), 724.3);
    }

    #[test]
    fn feature_maps_without_overlap_end_at_the_same_size() {
        let table = without_overlap(1000).describe().unwrap();
        let side = |name: &str| table.iter().find(|row| row.name == name).unwrap().output.dims()[0];
        let names = ["conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5"];
        assert_eq!(names.map(side), [55, 28, 26, 13, 13, 11, 11, 6]);
    }

    #[test]
    fn without_its_norms_net_145_is_net_148() {
        let mut source = alexnet::source(1000);
        source.rows.retain(|row| !matches!(row, layers::Row::Lrn(_)));
        assert_eq!(source.rows, without_normalisation(1000).rows);
    }
}
