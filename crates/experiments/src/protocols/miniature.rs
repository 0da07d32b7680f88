//! The experiments on ImageNet for images of 32 x 32 pixels: the same rows, recipes, phases and
//! views, where there is neither ImageNet nor a GPU.

use super::thin::fewer;
use crate::protocol::Protocol;
use layers::{Pad, Row, Spec};
use train::recipe::{Initializer, Recipe};

/// What is different from the whole page.
pub(crate) const DIFFERS: &str = "This is a miniature. Images have 32 x 32 pixels and crops 28 x \
    28, instead of 256 and 224. The first convolution has 5 x 5 windows with stride 1 instead of \
    11 x 11 with stride 4. Pooling windows, 3 x 3 with stride 2, may extend past the border, which \
    gives maps with sides of 28, 14, 7 and 3. Convolutions have a quarter of the filters, hidden \
    linear layers an eighth of the units. Units with fewer inputs begin with larger weights, so \
    that each layer keeps its gain. Learning rates, phases, epochs, momentum, weight decay, \
    dropout, crops, mirroring, colour shifts and views are those of the full protocol.";

/// How many times fewer pixels a side has, 28 for 224.
const SIDE: usize = 8;
/// How many times fewer filters, and units.
const FILTERS: usize = 4;
const UNITS: usize = 8;

/// The side of images from which on they are an ImageNet's.
const LARGE: usize = 200;

/// The page in miniature; none of a page whose images are small as they are.
pub(crate) fn miniature(mut page: Protocol) -> Option<Protocol> {
    for arm in &mut page.arms {
        arm.name += "-miniature";
        for stage in &mut arm.stages {
            if stage.spec.input[0] < LARGE {
                return None;
            }
            stage.recipe = as_strong(stage.recipe.clone(), &stage.spec);
            stage.spec = small(stage.spec.clone());
        }
    }
    Some(page)
}

fn small(mut spec: Spec) -> Spec {
    spec.name += "-miniature";
    spec.input[..2].iter_mut().for_each(|side| *side /= SIDE);
    let last = spec.rows.len().saturating_sub(1);
    let mut is_first = true;
    for (at, row) in spec.rows.iter_mut().enumerate() {
        match row {
            Row::Conv(conv) => {
                conv.filters = fewer(conv.filters, FILTERS, conv.groups);
                if std::mem::take(&mut is_first) {
                    (conv.window, conv.stride, conv.pad) = (5, 1, Pad::Same(2));
                }
            }
            Row::Pool(pool) => pool.ceil = true,
            Row::Linear(linear) if at != last => linear.outputs = fewer(linear.outputs, UNITS, 1),
            _ => {}
        }
    }
    spec
}

/// The recipe for smaller images, with initial weights that give a layer of any width the response
/// that this recipe gives it in the whole network: deviations times the square root of how many
/// inputs a unit has.
fn as_strong(mut recipe: Recipe, whole: &Spec) -> Recipe {
    let [height, width, _] = whole.input;
    recipe.input.side = Some(recipe.side(height, width) / SIDE);
    for row in whole.describe().expect("a page's network fits together") {
        let units = *row.output.dims().last().expect("an output has channels");
        let Some(inputs) = (row.parameters / units).checked_sub(1) else { continue }; // a bias each
        if let Initializer::Normal(std) = recipe.rule(&format!("{}.weight", row.name)).init {
            let gain = Initializer::ScaledNormal(std * (inputs as f64).sqrt());
            recipe.layers.entry(row.name).or_default().weights = Some(gain);
        }
    }
    recipe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Scale, find};

    fn page(name: &str) -> Protocol {
        find(name).unwrap().at_scale(Scale::Miniature).unwrap()
    }

    #[test]
    fn only_pages_of_large_images_have_one() {
        let has = |page: Protocol| page.at_scale(Scale::Miniature).is_some();
        let names = crate::all().into_iter().filter(|page| has(page.clone()));
        let names: Vec<&str> = names.map(|page| page.name).collect();
        assert_eq!(names, ["ilsvrc2010", "ilsvrc2012", "ensemble", "pretrain"]);
    }

    /// The numbers of `DIFFERS`.
    #[test]
    fn maps_are_as_the_page_says() {
        let spec = &page("pretrain").arms[0].stages[0].spec;
        assert_eq!(spec.input, [28, 28, 3]);
        let rows = spec.describe().unwrap();
        let of = |name: &str| rows.iter().find(|row| row.name == name).unwrap().output.dims();
        assert_eq!(of("conv1"), [28, 28, 24]);
        assert_eq!(of("conv2"), [14, 14, 64]);
        assert_eq!(of("conv3"), [7, 7, 96]);
        assert_eq!(of("conv6"), [3, 3, 64]);
        assert_eq!((of("fc7"), of("fc8")), (&[512][..], &[1000][..]));
    }

    /// A response of the whole network's layer, and of the small one's, to inputs of one
    /// deviation: 0.01 sqrt(363) of conv1, 0.03 sqrt(1728) of conv4.
    #[test]
    fn responses_are_as_strong_and_all_else_is_as_it_was() {
        let whole = find("ilsvrc2010").unwrap().arms[0].stages[0].recipe.clone();
        let recipe = &page("ilsvrc2010").arms[0].stages[0].recipe;
        for (layer, gain) in [("conv1", 0.190_526), ("conv4", 1.247_077), ("fc8", 0.64)] {
            let Initializer::ScaledNormal(made) = recipe.rule(&format!("{layer}.weight")).init
            else {
                panic!("{layer}: {recipe:?}")
            };
            assert!((made - gain).abs() < 1e-6, "{layer}: {made}");
            let biases = format!("{layer}.bias");
            assert_eq!(recipe.rule(&biases), whole.rule(&biases));
        }
        assert_eq!(recipe.input.side, Some(32));
        let (layers, input) = (whole.layers.clone(), whole.input);
        assert_eq!(Recipe { layers, input, ..recipe.clone() }, whole);
    }
}
