//! What holds the packages: suction cups on one rigid head.

use nalgebra::Vector3;

/// What a usual soft cup with one and a half bellows can follow.
const COMPLIANCE_M: f64 = 0.004;
/// The usual head is half as wide again as its cup, and its way must be free for a hand's breadth
/// and a half.
const APPROACH_RADII: f64 = 1.5;
const APPROACH_LENGTH_M: f64 = 0.15;
/// A cup nearer to the tool's axis than this sits on it.
const ON_AXIS_M: f64 = 1e-6;

/// One suction cup.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cup {
    /// Centre of the lip in the tool's reference frame, whose z points along the approach.
    pub position_m: [f64; 3],
    pub radius_m: f64,
    /// Difference of height under its lip that the cup can follow.
    pub compliance_m: f64,
}

/// The tool at the end of the arm.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// At most [`Tool::CUPS_MAX`]; never empty.
    pub cups: Vec<Cup>,
    /// The cylinder around the approach that must be free of everything: the tool's own thickness.
    pub approach_radius_m: f64,
    /// How far back from the contact that cylinder reaches.
    pub approach_length_m: f64,
}

impl Tool {
    /// All subsets of the cups are tried, so there are few.
    pub const CUPS_MAX: usize = 8;

    /// A tool with one cup on its axis, of the usual soft kind with one and a half bellows.
    pub fn single_cup(radius_m: f64) -> Tool {
        let cup = Cup { position_m: [0.0; 3], radius_m, compliance_m: COMPLIANCE_M };
        Tool {
            cups: vec![cup],
            approach_radius_m: APPROACH_RADII * radius_m,
            approach_length_m: APPROACH_LENGTH_M,
        }
    }

    /// From the tool's axis to the outermost lip.
    pub fn reach_m(&self) -> f64 {
        let reach = |cup: &Cup| cup.position_m[0].hypot(cup.position_m[1]) + cup.radius_m;
        self.cups.iter().map(reach).fold(0.0, f64::max)
    }

    /// Along the approach, from the tool's origin to the lip that lies furthest back: from there on
    /// its way must be free.
    pub fn lips_z_m(&self) -> f64 {
        self.cups.iter().map(|cup| cup.position_m[2]).fold(f64::MAX, f64::min)
    }

    /// Whether all cups sit on the axis: then the turn of the tool does not matter.
    pub(crate) fn is_round(&self) -> bool {
        self.cups.iter().all(|cup| cup.position_m[0].hypot(cup.position_m[1]) < ON_AXIS_M)
    }

    pub(crate) fn smallest_radius_m(&self) -> f64 {
        self.cups.iter().map(|cup| cup.radius_m).fold(f64::MAX, f64::min)
    }
}

/// Suction cups of a tool, by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CupSet(u8);

impl CupSet {
    /// `index` is below [`Tool::CUPS_MAX`].
    pub fn of(index: usize) -> CupSet {
        CupSet::default().with(index)
    }

    pub fn with(self, index: usize) -> CupSet {
        assert!(index < Tool::CUPS_MAX, "cup {index} of at most {}", Tool::CUPS_MAX);
        CupSet(self.0 | 1 << index)
    }

    pub fn indices(self) -> impl Iterator<Item = usize> {
        (0..Tool::CUPS_MAX).filter(move |index| self.0 >> index & 1 == 1)
    }
}

impl Cup {
    pub(crate) fn position(&self) -> Vector3<f64> {
        Vector3::from(self.position_m)
    }
}
