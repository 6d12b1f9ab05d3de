"""Shows in Rerun what `magpie view` reads and hands over on standard input.

A message is one line of JSON. The bytes that it announces follow at once.

    {"name", "live", "depth", "reference": {"frame_id", "is_base", "camera"} or null}    once, first
    {"stamp_ns", "size_px", "coding", "bytes": [[NAME, COUNT], ...], "result"}           a frame
    {"stamp_ns", "status", "level"}                                                      news of the daemon

| bytes | hold |
|---|---|
| `picture` | as `coding` says: `jpeg`, or `bgr8` |
| `depth` | 16 bits of millimetres for each pixel, 0 where nothing was measured |
| `points` | the measured surface in the reference frame: x, y, z in metres, 32-bit floats; red, green, blue |
| `labels` | 16 bits for each pixel: the index of a package plus one, 0 for the background |

`result` is null or the JSON of a `magpie.v1.Packages`, whose schema says what each field means.

With the argument `save` the recording of Rerun goes to standard output, else into its viewer.
"""

import sys

# Nothing is imported from the folder that somebody happens to be in.
sys.path[:] = [folder for folder in sys.path if folder]

import importlib.util
import json
import os
import signal
import subprocess
import threading
from pathlib import Path

# Older ones lack parts of what is called here.
RERUN_VERSION_MIN = "0.41"


def refuse(why):
    """The last line of standard error is what `magpie view` tells."""
    print(why, file=sys.stderr, flush=True)
    os._exit(1)


INSTALL = (
    f"install it by `{sys.executable} -m pip install 'rerun-sdk>={RERUN_VERSION_MIN}'`, or name a Python that has it "
    "by --python"
)


def version(text):
    return tuple(int(part) for part in text.split(".")[:2])


try:
    import numpy as np
    import rerun as rr
    import rerun.blueprint as rrb
except ImportError as error:
    refuse(f"{sys.executable} has no Rerun ({error}): {INSTALL}")
if version(rr.__version__) < version(RERUN_VERSION_MIN):
    refuse(f"{sys.executable} has Rerun {rr.__version__}, older than {RERUN_VERSION_MIN}: {INSTALL}")

APPROACH_M = 0.08
AXES_M = 0.03
POINT_UI = 5.0
POINT_M = 0.006
SURFACE_M = 0.004
POINT = np.dtype([("xyz", "<f4", 3), ("rgb", "u1", 3)])
MILLIMETRES_IN_A_METRE = 1000.0
OPACITY = 0.45
JPEG_QUALITY = 95
# Types of the shipped model have the same colour everywhere; others get the next ones. The colours are
# those of Okabe and Ito, which most eyes tell apart.
TYPES = ["box", "padded_mailer", "poly_bag", "item"]
COLORS = [
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
]
BACKGROUND = 0
# What is drawn of a result.
DRAWN = ("camera/types", "camera/packages", "camera/contacts", "packages", "grasps", "approaches")


def main():
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    messages = read_messages(sys.stdin.buffer)
    head, _ = next(messages, (None, None))
    if head is None:
        return
    viewer = None if sys.argv[1:] == ["save"] else start_viewer()
    recording = rr.RecordingStream("magpie")
    # A frame has one time.
    rr.set_log_time_enabled(False, recording=recording)
    rr.set_log_tick_enabled(False, recording=recording)
    recording.stdout()
    recording.send_recording_name(head["name"])
    show_cell(recording, head)
    types = Types(recording)
    is_laid_out = False
    for message, parts in messages:
        if not is_laid_out and "status" not in message:
            recording.send_blueprint(layout(head, eye(head, parts.get("points"))))
            is_laid_out = True
        recording.set_time("exposure", timestamp=np.datetime64(message["stamp_ns"], "ns"))
        if "status" in message:
            recording.log("status", rr.TextLog(message["status"], level=message["level"]))
        else:
            show_frame(recording, message, parts, types)
    recording.flush()
    recording.disconnect()
    if viewer:
        os.close(sys.stdout.fileno())
        viewer.join()


def read_messages(stream):
    """Each message with its bytes by name, until the program ends."""
    while line := stream.readline():
        message = json.loads(line)
        parts = {name: stream.read(count) for name, count in message.get("bytes", [])}
        if any(len(parts[name]) < count for name, count in message.get("bytes", [])):
            return
        yield message, parts


