//! Values that several commands take from the command line.

use std::path::PathBuf;

use magpie_daemon::config::{Config, UNIT_M};
use magpie_network::ZenohConfig;

/// How a command that connects joins zenoh.
#[derive(Debug, clap::Args)]
pub(crate) struct ZenohArgs {
    /// Join zenoh as this json5 file of zenoh's says, with its certificates and its namespace; absent:
    /// as the configuration says, else on loopback.
    #[arg(long, value_name = "FILE")]
    zenoh: Option<PathBuf>,
}

impl ZenohArgs {
    /// The file goes before what the configuration names.
    pub(crate) fn apply(&self, config: &mut Config) {
        if let Some(file) = &self.zenoh {
            config.zenoh = ZenohConfig::File(file.clone());
        }
    }

    /// How a reader joins where somebody said how; `None`: it looks for the cell on this machine.
    pub(crate) fn told(&self, endpoint: Option<&str>) -> Option<ZenohConfig> {
        let is_told = self.zenoh.is_some() || endpoint.is_some();
        is_told.then(|| ZenohConfig::reader(self.zenoh.clone(), endpoint.map(str::to_owned)))
    }
}

/// Where a reader looks, for a message.
pub(crate) fn place(zenoh: &ZenohConfig) -> String {
    match zenoh {
        ZenohConfig::Connect(endpoints) => endpoints.join(", "),
        ZenohConfig::File(file) => file.display().to_string(),
        _ => magpie_network::LOOPBACK_ENDPOINT.to_owned(),
    }
}

/// A score given on the command line.
pub(crate) fn score(text: &str) -> Result<f32, String> {
    let value: f32 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    let is_score = (0.0..=1.0).contains(&value);
    is_score.then_some(value).ok_or_else(|| format!("{text} is not between 0 and 1"))
}

/// What one step of 16-bit depth stands for, in metres.
pub(crate) fn depth_unit(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    UNIT_M.contains(&value).then_some(value).ok_or_else(|| {
        format!(
            "{text} is not between {} and {} m; millimetres are 0.001",
            UNIT_M.start(),
            UNIT_M.end()
        )
    })
}

/// How many of something: at least one.
pub(crate) fn count<T: std::str::FromStr + PartialOrd + From<u8>>(text: &str) -> Result<T, String> {
    let value: Option<T> = text.parse().ok().filter(|value| *value >= T::from(1));
    value.ok_or_else(|| format!("{text:?} is no whole number from 1 up"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_of_depth_is_a_length_in_metres() {
        assert_eq!(depth_unit("0.0002"), Ok(0.0002));
        for wrong in ["0", "1", "5000", "-0.001", "NaN"] {
            assert!(depth_unit(wrong).unwrap_err().contains("millimetres are 0.001"), "{wrong}");
        }
        assert!(depth_unit("mm").unwrap_err().contains("no number"));
    }

    #[test]
    fn a_count_is_a_whole_number_from_one_up() {
        assert_eq!(count::<u64>("1"), Ok(1));
        for wrong in ["0", "-1", "1.5", "many", ""] {
            assert_eq!(count::<u32>(wrong), Err(format!("{wrong:?} is no whole number from 1 up")));
        }
    }
}
