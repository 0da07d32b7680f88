//! How training images are varied.

use super::policies::{Erase, MAGNITUDES, RandAugment};
use crate::defaults::is_default;
use augment::{Interpolation, Mixing, Policy};
use data::{Changes, CropMode, Rotation, Statistics};
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
    /// Flips this share of images upside down.
    #[serde(rename = "vertical-flip", default, skip_serializing_if = "is_default")]
    pub vertical_flip: f64,
    /// Rotates by an angle up to this, either way, in degrees.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rotate: f64,
    /// Applies random operations.
    #[serde(rename = "rand-augment", default, skip_serializing_if = "Option::is_none")]
    pub rand_augment: Option<RandAugment>,
    /// Applies one random operation of random magnitude.
    #[serde(rename = "trivial-augment", default, skip_serializing_if = "is_default")]
    pub trivial_augment: bool,
    /// How rotations and operations sample pixels.
    #[serde(default, skip_serializing_if = "is_default")]
    pub interpolation: Interpolation,
    /// Makes this share of images grey.
    #[serde(default, skip_serializing_if = "is_default")]
    pub grayscale: f64,
    /// Erases rectangles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erase: Option<Erase>,
    /// Blends pairs of images, with weights from Beta(alpha, alpha); 0: off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mixup: Option<f64>,
    /// Replaces a rectangle by another image's, of a share of the area from Beta(alpha, alpha);
    /// 0: off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cutmix: Option<f64>,
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
        vertical_flip: 0.0,
        rotate: 0.0,
        rand_augment: None,
        trivial_augment: false,
        interpolation: Interpolation::Nearest,
        grayscale: 0.0,
        erase: None,
        mixup: None,
        cutmix: None,
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
        if let Some(Erase { area, aspect, .. }) = self.erase {
            if !(area[0] >= 0.0 && area[0] <= area[1] && area[1] <= 1.0) {
                return wrong("erase.area", &area, "two rising shares from 0 to 1");
            }
            if !(aspect[0] > 0.0 && aspect[0] <= aspect[1] && aspect[1].is_finite()) {
                return wrong("erase.aspect", &aspect, "two rising numbers above 0");
            }
        }
        if self.trivial_augment && self.rand_augment.is_some() {
            let told = "recipe.augment has rand-augment and trivial-augment; choose one of them";
            return Err(told.to_string());
        }
        Ok(())
    }

    /// Whether images are mixed in pairs.
    pub fn is_mixing(&self) -> bool {
        self.mixing() != Mixing::default()
    }

    /// Whether pixels are replaced by the mean.
    pub fn erases_with_mean(&self) -> bool {
        self.erase.is_some_and(|erase| erase.erasing().fill == augment::EraseFill::Mean)
    }

    fn mixing(&self) -> Mixing {
        let used = |alpha: Option<f64>| alpha.filter(|&alpha| alpha > 0.0);
        Mixing { mixup: used(self.mixup), cutmix: used(self.cutmix) }
    }

    /// The changes of crops.
    fn changes(&self) -> Changes {
        let policy = match self.rand_augment {
            Some(RandAugment { ops, magnitude }) => {
                Some(Policy::RandAugment { ops, magnitude, bins: MAGNITUDES })
            }
            None if self.trivial_augment => Some(Policy::TrivialAugmentWide { bins: MAGNITUDES }),
            None => None,
        };
        let (degrees, interpolation) = (self.rotate, self.interpolation);
        Changes {
            vertical_flip: self.vertical_flip,
            rotation: (degrees > 0.0).then_some(Rotation { degrees, interpolation }),
            policy: policy.map(|policy| (policy, interpolation)),
            jitter: self.jitter.map(|jitter| augment::Jitter {
                brightness: jitter.brightness as f32,
                contrast: jitter.contrast as f32,
                saturation: jitter.saturation as f32,
                hue: jitter.hue as f32,
            }),
            grayscale: self.grayscale,
            erasing: self.erase.map(|erase| erase.erasing()),
        }
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
        let (changes, mixing) = (self.changes(), self.mixing());
        let training = data::LoaderPlan::training(rows, crop, seed);
        data::LoaderPlan { views, changes, mixing, ..training }
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
        assert_eq!(
            plan.changes.jitter,
            Some(augment::Jitter { hue: 0.1, ..augment::Jitter::default() })
        );
        let text = toml::to_string(&recipe).unwrap();
        assert_eq!(toml::from_str::<Recipe>(&text).unwrap(), recipe, "{text}");
        let plain = recipe.without_augmentation().augment;
        assert_eq!((plain.resized, plain.jitter), (None, None));
    }

    #[test]
    fn later_methods_are_settings_with_defaults() {
        let mut recipe = recipes::paper();
        let plain = toml::to_string(&recipe.augment).unwrap();
        assert_eq!(plain, "crop = true\nmirror = true\ncolor = 0.1\nform = \"paper\"\n");
        let text = format!(
            "{plain}rotate = 15\nvertical-flip = 0.5\ngrayscale = 0.1\nmixup = 0.2\n\
             interpolation = \"bilinear\"\nrand-augment = {{ magnitude = 5 }}\n\
             erase = {{ probability = 0.25, value = [1, 2, 3] }}\n"
        );
        recipe.augment = toml::from_str(&text).unwrap();
        recipe.check().unwrap();
        let plan = recipe.augment.plan(8, (4, 5), 3);
        let bilinear = Interpolation::Bilinear;
        let rotation = Rotation { degrees: 15.0, interpolation: bilinear };
        let policy = Policy::RandAugment { ops: 2, magnitude: 5, bins: 31 };
        let erasing = augment::Erasing {
            probability: 0.25,
            fill: augment::EraseFill::Color([1, 2, 3]),
            ..augment::Erasing::default()
        };
        let wanted = Changes {
            vertical_flip: 0.5,
            rotation: Some(rotation),
            policy: Some((policy, bilinear)),
            jitter: None,
            grayscale: 0.1,
            erasing: Some(erasing),
        };
        assert_eq!(plan.changes, wanted);
        assert_eq!(plan.mixing, Mixing { mixup: Some(0.2), cutmix: None });
        assert!(recipe.has_dense_targets() && !recipe.augment.erases_with_mean());
        let text = toml::to_string(&recipe).unwrap();
        assert_eq!(toml::from_str::<Recipe>(&text).unwrap(), recipe, "{text}");
        let plain = recipe.clone().without_augmentation();
        assert!(!plain.has_dense_targets());
        assert_eq!(plain.augment.changes(), Changes::default());

        recipe.augment.erase = Some(Erase::default());
        assert!(recipe.augment.erases_with_mean());
        recipe.augment.trivial_augment = true;
        let said = recipe.check().unwrap_err().to_string();
        assert!(said.contains("choose one of them"), "{said}");
        let wrong = toml::from_str::<Erase>("value = \"black\"").unwrap_err().to_string();
        assert!(wrong.contains("\"mean\", \"random\" or a colour"), "{wrong}");
    }

    #[test]
    fn augmentation_out_of_range_is_named() {
        let resized =
            |area, aspect| Augment { resized: Some(ResizedCrop { area, aspect }), ..Augment::NONE };
        let jitter = |hue, contrast| Augment {
            jitter: Some(Jitter { hue, contrast, ..Jitter::default() }),
            ..Augment::NONE
        };
        let erase = |area, aspect| Augment {
            erase: Some(Erase { area, aspect, ..Erase::default() }),
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
            (erase([0.5, 0.25], [1.0, 1.0]), "erase.area is [0.5, 0.25]"),
            (erase([0.1, f64::NAN], [1.0, 1.0]), "erase.area"),
            (erase([0.1, 0.2], [0.0, 1.0]), "erase.aspect"),
        ] {
            let said = augment.check().unwrap_err();
            assert!(said.contains(name), "{said}");
        }
    }
}
