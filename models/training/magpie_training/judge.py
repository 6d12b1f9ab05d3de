"""Scores by what is deployed, `magpie eval`, where the program is at hand; else by `evaluate`."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from . import UserError, deployed
from .data import read_image
from .decode import Instances, decode, letterbox, load_session
from .evaluate import detect_all, scores
from .weights import net_from_state, read_checkpoint

REPOSITORY = Path(__file__).parents[3]
PROGRAM = REPOSITORY / "target" / "release" / "magpie"
THREADS = 2
LATENCY_RUNS = 20
PARITY_SIDE_PX = 1024


def find_program(asked=None):
    """The path asked for by option or `MAGPIE`, else the one built here or installed, else `None`."""
    asked = asked or os.environ.get("MAGPIE")
    if asked:
        if not os.access(asked, os.X_OK):
            raise UserError(f"run {asked}: no such program; build it or drop --magpie and MAGPIE")
        return Path(asked).resolve()
    if os.access(PROGRAM, os.X_OK):
        return PROGRAM
    installed = shutil.which("magpie")
    return Path(installed) if installed else None


def run_program(program, *arguments):
    """Its standard output; a failure's last line becomes the error."""
    command = [str(program), *map(str, arguments)]
    environment = {**os.environ, "RUST_LOG": os.environ.get("RUST_LOG", "warn")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
        raise UserError(f"run {program} {arguments[0]}: {lines[-1].strip()}")
    return done.stdout


@dataclass(frozen=True)
class Judge:
    program: Path | None

    def name(self):
        return "magpie eval" if self.program else "the Python evaluation (no magpie program found)"

    def scores(self, model, annotations):
        """In points of 100, `None` where nothing is labelled so: with types, and without."""
        if self.program:
            exact, mask = self.ask(model, annotations)
        else:
            document, results = detect_all(model, annotations)
            exact = scores(document, results, class_agnostic=False)
            mask = scores(document, results, class_agnostic=True)["mask"]
        return {
            "mask AP": points(exact["mask"]["ap"]),
            "mask AP, types ignored": points(mask["ap"]),
            "mask AP50, types ignored": points(mask["ap50"]),
            "box AP": points(exact["bbox"]["ap"]),
        }

    def ask(self, model, annotations):
        """With types, and of masks without: the packages are found once for both."""
        with tempfile.TemporaryDirectory() as card:
            asked = ("--model", model, "--dataset", annotations, "--scorecard", card)
            answer = json.loads(run_program(self.program, "eval", "--json", *asked))
        dataset = answer["datasets"][0]
        return dataset, next((g["mask"] for g in dataset["groups"] if g["kind"] == "all"), NOTHING)


NOTHING = {"ap": None, "ap50": None}


def points(ap):
    return None if ap is None or ap < 0 else 100 * ap


def latencies_ms(models, providers=("CPUExecutionProvider",), threads=THREADS):
    """The fastest run of each model on each provider, taken in turns: other work can only slow one.

    Keyed by model and provider; with one thread the process's own time counts, not the clock's.
    """
    clock = time.process_time if threads == 1 else time.perf_counter
    sessions = {(m, p): load_session(m, p, threads) for m in models for p in providers}
    fastest = dict.fromkeys(sessions, float("inf"))
    for run in range(LATENCY_RUNS + 2):
        for key, session in sessions.items():
            stated = session.get_inputs()[0]
            picture = deployed.test_picture(*stated.shape[1:3])
            started = clock()
            session.run(None, {stated.name: picture})
            if run >= 2:  # the first ones warm up
                fastest[key] = min(fastest[key], 1e3 * (clock() - started))
    return fastest


def mask_parity(checkpoint, model, paths, base):
    """On pictures, what the file finds against what the trained network finds.

    The least IoU over all masks: 0 where one of them finds a package that the other does not.
    """
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    height, width = base.size
    net = deployed.Deployed(net_from_state(read_checkpoint(checkpoint)), height, width, base.stride).eval()
    least, count = 1.0, 0
    for path in paths:
        picture = shrunk(read_image(path))
        tensor, box = letterbox(picture, width, height)
        size = picture.shape[1], picture.shape[0]
        trained, exported = (
            decode(*outputs, box, size, score_min=base.score_min)
            for outputs in (
                deployed.answers(net, tensor),
                session.run(["output0", "output1"], {"images": tensor}),
            )
        )
        count += max(len(trained.scores), len(exported.scores))
        least = min([least, *pair_ious(trained, exported, base.score_min)])
    return least, count


def shrunk(picture):
    """Of a large picture, a hundred masks would not fit into memory, and the network sees less."""
    scale = PARITY_SIDE_PX / max(picture.shape[:2])
    if scale >= 1:
        return picture
    size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def pair_ious(one: Instances, other: Instances, score_min):
    """IoU of each mask with its best counterpart; a score at the limit may fall either way."""
    ious = []
    for mine, theirs in ((one, other), (other, one)):
        for mask, score in zip(mine.masks, mine.scores):
            if score - score_min < deployed.DIFFERENCE_MAX["scores"]:
                continue
            unions = [np.count_nonzero(mask | m) for m in theirs.masks]
            inner = [np.count_nonzero(mask & m) for m in theirs.masks]
            ious.append(max((i / u if u else 1.0 for i, u in zip(inner, unions)), default=0.0))
    return ious