def start_viewer():
    """Rerun's viewer, which from now on reads what goes to standard output."""
    found = importlib.util.find_spec("rerun_cli")
    if found is None:
        refuse(f"{sys.executable} has Rerun without its viewer: {INSTALL}; --out FILE.rrd needs no viewer")
    # By itself it would let every machine of the network connect.
    options = ["--bind", "127.0.0.1", "--port", "auto", "--hide-welcome-screen", "-"]
    program = Path(found.origin).with_name("rerun")
    viewer = subprocess.Popen([program, *options], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    os.dup2(viewer.stdin.fileno(), sys.stdout.fileno())
    viewer.stdin.close()
    thread = threading.Thread(target=end_with, args=[viewer])
    thread.start()
    return thread


def end_with(viewer):
    """Whoever closes the window has seen enough."""
    status = viewer.wait()
    if status in (0, -signal.SIGINT, -signal.SIGTERM):
        os._exit(0)
    refuse(
        f"Rerun's viewer ended with status {status}: it needs a display and a driver for graphics; "
        "--out FILE.rrd needs neither"
    )


def layout(head, eye_controls):
    in_picture = ["picture", "types", "packages", "contacts"]
    picture = rrb.Spatial2DView(
        name="Picture", origin="camera", contents=[f"$origin/{name}" for name in in_picture]
    )
    beside = []
    if head["reference"]:
        # The surface shows what the depth image would, through the lens as it is. Nothing of a camera is
        # drawn in space where nobody knows its place.
        flat = (*in_picture[1:], "depth") if head["reference"]["camera"] else ("**",)
        beside.append(
            rrb.Spatial3DView(
                name=f"In {head['reference']['frame_id']}",
                origin="/",
                eye_controls=eye_controls,
                contents=["+ /**", *(f"- /camera/{name}" for name in flat)],
            )
        )
    if head["depth"]:
        beside.append(rrb.Spatial2DView(name="Depth", origin="camera/depth"))
    views = rrb.Horizontal(picture, rrb.Vertical(*beside), column_shares=[3, 2]) if beside else picture
    return rrb.Blueprint(
        rrb.Vertical(views, rrb.TextLogView(name="Status", origin="status"), row_shares=[4, 1]),
        rrb.TimePanel(
            state="collapsed",
            timeline="exposure",
            play_state="following" if head["live"] else "paused",
        ),
        rrb.BlueprintPanel(state="collapsed"),
        rrb.SelectionPanel(state="collapsed"),
    )


def eye(head, points):
    """Beside the camera, so that heights and the ways of the tool are seen."""
    camera = head["reference"] and head["reference"]["camera"]
    if not camera or not points:
        return None
    target = np.median(np.frombuffer(points, POINT)["xyz"], axis=0)
    back = np.array(camera["position_m"]) - target
    turn = np.array(camera["orientation_xyzw"]).reshape(1, 4)
    up = -axes(turn, 1)[0]
    distance_m = np.linalg.norm(back)
    # Down in the picture is towards whoever looks at it.
    return rrb.EyeControls3D(
        kind=rrb.Eye3DKind.Orbital,
        position=target + 0.5 * back - 0.6 * distance_m * up,
        look_target=target,
        eye_up=back / distance_m,
    )


def show_cell(recording, head):
    if not head["reference"]:
        return
    camera = head["reference"]["camera"]
    if head["reference"]["is_base"]:
        recording.log("/", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    # A running cell does not say where its camera is.
    if camera is None:
        return
    recording.log(
        "camera",
        rr.Transform3D(translation=camera["position_m"], quaternion=camera["orientation_xyzw"]),
        # Rerun has no lenses: their distortion is left out.
        rr.Pinhole(
            focal_length=camera["focal_length_px"],
            # Ours has the centre of the first pixel at 0, Rerun's its corner.
            principal_point=[at + 0.5 for at in camera["principal_point_px"]],
            resolution=camera["size_px"],
            camera_xyz=rr.ViewCoordinates.RDF,
            image_plane_distance=0.15,
        ),
        static=True,
    )


def show_frame(recording, message, parts, types):
    width_px, height_px = message["size_px"]
    recording.log("camera/picture", picture_of(message, parts["picture"]))
    if "depth" in parts:
        depth_mm = np.frombuffer(parts["depth"], "<u2").reshape(height_px, width_px)
        recording.log("camera/depth", rr.DepthImage(depth_mm, meter=MILLIMETRES_IN_A_METRE))
    if "points" in parts:
        points = np.frombuffer(parts["points"], POINT)
        recording.log("surface", rr.Points3D(points["xyz"], colors=points["rgb"], radii=SURFACE_M))
    if message["result"]:
        labels = np.frombuffer(parts["labels"], "<u2").reshape(height_px, width_px)
        show_result(recording, message["result"]["packages"], labels, types)
    else:
        for name in DRAWN:
            recording.log(name, rr.Clear(recursive=False))


def picture_of(message, data):
    if message["coding"] == "jpeg":
        return rr.EncodedImage(contents=data, media_type="image/jpeg")
    width_px, height_px = message["size_px"]
    image = rr.Image(np.frombuffer(data, np.uint8).reshape(height_px, width_px, 3), color_model="BGR")
    # A viewer holds the recording in memory.
    return image.compress(jpeg_quality=JPEG_QUALITY)


def show_result(recording, packages, labels, types):
    numbers = [types.number(package["type"]) for package in packages]
    type_of_label = np.array([BACKGROUND, *numbers], np.uint16)
    recording.log("camera/types", rr.SegmentationImage(type_of_label[labels], opacity=OPACITY))
    sides = ("x_min_px", "y_min_px", "x_max_px", "y_max_px")
    boxes = [[float(package["bbox"][side]) for side in sides] for package in packages]
    recording.log(
        "camera/packages",
        rr.Boxes2D(
            array=np.array(boxes, np.float32).reshape(-1, 4),
            array_format=rr.Box2DFormat.XYXY,
            labels=[told(package) for package in packages],
            class_ids=numbers,
        ),
    )
    placed = [(package, number) for package, number in zip(packages, numbers) if package.get("position_m")]
    recording.log(
        "packages",
        rr.Points3D(
            array_of([package["position_m"] for package, _ in placed], "xyz"),
            labels=[told_in_space(package) for package, _ in placed],
            class_ids=[number for _, number in placed],
            radii=POINT_M,
            # On selection: they would hide what they tell about.
            show_labels=False,
        ),
    )
    show_grasps(recording, [(p, number) for p, number in zip(packages, numbers) if p["grasps"]])


def show_grasps(recording, held):
    """The best grasp of each package, in pick order."""
    best = [package["grasps"][0] for package, _ in held]
    order = [str(package["pick_rank"] + 1) for package, _ in held]
    numbers = [number for _, number in held]
    # Ours has the centre of the first pixel at 0, Rerun its corner.
    contacts = [
        [float(grasp["contact_px"][axis]) + 0.5 for axis in ("x_px", "y_px")] for grasp in best
    ]
    recording.log(
        "camera/contacts",
        rr.Points2D(
            np.array(contacts).reshape(-1, 2),
            labels=order,
            radii=rr.Radius.ui_points(POINT_UI),
            colors=[255, 255, 255],
        ),
    )
    positions = array_of([grasp["pose"]["position_m"] for grasp in best], "xyz")
    turns = array_of([grasp["pose"]["orientation"] for grasp in best], "xyzw")
    recording.log(
        "grasps",
        rr.InstancePoses3D(translations=positions, quaternions=turns),
        rr.TransformAxes3D(AXES_M),
    )
    ways = APPROACH_M * axes(turns, 2)
    recording.log(
        "approaches",
        rr.Arrows3D(vectors=ways, origins=positions - ways, labels=order, class_ids=numbers),
    )


def array_of(structs, fields):
    return np.array([[float(s[field]) for field in fields] for s in structs]).reshape(-1, len(fields))


def axes(turns, number):
    """Where an axis (0: x, 1: y, 2: z) points after each turn; z of a grasp goes into the package."""
    x, y, z, w = turns.T
    rotations = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    return rotations[:, number].T


def told(package):
    text = f"#{package['track_id']} {package['type']} {float(package['score']):.0%}"
    why = package["refusal"].removeprefix("GRASP_REFUSAL_").replace("_", " ").lower()
    return text if package["grasps"] else f"{text}: {why}"


def told_in_space(package):
    size = package.get("size")
    if not size:
        return f"#{package['track_id']}"
    sides = " x ".join(f"{1000 * float(size[side]):.0f}" for side in ("length_m", "width_m", "height_m"))
    return f"#{package['track_id']} {sides} mm"


class Types:
    """Numbers the types of packages."""

    def __init__(self, recording):
        self.recording = recording
        self.numbers = {}
        for name in TYPES:
            self.add(name)
        self.tell()

    def number(self, name):
        if name not in self.numbers:
            self.add(name)
            self.tell()
        return self.numbers[name]

    def add(self, name):
        self.numbers[name] = len(self.numbers) + 1

    def tell(self):
        colors = {number: COLORS[(number - 1) % len(COLORS)] for number in self.numbers.values()}
        known = [(number, name, colors[number]) for name, number in self.numbers.items()]
        background = (BACKGROUND, "background", (0, 0, 0, 0))
        self.recording.log("/", rr.AnnotationContext([background, *known]), static=True)


main()
