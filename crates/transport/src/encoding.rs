//! zenoh encodings, set on every publication.

use std::sync::LazyLock;

use zenoh::bytes::Encoding;

pub(crate) static PACKAGES: LazyLock<Encoding> = LazyLock::new(|| protobuf("Packages"));
pub(crate) static STATUS: LazyLock<Encoding> = LazyLock::new(|| protobuf("Status"));
pub(crate) static CAMERA_INFO: LazyLock<Encoding> = LazyLock::new(|| protobuf("CameraInfo"));
pub(crate) static LABEL_IMAGE: LazyLock<Encoding> =
    LazyLock::new(|| Encoding::APPLICATION_OCTET_STREAM.with_schema("magpie.v1.label_image"));

fn protobuf(message: &str) -> Encoding {
    Encoding::APPLICATION_PROTOBUF.with_schema(format!("magpie.v1.{message}"))
}
