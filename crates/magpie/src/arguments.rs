//! Values that several commands take from the command line.

use std::path::PathBuf;
use std::time::Duration;

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

/// Where somebody listens, as `tcp/192.168.5.1:17447`.
pub(crate) fn endpoint(text: &str) -> Result<String, String> {
    let protocol = text.split_once('/').map(|(protocol, _)| protocol);
    let is_spoken = protocol.is_some_and(|protocol| ["tcp", "tls"].contains(&protocol));
    if !is_spoken || magpie_network::check_endpoint(text).is_err() {
        return Err(
            "it is no endpoint; one is tcp/192.168.5.1:17447 or tls/dock-7.example:17447".into()
        );
    }
    Ok(text.to_owned())
}

/// A time in seconds, of at least a thousandth.
pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    let time = Duration::try_from_secs_f64(value).ok();
    let is_time = time.is_some_and(|time| time >= Duration::from_millis(1));
    is_time.then_some(value).ok_or_else(|| format!("{text} is no time: give seconds, such as 10"))
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
    fn an_endpoint_names_a_protocol_that_is_spoken_and_a_time_passes() {
        for right in ["tcp/127.0.0.1:17447", "tls/dock-7.example:17447", "tcp/[::1]:1"] {
            assert_eq!(endpoint(right), Ok(right.to_owned()));
        }
        for wrong in ["foo", "", "127.0.0.1:17447", "quic/127.0.0.1:1", "tcp", "tcp/"] {
            assert!(endpoint(wrong).unwrap_err().contains("tcp/192.168"), "{wrong}");
        }
        assert_eq!((seconds("0.5"), seconds("10")), (Ok(0.5), Ok(10.0)));
        for wrong in ["0", "-1", "NaN", "inf", "1e300"] {
            assert!(seconds(wrong).unwrap_err().contains("such as 10"), "{wrong}");
        }
    }

    #[test]
    fn a_count_is_a_whole_number_from_one_up() {
        assert_eq!(count::<u64>("1"), Ok(1));
        for wrong in ["0", "-1", "1.5", "many", ""] {
            assert_eq!(count::<u32>(wrong), Err(format!("{wrong:?} is no whole number from 1 up")));
        }
    }
}
