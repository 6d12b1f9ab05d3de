//! The part of ONNX that is read here, generated from `proto/onnx_subset.proto`.

#![allow(unreachable_pub, reason = "generated")]

include!(concat!(env!("OUT_DIR"), "/onnx_subset.rs"));
