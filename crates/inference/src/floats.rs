//! A tensor of floats for us, which the model may take or give as halves.

use half::f16;
use half::slice::HalfFloatSliceExt;
use ort::memory::Allocator;
use ort::session::IoBinding;
use ort::value::Tensor;

use crate::shape::{FLOAT16, Port};

#[derive(Debug)]
pub(crate) enum Floats {
    Single(Tensor<f32>),
    /// `values` is what we read and write; `tensor` is what ONNX Runtime does.
    Half {
        values: Vec<f32>,
        tensor: Tensor<f16>,
    },
}

impl Floats {
    pub(crate) fn new<S: AsRef<[usize]>>(
        allocator: &Allocator,
        port: &Port<S>,
    ) -> ort::Result<Floats> {
        let shape = port.shape.as_ref();
        if port.element_type == FLOAT16 {
            let values = vec![0.0; shape.iter().product()];
            return Ok(Floats::Half { values, tensor: Tensor::new(allocator, shape)? });
        }
        Ok(Floats::Single(Tensor::new(allocator, shape)?))
    }

    pub(crate) fn values(&self) -> &[f32] {
        match self {
            Floats::Single(tensor) => tensor.extract_tensor().1,
            Floats::Half { values, .. } => values,
        }
    }

    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        match self {
            Floats::Single(tensor) => tensor.extract_tensor_mut().1,
            Floats::Half { values, .. } => values,
        }
    }

    /// Binds the tensor as the model's input. On the CPU, later changes to it are seen without
    /// binding again.
    pub(crate) fn bind_input(&self, binding: &mut IoBinding, name: &str) -> ort::Result<()> {
        match self {
            Floats::Single(tensor) => binding.bind_input(name, tensor),
            Floats::Half { tensor, .. } => binding.bind_input(name, tensor),
        }
    }

    /// Shared, not moved: ONNX Runtime writes into the tensor that is read here.
    pub(crate) fn bind_output(&mut self, binding: &mut IoBinding, name: &str) -> ort::Result<()> {
        match self {
            Floats::Single(tensor) => binding.bind_output(name, tensor),
            Floats::Half { tensor, .. } => binding.bind_output(name, tensor),
        }
    }

    /// Brings what we wrote to where ONNX Runtime reads.
    pub(crate) fn hand_over(&mut self) {
        if let Floats::Half { values, tensor } = self {
            tensor.extract_tensor_mut().1.convert_from_f32_slice(values);
        }
    }

    /// Brings what ONNX Runtime wrote to where we read.
    pub(crate) fn take_over(&mut self) {
        if let Floats::Half { values, tensor } = self {
            tensor.extract_tensor().1.convert_to_f32_slice(values);
        }
    }
}
