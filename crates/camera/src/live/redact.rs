//! Secrets have no place in messages, recordings and reports.

/// What a secret is called, by the end of its name: `password`, `user-pw`, `source_token`.
const SECRETS: [&str; 12] = [
    "password",
    "passwd",
    "passphrase",
    "user-pw",
    "proxy-pw",
    "pwd",
    "psk",
    "secret",
    "token",
    "api_key",
    "private_key_base64",
    "authorization",
];
const KEY_BEGINS: &str = "PRIVATE KEY-----";

/// Replaces the user and password of every URL in `text`, the values of what is called a secret,
/// and private keys. It takes messages, GStreamer's pipelines, TOML, JSON5 and logs.
pub fn redact(text: &str) -> String {
    without_values(&without_keys(&without_authorities(text)))
}

/// Replaces what stands behind the name of a secret: `name=value`, `name = "value"`,
/// `"name": "value"`.
fn without_values(text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    let (mut from, mut search) = (0, 0);
    while let Some(at) = text[search..].find(['=', ':']) {
        let sign = search + at;
        search = sign + 1;
        let Some(secret) = named_at_end(&text[from..sign]) else { continue };
        let rest = text[search..].trim_start_matches([' ', '\t']);
        let Some(length) = value_length(rest, secret) else { continue };
        let begin = text.len() - rest.len();
        redacted.push_str(&text[from..begin]);
        redacted.push_str("***");
        (from, search) = (begin + length, begin + length);
    }
    redacted + &text[from..]
}

/// The secret whose name, in quotes or not, ends the text.
fn named_at_end(text: &str) -> Option<&'static str> {
    let name = text.trim_end_matches([' ', '\t']).trim_end_matches(['"', '\'']).as_bytes();
    let ends_so = |secret: &&&str| {
        name.len() >= secret.len()
            && name[name.len() - secret.len()..].eq_ignore_ascii_case(secret.as_bytes())
    };
    SECRETS.iter().find(ends_so).copied()
}

/// The length of the value that a text begins with. `None`: a table begins there, or nothing.
fn value_length(rest: &str, secret: &str) -> Option<usize> {
    // GStreamer may name the type before a value.
    let typed = rest.strip_prefix('(').and_then(|inside| inside.split_once(')'));
    let value = typed.map_or(rest, |(_, value)| value);
    let before = rest.len() - value.len();
    // `\"` opens a string inside of a string of TOML's.
    for quote in ["\"\"\"", "'''", "\\\"", "\"", "'"] {
        if let Some(inside) = value.strip_prefix(quote) {
            let length = closing(inside, quote).map(|end| end + 2 * quote.len());
            return Some(before + length.unwrap_or(value.len()));
        }
    }
    let mut last = ' ';
    let ends = |character: char| {
        let is_end = match secret {
            // `Authorization: Basic YTpi` is two words.
            "authorization" => matches!(character, '\n' | '\r'),
            _ => (character.is_whitespace() && last != '\\') || matches!(character, '"' | '\''),
        };
        last = character;
        is_end
    };
    let length = value.find(ends).unwrap_or(value.len());
    // In brackets may be a type, or the secret itself.
    (before + length > 0 && !rest.starts_with(['{', '['])).then_some(before + length)
}

/// Where a quote that is not escaped stands.
fn closing(inside: &str, quote: &str) -> Option<usize> {
    // Within a string each backslash of the inner one is two.
    let period = if quote.starts_with('\\') { 4 } else { 2 };
    let escapes = |at: usize| inside[..at].bytes().rev().take_while(|byte| *byte == b'\\').count();
    inside.match_indices(quote).map(|(at, _)| at).find(|at| escapes(*at) % period == 0)
}

/// Replaces private keys in PEM.
fn without_keys(text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(KEY_BEGINS) {
        let (before, key) = rest.split_at(at + KEY_BEGINS.len());
        redacted.push_str(before);
        redacted.push_str("***");
        rest = key.find("-----END").map_or("", |end| &key[end..]);
        // The line that ends the key has the same words.
        let line_end = rest.find('\n').unwrap_or(rest.len());
        redacted.push_str(&rest[..line_end]);
        rest = &rest[line_end..];
    }
    redacted + rest
}

