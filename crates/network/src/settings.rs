//! Reads single settings of a zenoh configuration.

use zenoh::Config;

/// The endpoints that are used in the mode of the configuration.
pub(crate) fn endpoints(config: &Config, key: &str) -> Vec<String> {
    let value = value(config, key);
    let of_mode = match &value {
        serde_json::Value::Object(modes) => {
            let mode = text(config, "mode").unwrap_or_else(|| "peer".into());
            modes.get(&mode).cloned().unwrap_or_default()
        }
        _ => value,
    };
    let named = of_mode.as_array().map(Vec::as_slice).unwrap_or_default();
    named.iter().filter_map(|endpoint| endpoint.as_str().map(str::to_owned)).collect()
}

pub(crate) fn text(config: &Config, key: &str) -> Option<String> {
    value(config, key).as_str().map(str::to_owned)
}

pub(crate) fn is_true(config: &Config, key: &str) -> bool {
    value(config, key).as_bool() == Some(true)
}

/// `null` where nothing is set.
pub(crate) fn value(config: &Config, key: &str) -> serde_json::Value {
    let json = config.get_json(key).ok();
    json.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json5: &str, expected: &[&str]) {
        let config = Config::from_json5(json5).unwrap();
        assert_eq!(endpoints(&config, "listen/endpoints"), expected, "{json5}");
    }

    #[test]
    fn endpoints_are_those_of_the_mode() {
        check("{listen: {endpoints: ['tcp/[::1]:1', 'tls/a:2']}}", &["tcp/[::1]:1", "tls/a:2"]);
        let modes = "listen: {endpoints: {peer: ['tcp/b:1'], router: ['tcp/c:1']}}";
        check(&format!("{{{modes}}}"), &["tcp/b:1"]);
        check(&format!("{{mode: 'router', {modes}}}"), &["tcp/c:1"]);
        check("{mode: 'client', listen: {endpoints: {peer: ['tcp/b:1']}}}", &[]);
    }
}
