//! Compiles the schema with `protox`, so that no `protoc` is needed.

use std::path::PathBuf;
use std::{env, fs};

use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = ["packages", "status", "camera_info", "image_header", "outcomes"]
        .map(|name| format!("proto/magpie/v1/{name}.proto"));
    let descriptors = protox::compile(files, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?).join("magpie_v1.binpb");
    fs::write(out, descriptors.encode_to_vec())?;
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}
