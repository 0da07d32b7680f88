//! Who makes the products of a card's fully connected layers.

use crate::fault::{Fault, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tensor::Device;
use tensor::cublaslt::CublasLt;

/// Whose library a card's fully connected layers use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Vendor {
    /// Nobody's: this program's own kernels, whose sums are in an order that shapes fix
    #[default]
    None,
    /// NVIDIA's cuBLASLt, which must be installed: other bits with another version or card
    Cublaslt,
    /// Whichever was fastest on this card when each shape was timed, of this program's kernels, cut
    /// in several ways, and of NVIDIA's libraries that are installed; kept with the run
    Tune,
}

impl Vendor {
    /// Whether it is what there is without being asked for.
    pub fn is_none(&self) -> bool {
        *self == Vendor::None
    }

    /// Has these devices use it, or offers them what there is to be tuned.
    ///
    /// # Errors
    /// Exit code 2 if one is no card, 6 if the library is not there.
    pub fn serve<'a>(self, devices: impl Iterator<Item = &'a mut Device>) -> Result<()> {
        if self.is_none() {
            return Ok(());
        }
        for device in devices {
            let Device::Cuda(cuda) = device else {
                let typed = self.to_possible_value().expect("none is hidden");
                return Err(Fault::usage(format!(
                    "--vendor {} multiplies on cards, and a device of this run is none: use \
                     --device cuda or --vendor none",
                    typed.get_name()
                )));
            };
            match self {
                Vendor::None => {}
                Vendor::Cublaslt => cuda.use_cublaslt(CublasLt::find()?)?,
                Vendor::Tune => CublasLt::find().map_or(Ok(()), |it| cuda.offer_cublaslt(it))?,
            }
        }
        Ok(())
    }
}
