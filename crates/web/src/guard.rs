//! Who may ask, and who may act.
//!
//! A page of another site that is open in the same browser must not reach the cell: it has another
//! `Host`, under which a name of its own leads here, or another `Origin`. An address cannot be led
//! here by a foreign name, so addresses are welcome.

use std::net::{Ipv4Addr, Ipv6Addr};

use sha2::{Digest, Sha256};

/// A shorter token could be guessed.
pub const TOKEN_CHARACTERS_MIN: usize = 16;

/// The secret that lets the page act; only its hash is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error(
        "the token has {characters} characters; make one of {TOKEN_CHARACTERS_MIN} or more, with \
         `openssl rand -hex 16` for example"
    )]
    TooShort { characters: usize },
    #[error("the token must be one line of letters, digits and signs, without spaces")]
    NotOneWord,
}

impl Token {
    /// White space around it, such as the end of its line, does not count.
    pub fn new(text: &str) -> Result<Token, TokenError> {
        let text = text.trim();
        if !text.chars().all(|character| character.is_ascii_graphic()) {
            return Err(TokenError::NotOneWord);
        }
        if text.len() < TOKEN_CHARACTERS_MIN {
            return Err(TokenError::TooShort { characters: text.len() });
        }
        Ok(Token(hash(text)))
    }

    /// Compares hashes: how long that takes tells nothing of the token.
    pub(crate) fn is(&self, given: &str) -> bool {
        hash(given.trim()) == self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Token(..)")
    }
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// What is wrong with who asks.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Foreign {
    #[error(
        "this page does not answer to the name {name:?}: use its address, or name it in [web] hosts"
    )]
    Host { name: String },
    #[error("a page of {origin:?} may not use this one")]
    Origin { origin: String },
}

/// `host` and `origin` are the headers of a request; `names` those of the configuration.
pub(crate) fn check_caller(
    host: Option<&str>,
    origin: Option<&str>,
    names: &[String],
) -> Result<(), Foreign> {
    let host = host.unwrap_or_default();
    let name = without_port(host);
    let is_address = match name.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok()),
        None => name.parse::<Ipv4Addr>().is_ok(),
    };
    let is_known = name.eq_ignore_ascii_case("localhost")
        || names.iter().any(|known| known.eq_ignore_ascii_case(name));
    if !is_address && !is_known {
        return Err(Foreign::Host { name: name.to_owned() });
    }
    match origin {
        // A browser names the origin of whatever may act; other programs have none.
        None => Ok(()),
        Some(origin) => {
            let of = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            let is_own = of.is_some_and(|of| of.eq_ignore_ascii_case(host));
            if is_own { Ok(()) } else { Err(Foreign::Origin { origin: origin.to_owned() }) }
        }
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, origin: Option<&str>, is_welcome: bool) {
        let names = ["dock-7.example".to_owned()];
        let checked = check_caller(Some(host), origin, &names);
        assert_eq!(checked.is_ok(), is_welcome, "{host} {origin:?}: {checked:?}");
    }

    #[test]
    fn addresses_localhost_and_configured_names_are_welcome() {
        for host in ["127.0.0.1:8447", "127.0.0.1", "[::1]:8447", "[::1]", "192.168.5.20:8447"] {
            check(host, None, true);
        }
        check("localhost:9000", None, true);
        check("LocalHost", None, true);
        check("dock-7.example:8447", None, true);
    }

    #[test]
    fn a_name_that_somebody_else_led_here_is_not() {
        let foreign =
            ["evil.example:8447", "", "localhost.evil.example", "127.0.0.1.evil.example", "[::1"];
        for host in foreign {
            check(host, None, false);
        }
        assert!(check_caller(None, None, &[]).is_err());
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        check("127.0.0.1:8447", Some("http://127.0.0.1:8447"), true);
        check("127.0.0.1:8447", Some("http://127.0.0.1:8000"), false);
        check("127.0.0.1:8447", Some("http://evil.example"), false);
        check("127.0.0.1:8447", Some("null"), false);
        check("dock-7.example", Some("https://dock-7.example"), true);
    }

    #[test]
    fn a_token_is_long_enough_and_one_word() {
        let token = Token::new("0123456789abcdef\n").unwrap();
        assert!(token.is("0123456789abcdef"));
        assert!(!token.is("0123456789abcdeg") && !token.is(""));
        assert_eq!(Token::new("short"), Err(TokenError::TooShort { characters: 5 }));
        assert_eq!(Token::new(""), Err(TokenError::TooShort { characters: 0 }));
        assert_eq!(Token::new("two words of enough letters"), Err(TokenError::NotOneWord));
        assert_eq!(format!("{token:?}"), "Token(..)");
    }
}
