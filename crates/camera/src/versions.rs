//! Which versions of the libraries this crate runs on.

use crate::live::pipeline::initialise;

/// Names and versions, for a report; what cannot be told says why.
pub fn library_versions() -> [(&'static str, String); 2] {
    let opencv = opencv::core::get_version_string().unwrap_or_else(|error| error.to_string());
    let gstreamer = match initialise() {
        Ok(()) => {
            let (major, minor, micro, _) = gstreamer::version();
            format!("{major}.{minor}.{micro}")
        }
        Err(problem) => problem.to_string(),
    };
    [("OpenCV", opencv), ("GStreamer", gstreamer)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_with_dots() {
        for (name, version) in library_versions() {
            let parts: Vec<&str> = version.split('.').collect();
            assert!(parts.len() >= 3 && parts[0].parse::<u32>().is_ok(), "{name} {version}");
        }
    }
}
