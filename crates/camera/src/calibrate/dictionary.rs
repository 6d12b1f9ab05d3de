//! Sets of ArUco markers, by OpenCV's names.

use std::fmt;
use std::str::FromStr;

use opencv::aruco;
use opencv::core::{Mat, Ptr};
use opencv::prelude::*;

use super::errors::CalibrateError;

/// OpenCV's predefined dictionaries, each with its name, its number and its count of markers.
const NAMES: [(&str, i32, usize); 21] = [
    ("DICT_4X4_50", 0, 50),
    ("DICT_4X4_100", 1, 100),
    ("DICT_4X4_250", 2, 250),
    ("DICT_4X4_1000", 3, 1000),
    ("DICT_5X5_50", 4, 50),
    ("DICT_5X5_100", 5, 100),
    ("DICT_5X5_250", 6, 250),
    ("DICT_5X5_1000", 7, 1000),
    ("DICT_6X6_50", 8, 50),
    ("DICT_6X6_100", 9, 100),
    ("DICT_6X6_250", 10, 250),
    ("DICT_6X6_1000", 11, 1000),
    ("DICT_7X7_50", 12, 50),
    ("DICT_7X7_100", 13, 100),
    ("DICT_7X7_250", 14, 250),
    ("DICT_7X7_1000", 15, 1000),
    ("DICT_ARUCO_ORIGINAL", 16, 1024),
    ("DICT_APRILTAG_16h5", 17, 30),
    ("DICT_APRILTAG_25h9", 18, 35),
    ("DICT_APRILTAG_36h10", 19, 2320),
    ("DICT_APRILTAG_36h11", 20, 587),
];

/// One of OpenCV's predefined dictionaries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Dictionary {
    index: usize,
}

impl Dictionary {
    /// Lists all dictionaries; those of one marker size are parts of one another, smallest first.
    pub fn all() -> impl Iterator<Item = Dictionary> {
        (0..NAMES.len()).map(|index| Dictionary { index })
    }

    pub fn name(self) -> &'static str {
        NAMES[self.index].0
    }

    /// Returns how many markers there are.
    pub fn markers(self) -> usize {
        NAMES[self.index].2
    }

    pub(crate) fn open_cv(self) -> Result<Ptr<aruco::Dictionary>, opencv::Error> {
        aruco::Dictionary::get(NAMES[self.index].1)
    }

    /// Returns the modules of a marker with its black border, row by row; `true` is white.
    pub fn modules(self, id: usize) -> Result<Vec<Vec<bool>>, CalibrateError> {
        let dictionary = self.open_cv()?;
        let side = dictionary.marker_size() + 2;
        let id = i32::try_from(id).expect("marker numbers are small");
        let mut image = Mat::default();
        aruco::draw_marker(&dictionary, id, side, &mut image, 1)?;
        let row = |y: i32| -> Result<Vec<bool>, opencv::Error> {
            Ok(image.at_row::<u8>(y)?.iter().map(|&value| value > 127).collect())
        };
        Ok((0..side).map(row).collect::<Result<_, _>>()?)
    }
}

impl FromStr for Dictionary {
    type Err = String;

    /// Takes upper and lower case for the same; `DICT_` may be left out.
    fn from_str(text: &str) -> Result<Dictionary, String> {
        let wanted = text.to_ascii_uppercase();
        let matches = |name: &str| {
            let name = name.to_ascii_uppercase();
            name == wanted || name.strip_prefix("DICT_") == Some(&wanted)
        };
        NAMES
            .iter()
            .position(|(name, ..)| matches(name))
            .map(|index| Dictionary { index })
            .ok_or_else(|| {
                let names: Vec<_> = NAMES.iter().map(|(name, ..)| *name).collect();
                format!("there is no dictionary {text:?}; there are {}", names.join(", "))
            })
    }
}

impl fmt::Display for Dictionary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_cvs_names_are_understood_and_others_answered_with_the_list() {
        for name in ["DICT_4X4_50", "dict_4x4_50", "4X4_50"] {
            assert_eq!(name.parse::<Dictionary>().unwrap().name(), "DICT_4X4_50");
        }
        let message = "DICT_3X3".parse::<Dictionary>().unwrap_err();
        assert!(message.contains("DICT_APRILTAG_36h11"), "{message}");
    }

    #[test]
    fn a_marker_has_a_black_border_and_as_many_as_were_said_exist() {
        for dictionary in Dictionary::all() {
            let modules = dictionary.modules(dictionary.markers() - 1).unwrap();
            let side = modules.len();
            assert!(modules[0].iter().chain(&modules[side - 1]).all(|white| !white));
            assert!(modules.iter().flatten().any(|&white| white));
            assert_eq!(
                dictionary.open_cv().unwrap().bytes_list().rows(),
                i32::try_from(dictionary.markers()).unwrap(),
                "{dictionary}"
            );
        }
    }
}
