//! Type hashes against those that ROS 2 has, as hiroz and rosbags know them. rosbags has no vision_msgs:
//! `Detection3DArray`'s is known from another client alone, and `Detection2DArray`'s from nowhere but our
//! own definition.
#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

#[allow(dead_code, reason = "shared with build.rs")]
#[path = "../build/definition.rs"]
mod definition;
#[path = "../build/type_hash.rs"]
mod type_hash;

use std::path::Path;

use magpie_ros2::messages::{
    CameraInfo, CompressedImage, Detection2DArray, Detection3DArray, DiagnosticArray, Header,
    Image, Message, PoseArray, TFMessage,
};

#[test]
fn the_published_types_have_the_hashes_that_ros_has() {
    fn check<M: Message>(name: &str, digits: &str) {
        assert_eq!((M::TYPE_NAME, M::TYPE_HASH), (name, format!("RIHS01_{digits}").as_str()));
    }
    check::<Header>(
        "std_msgs/msg/Header",
        "f49fb3ae2cf070f793645ff749683ac6b06203e41c891e17701b1cb597ce6a01",
    );
    check::<PoseArray>(
        "geometry_msgs/msg/PoseArray",
        "af0cc36d190e104d546d168d6b39df04fa4b4ccecf59cb4c9ed328d3d5004aa0",
    );
    check::<CameraInfo>(
        "sensor_msgs/msg/CameraInfo",
        "b3dfd68ff46c9d56c80fd3bd4ed22c7a4ddce8c8348f2f59c299e73118e7e275",
    );
    check::<CompressedImage>(
        "sensor_msgs/msg/CompressedImage",
        "15640771531571185e2efc8a100baf923961a4d15d5569652e6cb6691e8e371a",
    );
    check::<Image>(
        "sensor_msgs/msg/Image",
        "d31d41a9a4c4bc8eae9be757b0beed306564f7526c88ea6a4588fb9582527d47",
    );
    check::<TFMessage>(
        "tf2_msgs/msg/TFMessage",
        "e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087",
    );
    check::<DiagnosticArray>(
        "diagnostic_msgs/msg/DiagnosticArray",
        "5a8a36efb05fb25070fa0fb3810290c0e6cd4862b54a8fb975a1ee8dc55a333e",
    );
    check::<Detection3DArray>(
        "vision_msgs/msg/Detection3DArray",
        "793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018",
    );
    check::<Detection2DArray>(
        "vision_msgs/msg/Detection2DArray",
        "214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968",
    );
}

#[test]
fn types_that_are_not_published_have_the_hashes_that_are_known_from_elsewhere() {
    let msg = Path::new(env!("CARGO_MANIFEST_DIR")).join("msg");
    let mut definitions = definition::read_all(&msg).unwrap();
    for (package, name, text, digits) in [
        (
            "std_msgs",
            "String",
            "string data",
            "df668c740482bbd48fb39d76a70dfd4bd59db1288021743503259e948f6b1a18",
        ),
        (
            "geometry_msgs",
            "PoseStamped",
            "# A pose.\nstd_msgs/Header header\n\nPose pose  # where\n",
            "10f3786d7d40fd2b54367835614bff85d4ad3b5dab62bf8bca0cc232d73b4cd8",
        ),
    ] {
        let name = format!("{package}/msg/{name}");
        definitions.insert(name.clone(), definition::parse(package, text));
        assert_eq!(type_hash::type_hash(&definitions, &name), format!("RIHS01_{digits}"));
    }
}
