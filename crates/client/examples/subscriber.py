"""Prints what a Magpie cell sees and checks each mask, as a pattern for subscribers of your own.

It believes the publisher whose heartbeat it hears, and no result that is old, forged or broken.

    pip install -r requirements.txt
    python subscriber.py --cell demo --count 10

The protobuf module is compiled from ../../wire/proto at start (by grpcio-tools, which brings its own
protoc). A program of your own would keep the module that this makes once:
    python -m grpc_tools.protoc -I ../../wire/proto --python_out=. ../../wire/proto/magpie/v1/packages.proto
"""
import argparse, json, math, socket, sys, tempfile, time
from pathlib import Path

import zenoh
from google.protobuf.message import DecodeError
from grpc_tools import protoc
from pycocotools import mask as coco

# As the Rust client has them.
HEARTBEAT_SILENCE_S_MAX = 0.5
CLOCK_AHEAD_NS_MAX = 5_000_000
RESULT_VALID_NS_MAX = 5_000_000_000
# Where daemons with the shipped settings listen.
LOOPBACK_PORTS = range(17447, 17463)
# As packages.proto has them.
SCHEMA_VERSION, STATE_FAULT = 1, 4
# This machine's Unix time was set if it moves further than this against its monotonic time.
CLOCK_STEP_NS_MIN = 10_000_000

PROTO = Path(__file__).resolve().parents[2] / "wire" / "proto"


def load_schema():
    out = tempfile.mkdtemp()
    files = [str(PROTO / f"magpie/v1/{name}.proto") for name in ("packages", "status")]
    if protoc.main(["protoc", f"-I{PROTO}", f"--python_out={out}", *files]) != 0:
        sys.exit(f"{PROTO} does not compile")
    sys.path.insert(0, out)
    from magpie.v1 import packages_pb2, status_pb2
    return packages_pb2.Packages, status_pb2.Status


def is_whole(mask, message):
    """Whether a mask is one of the picture: what is wrong in it would end the library that reads it."""
    if (mask.width_px, mask.height_px) != (message.image_width_px, message.image_height_px):
        return False
    # COCO's run lengths: five bits a character, from the least on, each the difference to the run
    # before the last one.
    runs, value, shift = [], 0, 0
    for byte in mask.counts:
        if not 48 <= byte < 112 or shift > 30:
            return False
        value |= ((byte - 48) & 31) << shift
        shift += 5
        if (byte - 48) & 32:
            continue
        if (byte - 48) & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        if runs[-1] < 0:
            return False
        value, shift = 0, 0
    return shift == 0 and sum(runs) == mask.width_px * mask.height_px > 0


def mask_area_px(package):
    rle = {"size": [package.mask.height_px, package.mask.width_px], "counts": package.mask.counts}
    return int(coco.area(rle))


class Heartbeat:
    """Which publisher speaks for the cell. Another one takes over only when that one is silent."""

    def __init__(self, subscriber, Status, cell):
        self.subscriber, self.Status, self.cell = subscriber, Status, cell
        self.instance_id, self.state = None, None
        self.bound_s, self.heard_s, self.rival_s = math.inf, -math.inf, -math.inf
        self.version, self.version_s = None, -math.inf

    def listen(self):
        while (sample := self.subscriber.try_recv()) is not None:
            try:
                status = self.Status.FromString(sample.payload.to_bytes())
            except DecodeError:
                continue
            now_s = time.monotonic()
            if status.schema_version != SCHEMA_VERSION:
                # A newer daemon, or a rival of the one that is believed.
                self.version, self.version_s = status.schema_version, now_s
                if not self.is_silent():
                    self.rival_s = now_s
                continue
            if status.cell != self.cell:
                continue
            if status.instance_id == self.instance_id:
                self.heard_s, self.state = now_s, status.state
            elif self.is_silent():
                self.instance_id, self.state = status.instance_id, status.state
                self.bound_s = self.heard_s = now_s
            else:
                self.rival_s = now_s

    def is_silent(self):
        return time.monotonic() - self.heard_s > HEARTBEAT_SILENCE_S_MAX

    def lost(self):
        """Why nothing may be acted upon, whatever comes; None if a publisher is there."""
        now_s = time.monotonic()
        if self.is_silent() and now_s - self.version_s <= HEARTBEAT_SILENCE_S_MAX:
            return f"the daemon speaks schema version {self.version}, and this reader knows {SCHEMA_VERSION}"
        if self.is_silent():
            return "no heartbeat"
        if now_s - self.rival_s <= HEARTBEAT_SILENCE_S_MAX:
            return "another publisher speaks for this cell, too"
        if self.state == STATE_FAULT:
            return "the daemon reports a fault"
        if now_s - self.bound_s <= HEARTBEAT_SILENCE_S_MAX:
            return "a publisher has just been heard for the first time"
        return None


