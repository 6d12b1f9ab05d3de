//! Any text as a lens, and rays through it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use magpie_camera::parse_camera_info;

fuzz_target!(|text: &str| {
    if let Ok(info) = parse_camera_info(text, None) {
        for corner in [(0.0, 0.0), (f64::from(info.width_px), f64::from(info.height_px))] {
            let ray = info.ray(corner.0, corner.1);
            assert!(ray.iter().all(|part| part.is_finite()), "{ray:?}");
        }
    }
});
