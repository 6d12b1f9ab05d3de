"""Writes the ROS 2 bags of this folder with `rosbags`, which shares no code with ROS or Magpie.

    pip install rosbags numpy opencv-python-headless
    python make_bags.py

Three exposures, 100 ms apart, of 16x12 px. In exposure `n`, the pixel in column `x` and row `y` is
red `10 * n + x`, green `y`, blue 200; its depth is `1000 + 100 * n + x` mm. Depth is stamped 3 ms
later. `other` is what a camera has beside that: depth that is not aligned, infrared, odometry.
"""

import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

WIDTH, HEIGHT, FRAMES = 16, 12, 3
FIRST_NS, INTERVAL_NS = 1_700_000_000_000_000_000, 100_000_000
COLOR_FRAME = "camera_color_optical_frame"

store = get_typestore(Stores.ROS2_HUMBLE)
types = store.types


def header(stamp_ns, frame_id):
    stamp = types["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)


def image(stamp_ns, frame_id, encoding, pixels, big=False, padding=0):
    rows = pixels.reshape(pixels.shape[0], -1)
    rows = rows.astype(rows.dtype.newbyteorder(">" if big else "<"))
    data = np.pad(rows.view(np.uint8), ((0, 0), (0, padding)))
    return types["sensor_msgs/msg/Image"](
        header=header(stamp_ns, frame_id), height=pixels.shape[0], width=pixels.shape[1],
        encoding=encoding, is_bigendian=int(big), step=data.shape[1],
        data=np.ascontiguousarray(data).ravel(),
    )


def compressed(stamp_ns, frame_id, form, data):
    return types["sensor_msgs/msg/CompressedImage"](
        header=header(stamp_ns, frame_id), format=form, data=np.frombuffer(data, np.uint8)
    )


def camera_info(stamp_ns):
    roi = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    k = np.array([15.1, 0, 7.7, 0, 15.3, 5.5, 0, 0, 1])
    return types["sensor_msgs/msg/CameraInfo"](
        header=header(stamp_ns, COLOR_FRAME), height=HEIGHT, width=WIDTH,
        distortion_model="plumb_bob", d=np.array([0.1, -0.05, 0.001, 0.002, 0.0]), k=k,
        r=np.eye(3).ravel(), p=np.zeros(12), binning_x=0, binning_y=0, roi=roi,
    )


def tf_static(stamp_ns):
    # The camera 1.25 m above base_link, looking down, by way of its mount.
    vector, quaternion = types["geometry_msgs/msg/Vector3"], types["geometry_msgs/msg/Quaternion"]
    transform, stamped = types["geometry_msgs/msg/Transform"], types["geometry_msgs/msg/TransformStamped"]
    mount = transform(translation=vector(0.5, 0.0, 1.25), rotation=quaternion(0.0, 0.0, 0.0, 1.0))
    down = transform(translation=vector(0.0, 0.0, 0.0), rotation=quaternion(1.0, 0.0, 0.0, 0.0))
    return types["tf2_msgs/msg/TFMessage"]([
        stamped(header=header(stamp_ns, "base_link"), child_frame_id="camera_link", transform=mount),
        stamped(header=header(stamp_ns, "camera_link"), child_frame_id=COLOR_FRAME, transform=down),
    ])


def exposure(n):
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    rgb = np.stack([10 * n + x, y, np.full_like(x, 200)], -1).astype(np.uint8)
    return rgb, (1000 + 100 * n + x).astype(np.uint16)


def png(pixels):
    return cv2.imencode(".png", pixels)[1].tobytes()


def write(folder, messages, plugin):
    """`messages`: topic, type, stamp, message."""
    shutil.rmtree(folder, ignore_errors=True)
    with Writer(folder, version=9, storage_plugin=plugin) as writer:
        connections = {}
        for topic, kind, stamp_ns, message in messages:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store)
            writer.write(connections[topic], stamp_ns, store.serialize_cdr(message, kind))


IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


def realsense():
    """As a RealSense camera's driver names its topics."""
    yield "/tf_static", "tf2_msgs/msg/TFMessage", FIRST_NS, tf_static(FIRST_NS)
    for n in range(FRAMES):
        at, (rgb, depth) = FIRST_NS + n * INTERVAL_NS, exposure(n)
        # Whatever is stored, is stored when it came in, a little later.
        stored = at + 20_000_000
        yield "/camera/color/camera_info", "sensor_msgs/msg/CameraInfo", stored, camera_info(at)
        yield "/camera/infra1/image_rect_raw", IMAGE, stored, image(at, "infra", "mono8", rgb[..., 0])
        yield "/camera/depth/image_rect_raw", IMAGE, stored, image(at, "camera_depth_optical_frame", "16UC1", depth)
        yield "/camera/color/image_raw", IMAGE, stored, image(at, COLOR_FRAME, "rgb8", rgb, padding=5)
        yield (
            "/camera/aligned_depth_to_color/image_raw", IMAGE, stored + 1_000_000,
            image(at + 3_000_000, COLOR_FRAME, "16UC1", depth, big=n == 1),
        )


def compressed_only():
    """As `image_transport` compresses; the depth of exposure 1 was lost."""
    for n in range(FRAMES):
        at, (rgb, depth) = FIRST_NS + n * INTERVAL_NS, exposure(n)
        color = compressed(at, COLOR_FRAME, "rgb8; png compressed bgr8", png(rgb[..., ::-1]))
        yield "/rgb/image_raw/compressed", COMPRESSED, at, color
        if n != 1:
            data = bytes(12) + png(depth)
            packed = compressed(at + 3_000_000, COLOR_FRAME, "16UC1; compressedDepth png", data)
            yield "/depth_registered/image_raw/compressedDepth", COMPRESSED, at, packed


def main():
    here, scratch = Path(__file__).parent, Path(tempfile.mkdtemp())
    for name, messages in (("realsense", realsense), ("compressed", compressed_only)):
        for plugin, end in ((StoragePlugin.MCAP, "mcap"), (StoragePlugin.SQLITE3, "db3")):
            write(scratch / f"{name}_{end}", messages(), plugin)
            (file,) = (scratch / f"{name}_{end}").glob(f"*.{end}")
            shutil.copy(file, here / f"{name}.{end}")


if __name__ == "__main__":
    main()
