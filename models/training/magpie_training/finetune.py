"""Teaches an exported model a new cell, and says what that gave and what it cost.

The new cell's pictures are divided into some to learn from and some held out; pictures of a
base set are learned again beside them. The result is accepted only if the base set's own
held-out pictures show that nothing was forgotten and the exported file still answers as the
trained network does.
"""

import dataclasses
import datetime
import hashlib
import json
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import onnx

from . import UserError, deployed, difference, export, judge, report
from .data import load_all
from .frames import simulated
from .labels import divide, read_labels, write_coco
from .recipe import Recipe, Source
from .train import progress, train
from .weights import blended, read_checkpoint, read_net

FORGOTTEN_POINTS_MAX = 1.0
MASK_IOU_MIN = 0.99
PARITY_PICTURES = 8
# Nobody trains on these seeds. The replayed frames are learned from, the others only judge.
REPLAY_SEED, REPLAY_FRAMES = 770_001, 160
CHECK_SEED, CHECK_FRAMES = 770_002, 90
ALL_BLOCKS = 16
# What there may be in --out before there are settings.
FIRST_STEPS = {"labels", "base", "settings.part"}


@dataclass(frozen=True)
class Options:
    labels: Path
    out: Path
    base: Path
    base_set: tuple = ()
    base_check: Path | None = None
    replay_share: float = 0.5
    minutes: float = 20.0
    steps: int = 0  # instead of minutes, where above 0
    mapping: dict = dataclasses.field(default_factory=dict)
    images: Path | None = None
    held_out: Path | None = None
    held_out_share: float = 0.2
    keep_empty: bool = False
    incomplete: bool = False
    skip_bad_labels: bool = False
    name: str | None = None
    data_source: str = ""
    data_licence: str = ""
    magpie: str | None = None
    lr: float = 1.5e-4
    lr_backbone: float = 0.0  # 0: frozen
    blend: float = 0.5  # 1: what was learned alone
    seed: int = 1
    batch: int = 8
    sizes_px: tuple = (320, 352, 384)
    workers: int = 1


@dataclass(frozen=True)
class Base:
    """The model to start from, as its file describes itself."""

    path: Path
    size: tuple
    stride: int
    classes: tuple
    version: str
    training_data: str
    score_min: float
    sha256: str


def finetune(options):
    """Returns whether the new model was accepted, `None` if the run was stopped, to be continued."""
    out = options.out
    check_out(options)
    out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    program = judge.find_program(options.magpie)
    umpire = judge.Judge(program)
    base = read_base(options.base)
    cell = prepare_labels(options, base.classes)
    replay, check = prepare_base(options, base.classes, program)
    sets = {"new cell": out / "labels/held_out.json", "base set": check}
    settle(options, base, replay, sets)
    print(f"3/5 scores before, by {umpire.name()}", flush=True)
    scored = {name: cached_scores(out, umpire, base.path, path) for name, path in sets.items()}
    before = {name: entry["scores"] for name, entry in scored.items()}
    checkpoint = learn(options, base, replay, sum(entry["seconds"] for entry in scored.values()))
    if checkpoint is None:
        return None
    checkpoint = blended(checkpoint, base.path, options.blend)
    print("5/5 export, scores after, latency, parity", flush=True)
    partial = out / ".candidate.onnx"  # no name that a cell can have
    differences = export.write(checkpoint, partial, **export_options(options, base, cell))
    after = {name: umpire.scores(partial, path) for name, path in sets.items()}
    latency = list(judge.latencies_ms((base.path, partial)).values())
    held_out = [Path(i["file_name"]) for i in json.loads(sets["new cell"].read_text())["images"]]
    compared = difference.compare(base.path, partial, sets["new cell"], base.score_min)
    iou = judge.mask_parity(checkpoint, partial, held_out[:PARITY_PICTURES], base)
    verdict = report.Verdict(
        name=cell_name(options), cell=cell, base=dataclasses.asdict(base), judge=umpire.name(),
        replay=replay, replay_share=options.replay_share, before=before, after=after,
        latency_ms=latency, differences=differences, mask_iou_min=iou[0], masks=iou[1],
        reasons=reasons(before, after, differences, iou) + difference.lost(compared), compared=compared,
        forgotten_points_max=FORGOTTEN_POINTS_MAX, options=describe(options),
        taken_s=time.monotonic() - started,
    )
    return report.hand_over(verdict, partial, out)


def check_out(options):
    """Nothing of somebody else's is written over, and no labels are read from what is written here."""
    out = options.out.resolve()
    for labels in filter(None, (options.labels, options.held_out)):
        if labels.is_dir() and out.is_relative_to(labels.resolve()):
            raise UserError(
                f"--out {options.out}: it lies within {labels}, where everything below is read as "
                "labels; use a folder beside it"
            )
        if labels.resolve().is_relative_to(out):
            raise UserError(f"--out {options.out}: {labels} lies in it and would be written over; use another folder")
    if out.is_dir() and not (out / "settings.json").is_file():
        strange = sorted(p.name for p in out.iterdir() if p.name not in FIRST_STEPS)
        if strange:
            raise UserError(f"--out {options.out}: it holds something else ({strange[0]}); use a new folder")


