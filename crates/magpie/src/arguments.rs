//! Values that several commands take from the command line.

use std::path::PathBuf;

use magpie_daemon::config::Config;
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

    pub(crate) fn reader(&self, endpoint: Option<&str>) -> ZenohConfig {
        ZenohConfig::reader(self.zenoh.clone(), endpoint.map(str::to_owned))
    }

    /// Where a reader looks, for a message.
    pub(crate) fn place(&self, endpoint: Option<&str>) -> String {
        match (endpoint, &self.zenoh) {
            (Some(endpoint), _) => endpoint.to_owned(),
            (None, Some(file)) => file.display().to_string(),
            (None, None) => magpie_network::LOOPBACK_ENDPOINT.to_owned(),
        }
    }
}

/// A score given on the command line.
pub(crate) fn score(text: &str) -> Result<f32, String> {
    let value: f32 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    let is_score = (0.0..=1.0).contains(&value);
    is_score.then_some(value).ok_or_else(|| format!("{text} is not between 0 and 1"))
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
    fn a_count_is_a_whole_number_from_one_up() {
        assert_eq!(count::<u64>("1"), Ok(1));
        for wrong in ["0", "-1", "1.5", "many", ""] {
            assert_eq!(count::<u32>(wrong), Err(format!("{wrong:?} is no whole number from 1 up")));
        }
    }
}
