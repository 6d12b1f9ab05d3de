//! Any text as pairs of poses, a line each.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use magpie_daemon::calibration_files::pose::{Units, read};
use serde_json::Value;

fuzz_target!(|text: &str| {
    let units = Units { length_m: 1e-3, angle_rad: 1f64.to_radians(), euler: None };
    for line in text.lines() {
        let Ok(Value::Object(pair)) = serde_json::from_str(line) else { continue };
        // Texts are paths, and no file of this machine is to be opened.
        for pose in pair.values().filter(|value| !value.is_string()) {
            let _ = read(pose, units, Path::new("/nowhere"));
        }
    }
});
