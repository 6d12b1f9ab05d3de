//! Secrets have no place in messages, recordings and reports.

/// What a secret is called, by the end of its name without `-` and `_`: `user-pw`, `source_token`,
/// `loginpas`.
const SECRETS: [&str; 23] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "pass",
    "pas",
    "pwd",
    "pw",
    "psk",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "secretkey",
    "sharedkey",
    "authkey",
    "streamkey",
    "sessionkey",
    "privatekeybase64",
    "credential",
    "credentials",
    "auth",
    "authorization",
];
/// The same, of the query of a URL alone.
const SECRETS_OF_QUERIES: [&str; 6] = ["p", "key", "code", "pin", "sid", "session"];
const KEY_BEGINS: &str = "PRIVATE KEY-----";

/// Replaces the user and password of every URL in `text`, the values of what is called a secret,
/// and private keys. It takes messages, GStreamer's pipelines, TOML, JSON5 and logs, and would rather
/// replace too much.
pub fn redact(text: &str) -> String {
    without_values(&without_keys(&without_users(&without_authorities(text))))
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
        let begin = text.len() - rest.len();
        // Once is enough.
        let done = rest.strip_prefix("***");
        if done.is_some_and(|after| !after.starts_with(char::is_alphanumeric)) {
            continue;
        }
        let Some(length) = value_length(rest, secret, open_quote(line_before(text, begin))) else {
            continue;
        };
        redacted.push_str(&text[from..begin]);
        redacted.push_str("***");
        (from, search) = (begin + length, begin + length);
    }
    redacted + &text[from..]
}

/// The secret whose name, in quotes or not, ends the text.
fn named_at_end(text: &str) -> Option<&'static str> {
    let text = text.trim_end_matches([' ', '\t']).trim_end_matches(['"', '\'', '\\']);
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let before = text.trim_end_matches(is_part);
    let name = text[before.len()..].to_ascii_lowercase().replace(['-', '_'], "");
    if before.ends_with(['?', '&'])
        && let Some(secret) = SECRETS_OF_QUERIES.iter().find(|secret| **secret == name)
    {
        return Some(secret);
    }
    // The longest: `authorization` is no `auth`.
    let all = SECRETS.iter().filter(|secret| name.ends_with(**secret));
    all.max_by_key(|secret| secret.len()).copied()
}

fn line_before(text: &str, at: usize) -> &str {
    &text[text[..at].rfind('\n').map_or(0, |end| end + 1)..at]
}

/// The quote in which a line goes on. An apostrophe within a word is none.
fn open_quote(line: &str) -> Option<char> {
    let (mut open, mut last) = (None, ' ');
    for character in line.chars() {
        match open {
            None if matches!(character, '"' | '\'') && !last.is_alphanumeric() && last != '\\' => {
                open = Some(character);
            }
            Some(quote) if character == quote && last != '\\' => open = None,
            _ => {}
        }
        last = character;
    }
    open
}

/// Whether a quote before this text ends a string: a password may hold one as well.
fn ends_string(after: &str) -> bool {
    after.chars().next().is_none_or(|next| next.is_whitespace() || ",;:)]}>".contains(next))
}

/// The length of the value that a text begins with. `None`: a table begins there, or nothing.
fn value_length(rest: &str, secret: &str, open: Option<char>) -> Option<usize> {
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
    let ends = |(at, character): (usize, char)| {
        let is_escaped = std::mem::replace(&mut last, character) == '\\';
        let is_end = match secret {
            // `Authorization: Basic YTpi` is two words.
            "authorization" => matches!(character, '\n' | '\r'),
            _ if character.is_whitespace() => !is_escaped,
            _ => Some(character) == open && ends_string(&value[at + character.len_utf8()..]),
        };
        // The quote of a string inside of a string ends with its backslash.
        is_end.then_some(if is_escaped && !character.is_whitespace() { at - 1 } else { at })
    };
    let length = value.char_indices().find_map(ends).unwrap_or(value.len());
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
    let mut from = 0;
    while let Some(at) = text[from..].find("://") {
        let begin = from + at + "://".len();
        redacted.push_str(&text[from..begin]);
        from = begin;
        let (url, is_whole) = url_at(text, begin);
        let line = text[begin..].lines().next().unwrap_or_default();
        let looked_through = if !is_whole && may_go_on(url) { line } else { url };
        if let Some(user_end) = looked_through.rfind('@') {
            redacted.push_str("***");
            from = begin + user_end;
        }
        // Within quotes a secret goes on to the end, whatever is in it.
        let end = begin + url.len();
        let signs = text.get(from..end).unwrap_or_default().match_indices('=');
        let is_secret = |sign: &usize| named_at_end(&text[from..from + sign]).is_some();
        if is_whole && let Some(sign) = signs.map(|(sign, _)| sign).find(is_secret) {
            redacted.push_str(&text[from..=from + sign]);
            redacted.push_str("***");
            from = end;
        }
    }
    redacted + &text[from..]
}

/// What may be the URL whose authority begins at `begin`, and whether it cannot be longer.
fn url_at(text: &str, begin: usize) -> (&str, bool) {
    let after = text[begin..].lines().next().unwrap_or_default();
    let before = line_before(text, begin).trim_end_matches("://");
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let before = before.trim_end_matches(is_scheme);
    for quote in ["\\\"", "\""] {
        if before.ends_with(quote) {
            return (&after[..closing(after, quote).unwrap_or(after.len())], true);
        }
    }
    let open = open_quote(before);
    let ends = |&(at, character): &(usize, char)| {
        Some(character) == open && ends_string(&after[at + character.len_utf8()..])
    };
    let quoted_end = after.char_indices().find(ends).map_or(after.len(), |(at, _)| at);
    let quoted = &after[..quoted_end];
    // A text that is a URL, or a string that is one.
    if before.is_empty() || before.ends_with('\'') {
        return (quoted, true);
    }
    (&quoted[..quoted.find(char::is_whitespace).unwrap_or(quoted.len())], false)
}

