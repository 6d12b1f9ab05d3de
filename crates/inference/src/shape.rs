//! Inputs and outputs of the graph, as the file declares them.

use std::fmt::Debug;

use crate::onnx::{GraphProto, Shape, TensorType, ValueInfo, dimension::Value};
use crate::refusal::Refusal;

/// `TensorProto.DataType`.
pub(crate) const FLOAT32: i32 = 1;
pub(crate) const UINT8: i32 = 2;
pub(crate) const FLOAT16: i32 = 10;

/// One input or output with a concrete shape, such as `Vec<usize>` or, of known rank, `[usize; 4]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port<S> {
    pub(crate) name: String,
    pub(crate) element_type: i32,
    pub(crate) shape: S,
}

impl Port<Vec<usize>> {
    fn new(info: &ValueInfo) -> Result<Port<Vec<usize>>, Refusal> {
        let tensor = info.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref());
        let Some(TensorType { elem_type, shape: Some(shape) }) = tensor else {
            let found = format!("{:?} is not a tensor of a known rank", info.name);
            return Err(Refusal::UnknownLayout { found });
        };
        let sizes = shape.dim.iter().map(|dim| match dim.value {
            Some(Value::DimValue(size)) => usize::try_from(size).ok().filter(|size| *size > 0),
            _ => None,
        });
        let Some(shape) = sizes.collect::<Option<Vec<usize>>>() else {
            let (tensor, found) = (quoted(&info.name), open_shape(shape));
            return Err(Refusal::OpenShape { tensor, found });
        };
        Ok(Port { name: info.name.clone(), element_type: *elem_type, shape })
    }

    /// Returns `None` if the port has another rank.
    pub(crate) fn of_rank<const RANK: usize>(&self) -> Option<Port<[usize; RANK]>> {
        let shape = self.shape.as_slice().try_into().ok()?;
        Some(Port { name: self.name.clone(), element_type: self.element_type, shape })
    }
}

impl<S: Debug> Port<S> {
    pub(crate) fn expect_floats(&self, expected: &'static str) -> Result<(), Refusal> {
        if matches!(self.element_type, FLOAT32 | FLOAT16) {
            return Ok(());
        }
        let found = element_name(self.element_type);
        Err(Refusal::ElementType { tensor: quoted(&self.name), found, expected })
    }

    pub(crate) fn wrong_shape(&self, expected: String) -> Refusal {
        let (tensor, found) = (quoted(&self.name), format!("{:?}", self.shape));
        Refusal::WrongShape { tensor, found, expected }
    }
}

fn quoted(name: &str) -> String {
    format!("{name:?}")
}

fn open_shape(shape: &Shape) -> String {
    let sizes = shape.dim.iter().map(|dim| match &dim.value {
        Some(Value::DimValue(size)) => size.to_string(),
        Some(Value::DimParam(name)) => name.clone(),
        None => "?".to_owned(),
    });
    format!("[{}]", sizes.collect::<Vec<_>>().join(", "))
}

pub(crate) fn element_name(code: i32) -> String {
    let name = match code {
        FLOAT32 => "float32",
        UINT8 => "uint8",
        3 => "int8",
        5 => "int16",
        6 => "int32",
        7 => "int64",
        9 => "bool",
        FLOAT16 => "float16",
        11 => "float64",
        16 => "bfloat16",
        code => return format!("element type {code}"),
    };
    name.to_owned()
}

/// The graph's ports in their roles; outputs are told apart by rank, never by order.
#[derive(Clone)]
pub(crate) struct Ports {
    pub(crate) image: Port<Vec<usize>>,
    /// `[batch, channels, anchors]`
    pub(crate) predictions: Port<[usize; 3]>,
    /// `[batch, coefficients, height, width]`
    pub(crate) prototypes: Port<[usize; 4]>,
}

impl Ports {
    /// Refuses a graph that has not one input, and one output of each rank.
    pub(crate) fn of(graph: &GraphProto) -> Result<Ports, Refusal> {
        // Old exporters list weights among the inputs as well.
        let weight = |info: &&ValueInfo| graph.initializer.iter().any(|t| t.name == info.name);
        let inputs: Vec<&ValueInfo> = graph.input.iter().filter(|info| !weight(info)).collect();
        let [image] = inputs[..] else {
            let found = format!("{} inputs", inputs.len());
            return Err(Refusal::UnknownLayout { found });
        };
        let image = Port::new(image)?;
        if graph.output.len() != 2 {
            return Err(other_outputs(graph));
        }
        let outputs = graph.output.iter().map(Port::new).collect::<Result<Vec<_>, _>>()?;
        let predictions = outputs.iter().find_map(Port::of_rank);
        let prototypes = outputs.iter().find_map(Port::of_rank);
        let Some((predictions, prototypes)) = predictions.zip(prototypes) else {
            return Err(other_outputs(graph));
        };
        Ok(Ports { image, predictions, prototypes })
    }
}

fn other_outputs(graph: &GraphProto) -> Refusal {
    let shape = |info: &ValueInfo| {
        let tensor = info.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref());
        tensor.and_then(|tensor| tensor.shape.as_ref()).map_or_else(|| "?".to_owned(), open_shape)
    };
    let shapes: Vec<String> = graph.output.iter().map(shape).collect();
    let (shapes, of_another) = (shapes.join(", "), graph.output.len() > 2);
    let other =
        if of_another { ", as of Mask R-CNN or RTMDet-Ins, which are not read" } else { "" };
    Refusal::UnknownLayout { found: format!("outputs {shapes}{other}") }
}
