//! Generates the reader of the ONNX subset; no `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let descriptors = protox::compile(["proto/onnx_subset.proto"], ["proto"])?;
    println!("cargo::rerun-if-changed=proto");
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}
