//! The network of "ImageNet Classification with Deep Convolutional Neural Networks" (2012) and its
//! variants. The comment after each line is the output shape for one image; a test compares these
//! columns with the rows.

use layers::{Lrn, Spec, window};

/// The paper's network, section 3.5 and figure 2, on 227 x 227 crops; its two towers are groups.
/// Normalisation is section 3.3's: over all kernels of a layer, alpha not divided.
#[rustfmt::skip]
pub fn paper(classes: usize) -> Spec {
    let overlap = window(3).stride(2);
    Spec::image("alexnet", 227, 227, 3)
        .conv("conv1",  96, window(11).stride(4))       .relu().lrn().pool(overlap) // 27 x 27 x  96
        .conv("conv2", 256, window( 5).pad(2).groups(2)).relu().lrn().pool(overlap) // 13 x 13 x 256
        .conv("conv3", 384, window( 3).pad(1))          .relu()                     // 13 x 13 x 384
        .conv("conv4", 384, window( 3).pad(1).groups(2)).relu()                     // 13 x 13 x 384
        .conv("conv5", 256, window( 3).pad(1).groups(2)).relu()      .pool(overlap) //  6 x  6 x 256
        .linear("fc6", 4096)                            .relu().dropout(0.5)        // 4096
        .linear("fc7", 4096)                            .relu().dropout(0.5)        // 4096
        .linear("fc8", classes)
}

/// The 2012 source's net 145 (`layers-145.cfg`), whose log has the paper's results. It differs from
/// the network above: 224 x 224 crops, where the last windows extend over the right and bottom
/// edges; layer 1 normalises before its ReLU; alpha is divided by n; normalisation windows end at a
/// tower's edge; and layer 2 is normalised a second time, within its feature maps.
#[rustfmt::skip]
pub fn source(classes: usize) -> Spec {
    let overlap = window(3).stride(2);
    let across = Lrn { divide_alpha: true, towers: 2, ..Lrn::default() };
    let within = Lrn { alpha: 1e-3, k: 1.0, within_channel: true, towers: 1, ..across };
    Spec::image("alexnet-source", 224, 224, 3)
        .conv("conv1",  96, window(11).stride(4).overhang(3))                       // 55 x 55 x  96
            .lrn_with(across).pool(overlap).relu()                                  // 27 x 27 x  96
        .conv("conv2", 256, window( 5).pad(2).groups(2))                            // 27 x 27 x 256
            .relu().lrn_with(across).lrn_with(within).pool(overlap)                 // 13 x 13 x 256
        .conv("conv3", 384, window( 3).pad(1))          .relu()                     // 13 x 13 x 384
        .conv("conv4", 384, window( 3).pad(1).groups(2)).relu()                     // 13 x 13 x 384
        .conv("conv5", 256, window( 3).pad(1).groups(2)).pool(overlap).relu()       //  6 x  6 x 256
        .linear("fc6", 4096)                            .relu().dropout(0.5)        // 4096
        .linear("fc7", 4096)                            .relu().dropout(0.5)        // 4096
        .linear("fc8", classes)
}

/// Caffe's bvlc_alexnet: k of one, alpha divided by n, inverted dropout.
#[rustfmt::skip]
pub fn caffe(classes: usize) -> Spec {
    let overlap = window(3).stride(2);
    let norm = Lrn { k: 1.0, divide_alpha: true, ..Lrn::default() };
    Spec::image("caffe", 227, 227, 3)
        .conv("conv1",  96, window(11).stride(4))       .relu().lrn_with(norm)      // 55 x 55 x  96
            .pool(overlap)                                                          // 27 x 27 x  96
        .conv("conv2", 256, window( 5).pad(2).groups(2)).relu().lrn_with(norm)      // 27 x 27 x 256
            .pool(overlap)                                                          // 13 x 13 x 256
        .conv("conv3", 384, window( 3).pad(1))          .relu()                     // 13 x 13 x 384
        .conv("conv4", 384, window( 3).pad(1).groups(2)).relu()                     // 13 x 13 x 384
        .conv("conv5", 256, window( 3).pad(1).groups(2)).relu().pool(overlap)       //  6 x  6 x 256
        .linear("fc6", 4096)                            .relu().inverted_dropout(0.5)// 4096
        .linear("fc7", 4096)                            .relu().inverted_dropout(0.5)// 4096
        .linear("fc8", classes)
}