fn without_authorities(text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        redacted.push_str(before);
        rest = match user_end(after) {
            Some(user_end) => {
                redacted.push_str("***");
                &after[user_end..]
            }
            None => after,
        };
    }
    redacted + rest
}

/// Where the `@` behind user and password stands.
fn user_end(after: &str) -> Option<usize> {
    let url_end = |character: char| character.is_whitespace() || matches!(character, '"' | '\'');
    let url = &after[..after.find(url_end).unwrap_or(after.len())];
    let authority = &url[..url.find('/').unwrap_or(url.len())];
    if let Some(at) = authority.rfind('@') {
        return Some(at);
    }
    // `admin:p/ss@host`: a password whose slash is not escaped. A port is a number.
    let (_, port) = authority.rsplit_once(':')?;
    let is_port = authority.ends_with(']') || port.bytes().all(|byte| byte.is_ascii_digit());
    if is_port { None } else { url.rfind('@') }
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
        assert_eq!(redact("rtsp://h:554/x@y and [::1]"), "rtsp://h:554/x@y and [::1]");
        assert_eq!(redact("rtsp://[::1]/x@y"), "rtsp://[::1]/x@y");
        assert_eq!(redact("rtsp://admin:p/ss@h/x"), "rtsp://***@h/x");
        assert_eq!(redact("http://h\na@b"), "http://h\na@b");
        let property =
            r#"rtspsrc location=rtsp://h/x user-id=a user-pw="b c" ! srtsrc passphrase=d ! e"#;
        assert_eq!(
            redact(property),
            "rtspsrc location=rtsp://h/x user-id=a user-pw=*** ! srtsrc passphrase=*** ! e"
        );
        assert_eq!(redact("souphttpsrc user-pw=secret"), "souphttpsrc user-pw=***");
    }

    #[test]
    fn secrets_of_configurations_and_logs_are_left_out() {
        for (text, expected) in [
            ("password=(hunter2) ! y", "password=*** ! y"),
            ("user-pw=(string)[a ! x", "user-pw=*** ! x"),
            ("token = \"a b\"\nnext = 1", "token = ***\nnext = 1"),
            ("TOKEN='x'", "TOKEN=***"),
            (r#"{"password": "x", "user": "u"}"#, r#"{"password": ***, "user": "u"}"#),
            ("usrpwd: { user: \"u\", password: \"p\" }", "usrpwd: { user: \"u\", password: *** }"),
            ("token_file = \"/etc/t\"", "token_file = \"/etc/t\""),
            ("listen_private_key: \"/etc/k.key\"", "listen_private_key: \"/etc/k.key\""),
            ("listen_private_key_base64: \"TUlJ\"", "listen_private_key_base64: ***"),
            ("Authorization: Basic YTpi\nb", "Authorization: ***\nb"),
            ("srt://h:1?mode=x&passphrase=abc", "srt://h:1?mode=x&passphrase=***"),
            ("password = \"\"\"\na\n\"\"\"\nnext = 1", "password = ***\nnext = 1"),
            (r#"p = "x user-pw=\"b c\" ! y""#, r#"p = "x user-pw=*** ! y""#),
            (r#"password = "ab\"cd ef""#, "password = ***"),
            (r#"user-pw=(string)"b c" ! x"#, "user-pw=*** ! x"),
            (r"user-pw=b\ c ! x", "user-pw=*** ! x"),
            ("password =", "password ="),
            ("password =\nnext = 1", "password =\nnext = 1"),
            ("password = \"never closed", "password = ***"),
            ("the token: and ünïcödé password=ü ok", "the token: *** ünïcödé password=*** ok"),
        ] {
            assert_eq!(redact(text), expected);
        }
    }

    #[test]
    fn private_keys_are_left_out() {
        let begin = "-----BEGIN EC PRIVATE KEY-----";
        let end = "-----END EC PRIVATE KEY-----";
        assert_eq!(
            redact(&format!("a\n{begin}\nMHcC\n{end}\nb")),
            format!("a\n{begin}***{end}\nb")
        );
        assert_eq!(redact(&format!("{begin}\nMHcC cut")), format!("{begin}***"));
    }
}
