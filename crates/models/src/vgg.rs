//! The networks of Simonyan and Zisserman 2014, "Very deep convolutional networks for large-scale
//! image recognition": only 3 x 3 convolutions, in blocks between 2 x 2 pooling layers.
//!
//! Each line here is one block of the paper's table 1. Layers are numbered in torchvision's order:
//! `conv3` is the third convolution, `fc9` in VGG-11 the first linear layer, the paper's FC-4096.
//! Dropout scales in training, as in Caffe, with which the authors trained, and in torchvision.

use layers::{Spec, Window, window};

const THREE: Window = window(3).pad(1);
const HALVED: Window = window(2).stride(2);

/// Adds the rows after a convolution.
type After = fn(Spec) -> Spec;

/// Table 1, column A: 11 layers with weights.
pub fn eleven(classes: usize) -> Spec {
    a("vgg11", classes, Spec::relu)
}

/// The same with batch normalisation (Ioffe and Szegedy 2015) between each convolution and its
/// ReLU, as torchvision's `vgg11_bn`; the paper is older.
pub fn eleven_normalised(classes: usize) -> Spec {
    a("vgg11-bn", classes, |spec| spec.batch_norm().relu())
}

/// Table 1, column D: 16 layers with weights.
pub fn sixteen(classes: usize) -> Spec {
    d("vgg16", classes, Spec::relu)
}

/// The same with batch normalisation, as torchvision's `vgg16_bn`.
pub fn sixteen_normalised(classes: usize) -> Spec {
    d("vgg16-bn", classes, |spec| spec.batch_norm().relu())
}

#[rustfmt::skip]
fn a(name: &str, classes: usize, after: After) -> Spec {
    let image = Spec::image(name, 224, 224, 3);                             // 224 x 224 x   3
    let maps = convs(image, after, [64], 1)          .pool(HALVED);         // 112 x 112 x  64
    let maps = convs(maps,  after, [128], 2)         .pool(HALVED);         //  56 x  56 x 128
    let maps = convs(maps,  after, [256, 256], 3)    .pool(HALVED);         //  28 x  28 x 256
    let maps = convs(maps,  after, [512, 512], 5)    .pool(HALVED);         //  14 x  14 x 512
    let maps = convs(maps,  after, [512, 512], 7)    .pool(HALVED);         //   7 x   7 x 512
    maps.linear("fc9", 4096) .relu().inverted_dropout(0.5)                  //            4096
        .linear("fc10", 4096).relu().inverted_dropout(0.5)                  //            4096
        .linear("fc11", classes)
}

#[rustfmt::skip]
fn d(name: &str, classes: usize, after: After) -> Spec {
    let image = Spec::image(name, 224, 224, 3);                             // 224 x 224 x   3
    let maps = convs(image, after, [64, 64], 1)        .pool(HALVED);       // 112 x 112 x  64
    let maps = convs(maps,  after, [128, 128], 3)      .pool(HALVED);       //  56 x  56 x 128
    let maps = convs(maps,  after, [256, 256, 256], 5) .pool(HALVED);       //  28 x  28 x 256
    let maps = convs(maps,  after, [512, 512, 512], 8) .pool(HALVED);       //  14 x  14 x 512
    let maps = convs(maps,  after, [512, 512, 512], 11).pool(HALVED);       //   7 x   7 x 512
    maps.linear("fc14", 4096).relu().inverted_dropout(0.5)                  //            4096
        .linear("fc15", 4096).relu().inverted_dropout(0.5)                  //            4096
        .linear("fc16", classes)
}

/// Convolutions with these numbers of filters, named by number from `first` on.
fn convs<const N: usize>(below: Spec, after: After, filters: [usize; N], first: usize) -> Spec {
    let conv = |below: Spec, (number, filters)| {
        after(below.conv(&format!("conv{number}"), filters, THREE))
    };
    (first..).zip(filters).fold(below, conv)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paper's table 2 states 133 and 138 million; the exact numbers are torchvision's, whose
    /// normalised networks have an additional scale and shift for each filter.
    #[test]
    fn counts_equal_torchvisions() {
        assert_eq!(eleven(1000).parameters(), Ok(132_863_336));
        assert_eq!(sixteen(1000).parameters(), Ok(138_357_544));
        assert_eq!(eleven_normalised(1000).parameters(), Ok(132_868_840));
        assert_eq!(sixteen_normalised(1000).parameters(), Ok(138_365_992));
        // torchvision states 7.609 and 15.470 GFLOPS, of multiply-accumulates.
        let in_millions = |spec: Spec| (spec.macs().unwrap() as f64 / 1e6).round();
        assert_eq!(in_millions(eleven(1000)), 7609.0);
        assert_eq!(in_millions(sixteen(1000)), 15_470.0);
    }

    #[test]
    fn shapes_equal_the_comments_beside_the_rows() {
        for (spec, layers) in [(eleven(1000), 11), (sixteen_normalised(1000), 16)] {
            let table = spec.describe().unwrap();
            let pools = table.iter().filter(|row| row.name.starts_with("pool"));
            let shapes: Vec<String> = pools.map(|row| row.output.to_string()).collect();
            let expected = [
                "112 x 112 x 64",
                "56 x 56 x 128",
                "28 x 28 x 256",
                "14 x 14 x 512",
                "7 x 7 x 512",
            ];
            assert_eq!(shapes, expected);
            let weighted = table.iter().filter(|row| row.macs > 0).count();
            assert_eq!(weighted, layers, "{}", spec.name);
            assert_eq!(table.last().unwrap().name, format!("fc{layers}"));
        }
    }
}
