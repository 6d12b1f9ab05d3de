//! Any bytes as a model.
#![no_main]

use libfuzzer_sys::fuzz_target;
use magpie_inference::ModelFile;

fuzz_target!(|bytes: &[u8]| {
    let _ = ModelFile::from_bytes("fuzzed", bytes.to_vec(), None);
});