def refusal(message, cell, heartbeat, now_ns):
    """Why a result must not be acted upon, whatever its age; None if nothing speaks against it."""
    if message.schema_version != SCHEMA_VERSION:
        return f"schema version {message.schema_version} is not known here"
    if message.cell != cell:
        return f"it belongs to cell {message.cell!r}"
    if message.instance_id != heartbeat.instance_id:
        return "it is not from the publisher whose heartbeat is heard"
    if message.published_ns - now_ns > CLOCK_AHEAD_NS_MAX:
        return "the publisher's clock is ahead of this machine's"
    if message.published_ns < message.stamp_ns:
        return "its times are out of order"
    if not 0 <= message.valid_until_ns - message.stamp_ns <= RESULT_VALID_NS_MAX:
        return "it claims to be valid for longer than anybody believes"
    if message.image_width_px * message.image_height_px == 0:
        return "its picture has no pixels"
    if message.reference_frame == 0:
        return "it does not say what its poses are relative to"
    if message.HasField("velocity"):
        v = message.velocity.linear_m_s
        if not all(map(math.isfinite, (v.x, v.y, v.z))) or not is_length(message.velocity.sigma_m_s):
            return "its velocity is none"
    for package in message.packages:
        if not package.HasField("bbox") or not is_whole(package.mask, message):
            return f"package {package.track_id} has no whole mask"
        if not has_sound_numbers(package, message):
            return f"package {package.track_id} has a number that is none, or out of its bounds"
        if not all(is_sound(grasp, message) for grasp in package.grasps):
            return f"package {package.track_id} has a grasp that is not whole"
    return None


# Single precision may round a share of 1, or the edge of a picture, to this much more.
ROUNDING = 1e-3


def is_length(value):
    return math.isfinite(value) and value >= 0


def are_shares(*values):
    return all(0 <= value <= 1 + ROUNDING for value in values)


def is_within(point, message):
    return -0.5 <= point.x_px <= message.image_width_px and -0.5 <= point.y_px <= message.image_height_px


def has_sound_numbers(package, message):
    box, position, size = package.bbox, package.position_m, package.size
    return (
        are_shares(package.score, package.occluded_share)
        and -ROUNDING <= box.x_min_px <= box.x_max_px <= message.image_width_px + ROUNDING
        and -ROUNDING <= box.y_min_px <= box.y_max_px <= message.image_height_px + ROUNDING
        and is_within(package.deepest_px, message)
        and all(map(math.isfinite, (position.x, position.y, position.z, package.height_m)))
        and all(map(is_length, (size.length_m, size.width_m, size.height_m)))
    )


def is_sound(grasp, message):
    """An arm gets finite numbers within their bounds and a unit quaternion, or nothing."""
    p, q = grasp.pose.position_m, grasp.pose.orientation
    quality = (grasp.quality, grasp.clearance, grasp.seal, grasp.moment, grasp.tilt, grasp.hold)
    return (
        all(map(math.isfinite, (p.x, p.y, p.z)))
        and abs(math.hypot(q.x, q.y, q.z, q.w) - 1) < 1e-6
        and are_shares(*quality, grasp.depth_hole_fraction)
        and is_length(grasp.position_sigma_m)
        and grasp.HasField("contact_px")
        and is_within(grasp.contact_px, message)
    )