def read_base(path):
    if path.suffix != ".onnx":
        raise UserError(f"read model {path}: name an .onnx file; `export` makes one of a checkpoint")
    # Refuses what cannot be taught, before anything else takes time.
    classes = read_net(path).classes
    model = onnx.load(str(path), load_external_data=False)
    properties = {p.key: p.value for p in model.metadata_props}
    return Base(
        path,
        tuple(json.loads(properties["imgsz"])),
        int(properties["stride"]),
        classes,
        properties.get("magpie.version", "0"),
        properties.get("magpie.training_data", ""),
        float(properties.get("magpie.score_min", 0.3)),
        sha256(path),
    )


def prepare_labels(options, classes):
    """Writes `labels/train.json` and `labels/held_out.json`; returns what they hold."""
    reading = read_checked(options, options.labels, classes)
    if options.held_out:
        learned, held_out = reading.pictures, read_checked(options, options.held_out, classes).pictures
        known = {p.sha256 for p in learned}
        shared = sorted(p.path for p in held_out if p.sha256 in known)
        if shared:
            raise UserError(f"--held-out: {shared[0]} is also among the pictures to learn from")
        rule = f"those of {options.held_out}"
    else:
        learned, held_out = divide(reading.pictures, options.held_out_share)
        rule = "those whose contents have the smallest SHA-256"
    for pictures, purpose in ((learned, "to learn from"), (held_out, "held out")):
        if not any(picture.packages for picture in pictures):
            raise UserError(
                f"read labels {options.labels}: none of the {len(pictures)} pictures {purpose} shows a package; "
                "label more" + ("" if options.held_out else ", or name some to judge by: --held-out")
            )
    for name, pictures in (("train", learned), ("held_out", held_out)):
        write_coco(pictures, options.out / f"labels/{name}.json", classes)
    types = Counter(p[0] for picture in (*learned, *held_out) for p in picture.packages)
    cell = {
        "labels": str(options.labels), "kind": reading.kind, "types": dict(types),
        "learned": len(learned), "held_out": len(held_out), "rule": rule,
        "source": options.data_source, "licence": options.data_licence,
    }
    listed = ", ".join(f"{count} {name}" for name, count in types.most_common())
    print(f"1/5 labels: {reading.kind}, {listed}")
    print(f"    {len(learned)} pictures to learn from, {len(held_out)} held out ({rule})", flush=True)
    if len(held_out) < difference.PICTURES_MIN:
        print(f"    {len(held_out)} held-out pictures are few: from {difference.PICTURES_MIN} on they can decide")
    return cell


def read_checked(options, path, classes):
    reading = read_labels(path, options.mapping, options.keep_empty, classes, options.out, options.images)
    for note in reading.notes:
        print(f"    note: {note}")
    for problem in reading.problems:
        print(f"    wrong label: {problem}")
    if reading.problems and not options.skip_bad_labels:
        raise UserError(
            f"read labels {path}: {len(reading.problems)} wrong, listed above; correct them, "
            "or leave them out by --skip-bad-labels"
        )
    return reading


def prepare_base(options, classes, program):
    """COCO files to replay and one to check, the user's own or simulated ones."""
    if options.base_set:
        if not options.base_check:
            raise UserError(
                "--base-set needs --base-check: labelled pictures that neither it nor the base "
                "model learned from"
            )
        replay, check = list(options.base_set), Path(options.base_check)
        if check.is_dir():
            raise UserError(f"--base-check {check}: a folder; name the COCO file in it, or make one by convert --to coco")
    elif program is None:
        raise UserError(
            "no base set: give --base-set and --base-check, or build the program, which simulates "
            "one (cargo build --release -p magpie)"
        )
    else:
        replay = [str(simulated(program, options.out / "base/replay", REPLAY_SEED, REPLAY_FRAMES))]
        check = simulated(program, options.out / "base/check", CHECK_SEED, CHECK_FRAMES)
    for path in replay:
        whole(path, classes)
    if not any(i.segmentation for record in whole(check, classes) for i in record.instances):
        raise UserError(f"--base-check {check}: it outlines no package, so forgetting would not show")
    share = round(100 * options.replay_share)
    print(f"2/5 base set: {share} % of what is learned is replayed from {', '.join(replay)}")
    print(f"    checked on {check}", flush=True)
    return replay, Path(check).resolve()


def whole(pattern, classes):
    """A dataset's records, whose pictures are all there: none shall be missed in the midst of a run."""
    records = load_all(str(pattern), classes)
    for record in records:
        if not record.path.is_file():
            raise UserError(f"read annotations {pattern}: its picture {record.path} is missing")
    return records


