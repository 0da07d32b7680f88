//! Two custom layers, with both halves: one without parameters, one with.

use alexnet_layers::custom::{CustomLayer, CustomParameter};
use alexnet_layers::init::Initializer;
use alexnet_layers::{Gradients, LayerSlots, Phase, Role};
use serde::{Deserialize, Serialize};
use tensor::{Cpu, Cuda, Grid, Image, Operand, Result, Shape, Slot};

static KERNELS: Image = Image { op: "custom", bytes: include_bytes!("custom.fatbin") };

/// x / (1 + exp(-beta x)), Ramachandran et al. 2017.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Swish {
    pub beta: f32,
}

impl CustomLayer for Swish {
    fn kind(&self) -> &'static str {
        "swish"
    }

    fn summary(&self) -> String {
        format!("x / (1 + exp(-{} x))", self.beta)
    }

    fn output(&self, input: Shape) -> std::result::Result<Shape, String> {
        Ok(input)
    }

    fn reads_output(&self) -> bool {
        false
    }

    fn forward(&self, cpu: &mut Cpu, slots: &LayerSlots, _: Phase) {
        let [x, y] = cpu.floats([slots.x, slots.y]);
        y.iter_mut().zip(&*x).for_each(|(y, x)| *y = x / (1.0 + (-self.beta * x).exp()));
    }

    fn backward(&self, cpu: &mut Cpu, slots: &LayerSlots, gradients: &Gradients) {
        let Some(dx) = gradients.dx else { return };
        let [x, dy, dx] = cpu.floats([slots.x, gradients.dy, dx]);
        for ((dx, dy), x) in dx.iter_mut().zip(&*dy).zip(&*x) {
            let s = 1.0 / (1.0 + (-self.beta * x).exp());
            *dx = dy * (s + self.beta * x * s * (1.0 - s));
        }
    }

    fn forward_cuda(&self, cuda: &mut Cuda, slots: &LayerSlots, _: Phase) -> Result<()> {
        let &LayerSlots { x, y, .. } = slots;
        let n = x.len() as u64;
        let operands =
            [Operand::Value(&self.beta), Operand::Read(x), Operand::Write(y), Operand::Value(&n)];
        cuda.launch_on(&KERNELS, "custom_swish_forward", Grid::over(x.len()), &operands)
    }

    fn backward_cuda(
        &self,
        cuda: &mut Cuda,
        slots: &LayerSlots,
        gradients: &Gradients,
    ) -> Result<()> {
        let Some(dx) = gradients.dx else { return Ok(()) };
        let n = dx.len() as u64;
        let operands = [
            Operand::Value(&self.beta),
            Operand::Read(slots.x),
            Operand::Read(gradients.dy),
            Operand::Write(dx),
            Operand::Value(&n),
        ];
        cuda.launch_on(&KERNELS, "custom_swish_backward", Grid::over(dx.len()), &operands)
    }
}

/// y = x times a learned scale for each channel.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelScale {}

impl CustomLayer for ChannelScale {
    fn kind(&self) -> &'static str {
        "channel_scale"
    }

    fn output(&self, input: Shape) -> std::result::Result<Shape, String> {
        match input.dims() {
            [_, _, _, _] => Ok(input),
            _ => Err(format!("its input is {input}, which has no channels")),
        }
    }

    fn parameters(&self, input: Shape) -> Vec<CustomParameter> {
        let shape = Shape::from([channels(input)]);
        let initial = Initializer::Constant(1.5);
        vec![CustomParameter { role: Role::Scale, shape, fan_in: 1, initial }]
    }

    fn forward(&self, cpu: &mut Cpu, slots: &LayerSlots, _: Phase) {
        let [x, scale, y] = cpu.floats([slots.x, slots.parameters[0], slots.y]);
        let pixels = y.chunks_exact_mut(scale.len()).zip(x.chunks_exact(scale.len()));
        for (y, x) in pixels {
            y.iter_mut().zip(x.iter().zip(&*scale)).for_each(|(y, (x, scale))| *y = x * scale);
        }
    }

    fn backward(&self, cpu: &mut Cpu, slots: &LayerSlots, gradients: &Gradients) {
        let [x, dy, d_scale] = cpu.floats([slots.x, gradients.dy, gradients.parameters[0]]);
        let channels = d_scale.len();
        for (channel, d_scale) in d_scale.iter_mut().enumerate() {
            let of_channel = x.iter().zip(&*dy).skip(channel).step_by(channels);
            let sum: f64 = of_channel.map(|(&x, &dy)| f64::from(x) * f64::from(dy)).sum();
            *d_scale = sum as f32;
        }
        let Some(dx) = gradients.dx else { return };
        let [scale, dy, dx] = cpu.floats([slots.parameters[0], gradients.dy, dx]);
        for (dx, dy) in dx.chunks_exact_mut(channels).zip(dy.chunks_exact(channels)) {
            dx.iter_mut()
                .zip(dy.iter().zip(&*scale))
                .for_each(|(dx, (dy, scale))| *dx = dy * scale);
        }
    }

    fn forward_cuda(&self, cuda: &mut Cuda, slots: &LayerSlots, _: Phase) -> Result<()> {
        scale(cuda, slots.x, slots.parameters[0], slots.y)
    }

    fn backward_cuda(
        &self,
        cuda: &mut Cuda,
        slots: &LayerSlots,
        gradients: &Gradients,
    ) -> Result<()> {
        let (x, dy, d_scale) = (slots.x, gradients.dy, gradients.parameters[0]);
        let (n, channels) = (x.len() as u64, d_scale.len() as u32);
        let operands = [
            Operand::Read(x),
            Operand::Read(dy),
            Operand::Write(d_scale),
            Operand::Value(&n),
            Operand::Value(&channels),
        ];
        let grid = Grid::over(d_scale.len());
        cuda.launch_on(&KERNELS, "custom_scale_backward", grid, &operands)?;
        match gradients.dx {
            Some(dx) => scale(cuda, dy, slots.parameters[0], dx),
            None => Ok(()),
        }
    }
}

fn scale(cuda: &mut Cuda, x: Slot, scale: Slot, y: Slot) -> Result<()> {
    let (n, channels) = (x.len() as u64, scale.len() as u32);
    let operands = [
        Operand::Read(x),
        Operand::Read(scale),
        Operand::Write(y),
        Operand::Value(&n),
        Operand::Value(&channels),
    ];
    cuda.launch_on(&KERNELS, "custom_scale_forward", Grid::over(x.len()), &operands)
}

fn channels(input: Shape) -> usize {
    input.dims().last().copied().unwrap_or(1)
}
