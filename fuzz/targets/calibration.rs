//! Any text as what `magpie calibrate hand-eye` wrote.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use magpie_daemon::calibration_files::HandEyeFile;

fuzz_target!(|text: &str| {
    let _ = HandEyeFile::parse(Path::new("fuzzed"), text);
});
