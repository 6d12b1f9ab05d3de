//! A result or a status as JSON: protobuf's own canonical form, so that any protobuf library reads it back.
//!
//! Field names are those of the `.proto` files, 64-bit integers are strings, enumerations are names,
//! bytes are base64. Fields that have their default value are written out, too.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;

use crate::proto::{FILE_DESCRIPTOR_SET, Packages, Status};

static PACKAGES: LazyLock<MessageDescriptor> = LazyLock::new(|| describe("magpie.v1.Packages"));
static STATUS: LazyLock<MessageDescriptor> = LazyLock::new(|| describe("magpie.v1.Status"));

fn describe(name: &str) -> MessageDescriptor {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("compiled from our own schema");
    pool.get_message_by_name(name).expect("the schema defines it")
}

/// The canonical JSON of a result.
pub fn to_json(message: &Packages) -> Value {
    canonical(&PACKAGES, &message.encode_to_vec())
}

/// The canonical JSON of a status.
pub fn status_to_json(message: &Status) -> Value {
    canonical(&STATUS, &message.encode_to_vec())
}

fn canonical(descriptor: &MessageDescriptor, bytes: &[u8]) -> Value {
    let message = DynamicMessage::decode(descriptor.clone(), bytes).expect("just encoded");
    let options = SerializeOptions::new().use_proto_field_name(true).skip_default_fields(false);
    message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .expect("a message without floats that JSON cannot say, or with them as strings")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Grasp, Mask, Package, PoseSource};

    fn from_json(json: &str) -> Result<Packages, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_str(json);
        let message = DynamicMessage::deserialize(PACKAGES.clone(), &mut reader)?;
        Ok(Packages::decode(&*message.encode_to_vec()).expect("of the same schema"))
    }

    fn message() -> Packages {
        let grasp = Grasp {
            pose_source: PoseSource::SupportPlane.into(),
            position_sigma_m: 0.002,
            ..Default::default()
        };
        let mask = Mask { width_px: 4, height_px: 3, counts: b"04081".to_vec() };
        let package = Package {
            r#type: "poly_bag".into(),
            mask: Some(mask),
            grasps: vec![grasp],
            ..Default::default()
        };
        Packages { stamp_ns: u64::MAX, packages: vec![package], ..Default::default() }
    }

    #[test]
    fn a_result_survives_json() {
        assert_eq!(from_json(&to_json(&message()).to_string()).unwrap(), message());
    }

    #[test]
    fn it_is_spelled_as_protobuf_spells_it() {
        let json = to_json(&message());
        assert_eq!(json["stamp_ns"], "18446744073709551615");
        let package = &json["packages"][0];
        assert_eq!(package["type"], "poly_bag");
        assert_eq!(package["pick_rank"], 0);
        assert_eq!(package["mask"]["counts"], "MDQwODE=");
        assert_eq!(package["grasps"][0]["pose_source"], "POSE_SOURCE_SUPPORT_PLANE");
    }
}
