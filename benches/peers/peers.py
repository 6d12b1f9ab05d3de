"""Magpie and its peers by turns: the same ONNX file, the same pictures, one run.

Writes a table to standard output, and on request JSON and a plot. Everybody's latency starts with
a frame in memory. Magpie's ends when a subscriber has the result, and so does the one of `zenoh`;
the others' ends when the masks are there.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2

from worker import INSTANCES_MAX, IOU_MAX, SCORE_MIN

ROOT = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("worker.py")
USLS = ROOT / "target/peers/release/usls-peer"
SIZE_PX = (1280, 720)
MEANINGS = {
    "magpie": "Magpie: masks as RLE, published on zenoh, received",
    "plain": "Python: ONNX Runtime, OpenCV, NumPy",
    "zenoh": "the same, published with eclipse-zenoh, received",
    "usls": "Rust: usls with ONNX Runtime",
    "ultralytics": "Ultralytics with ONNX Runtime, retina_masks",
}


def make_model(picture, path):
    """YOLO11n-seg with seeded random weights, as the parity test makes it."""
    sys.path.insert(0, str(ROOT / "tests/parity"))
    from ultralytics import YOLO
    from ultralytics_parity import random_model

    model = random_model(picture, 640, 0.25)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "yolo11n-seg-random.pt"
        model.save(checkpoint)
        exported = YOLO(checkpoint).export(format="onnx", imgsz=640, simplify=False, dynamic=False)
        Path(exported).replace(path)


def make_pictures(magpie, folder, count):
    """Frames of the simulated cell, at the size of the comparison."""
    with tempfile.TemporaryDirectory() as made:
        simulated = Path(made) / "cell"
        subprocess.run(
            [magpie, "simulate", "--seed", "5", "--frames", str(count), "--out", simulated],
            check=True,
        )
        for path in sorted((simulated / "color").glob("*.png")):
            cv2.imwrite(str(folder / path.name), cv2.resize(cv2.imread(str(path)), SIZE_PX))


def command(kind, model, pictures, score_min):
    """How a peer is started, and in which environment."""
    if kind != "usls":
        return [sys.executable, WORKER, kind, model, pictures, str(score_min)], os.environ
    # The library that Magpie runs.
    library = next(ROOT.glob(".cache/onnxruntime/libonnxruntime.so*"), "libonnxruntime.so")
    return (
        [USLS, model, pictures, str(score_min), str(IOU_MAX)],
        {"ORT_DYLIB_PATH": str(library), **os.environ},
    )


class Worker:
    def __init__(self, kind, model, pictures, score_min):
        arguments, environment = command(kind, model, pictures, score_min)
        self.process = subprocess.Popen(
            arguments, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        assert self.process.stdout.readline() == "ready\n", f"{kind} does not start"

    def run(self, frames):
        print(frames, file=self.process.stdin, flush=True)
        measured = json.loads(self.process.stdout.readline())
        return block([ms for ms, _ in measured]), statistics.mean(n for _, n in measured)


def block(latencies_ms):
    deciles = statistics.quantiles(latencies_ms, n=10)
    return {"p50_ms": statistics.median(latencies_ms), "p90_ms": deciles[8]}


def run_magpie(magpie, model, pictures, score_min, frames, scratch):
    config, report = scratch / "magpie.toml", scratch / "bench.json"
    config.write_text(
        f"[detection]\nscore_min = {score_min}\niou_max = {IOU_MAX}\n"
        f"packages_max = {INSTANCES_MAX}\n"
    )
    subprocess.run(
        [magpie, "bench", "--config", config, "--model", model, "--frames", pictures,
         "--rounds", str(frames), "--json", report],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    found = json.loads(report.read_text())
    stages = found["stages"]
    measured = {key: stages["end_to_end"][key] for key in ("p50_ms", "p90_ms")}
    return measured, found["packages_median"], stages["bare_run"]["p50_ms"]


def table(results, bare_ms):
    lines = [
        "| | p50 ms | p90 ms | of bare session.run | of Magpie | instances |",
        "|---|---|---|---|---|---|",
    ]
    ours = results["magpie"]["p50_ms"]
    for kind, found in results.items():
        lines.append(
            f"| {MEANINGS[kind]} | {found['p50_ms']:.1f} | {found['p90_ms']:.1f} "
            f"| {found['p50_ms'] / bare_ms:.2f} | {found['p50_ms'] / ours:.2f} "
            f"| {found['instances']:.1f} |"
        )
    return "\n".join(lines)


def plot(results, bare_ms):
    """Bars, with the bare session.run as a line through all of them."""
    # Eight pixels a letter are enough for the names of any of them.
    left = 16 + 8 * max(len(MEANINGS[kind]) for kind in results)
    width, row = left + 430, 44
    height = 60 + row * len(results)
    scale = (width - left - 90) / max(found["p50_ms"] for found in results.values())
    x_bare = left + bare_ms * scale
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for i, (kind, found) in enumerate(results.items()):
        y, color = 20 + row * i, "#0072b2" if kind == "magpie" else "#999999"
        length = found["p50_ms"] * scale
        name = MEANINGS[kind].replace("&", "&amp;")
        parts += [
            f'<text x="{left - 8}" y="{y + 18}" text-anchor="end">{name}</text>',
            f'<rect x="{left}" y="{y}" width="{length:.1f}" height="26" fill="{color}"/>',
            f'<text x="{left + length + 6:.1f}" y="{y + 18}">{found["p50_ms"]:.0f} ms</text>',
        ]
    parts += [
        f'<line x1="{x_bare:.1f}" y1="10" x2="{x_bare:.1f}" y2="{height - 30}" '
        'stroke="#d55e00" stroke-width="2" stroke-dasharray="5 4"/>',
        f'<text x="{x_bare:.1f}" y="{height - 12}" text-anchor="middle" fill="#d55e00">'
        f"bare session.run, {bare_ms:.0f} ms</text>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--magpie", type=Path, default=ROOT / "target/release/magpie")
    parser.add_argument("--model", type=Path, help="a YOLO-seg export; absent: one is made")
    parser.add_argument("--pictures", type=Path, help="a folder of .png; absent: simulated ones")
    parser.add_argument("--pictures-made", type=int, default=8, help="how many to simulate")
    parser.add_argument("--blocks", type=int, default=6, help="turns of each")
    parser.add_argument("--frames", type=int, default=40, help="frames in a turn")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    parser.add_argument("--svg", type=Path, help="write the plot here")
    parser.add_argument("peers", nargs="*", default=["plain", "zenoh", "ultralytics"])
    parser.add_argument("--score-min", type=float, default=SCORE_MIN, help="for all of them")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        pictures = arguments.pictures
        if pictures is None:
            pictures = scratch / "pictures"
            pictures.mkdir()
            make_pictures(arguments.magpie, pictures, arguments.pictures_made)
        model = arguments.model
        if model is None:
            model = scratch / "yolo11n-seg-random.onnx"
            make_model(cv2.imread(str(sorted(pictures.glob("*.png"))[0])), model)
        workers = {
            kind: Worker(kind, model, pictures, arguments.score_min) for kind in arguments.peers
        }
        blocks, bare_ms = {kind: [] for kind in ["magpie", *workers]}, []
        for i in range(arguments.blocks):
            *ours, bare = run_magpie(
                arguments.magpie, model, pictures, arguments.score_min, arguments.frames, scratch
            )
            blocks["magpie"].append(ours)
            bare_ms.append(bare)
            for kind, worker in workers.items():
                blocks[kind].append(worker.run(arguments.frames))
            print(f"turn {i + 1} of {arguments.blocks}", file=sys.stderr)
        for worker in workers.values():
            # Sessions of zenoh keep a process that only returns from main.
            worker.process.terminate()
            worker.process.wait()

    results = {
        kind: {
            "p50_ms": statistics.median(measured["p50_ms"] for measured, _ in turns),
            "p90_ms": statistics.median(measured["p90_ms"] for measured, _ in turns),
            "instances": statistics.mean(instances for _, instances in turns),
        }
        for kind, turns in blocks.items()
    }
    bare = statistics.median(bare_ms)
    print(table(results, bare))
    if arguments.json:
        found = {"bare_run_p50_ms": bare, "peers": results, "turns": blocks, "bare_ms": bare_ms}
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")
    if arguments.svg:
        arguments.svg.write_text(plot(results, bare))


if __name__ == "__main__":
    main()
