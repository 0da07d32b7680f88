//! How training images are varied.

use data::{CropMode, Statistics};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How training images are varied.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augment {
    /// Crops at random places; otherwise the centre.
    pub crop: bool,
    /// Mirrors every other image.
    pub mirror: bool,
    /// Standard deviation of the colour shift along the principal components; 0: none.
    pub color: f64,
    /// Whose colour shift.
    pub form: ColorForm,
    /// Crops of random size and shape, resized, in place of those at random places.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resized: Option<ResizedCrop>,
    /// Changes of brightness, contrast, saturation and hue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Jitter>,
}

/// Crops of random size and shape: torchvision's `RandomResizedCrop`, of the stored square.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResizedCrop {
    /// Least and greatest area, as shares of the image's.
    pub area: [f64; 2],
    /// Least and greatest width over height.
    pub aspect: [f64; 2],
}

impl Default for ResizedCrop {
    fn default() -> ResizedCrop {
        let augment::ResizedCrop { area, aspect } = augment::ResizedCrop::default();
        ResizedCrop { area, aspect }
    }
}

/// Strengths as torchvision's `ColorJitter` takes them; 0: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Jitter {
    /// The factor is drawn from one minus this to one plus this.
    pub brightness: f64,
    /// Likewise.
    pub contrast: f64,
    /// Likewise.
    pub saturation: f64,
    /// The turn of the colour circle, up to 0.5 either way.
    pub hue: f64,
}

impl Augment {
    /// Images as they are.
    pub const NONE: Augment = Augment {
        crop: false,
        mirror: false,
        color: 0.0,
        form: ColorForm::Paper,
        resized: None,
        jitter: None,
    };

    /// What is no number, or out of range.
    ///
    /// # Errors
    /// A sentence with the setting's name.
    pub fn check(&self) -> Result<(), String> {
        let wrong = |name: &str, value: &dyn fmt::Debug, wanted: &str| {
            Err(format!("recipe.augment.{name} is {value:?}; it must be {wanted}"))
        };
        if let Some(ResizedCrop { area, aspect }) = self.resized {
            if !(area[0] > 0.0 && area[0] <= area[1] && area[1] <= 1.0) {
                return wrong("resized.area", &area, "two rising shares between 0 and 1");
            }
            if !(aspect[0] > 0.0 && aspect[0] <= aspect[1] && aspect[1].is_finite()) {
                return wrong("resized.aspect", &aspect, "two rising numbers above 0");
            }
        }
        if let Some(Jitter { brightness, contrast, saturation, hue }) = self.jitter {
            let strengths =
                [("brightness", brightness), ("contrast", contrast), ("saturation", saturation)];
            for (name, strength) in strengths {
                if !(strength.is_finite() && strength >= 0.0) {
                    return wrong(&format!("jitter.{name}"), &strength, "at least 0");
                }
            }
            if !(0.0..=0.5).contains(&hue) {
                return wrong("jitter.hue", &hue, "between 0 and 0.5");
            }
        }
        Ok(())
    }

    /// How a loader varies training images: crops of `crop` (height, width), `rows` a batch.
    pub fn plan(&self, rows: usize, crop: (usize, usize), seed: u64) -> data::LoaderPlan {
        let mirror = self.mirror;
        let views = match self.resized {
            Some(ResizedCrop { area, aspect }) => {
                CropMode::Resized { crop: augment::ResizedCrop { area, aspect }, mirror }
            }
            None => CropMode::One { random_place: self.crop, mirror },
        };
        let jitter = self.jitter.map(|jitter| augment::Jitter {
            brightness: jitter.brightness as f32,
            contrast: jitter.contrast as f32,
            saturation: jitter.saturation as f32,
            hue: jitter.hue as f32,
        });
        data::LoaderPlan { views, jitter, ..data::LoaderPlan::training(rows, crop, seed) }
    }

    /// The colour shift, along the components of the training images' colours; `None`: no shift.
    pub fn color_shift(&self, statistics: &Statistics) -> Option<augment::ColorShift> {
        (self.color > 0.0).then(|| {
            let shift = statistics.color_shift(self.color as f32);
            let formula = match self.form {
                ColorForm::Paper => augment::ColorFormula::Paper,
                ColorForm::Source => augment::ColorFormula::Source,
            };
            augment::ColorShift { formula, ..shift }
        })
    }
}

/// Whose colour shift.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColorForm {
    /// Added, as in section 4.1 of the paper.
    Paper,
    /// Added, then the whole divided by one plus its strength, as in the 2012 source.
    Source,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Recipe;
    use crate::recipes;

    #[test]
    fn modern_augmentation_is_a_table_with_defaults() {
        let mut recipe = recipes::paper();
        assert!(!toml::to_string(&recipe).unwrap().contains("resized"));
        recipe.augment.crop = false;
        assert_eq!(recipe.side(227, 227), 227);
        recipe.augment = toml::from_str(
            "crop = false\nmirror = true\ncolor = 0\nform = \"paper\"\n\
             resized = { area = [0.25, 1] }\njitter = { hue = 0.1 }\n",
        )
        .unwrap();
        assert_eq!(recipe.side(227, 227), 256);
        assert_eq!(recipe.augment.check(), Ok(()));
        let plan = recipe.augment.plan(8, (4, 5), 3);
        let crop = augment::ResizedCrop { area: [0.25, 1.0], ..augment::ResizedCrop::default() };
        assert_eq!(plan.views, CropMode::Resized { crop, mirror: true });
        assert_eq!(plan.jitter, Some(augment::Jitter { hue: 0.1, ..augment::Jitter::default() }));
        let text = toml::to_string(&recipe).unwrap();
        assert_eq!(toml::from_str::<Recipe>(&text).unwrap(), recipe, "{text}");
        let plain = recipe.without_augmentation().augment;
        assert_eq!((plain.resized, plain.jitter), (None, None));
    }

    #[test]
    fn augmentation_out_of_range_is_named() {
        let resized =
            |area, aspect| Augment { resized: Some(ResizedCrop { area, aspect }), ..Augment::NONE };
        let jitter = |hue, contrast| Augment {
            jitter: Some(Jitter { hue, contrast, ..Jitter::default() }),
            ..Augment::NONE
        };
        for (augment, name) in [
            (resized([0.5, 0.25], [1.0, 1.0]), "resized.area is [0.5, 0.25]"),
            (resized([0.0, 1.0], [1.0, 1.0]), "resized.area"),
            (resized([0.5, 1.5], [1.0, 1.0]), "resized.area"),
            (resized([0.5, f64::NAN], [1.0, 1.0]), "resized.area"),
            (resized([0.5, 1.0], [0.0, 1.0]), "resized.aspect"),
            (resized([0.5, 1.0], [1.0, f64::INFINITY]), "resized.aspect"),
            (jitter(0.75, 0.0), "jitter.hue is 0.75; it must be between 0 and 0.5"),
            (jitter(0.0, -1.0), "jitter.contrast"),
        ] {
            let said = augment.check().unwrap_err();
            assert!(said.contains(name), "{said}");
        }
    }
}
