//! Values that several of the subcommands take from the command line.

use clap::ValueEnum;
use magpie_daemon::calibration_files::pose::Units;

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
    Units {
        length_m: match length {
            LengthUnit::M => 1.0,
            LengthUnit::Mm => 0.001,
            LengthUnit::Cm => 0.01,
            LengthUnit::In => 0.0254,
        },
        angle_rad: match angle {
            AngleUnit::Rad => 1.0,
            AngleUnit::Deg => 1.0_f64.to_radians(),
        },
        euler: None,
    }
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
