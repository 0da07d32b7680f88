//! What grew from the paper: activations and normalisations of the years after, in a network of its
//! time.

use super::cifar::{FIVE, OVERLAPPING, eighty_seconds_arm};
use crate::protocol::{Arm, Protocol};
use layers::Spec;
use train::recipes;

/// What stands where cifar-80sec has a ReLU, and what in front of it.
type Unit = fn(Spec) -> Spec;

/// One net, one recipe, one thing changed in each arm.
pub fn descendants() -> Protocol {
    let arm = |name: &str, label: &str, norm: Unit, unit: Unit| {
        let name = format!("descendants-{name}");
        Arm::of(&name, label, net(&name, norm, unit), recipes::cifar_80sec())
    };
    let none: Unit = |spec| spec;
    Protocol {
        name: "descendants",
        about: "later layers: leaky ReLU, PReLU, GELU, batch and layer normalisation",
        what: "The network and recipe of cifar-80sec, ten epochs, with another activation function \
            in place of every ReLU, or with a normalisation directly after each convolution and \
            hidden layer.",
        paper: "nothing; these layers are of 2013 (leaky ReLU), 2015 (PReLU, batch normalisation) \
            and 2016 (GELU, layer normalisation)",
        differs: &[
            "Learning rates, initial weights and weight decay are those that cuda-convnet chose \
            for ReLUs and are not tuned for any arm; normalised networks tolerate larger learning \
            rates. Slopes, scales and shifts have no weight decay. Layer normalisation is over the \
            channels of each pixel.",
        ],
        arms: vec![
            Arm { label: "ReLU: cifar-80sec as it is".into(), ..eighty_seconds_arm() },
            arm("tanh", "tanh", none, Spec::tanh),
            arm("leaky-relu", "leaky ReLU, slope 0.01", none, |spec| spec.leaky_relu(0.01)),
            arm("prelu", "PReLU", none, Spec::prelu),
            arm("gelu", "GELU", none, Spec::gelu),
            arm("batch-norm", "batch normalisation, ReLU", Spec::batch_norm, Spec::relu),
            arm("layer-norm", "layer normalisation, ReLU", Spec::layer_norm, Spec::relu),
        ],
        ..Protocol::default()
    }
}

/// The rows of `models::cifar::eighty_seconds`.
#[rustfmt::skip]
fn net(name: &str, norm: Unit, unit: Unit) -> Spec {
    let image = Spec::image(name, 32, 32, 3);
    let maps = unit(norm(image.conv("conv1", 32, FIVE)).pool(OVERLAPPING)); // 16 x 16 x 32
    let maps = unit(norm(maps.conv("conv2", 32, FIVE))).average_pool(OVERLAPPING); //  8 x  8 x 32
    let maps = unit(norm(maps.conv("conv3", 64, FIVE))).average_pool(OVERLAPPING); //  4 x  4 x 64
    unit(norm(maps.linear("fc64", 64))).linear("fc10", 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::cifar;

    #[test]
    fn arms_are_one_net_but_for_what_they_say() {
        let plain = net("cifar-80sec", |spec| spec, Spec::relu);
        assert_eq!(plain, cifar::eighty_seconds(10));
        let page = descendants();
        let extra = |arm: &Arm| arm.stages[0].spec.parameters().unwrap() - 145_578;
        // A slope for each of 32 + 32 + 64 channels and 64 units; of scales and shifts, twice that.
        let extras: Vec<usize> = page.arms.iter().map(extra).collect();
        assert_eq!(extras, [0, 0, 0, 192, 0, 384, 384]);
        for arm in &page.arms {
            assert_eq!(arm.stages[0].recipe, recipes::cifar_80sec(), "{}", arm.name);
        }
    }
}
