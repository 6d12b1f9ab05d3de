//! Whom the rules of access control are for.

use zenoh::Config;

use crate::NetworkError;
use crate::settings::{is_true, value};

/// Whatever tells one subject from another.
const MARKS: [&str; 5] = ["cert_common_names", "usernames", "interfaces", "link_protocols", "zids"];

/// Refuses a subject that names nobody: to zenoh it is everybody.
pub(crate) fn check(config: &Config) -> Result<(), NetworkError> {
    if !is_true(config, "access_control/enabled") {
        return Ok(());
    }
    let subjects = value(config, "access_control/subjects");
    let is_named = |subject: &serde_json::Value| {
        MARKS.iter().any(|mark| subject[*mark].as_array().is_some_and(|names| !names.is_empty()))
    };
    match subjects.as_array().into_iter().flatten().find(|subject| !is_named(subject)) {
        Some(subject) => {
            let id = subject["id"].as_str().unwrap_or_default().to_owned();
            Err(NetworkError::SubjectForAll { id })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(enabled: bool, subject: &str) -> bool {
        let text = format!(
            "{{access_control: {{enabled: {enabled}, default_permission: 'deny', rules: [], \
             policies: [], subjects: [{subject}]}}}}"
        );
        check(&Config::from_json5(&text).unwrap()).is_err()
    }

    #[test]
    fn a_subject_that_names_nobody_is_refused() {
        assert!(refused(true, "{id: 'arm'}"));
        assert!(!refused(true, "{id: 'arm', cert_common_names: ['dock-7-arm']}"));
        assert!(!refused(true, "{id: 'here', interfaces: ['lo']}"));
        assert!(!refused(false, "{id: 'arm'}"));
    }
}