/// Whether a URL that white space ended may be the beginning of `user:pass word@host`.
fn may_go_on(url: &str) -> bool {
    if url.contains('@') {
        return false;
    }
    let authority = url.split('/').next().unwrap_or_default();
    let authority = authority.trim_end_matches(['.', ',', ';', ':', ')']);
    let Some((host, port)) = authority.rsplit_once(':') else { return false };
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let is_address = host.parse::<std::net::Ipv4Addr>().is_ok() || host.ends_with(']');
    let is_bare = authority == url;
    !authority.ends_with(']') && !(is_number && (is_address || !is_bare))
}

/// Replaces the user and password of what would be a URL if its scheme were right: `a:b@host`.
fn without_users(text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    let mut from = 0;
    for (at, _) in text.match_indices('@') {
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '=' | '(' | ',' | '<');
        let begin = text[from..at].rfind(ends).map_or(from, |end| from + end + 1);
        let user = &text[begin..at];
        if user.contains(':') && !user.ends_with("://***") {
            redacted.push_str(&text[from..begin]);
            redacted.push_str("***");
            from = at;
        }
    }
    redacted + &text[from..]
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
        // What may be a password is one.
        assert_eq!(redact("rtsp://h:554/x@y"), "rtsp://***@y");
        assert_eq!(redact("rtsp://[::1]/x and [::1]"), "rtsp://[::1]/x and [::1]");
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

    /// Wherever a URL stands, nothing of its password may be left.
    #[test]
    fn whatever_a_password_is_made_of_nothing_of_it_is_left() {
        let urls = [
            "rtsp://admin:it'sLEAK@127.0.0.1:1/stream",
            "rtsp://admin:'LEAK'@h/x",
            "rtsp://admin:LEAK'@h/x",
            "rtsp://admin:LEAK@LEAK@h/x",
            "rtsp://admin:LEAK@LEAK/LEAK@h/x",
            "rtsp://admin:12/34LEAK@h/x",
            "rtsp://admin:12/LEAK34@h:554/x",
            "rtsp://admin:LEAK?LEAK#LEAK@h/x",
            "rtsp://LEAK/LEAK@h/x",
            "rtsp://LEAK@h/x",
            "rtsp://h/x?user=admin&pass=LEAK4",
            "rtsp://h/x?pass=it'sLEAK&channel=1",
            "rtsp://h/x?loginuse=a&loginpas=LEAK",
            "rtsp://h/x?u=admin&p=LEAK",
            "rtsp://h/x?-usr=admin&-pwd=LEAK",
            "rtsp://h/user=admin_password=LEAK_channel=1",
            "http://h/x?pw=LEAK",
            "http://h/x?apikey=LEAK&a=b",
            "http://h/x?api-key=LEAK",
            "http://h/x?api_key=LEAK",
            "http://h/x?access_key=LEAK",
            "http://h/x?X-Access-Key=LEAK",
            "http://h/x?auth=LEAK",
            "http://h/x?key=LEAK",
            "admin:LEAK@127.0.0.1/stream",
            "rtsp:/admin:LEAK@h/x",
        ];
        // These must be in quotes, or the text itself, for anybody to tell where they end.
        let spaced = [
            "rtsp://admin:my LEAK@h/x",
            "rtsp://admin:12 LEAK@h/x",
            "rtsp://my admin:LEAK@h/x",
            "rtsp://h/x?pass=my LEAK",
        ];
        let check = |text: &str| {
            let redacted = redact(text);
            assert!(!redacted.contains("LEAK"), "{text} became {redacted}");
            assert!(redacted.contains("***"), "{text} became {redacted}");
            assert_eq!(redact(&redacted), redacted, "{text} again");
        };
        for url in urls.iter().chain(&spaced) {
            check(url);
            for text in [
                format!("[source.rtsp]\nurl = \"{url}\"\n[web]\n"),
                format!("urls = [\"{url}\", \"rtsp://h/x\"]"),
                format!("pipeline = \"rtspsrc location=\\\"{url}\\\" ! appsink\""),
                format!("{{url: \"{url}\"}}"),
            ] {
                check(&text);
            }
        }
        for url in urls {
            check(&format!("the camera is lost: stream {url}: no answer"));
            check(&format!("can't open {url}"));
            check(&format!("pipeline = \"rtspsrc location={url} ! appsink\""));
            if !url.contains('\'') {
                check(&format!("url = '{url}'"));
                check(&format!("pipeline = 'rtspsrc location={url} ! appsink'"));
            }
        }
        for text in [
            "stream rtsp://admin:my LEAK@h/x is lost",
            "stream rtsp://admin:12 LEAK@h/x is lost",
            "{\\\"password\\\": \\\"LEAK\\\"}",
        ] {
            check(text);
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "stream rtsp://10.0.0.5:554/x is lost; `sudo systemctl restart magpie@dock-7`",
            "stream rtsp://camera-1:554/x: no answer; `systemctl status magpie@dock-7.service`",
            "stream rtsp://camera-1: no answer; see magpie@dock-7",
            "page http://127.0.0.1:8447/, seen by this machine; see magpie@dock-7",
            "Nov 30 20:24:51 dock systemd[1]: magpie@dock-7.service: started",
            "url = \"rtsp://h:554/stream?channel=1&subtype=0\" # and 'more'",
            "key = \"magpie/dock-7/packages\"",
            "public_key = \"RWQf6LRCGA9i53\"",
        ] {
            assert_eq!(redact(text), text);
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
