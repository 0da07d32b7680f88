//! Explanations of a class as pictures laid over the network's input.

use augment::Image;
use inference::explain::{Explainer, Occlusion, occlusion};
use inference::{Model, Predictor};
use report::explain::{gradient, heat, signed};

/// A kind of explanation: [`inference::explain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The maps of the last convolution, weighted by the gradients of the class score.
    GradCam,
    /// Guided backpropagation to the input.
    Saliency,
    /// How much less probable the class is where a square covers the image.
    Occlusion,
}

impl Method {
    /// All methods, in the order in which they are shown.
    pub const ALL: [Method; 3] = [Method::GradCam, Method::Saliency, Method::Occlusion];

    /// Its name in requests.
    pub fn name(self) -> &'static str {
        match self {
            Method::GradCam => "grad-cam",
            Method::Saliency => "saliency",
            Method::Occlusion => "occlusion",
        }
    }

    /// Its name for people.
    pub fn title(self) -> &'static str {
        match self {
            Method::GradCam => "Grad-CAM",
            Method::Saliency => "Saliency",
            Method::Occlusion => "Occlusion",
        }
    }

    /// The method of this name.
    ///
    /// # Errors
    /// A message with the names, if there is none.
    pub fn find(name: &str) -> Result<Method, String> {
        let found = Method::ALL.into_iter().find(|method| method.name() == name);
        let names = Method::ALL.map(Method::name).join(", ");
        found.ok_or_else(|| format!("method={name}: must be one of {names}"))
    }
}

/// The network with its backward pass. Its memory is planned when the server is opened.
pub struct Explanations {
    explainer: Explainer,
    /// The layer of Grad-CAM; `None` if the network has no convolution.
    pub layer: Option<String>,
}

impl Explanations {
    /// Explanations by this network.
    pub fn new(explainer: Explainer) -> Explanations {
        let layer = explainer.last_convolution().map(str::to_string);
        Explanations { explainer, layer }
    }

    /// Whether the network has this kind: Grad-CAM needs a convolution.
    pub fn has(&self, method: Method) -> bool {
        method != Method::GradCam || self.layer.is_some()
    }

    /// The picture for a class of a [square](Model::square) image; `None` if the network has no such
    /// kind, or `is_wanted` returns false, which it is asked between squares of the occlusion.
    ///
    /// # Errors
    /// If the device fails.
    pub fn picture(
        &mut self,
        predictor: &mut Predictor,
        model: &Model,
        (square, class): (&Image, usize),
        method: Method,
        is_wanted: &dyn Fn() -> bool,
    ) -> inference::Result<Option<Image>> {
        let (height, width) = model.crop();
        let image = model.centre(&square.pixels, (square.height, square.width));
        Ok(match method {
            Method::GradCam => {
                let Some(layer) = self.layer.as_deref() else { return Ok(None) };
                let map = self.explainer.grad_cam(square, class, layer)?;
                Some(heat(&image, &map.resized(height, width).values))
            }
            Method::Saliency => {
                let values = self.explainer.saliency(square, class, true)?;
                Some(gradient(&values, height, width))
            }
            Method::Occlusion => {
                let squares = Occlusion::of((height, width));
                let mut watch = |_, _| is_wanted();
                let map = occlusion(predictor, model, square, class, squares, &mut watch)?;
                map.map(|map| signed(&image, &map.values))
            }
        })
    }
}
