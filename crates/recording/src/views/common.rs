//! What all views share: times, names and colours.

use foxglove::messages::Timestamp;
use magpie_perception::{Package, StampNs};

/// Red, green, blue: the colours of Okabe and Ito, which most eyes tell apart. Each track has one.
const COLORS: [[f64; 3]; 8] = [
    [0.90, 0.62, 0.00],
    [0.34, 0.71, 0.91],
    [0.00, 0.62, 0.45],
    [0.94, 0.89, 0.26],
    [0.00, 0.45, 0.70],
    [0.84, 0.37, 0.00],
    [0.80, 0.47, 0.65],
    [0.78, 0.78, 0.78],
];

pub(crate) fn timestamp(stamp: StampNs) -> Timestamp {
    let sec = u32::try_from(stamp.0 / 1_000_000_000).unwrap_or(u32::MAX);
    let nsec = u32::try_from(stamp.0 % 1_000_000_000).expect("under a billion");
    Timestamp::new(sec, nsec)
}

pub(crate) fn color(track_id: u64) -> [f64; 3] {
    let at = track_id % COLORS.len() as u64;
    COLORS[usize::try_from(at).expect("less than eight")]
}

/// The name of the package's type.
pub(crate) fn type_name<'a>(package: &Package, class_names: &'a [String]) -> &'a str {
    class_names.get(package.instance.class_id).map_or("?", String::as_str)
}
