"""Hears a cell as a ROS 2 program would, without any code of Magpie's.

Messages are decoded by rosbags, with its own definitions and type hashes (vision_msgs, which it does not
have, is read from crates/ros2/msg). Keys, attachments and the graph are read by zenoh-ros2-sdk.

    listen.py --router ADDRESS --namespace /magpie/demo [--domain 0] [--count 3]

Prints one JSON object with what it heard; fails if anything is not as ROS has it.
"""

import argparse
import json
import logging
import sys
import time
from pathlib import Path

import xxhash
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from zenoh_ros2_sdk import ROS2Subscriber, ZenohSession, get_topic_info
from zenoh_ros2_sdk.attachment import Attachment
from zenoh_ros2_sdk.keyexpr import topic_keyexpr
from zenoh_ros2_sdk.qos import QosDurability, QosProfile
from zenoh_ros2_sdk.utils import mangle_name, ros2_to_dds_type

MSG = Path(__file__).parents[2] / "crates/ros2/msg"
DEADLINE_S = 90

arguments = argparse.ArgumentParser()
arguments.add_argument("--router", required=True)
arguments.add_argument("--namespace", required=True)
arguments.add_argument("--domain", type=int, default=0)
arguments.add_argument("--count", type=int, default=3)
arguments.add_argument("--no-hashes", action="store_true", help="as Humble")
arguments = arguments.parse_args()

TOPICS = {
    f"{arguments.namespace}/detections_2d": "vision_msgs/msg/Detection2DArray",
    f"{arguments.namespace}/detections_3d": "vision_msgs/msg/Detection3DArray",
    f"{arguments.namespace}/grasps": "geometry_msgs/msg/PoseArray",
    f"{arguments.namespace}/labels": "sensor_msgs/msg/Image",
    f"{arguments.namespace}/camera/camera_info": "sensor_msgs/msg/CameraInfo",
    f"{arguments.namespace}/camera/image/compressed": "sensor_msgs/msg/CompressedImage",
    "/tf_static": "tf2_msgs/msg/TFMessage",
    "/diagnostics": "diagnostic_msgs/msg/DiagnosticArray",
}

store = get_typestore(Stores.ROS2_JAZZY)
definitions = {
    f"{path.parent.name}/msg/{path.stem}": path.read_text() for path in MSG.glob("*/*.msg")
}
for name, text in definitions.items():
    # A definition of ours that is not rosbags' is refused here.
    store.register(get_types_from_msg(text, name))

problems = []


def check(holds, what):
    if not holds:
        problems.append(what)


def plain(value):
    """A message as JSON has it; of long arrays the length."""
    if hasattr(value, "__msgtype__"):
        fields = [field for field, _ in store.fielddefs[value.__msgtype__][1]]
        return {field: plain(getattr(value, field)) for field in fields}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list):
        return [plain(one) for one in value] if len(value) <= 100 else {"length": len(value)}
    return value


class Topic:
    """What was heard on a topic."""

    def __init__(self, session, topic, kind):
        self.topic, self.kind, self.heard, self.sequences = topic, kind, [], []
        hash_ = "TypeHashNotSupported" if arguments.no_hashes else store.hash_rihs01(kind)
        self.key = topic_keyexpr(arguments.domain, topic, ros2_to_dds_type(kind), hash_)
        self.subscriber = session.declare_subscriber(self.key, self.hear)

    def hear(self, sample):
        payload = sample.payload.to_bytes()
        message = store.deserialize_cdr(payload, self.kind)
        again = bytes(store.serialize_cdr(message, self.kind, little_endian=True))
        check(again == payload, f"{self.topic}: rosbags writes other bytes")
        raw = sample.attachment.to_bytes()
        attached = Attachment.from_bytes(raw)
        check(len(raw) == 33 and len(attached.gid) == 16, f"{self.topic}: attachment of {len(raw)}")
        check(abs(attached.timestamp_ns - time.time_ns()) < 60e9, f"{self.topic}: sent at no time")
        self.sequences.append(attached.sequence_id)
        self.gid = attached.gid
        self.heard.append(message)


