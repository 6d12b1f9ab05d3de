//! Values that several of the subcommands take from the command line.

use clap::ValueEnum;
use magpie_daemon::calibration_files::pose::{ANGLES, LENGTHS, Units};

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum LengthUnit {
    M,
    Mm,
    Cm,
    In,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum AngleUnit {
    Rad,
    Deg,
}

pub(super) fn units(length: LengthUnit, angle: AngleUnit) -> Units {
    Units { length_m: named(&LENGTHS, length), angle_rad: named(&ANGLES, angle), euler: None }
}

/// What the unit of this name is.
fn named(units: &[(&str, f64)], unit: impl ValueEnum) -> f64 {
    let value = unit.to_possible_value().expect("no unit is skipped");
    let found = units.iter().find(|(name, _)| *name == value.get_name());
    found.expect("every unit stands in the table").1
}

/// A list of exactly `N` numbers: `1,2,3`.
pub(super) fn list<T: std::str::FromStr + Copy + Default, const N: usize>(
    text: &str,
) -> Result<[T; N], String> {
    let mut values = [T::default(); N];
    let mut words = text.split(',');
    for value in &mut values {
        let parsed = words.next().and_then(|word| word.trim().parse().ok());
        *value =
            parsed.ok_or_else(|| format!("{text:?} must be {N} numbers with commas between"))?;
    }
    match words.next() {
        None => Ok(values),
        Some(_) => Err(format!("{text:?} has more than {N} numbers")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_has_its_length_or_angle() {
        let metres =
            LengthUnit::value_variants().iter().map(|unit| units(*unit, AngleUnit::Rad).length_m);
        assert_eq!(metres.collect::<Vec<_>>(), [1.0, 0.001, 0.01, 0.0254]);
        assert_eq!(units(LengthUnit::M, AngleUnit::Deg).angle_rad, 1.0_f64.to_radians());
    }
}
