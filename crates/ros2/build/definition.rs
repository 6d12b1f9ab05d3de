//! Reads `.msg` files, as far as the messages in `msg/` use what such files can say.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

/// By full name, such as `std_msgs/msg/Header`.
pub(crate) type Definitions = BTreeMap<String, Definition>;

#[derive(Clone, Debug, Default)]
pub(crate) struct Definition {
    pub(crate) fields: Vec<Field>,
    pub(crate) constants: Vec<Constant>,
}

#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) element: Element,
    pub(crate) count: Count,
}

#[derive(Clone, Debug)]
pub(crate) enum Element {
    Primitive(&'static Primitive),
    /// By its full name.
    Nested(String),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Count {
    One,
    Array(usize),
    Sequence,
}

/// A whole number.
#[derive(Clone, Debug)]
pub(crate) struct Constant {
    pub(crate) name: String,
    pub(crate) rust: &'static str,
    pub(crate) value: String,
}

#[derive(Debug)]
pub(crate) struct Primitive {
    pub(crate) name: &'static str,
    pub(crate) rust: &'static str,
    /// In `type_description_interfaces/msg/FieldType`.
    pub(crate) type_id: u32,
}

const PRIMITIVES: &[Primitive] = &[
    Primitive { name: "int8", rust: "i8", type_id: 2 },
    Primitive { name: "uint8", rust: "u8", type_id: 3 },
    Primitive { name: "int16", rust: "i16", type_id: 4 },
    Primitive { name: "uint16", rust: "u16", type_id: 5 },
    Primitive { name: "int32", rust: "i32", type_id: 6 },
    Primitive { name: "uint32", rust: "u32", type_id: 7 },
    Primitive { name: "int64", rust: "i64", type_id: 8 },
    Primitive { name: "uint64", rust: "u64", type_id: 9 },
    Primitive { name: "float32", rust: "f32", type_id: 10 },
    Primitive { name: "float64", rust: "f64", type_id: 11 },
    Primitive { name: "bool", rust: "bool", type_id: 15 },
    Primitive { name: "byte", rust: "u8", type_id: 16 },
    Primitive { name: "string", rust: "String", type_id: 17 },
];

/// Every `PACKAGE/NAME.msg` in a folder.
pub(crate) fn read_all(folder: &Path) -> io::Result<Definitions> {
    let mut all = Definitions::new();
    for package in fs::read_dir(folder)? {
        let package = package?;
        if !package.file_type()?.is_dir() {
            continue;
        }
        let package_name = package.file_name().into_string().expect("packages have ASCII names");
        for file in fs::read_dir(package.path())? {
            let path = file?.path();
            let name = path.file_stem().and_then(|name| name.to_str()).expect("ASCII names");
            let definition = parse(&package_name, &fs::read_to_string(&path)?);
            all.insert(format!("{package_name}/msg/{name}"), definition);
        }
    }
    Ok(all)
}

/// Panics at what the definitions in `msg/` do not use: they are ours to choose.
pub(crate) fn parse(package: &str, text: &str) -> Definition {
    let mut definition = Definition::default();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some((kind, rest)) = line.split_once(char::is_whitespace) else {
            assert!(line.is_empty(), "{line:?} is no field");
            continue;
        };
        if let Some((name, value)) = rest.split_once('=') {
            let rust = primitive(kind).expect("constants are numbers").rust;
            let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
            definition.constants.push(Constant { name, rust, value });
            continue;
        }
        // What follows the name is a default, which neither the coding nor the hash knows.
        let name = rest.split_whitespace().next().expect("a field has a name").to_owned();
        let (kind, count) = split_count(kind);
        let element = primitive(kind)
            .map_or_else(|| Element::Nested(full_name(package, kind)), Element::Primitive);
        definition.fields.push(Field { name, element, count });
    }
    definition
}

fn primitive(kind: &str) -> Option<&'static Primitive> {
    PRIMITIVES.iter().find(|primitive| primitive.name == kind)
}

fn split_count(kind: &str) -> (&str, Count) {
    let Some((kind, count)) = kind.split_once('[') else { return (kind, Count::One) };
    match count.trim_end_matches(']') {
        "" => (kind, Count::Sequence),
        count => (kind, Count::Array(count.parse().expect("bounded sequences are not read"))),
    }
}

fn full_name(package: &str, kind: &str) -> String {
    match kind.split_once('/') {
        Some((package, name)) => format!("{package}/msg/{name}"),
        None => format!("{package}/msg/{kind}"),
    }
}
