//! Any bytes as a recording: every frame of it, and what else it holds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use magpie_perception::FrameSource;
use magpie_recording::{FrameReader, Playback};

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut reader) = FrameReader::from_bytes("fuzzed", bytes.to_vec(), Playback::default())
    else {
        return;
    };
    while let Ok(Some(_)) = reader.next_frame() {}
    let _ = reader.losses().to_string();
});