def tokens(session):
    """The tokens of the cell's publishers by topic, and all tokens."""
    found = {}
    replies = session.liveliness().get(f"@ros2_lv/{arguments.domain}/**", timeout=5.0)
    keys = [str(reply.ok.key_expr) for reply in replies if reply.ok is not None]
    for key in keys:
        parts = key.split("/")
        if parts[5] == "MP" and parts[7] == mangle_name(arguments.namespace):
            found[parts[9]] = key
    return found, keys


logging.disable(logging.CRITICAL)
host, port = arguments.router.rsplit(":", 1)
manager = ZenohSession.get_instance(host, int(port))
for name, text in definitions.items():
    manager.register_message_type(text, name)
session = manager.session
topics = [Topic(session, topic, kind) for topic, kind in TOPICS.items()]

# One with another type hash, which hears nothing; and one of the SDK, which decodes by itself.
strange = []
kind = TOPICS[f"{arguments.namespace}/grasps"]
other_key = topic_keyexpr(
    arguments.domain, f"{arguments.namespace}/grasps", ros2_to_dds_type(kind), "RIHS01_" + 64 * "0"
)
stranger = session.declare_subscriber(other_key, strange.append)
by_sdk = []
kind = TOPICS[f"{arguments.namespace}/detections_3d"]
sdk = None
if not arguments.no_hashes:
    sdk = ROS2Subscriber(
        f"{arguments.namespace}/detections_3d",
        kind,
        by_sdk.append,
        msg_definition=definitions[kind],
        domain_id=arguments.domain,
        router_ip=host,
        router_port=int(port),
        type_hash=store.hash_rihs01(kind),
    )

end = time.monotonic() + DEADLINE_S
wanted = {"/tf_static": 1}
while time.monotonic() < end:
    if all(len(topic.heard) >= wanted.get(topic.topic, arguments.count) for topic in topics):
        break
    time.sleep(0.1)

# One that comes late asks for what holds.
late = []
if not arguments.no_hashes:
    came_late = ROS2Subscriber(
        "/tf_static",
        "tf2_msgs/msg/TFMessage",
        lambda message: late.append((time.monotonic(), message)),
        msg_definition=definitions["tf2_msgs/msg/TFMessage"],
        domain_id=arguments.domain,
        router_ip=host,
        router_port=int(port),
        type_hash=store.hash_rihs01("tf2_msgs/msg/TFMessage"),
        qos=QosProfile(durability=QosDurability.TRANSIENT_LOCAL, history_depth=1),
    )
    # The constructor asks, and waits for the answers.
    check(late, "/tf_static: nothing for a late subscriber")

by_topic, all_tokens = tokens(session)
graph = {}
for topic in topics:
    check(len(topic.heard) > 0, f"{topic.topic}: nothing heard at {topic.key}")
    check(topic.sequences == sorted(set(topic.sequences)), f"{topic.topic}: {topic.sequences}")
    token = by_topic.get(mangle_name(topic.topic))
    check(token is not None, f"{topic.topic}: no token among {all_tokens}")
    if token and topic.heard:
        gid = xxhash.xxh3_128_intdigest(token.encode()).to_bytes(16, "little")
        check(topic.gid == gid, f"{topic.topic}: the sender is not {token}")
    info = get_topic_info(topic.topic, arguments.domain, host, int(port), 5.0, verbose=True)
    check(info and info.topic_types == [topic.kind], f"{topic.topic}: {info}")
    for publisher in info.publishers if info else []:
        qos = QosProfile.decode(publisher.qos)
        node = f"{publisher.node_namespace}/{publisher.node_name}"
        graph[topic.topic] = [node, qos.reliability.name, qos.durability.name, qos.history_depth]
check(not strange, "a subscriber with another type hash heard something")
check(by_sdk or arguments.no_hashes, "the SDK's subscriber heard nothing")

for problem in sorted(set(problems)):
    print(problem, file=sys.stderr)
heard = {topic.topic: [plain(message) for message in topic.heard] for topic in topics}
print(json.dumps({"heard": heard, "graph": graph}))
sys.stdout.flush()
session.close()
sys.exit(1 if problems else 0)