def open_session(endpoint):
    config = zenoh.Config()
    config.insert_json5("mode", '"client"')
    config.insert_json5("connect/endpoints", json.dumps([endpoint]))
    config.insert_json5("scouting/multicast/enabled", "false")
    return zenoh.open(config)


def find(cell):
    """A session with whoever publishes the cell on this machine, as the shipped settings place daemons."""
    for port in LOOPBACK_PORTS:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=0.3).close()
            session = open_session(f"tcp/127.0.0.1:{port}")
        except (OSError, zenoh.ZError):
            continue
        alive = session.liveliness().get(f"magpie/{cell}/alive", timeout=1.0)
        if any(reply.ok for reply in alive):
            return session
        session.close()
    sys.exit(f"no cell {cell} is alive on this machine; `magpie cells` lists them, and --connect names an "
             "endpoint elsewhere")


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--cell", required=True)
    args.add_argument("--connect", help="the daemon's endpoint; absent: a cell of this machine is found by name")
    args.add_argument("--zenoh", help="join as this json5 file of zenoh's says, with its certificates")
    args.add_argument("--count", type=int, default=10, help="messages to receive")
    args.add_argument("--timeout-s", type=float, default=2.0, help="longest silence")
    args = args.parse_args()
    Packages, Status = load_schema()
    if args.zenoh:
        session = zenoh.open(zenoh.Config.from_file(args.zenoh))
    else:
        session = open_session(args.connect) if args.connect else find(args.cell)
    with session:
        ring = zenoh.handlers.RingChannel
        subscriber = session.declare_subscriber(f"magpie/{args.cell}/packages", ring(1))
        heartbeat = Heartbeat(session.declare_subscriber(f"magpie/{args.cell}/status", ring(16)), Status, args.cell)
        received, newest_ns, deadline = 0, 0, time.monotonic() + args.timeout_s
        ahead_ns = time.time_ns() - time.monotonic_ns()
        while received < args.count:
            heartbeat.listen()
            if time.monotonic() > deadline:
                sys.exit(f"lost: nothing from cell {args.cell} for {args.timeout_s} s"
                         + (f": {why}" if (why := heartbeat.lost()) else ""))
            if (why := heartbeat.lost()) or (sample := subscriber.try_recv()) is None:
                time.sleep(0.001)
                continue
            try:
                message = Packages.FromString(sample.payload.to_bytes())
            except DecodeError:
                print("refused: it is no magpie.v1.Packages message", file=sys.stderr)
                continue
            now_ns = time.time_ns()
            if why := refusal(message, args.cell, heartbeat, now_ns):
                print(f"refused: {why}", file=sys.stderr)
                continue
            if abs(now_ns - time.monotonic_ns() - ahead_ns) > CLOCK_STEP_NS_MIN:
                # Nothing that came before counts; what was published before is refused as old or ahead.
                ahead_ns, newest_ns = now_ns - time.monotonic_ns(), 0
            if message.stamp_ns <= newest_ns:
                continue  # A copy by another way.
            if now_ns > message.valid_until_ns:
                is_late = message.published_ns > message.valid_until_ns
                what = "was published: the daemon is too slow" if is_late else "arrived"
                print(f"stale: frame {message.sequence} expired before it {what}", file=sys.stderr)
                continue
            newest_ns = message.stamp_ns
            received, deadline = received + 1, time.monotonic() + args.timeout_s
            areas = [mask_area_px(package) for package in message.packages]
            grasps = sum(len(package.grasps) for package in message.packages)
            # What came from outside must not command the terminal.
            frame_id = "".join(c if c.isprintable() else "?" for c in message.frame_id)
            print(f"frame {message.sequence}: {len(areas)} packages, {grasps} grasps in "
                  f"{frame_id}, mask areas {areas} px", flush=True)


if __name__ == "__main__":
    main()
