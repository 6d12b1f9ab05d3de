"""Prints what a Magpie cell sees and checks each mask, as a pattern for subscribers of your own.

It believes the publisher whose heartbeat it hears, and no result that is old, forged or broken.

    pip install -r requirements.txt
    python subscriber.py --cell demo --count 10

The protobuf module is compiled from ../../wire/proto at start (by grpcio-tools, which brings its own
protoc). A program of your own would keep the module that this makes once:
    python -m grpc_tools.protoc -I ../../wire/proto --python_out=. ../../wire/proto/magpie/v1/packages.proto
"""
import argparse, json, math, sys, tempfile, time
from pathlib import Path

import zenoh
from google.protobuf.message import DecodeError
from grpc_tools import protoc
from pycocotools import mask as coco

# As the Rust client has them.
HEARTBEAT_SILENCE_S_MAX = 0.5
CLOCK_AHEAD_NS_MAX = 5_000_000
RESULT_VALID_NS_MAX = 5_000_000_000
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

    def listen(self):
        while (sample := self.subscriber.try_recv()) is not None:
            try:
                status = self.Status.FromString(sample.payload.to_bytes())
            except DecodeError:
                continue
            if status.schema_version != SCHEMA_VERSION or status.cell != self.cell:
                continue
            now_s = time.monotonic()
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
    for package in message.packages:
        if not package.HasField("bbox") or not is_whole(package.mask, message):
            return f"package {package.track_id} has no whole mask"
        if not all(is_finite(grasp) for grasp in package.grasps):
            return f"package {package.track_id} has a grasp without a pose"
    return None


def is_finite(grasp):
    p, q = grasp.pose.position_m, grasp.pose.orientation
    length = math.hypot(q.x, q.y, q.z, q.w)
    return all(map(math.isfinite, (p.x, p.y, p.z, grasp.quality))) and abs(length - 1) < 1e-6


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--cell", required=True)
    args.add_argument("--connect", default="tcp/127.0.0.1:17447", help="the daemon's endpoint")
    args.add_argument("--zenoh", help="join as this json5 file of zenoh's says, with its certificates")
    args.add_argument("--count", type=int, default=10, help="messages to receive")
    args.add_argument("--timeout-s", type=float, default=2.0, help="longest silence")
    args = args.parse_args()
    Packages, Status = load_schema()
    if args.zenoh:
        config = zenoh.Config.from_file(args.zenoh)
    else:
        config = zenoh.Config()
        config.insert_json5("mode", '"client"')
        config.insert_json5("connect/endpoints", json.dumps([args.connect]))
        config.insert_json5("scouting/multicast/enabled", "false")
    with zenoh.open(config) as session:
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
                print(f"stale: frame {message.sequence} expired before it arrived", file=sys.stderr)
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
