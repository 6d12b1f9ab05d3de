//! The Python literals that exporters write into `names` and `imgsz`.
//!
//! ```text
//! {0: 'person', 1: "driver's parcel"}      ['person', 'parcel']      [640, 640]
//! ```

/// Why a literal is refused: what should have stood where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{expected} expected at byte {at}")]
pub struct LiteralError {
    pub expected: &'static str,
    pub at: usize,
}

/// Reads class names by class id, from a dict with the keys `0..n` in any order or from a list.
pub(crate) fn class_names(text: &str) -> Result<Vec<String>, LiteralError> {
    let mut reader = Reader { text, at: 0 };
    let names = if reader.take("[") {
        reader.items("]", Reader::string)?
    } else {
        reader.expect("{", "a dict or a list of class names")?;
        let mut entries = reader.items("}", |reader| {
            let id = reader.integer()?;
            reader.expect(":", "':'")?;
            Ok((id, reader.string()?))
        })?;
        entries.sort_by_key(|entry| entry.0);
        if entries.iter().enumerate().any(|(i, entry)| entry.0 != i as u64) {
            return Err(LiteralError { expected: "class ids that count from 0 up", at: 0 });
        }
        entries.into_iter().map(|entry| entry.1).collect()
    };
    reader.end()?;
    if names.is_empty() {
        return Err(LiteralError { expected: "at least one class name", at: 0 });
    }
    Ok(names)
}

/// Reads `[height, width]`, or one number for both.
pub(crate) fn height_and_width(text: &str) -> Result<(u32, u32), LiteralError> {
    let mut reader = Reader { text, at: 0 };
    let sizes = if reader.take("[") || reader.take("(") {
        let close = if text.trim_start().starts_with('[') { "]" } else { ")" };
        reader.items(close, Reader::integer)?
    } else {
        vec![reader.integer()?; 2]
    };
    reader.end()?;
    let pixels = |size: u64| u32::try_from(size).ok().filter(|px| *px > 0);
    match sizes.as_slice() {
        &[height, width] => pixels(height).zip(pixels(width)),
        _ => None,
    }
    .ok_or(LiteralError { expected: "[height, width] in pixels", at: 0 })
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn skip_space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip_space();
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn refuse<T>(&self, expected: &'static str) -> Result<T, LiteralError> {
        Err(LiteralError { expected, at: self.at })
    }

    fn expect(&mut self, token: &str, expected: &'static str) -> Result<(), LiteralError> {
        if self.take(token) { Ok(()) } else { self.refuse(expected) }
    }

    fn end(&mut self) -> Result<(), LiteralError> {
        self.skip_space();
        if self.rest().is_empty() { Ok(()) } else { self.refuse("the end of the literal") }
    }

    /// Reads what stands between commas up to `close`; a comma may follow the last.
    fn items<T>(
        &mut self,
        close: &str,
        mut item: impl FnMut(&mut Self) -> Result<T, LiteralError>,
    ) -> Result<Vec<T>, LiteralError> {
        let mut items = Vec::new();
        while !self.take(close) {
            items.push(item(self)?);
            if !self.take(",") {
                self.expect(close, "',' or the closing bracket")?;
                break;
            }
        }
        Ok(items)
    }

    fn integer(&mut self) -> Result<u64, LiteralError> {
        self.skip_space();
        let digits = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        match self.rest()[..digits].parse() {
            Ok(value) => {
                self.at += digits;
                Ok(value)
            }
            Err(_) => self.refuse("a whole number"),
        }
    }

    fn string(&mut self) -> Result<String, LiteralError> {
        self.skip_space();
        let Some(quote) = self.rest().chars().next().filter(|c| matches!(c, '\'' | '"')) else {
            return self.refuse("a quoted string");
        };
        self.at += 1;
        let mut value = String::new();
        loop {
            let Some(c) = self.rest().chars().next() else {
                return self.refuse("the closing quote");
            };
            self.at += c.len_utf8();
            match c {
                c if c == quote => return Ok(value),
                '\\' => value.push(self.escape()?),
                c => value.push(c),
            }
        }
    }

    /// Reads what `repr` escapes in a string.
    fn escape(&mut self) -> Result<char, LiteralError> {
        let Some(kind) = self.rest().chars().next() else {
            return self.refuse("an escape sequence");
        };
        self.at += kind.len_utf8();
        let digits = match kind {
            '\\' | '\'' | '"' => return Ok(kind),
            'n' => return Ok('\n'),
            'r' => return Ok('\r'),
            't' => return Ok('\t'),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => return self.refuse("an escape sequence that Python's repr writes"),
        };
        let code = self.rest().get(..digits).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        let Some(c) = code.and_then(char::from_u32) else {
            return self.refuse("the hexadecimal digits of a character");
        };
        self.at += digits;
        Ok(c)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Result<Vec<String>, String> {
        class_names(text).map_err(|err| err.to_string())
    }

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(names(text), Ok(expected.iter().map(ToString::to_string).collect()), "{text}");
    }

    fn check_refused(text: &str, expected: &str) {
        assert_eq!(names(text), Err(expected.to_owned()), "{text}");
    }

    #[test]
    fn names_are_read_as_python_writes_them() {
        check("{0: 'box', 1: 'poly_bag'}", &["box", "poly_bag"]);
        check("{1: 'b', 0: 'a'}", &["a", "b"]);
        check(r#"{0: "it's", 1: 'say "x"', 2: 'a\'b"\\c'}"#, &["it's", "say \"x\"", "a'b\"\\c"]);
        check(r"{0: 'Karton \u00e4\xdf\n'}", &["Karton äß\n"]);
        check("{0: 'Päckchen, {groß}: 箱',}", &["Päckchen, {groß}: 箱"]);
        check("['a', \"b\"]", &["a", "b"]);
    }

    #[test]
    fn other_text_is_refused_where_it_goes_wrong() {
        check_refused("", "a dict or a list of class names expected at byte 0");
        check_refused("{}", "at least one class name expected at byte 0");
        check_refused("{0: 'a', 2: 'b'}", "class ids that count from 0 up expected at byte 0");
        check_refused("{0: 'a', 0: 'b'}", "class ids that count from 0 up expected at byte 0");
        check_refused("{0: 'a' 1: 'b'}", "',' or the closing bracket expected at byte 8");
        check_refused("{0: 'a", "the closing quote expected at byte 6");
        check_refused("{0: None}", "a quoted string expected at byte 4");
        check_refused("{-1: 'a'}", "a whole number expected at byte 1");
        check_refused("{0: 'a'} + x", "the end of the literal expected at byte 9");
        check_refused(r"{0: '\N{DASH}'}", {
            "an escape sequence that Python's repr writes expected at byte 7"
        });
        check_refused(r"{0: '\uD800'}", "the hexadecimal digits of a character expected at byte 7");
        check_refused(r"{0: '\xä'}", "the hexadecimal digits of a character expected at byte 7");
    }

    #[test]
    fn image_sizes_are_height_then_width() {
        assert_eq!(height_and_width("[480, 640]"), Ok((480, 640)));
        assert_eq!(height_and_width("(480, 640)"), Ok((480, 640)));
        assert_eq!(height_and_width("640"), Ok((640, 640)));
        for text in ["[640]", "[1, 2, 3]", "[0, 640]", "[99999999999, 1]", "640x480", "[480, 640)"]
        {
            assert!(height_and_width(text).is_err(), "{text}");
        }
    }
}
