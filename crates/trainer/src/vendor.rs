//! Which libraries compute the convolutions and fully connected layers on a GPU.

use crate::fault::{Fault, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tensor::cublaslt::CublasLt;
use tensor::cudnn::Cudnn;
use tensor::{Device, Precision};

/// The libraries that a GPU uses. NVIDIA's must be installed; their results depend on the library
/// version and the GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Vendor {
    /// This program's own kernels, whose summation order depends on shapes only
    #[default]
    None,
    /// NVIDIA's cuBLASLt, for fully connected layers
    Cublaslt,
    /// NVIDIA's cuDNN, for convolutions, in f32 and tf32
    Cudnn,
    /// Both of NVIDIA's
    Nvidia,
    /// For each shape the fastest on this GPU, of this program's kernels with several tilings and
    /// of the installed libraries; the choices are saved with the run
    Tune,
}

impl Vendor {
    /// Whether it is the default.
    pub fn is_none(&self) -> bool {
        *self == Vendor::None
    }

    /// As it is typed.
    fn typed(self) -> String {
        let value = self.to_possible_value().expect("no value is hidden");
        format!("--vendor {}", value.get_name())
    }

    /// Selects the libraries on these devices, or offers them for tuning. Limitations are reported
    /// to `say`.
    ///
    /// # Errors
    /// Exit code 2 if one is no GPU, 6 if a library is not there.
    pub fn serve<'a>(
        self,
        devices: impl Iterator<Item = &'a mut Device>,
        say: &mut dyn FnMut(&str),
    ) -> Result<()> {
        if self.is_none() {
            return Ok(());
        }
        let mut rounds = false;
        for device in devices {
            let Device::Cuda(cuda) = device else {
                return Err(Fault::usage(format!(
                    "{} multiplies on GPUs, and a device of this run is none: use --device cuda \
                     or --vendor none",
                    self.typed()
                )));
            };
            if matches!(self, Vendor::Cublaslt | Vendor::Nvidia) {
                cuda.use_cublaslt(CublasLt::find()?)?;
            }
            if matches!(self, Vendor::Cudnn | Vendor::Nvidia) {
                cuda.use_cudnn(Cudnn::find()?)?;
                rounds |= cuda.precision() == Precision::Bf16;
            }
            if self == Vendor::Tune {
                // One that is not installed is none of the ways, and neither is one that fails.
                let cublaslt = CublasLt::find().map_or(Ok(()), |it| cuda.offer_cublaslt(it));
                let cudnn = Cudnn::find().map_or(Ok(()), |it| cuda.offer_cudnn(it));
                for why in [cublaslt, cudnn].into_iter().filter_map(tensor::Result::err) {
                    say(&format!("tuning  {why}"));
                }
            }
        }
        if rounds {
            say("cuDNN does not multiply floats in bf16: convolutions are this program's own");
        }
        Ok(())
    }
}
