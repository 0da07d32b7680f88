//! A custom layer on an input of a known shape.

use super::{Gradients, Layer, LayerSlots, Phase, Planned};
use crate::custom::{CustomLayer, CustomParameter};
use crate::parameters::Parameter;
use std::sync::Arc;
use tensor::{Device, Result, Shape, Target};

#[derive(Debug)]
pub(crate) struct PlannedCustom {
    layer: Arc<dyn CustomLayer>,
    name: String,
    input: Shape,
    output: Shape,
    parameters: Vec<CustomParameter>,
}

pub(crate) fn plan(
    layer: &Arc<dyn CustomLayer>,
    name: &str,
    input: Shape,
) -> Planned<PlannedCustom> {
    let output = layer.output(input)?;
    let is_matrix_or_maps = matches!(output.dims().len(), 2 | 4);
    if !is_matrix_or_maps || output.dims()[0] != input.dims()[0] {
        return Err(format!(
            "its output is {output} for an input of {input}: it must be images x units or images x \
             height x width x channels, with as many images"
        ));
    }
    let parameters = layer.parameters(input);
    let is_twice = |(idx, entry): (usize, &CustomParameter)| {
        parameters[..idx].iter().any(|other| other.role == entry.role)
    };
    if let Some(role) =
        parameters.iter().enumerate().find(|&entry| is_twice(entry)).map(|(_, entry)| entry.role)
    {
        return Err(format!("two of its parameters have the role `{}`", role.suffix()));
    }
    Ok(PlannedCustom { layer: layer.clone(), name: name.to_string(), input, output, parameters })
}

impl Layer for PlannedCustom {
    fn output(&self) -> Shape {
        self.output
    }

    fn forward(&self, device: &mut Device, slots: &LayerSlots, phase: Phase) -> Result<()> {
        match device {
            Device::Cpu(cpu) => {
                self.layer.forward(cpu, slots, phase);
                Ok(())
            }
            Device::Cuda(cuda) => self.layer.forward_cuda(cuda, slots, phase),
        }
    }

    fn backward(
        &self,
        device: &mut Device,
        slots: &LayerSlots,
        gradients: &Gradients,
    ) -> Result<()> {
        match device {
            Device::Cpu(cpu) => {
                self.layer.backward(cpu, slots, gradients);
                Ok(())
            }
            Device::Cuda(cuda) => self.layer.backward_cuda(cuda, slots, gradients),
        }
    }

    fn reads_output(&self) -> bool {
        self.layer.reads_output()
    }

    fn reads_clock(&self) -> bool {
        self.layer.reads_clock()
    }

    fn parameters(&self) -> Vec<Parameter> {
        let named = |&CustomParameter { role, shape, fan_in, initial }: &CustomParameter| {
            let name = format!("{}.{}", self.name, role.suffix());
            Parameter { name, role, shape, fan_in, initial: Some(initial), start: 0 }
        };
        self.parameters.iter().map(named).collect()
    }

    fn scratch(&self, target: Target) -> usize {
        self.layer.scratch(self.input, target)
    }

    fn macs(&self) -> usize {
        self.layer.macs(self.input)
    }
}
