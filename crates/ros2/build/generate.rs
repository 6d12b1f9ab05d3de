//! Writes the Rust side of each definition.

use std::fmt::Write;

use crate::definition::{Count, Definition, Definitions, Element, Field};
use crate::type_hash::type_hash;

pub(crate) fn generate(definitions: &Definitions) -> String {
    let mut text = String::new();
    for (name, definition) in definitions {
        let written = write_message(&mut text, definitions, name, definition);
        written.expect("a String takes everything");
    }
    text
}

fn write_message(
    text: &mut String,
    definitions: &Definitions,
    name: &str,
    definition: &Definition,
) -> std::fmt::Result {
    let rust = rust_name(name);
    writeln!(text, "/// `{name}`.\n#[derive(Clone, Debug, PartialEq)]\npub struct {rust} {{")?;
    for field in &definition.fields {
        writeln!(text, "    pub {}: {},", field.name, rust_type(field))?;
    }
    writeln!(text, "}}\n")?;
    if !definition.constants.is_empty() {
        writeln!(text, "impl {rust} {{")?;
        for constant in &definition.constants {
            let (name, rust, value) = (&constant.name, constant.rust, &constant.value);
            writeln!(text, "    pub const {name}: {rust} = {value};")?;
        }
        writeln!(text, "}}\n")?;
    }
    writeln!(text, "impl Encode for {rust} {{\n    fn encode(&self, to: &mut CdrWriter) {{")?;
    for field in &definition.fields {
        writeln!(text, "        self.{}.encode(to);", field.name)?;
    }
    writeln!(text, "    }}\n}}\n")?;
    let hash = type_hash(definitions, name);
    writeln!(text, "impl Message for {rust} {{")?;
    writeln!(text, "    const TYPE_NAME: &'static str = \"{name}\";")?;
    writeln!(text, "    const TYPE_HASH: &'static str = \"{hash}\";\n}}\n")
}

fn rust_type(field: &Field) -> String {
    let element = match &field.element {
        Element::Primitive(primitive) => primitive.rust,
        Element::Nested(name) => rust_name(name),
    };
    match field.count {
        Count::One => element.to_owned(),
        Count::Array(length) => format!("[{element}; {length}]"),
        Count::Sequence => format!("Vec<{element}>"),
    }
}

/// Two packages with a type of the same name would not compile.
fn rust_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}
