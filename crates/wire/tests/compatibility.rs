//! An old reader reads new messages, and a new reader reads old ones.
//!
//! `schema.lock` lists every field and value that was ever released. A change of the schema may add
//! lines to it; it may neither change nor remove one.

use std::collections::BTreeSet;
use std::time::Duration;

use magpie_wire as wire;
use magpie_wire::freshness::{decode_packages, decode_status};
use prost::Message;
use prost_reflect::{DescriptorPool, FieldDescriptor, Kind};

const LOCK: &str = include_str!("../schema.lock");
const VALID_MAX: Duration = Duration::from_secs(5);

/// One line for each field of a message and each value of an enumeration.
fn schema() -> BTreeSet<String> {
    let pool = DescriptorPool::decode(wire::FILE_DESCRIPTOR_SET).expect("our own schema");
    let fields = pool.all_messages().flat_map(|message| {
        let line = |field: FieldDescriptor| {
            let many = if field.is_list() { "repeated " } else { "" };
            let (name, number) = (field.full_name(), field.number());
            format!("{name} = {number}: {many}{}", kind(&field.kind()))
        };
        message.fields().map(line).collect::<Vec<_>>()
    });
    let values = pool.all_enums().flat_map(|list| {
        let line = |value: prost_reflect::EnumValueDescriptor| {
            format!("{} {} = {}", list.full_name(), value.name(), value.number())
        };
        list.values().map(line).collect::<Vec<_>>()
    });
    fields.chain(values).collect()
}

fn kind(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(list) => list.full_name().to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}

#[test]
fn what_was_released_keeps_its_number_and_type() {
    let (now, released) = (schema(), LOCK.lines().map(str::to_owned).collect::<BTreeSet<_>>());
    let gone: Vec<_> = released.difference(&now).collect();
    assert!(gone.is_empty(), "old readers and recordings need these: {gone:#?}");
    let new: Vec<_> = now.difference(&released).collect();
    assert!(new.is_empty(), "add these lines to crates/wire/schema.lock: {new:#?}");
}

/// A result as the first release wrote it: without a field that came later.
fn first() -> wire::Packages {
    wire::Packages {
        schema_version: wire::SCHEMA_VERSION,
        cell: "dock-7".into(),
        instance_id: "a".into(),
        sequence: 3,
        stamp_ns: 1_000_000_000,
        published_ns: 1_040_000_000,
        valid_until_ns: 1_500_000_000,
        reference_frame: wire::ReferenceFrame::Base.into(),
        image_width_px: 640,
        image_height_px: 480,
        ..wire::Packages::default()
    }
}

#[test]
fn a_reader_passes_over_fields_and_values_that_it_does_not_know() {
    let mut bytes = first().encode_to_vec();
    // Field 900 with bytes, field 901 with a number.
    bytes.extend([0xa2, 0x38, 3, 1, 2, 3, 0xa8, 0x38, 0x2a]);
    assert_eq!(decode_packages(&bytes, "dock-7", VALID_MAX).unwrap(), first());

    let status = wire::Status {
        schema_version: wire::SCHEMA_VERSION,
        cell: "dock-7".into(),
        state: 77,
        ..wire::Status::default()
    };
    let read = decode_status(&status.encode_to_vec(), "dock-7").unwrap();
    assert_eq!(read.state(), wire::State::Unspecified);
}

#[test]
fn a_message_of_a_version_that_would_be_misunderstood_is_refused_by_its_number() {
    let newer = wire::Packages { schema_version: wire::SCHEMA_VERSION + 1, ..first() };
    let refusal = decode_packages(&newer.encode_to_vec(), "dock-7", VALID_MAX).unwrap_err();
    let told = format!("version {}", wire::SCHEMA_VERSION + 1);
    assert!(refusal.to_string().contains(&told), "{refusal}");
}
