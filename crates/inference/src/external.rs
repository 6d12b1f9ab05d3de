//! Finds what a model would fetch from outside its one file: weights in other files, operators in
//! other libraries. It looks wherever ONNX can put a tensor or a node.

use crate::onnx::{Attribute, GraphProto, Model, Node, SparseTensor, Tensor};
use crate::refusal::Refusal;

/// Operators of these domains come with ONNX Runtime.
const KNOWN_DOMAINS: [&str; 5] =
    ["", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"];

/// Names a file to load a compiled engine from.
const ENGINE_FROM_FILE: &str = "EPContext";

pub(crate) fn check_self_contained(model: &Model) -> Result<(), Refusal> {
    let training = model
        .training_info
        .iter()
        .flat_map(|info| info.initialization.iter().chain(&info.algorithm));
    for graph in model.graph.iter().chain(training) {
        check_graph(graph, model)?;
    }
    for function in &model.functions {
        function.node.iter().try_for_each(|node| check_node(node, model))?;
        function
            .attribute_proto
            .iter()
            .try_for_each(|attribute| check_attribute(attribute, model))?;
    }
    Ok(())
}

/// Recursion is bounded: the decoder refuses more than 100 levels.
fn check_graph(graph: &GraphProto, model: &Model) -> Result<(), Refusal> {
    graph.initializer.iter().try_for_each(check_tensor)?;
    graph.sparse_initializer.iter().try_for_each(check_sparse)?;
    graph.node.iter().try_for_each(|node| check_node(node, model))
}

fn check_node(node: &Node, model: &Model) -> Result<(), Refusal> {
    let own_function = model
        .functions
        .iter()
        .any(|function| function.domain == node.domain && function.name == node.op_type);
    let known = KNOWN_DOMAINS.contains(&node.domain.as_str()) && node.op_type != ENGINE_FROM_FILE;
    if !known && !own_function {
        let (operator, domain) = (node.op_type.clone(), node.domain.clone());
        return Err(Refusal::CustomOperator { operator, domain });
    }
    node.attribute.iter().try_for_each(|attribute| check_attribute(attribute, model))
}

fn check_attribute(attribute: &Attribute, model: &Model) -> Result<(), Refusal> {
    attribute.t.iter().chain(&attribute.tensors).try_for_each(check_tensor)?;
    attribute.sparse_tensor.iter().chain(&attribute.sparse_tensors).try_for_each(check_sparse)?;
    attribute.g.iter().chain(&attribute.graphs).try_for_each(|graph| check_graph(graph, model))
}

fn check_sparse(sparse: &SparseTensor) -> Result<(), Refusal> {
    sparse.values.iter().chain(&sparse.indices).try_for_each(check_tensor)
}

fn check_tensor(tensor: &Tensor) -> Result<(), Refusal> {
    if tensor.data_location == 0 && tensor.external_data.is_empty() {
        return Ok(());
    }
    Err(Refusal::ExternalData { tensor: tensor.name.clone() })
}
