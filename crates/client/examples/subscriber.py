"""Prints what a Magpie cell sees and checks each mask, as a pattern for subscribers of your own.

    pip install -r requirements.txt
    python subscriber.py --cell demo --count 10

The protobuf module is compiled from ../../wire/proto at start (by grpcio-tools, which brings its own
protoc). A program of your own would keep the module that this makes once:
    python -m grpc_tools.protoc -I ../../wire/proto --python_out=. ../../wire/proto/magpie/v1/packages.proto
"""
import argparse, json, sys, tempfile, time
from pathlib import Path

import zenoh
from grpc_tools import protoc
from pycocotools import mask as coco

PROTO = Path(__file__).resolve().parents[2] / "wire" / "proto"


def load_schema():
    out = tempfile.mkdtemp()
    file = PROTO / "magpie/v1/packages.proto"
    if protoc.main(["protoc", f"-I{PROTO}", f"--python_out={out}", str(file)]) != 0:
        sys.exit(f"{file} does not compile")
    sys.path.insert(0, out)
    from magpie.v1 import packages_pb2
    return packages_pb2


def mask_area_px(package):
    """Area of the mask; its tight box must lie within the bbox, but for rounding."""
    rle = {"size": [package.mask.height_px, package.mask.width_px], "counts": package.mask.counts}
    x, y, w, h = coco.toBbox(rle)
    box, area = package.bbox, int(coco.area(rle))
    within = (x >= box.x_min_px - 1 and x + w <= box.x_max_px + 1
              and y >= box.y_min_px - 1 and y + h <= box.y_max_px + 1)
    if area and not within:
        sys.exit(f"mask of package {package.track_id} leaves its bbox")
    return area


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--cell", required=True)
    args.add_argument("--connect", default="tcp/127.0.0.1:17447", help="the daemon's endpoint")
    args.add_argument("--count", type=int, default=10, help="messages to receive")
    args.add_argument("--timeout-s", type=float, default=2.0, help="longest silence")
    args = args.parse_args()
    pb = load_schema()
    config = zenoh.Config()
    config.insert_json5("mode", '"client"')
    config.insert_json5("connect/endpoints", json.dumps([args.connect]))
    config.insert_json5("scouting/multicast/enabled", "false")
    with zenoh.open(config) as session:
        newest_only = zenoh.handlers.RingChannel(1)
        subscriber = session.declare_subscriber(f"magpie/{args.cell}/packages", newest_only)
        for _ in range(args.count):
            deadline = time.monotonic() + args.timeout_s
            while (sample := subscriber.try_recv()) is None:
                if time.monotonic() > deadline:
                    sys.exit(f"lost: nothing from cell {args.cell} for {args.timeout_s} s")
                time.sleep(0.001)
            message = pb.Packages.FromString(sample.payload.to_bytes())
            if message.schema_version != 1:
                sys.exit(f"schema version {message.schema_version} is not known here")
            if time.time_ns() > message.valid_until_ns:
                sys.exit(f"stale: frame {message.sequence} expired before it arrived")
            areas = [mask_area_px(package) for package in message.packages]
            grasps = sum(len(package.grasps) for package in message.packages)
            print(f"frame {message.sequence}: {len(areas)} packages, {grasps} grasps in "
                  f"{message.frame_id}, mask areas {areas} px", flush=True)


if __name__ == "__main__":
    main()
