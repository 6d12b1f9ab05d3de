//! Makes Rust types, their coding and their type hashes from the definitions in `msg/`.

#[path = "build/definition.rs"]
mod definition;
#[path = "build/generate.rs"]
mod generate;
#[path = "build/type_hash.rs"]
mod type_hash;

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=msg");
    println!("cargo:rerun-if-changed=build");
    let definitions = definition::read_all(Path::new("msg"))?;
    let out = PathBuf::from(env::var("OUT_DIR")?).join("messages.rs");
    fs::write(out, generate::generate(&definitions))?;
    Ok(())
}
