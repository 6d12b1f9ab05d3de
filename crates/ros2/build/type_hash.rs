//! The hash by which ROS 2 tells whether two programs mean the same type: REP-2011 and REP-2016,
//! version `RIHS01`. It is SHA-256 over a JSON text that describes the type and all types in it.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::definition::{Count, Definitions, Element, Field};

const NESTED: u32 = 1;
/// What is added to the id of a type for an array and for a sequence without bound.
const ARRAY: u32 = 48;
const SEQUENCE: u32 = 144;

/// `RIHS01_` and 64 digits.
pub(crate) fn type_hash(definitions: &Definitions, name: &str) -> String {
    let mut referenced = BTreeSet::new();
    gather(definitions, name, &mut referenced);
    let referenced: Vec<String> =
        referenced.iter().map(|name| description(definitions, name)).collect();
    let text = format!(
        "{{\"type_description\": {}, \"referenced_type_descriptions\": [{}]}}",
        description(definitions, name),
        referenced.join(", ")
    );
    let digest = Sha256::digest(text.as_bytes());
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("RIHS01_{digits}")
}

/// All types inside a type, and inside those.
fn gather(definitions: &Definitions, name: &str, found: &mut BTreeSet<String>) {
    for field in &definition(definitions, name).fields {
        if let Element::Nested(nested) = &field.element
            && found.insert(nested.clone())
        {
            gather(definitions, nested, found);
        }
    }
}

fn definition<'a>(definitions: &'a Definitions, name: &str) -> &'a crate::definition::Definition {
    definitions.get(name).unwrap_or_else(|| panic!("msg/ has no {name}"))
}

fn description(definitions: &Definitions, name: &str) -> String {
    let fields: Vec<String> = definition(definitions, name).fields.iter().map(field).collect();
    format!("{{\"type_name\": \"{name}\", \"fields\": [{}]}}", fields.join(", "))
}

fn field(field: &Field) -> String {
    let (element_id, nested) = match &field.element {
        Element::Primitive(primitive) => (primitive.type_id, ""),
        Element::Nested(name) => (NESTED, name.as_str()),
    };
    let (more, capacity) = match field.count {
        Count::One => (0, 0),
        Count::Array(length) => (ARRAY, length),
        Count::Sequence => (SEQUENCE, 0),
    };
    format!(
        "{{\"name\": \"{}\", \"type\": {{\"type_id\": {}, \"capacity\": {capacity}, \
         \"string_capacity\": 0, \"nested_type_name\": \"{nested}\"}}}}",
        field.name,
        element_id + more
    )
}
