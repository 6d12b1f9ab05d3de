//! Passwords have no place in messages.

/// Properties of GStreamer's elements that are secrets.
const SECRETS: [&str; 3] = ["user-pw=", "proxy-pw=", "passphrase="];

/// Replaces the user and password of every URL in `text`, and properties that are secrets.
pub(crate) fn redact(text: &str) -> String {
    SECRETS.iter().fold(without_authorities(text), |text, secret| without(&text, secret))
}

/// Replaces what stands behind `key`, in quotes or up to a space.
fn without(text: &str, key: &str) -> String {
    let mut parts = text.split(key);
    let mut redacted = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let value = part.strip_prefix('"').and_then(|quoted| quoted.split_once('"'));
        let rest =
            value.map_or_else(|| part.find(' ').map_or("", |end| &part[end..]), |(_, it)| it);
        redacted += &format!("{key}***{rest}");
    }
    redacted
}

fn without_authorities(text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        redacted.push_str(before);
        let authority_end = after.find(['/', ' ', '"']).unwrap_or(after.len());
        rest = match after[..authority_end].rfind('@') {
            Some(user_end) => {
                redacted.push_str("***");
                &after[user_end..]
            }
            None => after,
        };
    }
    redacted + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_left_out() {
        let url = "rtsp://admin:p@ss@10.0.0.5/stream";
        assert_eq!(redact(url), "rtsp://***@10.0.0.5/stream");
        let pipeline = "rtspsrc location=rtsp://a:b@h/x ! appsink";
        assert_eq!(redact(pipeline), "rtspsrc location=rtsp://***@h/x ! appsink");
        assert_eq!(redact("rtsp://h/x@y"), "rtsp://h/x@y");
        let property =
            r#"rtspsrc location=rtsp://h/x user-id=a user-pw="b c" ! srtsrc passphrase=d ! e"#;
        assert_eq!(
            redact(property),
            "rtspsrc location=rtsp://h/x user-id=a user-pw=*** ! srtsrc passphrase=*** ! e"
        );
        assert_eq!(redact("souphttpsrc user-pw=secret"), "souphttpsrc user-pw=***");
    }
}
