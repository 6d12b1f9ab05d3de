//! Text from outside, as it may be shown: types, reasons, names of cells, models and files.
//!
//! A terminal acts on control characters, and a reader is misled by marks that turn the direction of
//! text. Both are shown as JSON writes them, `\u001b` for example. So text stays readable, and JSON
//! stays the same JSON: there, they only occur within strings.

use std::borrow::Cow;
use std::fmt::Write;

/// For what has one line of its own: line ends and tabs become visible, too.
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |character| is_hidden(character) || matches!(character, '\n' | '\t'))
}

/// For what may have several lines.
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    escaped(text, is_hidden)
}

fn escaped(text: &str, is_hidden: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '\n' if is_hidden('\n') => shown.push_str("\\n"),
            '\t' if is_hidden('\t') => shown.push_str("\\t"),
            hidden if is_hidden(hidden) => {
                for unit in hidden.encode_utf16(&mut [0; 2]) {
                    write!(shown, "\\u{unit:04x}").expect("strings take everything");
                }
            }
            other => shown.push(other),
        }
    }
    Cow::Owned(shown)
}

/// Control characters (C0, DEL, C1), marks of direction, separators of lines, and what shows nothing
/// but makes two texts differ.
fn is_hidden(character: char) -> bool {
    let is_control = character.is_control() && !matches!(character, '\n' | '\t');
    is_control
        || matches!(
            character,
            '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, one_line: &str, lines: &str) {
        assert_eq!((&*printable(text), &*printable_lines(text)), (one_line, lines));
    }

    #[test]
    fn what_a_terminal_would_act_on_becomes_visible() {
        check("box", "box", "box");
        check("Kühlbox – 箱", "Kühlbox – 箱", "Kühlbox – 箱");
        check(
            "\x1b[2J\x1b]0;t\x07",
            "\\u001b[2J\\u001b]0;t\\u0007",
            "\\u001b[2J\\u001b]0;t\\u0007",
        );
        check("\u{9b}2J\x7f\r", "\\u009b2J\\u007f\\u000d", "\\u009b2J\\u007f\\u000d");
        check("a\u{202e}b\u{2066}", "a\\u202eb\\u2066", "a\\u202eb\\u2066");
        check("a\nb\tc", "a\\nb\\tc", "a\nb\tc");
        check("\u{e0041}", "\\udb40\\udc41", "\\udb40\\udc41");
    }

    proptest! {
        #[test]
        fn json_stays_the_same_json(text in any::<String>(), more in "[\u{0}-\u{a0}\u{2000}-\u{2070}]*") {
            let value = serde_json::json!({ text.clone(): more });
            let shown = printable(&value.to_string()).into_owned();
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        }

        #[test]
        fn nothing_hidden_is_left(text in any::<String>()) {
            prop_assert!(!printable(&text).chars().any(|c| c.is_control() || is_hidden(c)));
        }
    }
}
