//! Any text as a configuration.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use magpie_daemon::config::Config;

fuzz_target!(|text: &str| {
    let _ = Config::parse(Path::new("/nowhere/magpie.toml"), text);
});