/// Caffe's bvlc_reference_caffenet: as `caffe`, but each layer is pooled before it is normalised.
#[rustfmt::skip]
pub fn caffenet(classes: usize) -> Spec {
    let overlap = window(3).stride(2);
    let norm = Lrn { k: 1.0, divide_alpha: true, ..Lrn::default() };
    Spec::image("caffenet", 227, 227, 3)
        .conv("conv1",  96, window(11).stride(4))       .relu().pool(overlap)       // 27 x 27 x  96
            .lrn_with(norm)                                                         // 27 x 27 x  96
        .conv("conv2", 256, window( 5).pad(2).groups(2)).relu().pool(overlap)       // 13 x 13 x 256
            .lrn_with(norm)                                                         // 13 x 13 x 256
        .conv("conv3", 384, window( 3).pad(1))          .relu()                     // 13 x 13 x 384
        .conv("conv4", 384, window( 3).pad(1).groups(2)).relu()                     // 13 x 13 x 384
        .conv("conv5", 256, window( 3).pad(1).groups(2)).relu().pool(overlap)       //  6 x  6 x 256
        .linear("fc6", 4096)                            .relu().inverted_dropout(0.5)// 4096
        .linear("fc7", 4096)                            .relu().inverted_dropout(0.5)// 4096
        .linear("fc8", classes)
}

/// torchvision's alexnet, after "One weird trick for parallelizing convolutional neural networks"
/// (2014): one tower of other widths, no normalisation, dropout before fc6 and fc7.
#[rustfmt::skip]
pub fn torchvision(classes: usize) -> Spec {
    let overlap = window(3).stride(2);
    Spec::image("torchvision", 224, 224, 3)
        .conv("conv1",  64, window(11).stride(4).pad(2)).relu().pool(overlap)       // 27 x 27 x  64
        .conv("conv2", 192, window( 5).pad(2))          .relu().pool(overlap)       // 13 x 13 x 192
        .conv("conv3", 384, window( 3).pad(1))          .relu()                     // 13 x 13 x 384
        .conv("conv4", 256, window( 3).pad(1))          .relu()                     // 13 x 13 x 256
        .conv("conv5", 256, window( 3).pad(1))          .relu().pool(overlap)       //  6 x  6 x 256
        .inverted_dropout(0.5).linear("fc6", 4096)      .relu()                     // 4096
        .inverted_dropout(0.5).linear("fc7", 4096)      .relu()                     // 4096
        .linear("fc8", classes)
}