def settle(options, base, replay, sets):
    """A folder belongs to one set of settings, so that going on means going on with the same."""
    settings = {
        **describe(options),
        "base": base.sha256,
        "replay": replay,
        "set of labels": sha256(options.out / "labels/train.json"),
        "set of held-out labels": sha256(sets["new cell"]),
        "base check": sha256(sets["base set"]),
    }
    settings = json.loads(json.dumps(settings))
    path = options.out / "settings.json"
    if path.is_file():
        known = json.loads(path.read_text())
        other = [k for k in settings if settings[k] != known.get(k)]
        if other:
            plain = f"{other[0]}: {known.get(other[0])}, now {settings[other[0]]}"
            told = f"other settings ({plain})" if other[0] in describe(options) else f"another {other[0]}"
            raise UserError(f"go on in {options.out}: it was begun with {told}; use another --out")
    write_json(path, settings)


def write_json(path, value):
    """Written beside and renamed: whole or not there."""
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(value, indent=1))
    partial.replace(path)


def describe(options):
    """What decides the outcome, apart from the files."""
    names = (
        "minutes", "steps", "replay_share", "lr", "lr_backbone", "blend", "seed", "batch", "sizes_px",
    )
    return {name: getattr(options, name) for name in (*names, "incomplete")}


def cached_scores(out, umpire, model, annotations):
    path = out / "scores_before.json"
    known = json.loads(path.read_text()) if path.is_file() else {}
    key = f"{sha256(model)} {sha256(annotations)} {umpire.name()}"
    if key not in known:
        started = time.monotonic()
        scores = umpire.scores(model, annotations)
        known[key] = {"scores": scores, "seconds": time.monotonic() - started}
        write_json(path, known)
    return known[key]


def learn(options, base, replay, scoring_s):
    """The finished run's checkpoint; `None` if it was stopped, to be continued."""
    run = options.out / "run"
    checkpoint = run / "last.pt"
    recipe = make_recipe(options, base, replay)
    done = 0.0
    if checkpoint.is_file():
        state = read_checkpoint(checkpoint)
        done = progress(recipe, state["step"], state["trained_s"])
    if options.steps:
        print(f"4/5 learning for {options.steps} steps", flush=True)
    else:
        left_s = 60 * options.minutes * (1 - done) + scoring_s + 30
        end = datetime.datetime.now() + datetime.timedelta(seconds=left_s)
        print(f"4/5 learning for {options.minutes:g} minutes, {100 * done:.0f} % are done;", end=" ")
        print(f"the verdict is expected at {end:%H:%M}", flush=True)
    if done < 1.0:
        train(recipe, run, resume=checkpoint.is_file(), init=base.path)
        state = read_checkpoint(checkpoint)
        done = progress(recipe, state["step"], state["trained_s"])
    if done < 1.0:
        print(f"stopped at {100 * done:.0f} %: the same command goes on from there")
        return None
    return checkpoint


def make_recipe(options, base, replay):
    new = Source(
        str(options.out / "labels/train.json"),
        share=1 - options.replay_share,
        complete=not options.incomplete,
        zoom=(0.9, 2.2),
    )
    old = [Source(path, share=options.replay_share / len(replay), zoom=(0.9, 2.2)) for path in replay]
    return Recipe(
        sources=(new, *old),
        classes=base.classes,
        seed=options.seed,
        steps=options.steps or 1,
        minutes=0.0 if options.steps else options.minutes,
        batch=options.batch,
        sizes_px=options.sizes_px,
        frozen_blocks=ALL_BLOCKS if options.lr_backbone == 0 else 3,
        lr=options.lr,
        lr_backbone=options.lr_backbone,
        warmup_steps=30,
        weight_decay=0.0,
        ema_decay=0.99,
        mosaic_share=0.1,
        paste_share=0.3,
        workers=options.workers,
        cache_dir=str(options.out / "cache"),
        checkpoint_minutes=1.0,
    )


def export_options(options, base, cell):
    source = options.data_source or "source not stated"
    return {
        "size": base.size,
        "stride": base.stride,
        "version": f"{base.version}+{cell_name(options)}",
        "training_data": f"{base.training_data}; then {cell['learned']} pictures of "
        f"{cell_name(options)} ({source})",
        "score_min": base.score_min,
        "notes": {"magpie.sha256_of_base": base.sha256},
    }


def reasons(before, after, differences, iou):
    """Why the model is refused; empty if it is not."""
    found = []
    for name, was in before["base set"].items():
        now = after["base set"][name]
        if name.startswith("mask AP") and "50" not in name and was is not None:
            if not was - now <= FORGOTTEN_POINTS_MAX:
                found.append(
                    f"it forgot: {name} of the base set fell by {was - now:.1f} points, more than "
                    f"{FORGOTTEN_POINTS_MAX:g}; raise --replay-share, lower --lr, or learn for a shorter time"
                )
    for name in deployed.lost(differences):
        found.append(f"the export is not the trained network: {name} differ by {differences[name]:.2e}")
    if not iou[0] >= MASK_IOU_MIN:
        found.append(f"the export is not the trained network: a mask's IoU is only {iou[0]:.3f}")
    return found


def cell_name(options):
    return options.name or options.out.resolve().name


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
