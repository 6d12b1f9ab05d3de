//! The messages, generated from `proto/magpie/v1`.

mod generated {
    include!(concat!(env!("OUT_DIR"), "/magpie.v1.rs"));
}

pub use generated::*;

/// Version of the schema that this crate writes, and the only one that it reads.
pub const SCHEMA_VERSION: u32 = 1;

/// The schema as a serialised `google.protobuf.FileDescriptorSet`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/magpie_v1.binpb"));