/// The paper's eight learned layers, two towers, normalisation, overlap pooling and dropout,
/// for 64 x 64 images and machines without a GPU.
#[rustfmt::skip]
pub fn small(classes: usize) -> Spec {
    let overlap = window(3).stride(2);
    Spec::image("alexnet-64", 64, 64, 3)
        .conv("conv1",  48, window(7).stride(2).pad(3)) .relu().lrn().pool(overlap) // 15 x 15 x  48
        .conv("conv2", 128, window(5).pad(2).groups(2)) .relu().lrn().pool(overlap) //  7 x  7 x 128
        .conv("conv3", 192, window(3).pad(1))           .relu()                     //  7 x  7 x 192
        .conv("conv4", 192, window(3).pad(1).groups(2)) .relu()                     //  7 x  7 x 192
        .conv("conv5", 128, window(3).pad(1).groups(2)) .relu()      .pool(overlap) //  3 x  3 x 128
        .linear("fc6", 512)                             .relu().dropout(0.5)        // 512
        .linear("fc7", 512)                             .relu().dropout(0.5)        // 512
        .linear("fc8", classes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares the shapes in this file's comments, line by line, with those of the rows.
    #[test]
    fn the_shape_columns_are_true() {
        let models = [paper as fn(usize) -> Spec, source, caffe, caffenet, torchvision, small];
        let page = include_str!("alexnet.rs").split("#[cfg(test)]").next().unwrap();
        for (model, text) in models.iter().zip(page.split("Spec::image(").skip(1)) {
            let spec = model(1000);
            let mut rows = spec.describe().unwrap().into_iter();
            for line in text.lines().filter(|line| line.trim_start().starts_with('.')) {
                let (calls, comment) = line.split_once("//").unwrap_or((line, "1000"));
                let made = (0..rows_in(calls)).filter_map(|_| rows.next()).last().unwrap();
                let stated: Vec<&str> = comment.split('x').map(str::trim).collect();
                let dims = made.output.dims().iter();
                let actual: Vec<String> = dims.map(usize::to_string).collect();
                assert_eq!(stated, actual, "{}: {line}", spec.name);
            }
            assert_eq!(rows.next(), None, "{}", spec.name);
        }
    }

    /// Number of rows that a line of this file adds.
    fn rows_in(calls: &str) -> usize {
        let rows = [".conv(", ".relu(", ".lrn(", ".lrn_with(", ".pool(", ".linear(", "dropout("];
        rows.iter().map(|row| calls.matches(row).count()).sum()
    }

    /// Parameters and multiply-accumulates per layer, computed by hand from the papers' shapes.
    #[test]
    fn counts_equal_the_papers() {
        let counts = |spec: Spec| {
            let rows = spec.describe().unwrap().into_iter().filter(|row| row.parameters > 0);
            rows.map(|row| (row.parameters, row.macs)).collect::<Vec<_>>()
        };
        let towers = [
            (34_944, 105_415_200),
            (307_456, 223_948_800),
            (885_120, 149_520_384),
            (663_936, 112_140_288),
            (442_624, 74_760_192),
            (37_752_832, 37_748_736),
            (16_781_312, 16_777_216),
            (4_097_000, 4_096_000),
        ];
        for model in [paper, source, caffe] {
            assert_eq!(counts(model(1000)), towers);
        }
        let one_tower = [
            (23_296, 70_276_800),
            (307_392, 223_948_800),
            (663_936, 112_140_288),
            (884_992, 149_520_384),
            (590_080, 99_680_256),
            (37_752_832, 37_748_736),
            (16_781_312, 16_777_216),
            (4_097_000, 4_096_000),
        ];
        assert_eq!(counts(torchvision(1000)), one_tower);
        let paper = paper(1000);
        assert_eq!((paper.parameters(), paper.macs()), (Ok(60_965_224), Ok(724_406_816)));
        let torchvision = torchvision(1000);
        assert_eq!(torchvision.parameters(), Ok(61_100_840));
        assert_eq!(torchvision.macs(), Ok(714_188_480));
    }

    /// What the towers of the 2012 source exchange at its batch of 128, computed by hand: pool2 and
    /// pool3 both ways, fc6 both ways after its dropout, fc7 to the first tower only.
    #[test]
    fn the_sources_towers_exchange_thirty_megabytes() {
        let towers = layers::towers::split(&source(1000), 2).unwrap();
        let lines: Vec<_> =
            towers.traffic.iter().map(|t| (&*t.from, &*t.to, t.bytes(128))).collect();
        let expected = [
            ("pool2", "conv3", 2 * 11_075_584),
            ("relu5", "fc6", 2 * 2_359_296),
            ("dropout6", "fc7", 2 * 1_048_576),
            ("dropout7", "fc8", 1_048_576),
        ];
        assert_eq!(lines, expected);
        assert_eq!(towers.bytes(128), 30_015_488); // 30.0 MB forward, and as much backward
    }

    #[test]
    fn the_source_normalises_before_the_first_relu() {
        let names: Vec<String> =
            source(1000).describe().unwrap().into_iter().map(|row| row.name).collect();
        assert_eq!(names[..4], ["conv1", "lrn1", "pool1", "relu1"]);
        assert_eq!(names[4..9], ["conv2", "relu2", "lrn2", "lrn2b", "pool2"]);
    }
}
