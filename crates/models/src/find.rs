//! Models by name.

use crate::{alexnet, cifar, notebook, vgg};
use layers::Spec;
use std::fmt;

/// A model's name, description and rows.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// The name by which it is selected.
    pub name: &'static str,
    /// A description of one line.
    pub about: &'static str,
    /// Makes its rows for a number of classes.
    pub spec: fn(usize) -> Spec,
    /// Number of classes of the data set it was designed for.
    pub classes: usize,
}

/// The rows of every model, for its data set.
pub fn specs() -> Vec<Spec> {
    all().iter().map(|model| (model.spec)(model.classes)).collect()
}

/// Every model, in reading order.
pub fn all() -> &'static [Model] {
    const IMAGENET: usize = 1000;
    const MODELS: &[Model] = &[
        Model {
            name: "alexnet",
            about: "Krizhevsky, Sutskever, Hinton 2012, as printed; two towers as groups",
            spec: alexnet::paper,
            classes: IMAGENET,
        },
        Model {
            name: "alexnet-source",
            about: "the 2012 source code's net 145, whose results the paper reports",
            spec: alexnet::source,
            classes: IMAGENET,
        },
        Model {
            name: "alexnet-half",
            about: "one tower of half the width: section 3.2's net for one GPU",
            spec: notebook::half,
            classes: IMAGENET,
        },
        Model {
            name: "alexnet-146",
            about: "a sixth convolution: the nets of Table 2 that were pre-trained",
            spec: notebook::six_convolutions,
            classes: IMAGENET,
        },
        Model {
            name: "alexnet-147",
            about: "the source's net with pools that do not overlap: section 3.4",
            spec: notebook::without_overlap,
            classes: IMAGENET,
        },
        Model {
            name: "alexnet-148",
            about: "the source's net without normalisation: section 3.3",
            spec: notebook::without_normalisation,
            classes: IMAGENET,
        },
        Model {
            name: "alexnet-150",
            about: "the source's net with towers that never communicate",
            spec: notebook::without_communication,
            classes: IMAGENET,
        },
        Model {
            name: "caffe",
            about: "Caffe's bvlc_alexnet",
            spec: alexnet::caffe,
            classes: IMAGENET,
        },
        Model {
            name: "caffenet",
            about: "Caffe's bvlc_reference_caffenet: pooled before it is normalised",
            spec: alexnet::caffenet,
            classes: IMAGENET,
        },
        Model {
            name: "torchvision",
            about: "torchvision's alexnet: one tower, no normalisation",
            spec: alexnet::torchvision,
            classes: IMAGENET,
        },
        Model {
            name: "vgg11",
            about: "Simonyan and Zisserman 2014, column A: eight convolutions of 3 x 3",
            spec: vgg::eleven,
            classes: IMAGENET,
        },
        Model {
            name: "vgg11-bn",
            about: "the same with batch normalisation, as in torchvision",
            spec: vgg::eleven_normalised,
            classes: IMAGENET,
        },
        Model {
            name: "vgg16",
            about: "Simonyan and Zisserman 2014, column D: thirteen convolutions of 3 x 3",
            spec: vgg::sixteen,
            classes: IMAGENET,
        },
        Model {
            name: "vgg16-bn",
            about: "the same with batch normalisation, as in torchvision",
            spec: vgg::sixteen_normalised,
            classes: IMAGENET,
        },
        Model {
            name: "alexnet-64",
            about: "the paper's eight layers for 64 x 64 images and small machines",
            spec: alexnet::small,
            classes: 10,
        },
        Model {
            name: "cifar-80sec",
            about: "cuda-convnet's 26 % net for CIFAR-10",
            spec: cifar::eighty_seconds,
            classes: 10,
        },
        Model {
            name: "cifar-19pct",
            about: "cuda-convnet's 19 % net for CIFAR-10",
            spec: cifar::nineteen_percent,
            classes: 10,
        },
        Model {
            name: "cifar-18pct",
            about: "cuda-convnet's 18 % net for CIFAR-10, normalised within maps",
            spec: cifar::eighteen_percent,
            classes: 10,
        },
        Model {
            name: "cifar-13pct",
            about: "cuda-convnet's 13 % net for CIFAR-10: two convolutions, two untied layers",
            spec: cifar::thirteen_percent,
            classes: 10,
        },
        Model {
            name: "cifar-11pct",
            about: "cuda-convnet's 11 % net for CIFAR-10: wider, and normalised across channels",
            spec: cifar::eleven_percent,
            classes: 10,
        },
    ];
    MODELS
}

/// The model called `name`, with the number of classes of the data set it was designed for.
///
/// # Errors
/// [`UnknownModel`] with the nearest name.
pub fn find(name: &str) -> Result<Spec, UnknownModel> {
    match all().iter().find(|model| model.name == name) {
        Some(model) => Ok((model.spec)(model.classes)),
        None => Err(UnknownModel { name: name.to_string() }),
    }
}

/// There is no model of this name.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownModel {
    /// The unknown name.
    pub name: String,
}

impl fmt::Display for UnknownModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no model `{}`; ", self.name)?;
        let names = all().iter().map(|model| model.name);
        if let Some(near) = layers::nearest(&self.name, names) {
            write!(f, "did you mean `{near}`? ")?;
        }
        write!(f, "(`alexnet describe` lists them all)")
    }
}

impl std::error::Error for UnknownModel {}
