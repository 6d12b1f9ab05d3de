//! Passwords have no place in messages.

/// Replaces the user and password of every URL in `text`.
pub(crate) fn redact(text: &str) -> String {
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
    }
}
