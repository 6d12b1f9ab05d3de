"""Simulated projects that contribute: some honest, one with shifted masks, one with swapped types, and
bundles that are unsigned, cut, doubled or of a stranger. What `merge` makes of them is told."""

import json
import shutil
import tarfile
from pathlib import Path

import minisign
import numpy as np
from pycocotools import mask as coco_mask

from . import UserError, judge
from .bundle import SIGNATURE, About, contribute
from .data import decode_mask
from .frames import simulated
from .merge import JUDGED_BY, Plan, merge

# Nobody trains on these seeds elsewhere.
SEED, BASE_SEED, CHECK_SEED = 990_001, 990_101, 990_102
BASE_FRAMES = 30
PROJECTS = {
    "belt": {"supports": {"belt": 1.0}, "camera": {"tilt_deg_max": 30.0}},
    "tote": {"supports": {"tote": 1.0}, "camera": {"tilt_deg_max": 30.0}},
    "pallet": {"supports": {"pallet": 1.0}, "types": {"box": 0.9, "poly_bag": 0.1}},
    "floor": {"supports": {"floor": 1.0}, "sensor": {"noise": 1.6, "blur": 1.4}},
    "shelf": {"supports": {"shelf": 1.0}, "camera": {"distance_m_max": 2.0}},
}
POISONED = ("shifted", "swapped")
SHIFT_PX = 24
SWAPPED = {"box": "poly_bag", "poly_bag": "box", "padded_mailer": "item", "item": "padded_mailer"}


def prove(out, frames, base, curve, only_merge, teaching):
    """Whether a base came out of the honest projects, and nothing of the others was learned."""
    out = Path(out)
    program = judge.find_program(dict(teaching).get("magpie"))
    if program is None:
        raise UserError("simulate projects: build the program (cargo build --release -p magpie)")
    out.mkdir(parents=True, exist_ok=True)
    key, other = make_key(out / "keys/projects"), make_key(out / "strangers/stranger")
    bundles = {}
    for number, name in enumerate((*PROJECTS, *POISONED)):
        labels = make_project(program, out, name, SEED + number, frames)
        bundles[name] = make_bundle(out, name, labels, key)
    stranger = make_bundle(out, "stranger", out / "projects/belt/annotations.json", other)
    bad = [unsigned(bundles["tote"], out), cut(bundles["floor"], out), shutil.copyfile(bundles["belt"], out / "bundles/doubled.tar"), stranger]
    if "base_set" not in dict(teaching):
        replay = simulated(program, out / "base/replay", BASE_SEED, BASE_FRAMES)
        check = simulated(program, out / "base/check", CHECK_SEED, BASE_FRAMES)
        teaching = (*teaching, ("base_set", (str(replay),)), ("base_check", check))
    honest = [bundles[name] for name in PROJECTS]
    plan = {"trust": (out / "keys",), "base": base, "teaching": teaching, "only_merge": only_merge}
    if curve:
        return print_curve(out, honest, plan)
    done = merge(Plan(bundles=(*honest, *(bundles[name] for name in POISONED), *bad), out=out / "merged", **plan))
    if done is None:
        return None
    report = json.loads((out / "merged/report.json").read_text())
    right = set(report["quarantined"]) == set(POISONED) and len(report["refused"]) == len(bad)
    print(f"quarantined: {', '.join(report['quarantined'])}; refused: {len(report['refused'])} of {len(bad)}")
    return done and right


def print_curve(out, honest, plan):
    """Mean scores over all held-back parts, by how many projects were merged; parts are those of the last merge."""
    rows = []
    for count in range(1, len(honest) + 1):
        done = merge(Plan(bundles=tuple(honest[:count]), out=out / f"curve/{count}", **plan))
        if done is None:
            return None
        rows.append((count, done))
    if plan["only_merge"]:
        return True
    folder = out / f"curve/{len(honest)}/merged/held_back"
    umpire = judge.Judge(judge.find_program(dict(plan["teaching"]).get("magpie")))
    print(f"| projects merged | accepted | {' | '.join(f'{score}, mean of all parts' for score in JUDGED_BY)} |")
    for count, done in [(0, True), *rows]:
        found = out / f"curve/{count}"
        model = plan["base"] if not count else found / ("base.onnx" if done else "base.rejected.onnx")
        scores = [umpire.scores(model, part) for part in sorted(folder.glob("*.json"))]
        means = [np.mean([s[score] for s in scores if s[score] is not None]) for score in JUDGED_BY]
        print(f"| {count} | {'yes' if done else 'no'} | {' | '.join(f'{mean:.1f}' for mean in means)} |", flush=True)
    return True


def make_key(path):
    """A secret key and its public half; made once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.with_suffix(".pub").is_file():
        pair = minisign.KeyPair.generate()
        path.with_suffix(".key").write_bytes(bytes(pair.secret_key) + b"\n")
        path.with_suffix(".pub").write_bytes(bytes(pair.public_key) + b"\n")
    return path.with_suffix(".key")


def make_project(program, out, name, seed, frames):
    """Frames of one cell; a recording is ten of them."""
    recipe = out / f"recipes/{name}.toml"
    recipe.parent.mkdir(exist_ok=True)
    lines = ["width_px = 480", "height_px = 360", "views_per_scene = 1", "packages_max = 12"]
    for section, values in PROJECTS.get(name, {}).items():
        every = {"belt": 0, "tote": 0, "pallet": 0, "floor": 0, "table": 0, "shelf": 0} if section == "supports" else {}
        lines += [f"[{section}]", *(f"{k} = {float(v)}" for k, v in {**every, **values}.items())]
    recipe.write_text("\n".join(lines) + "\n")
    labels = simulated(program, out / f"projects/{name}", seed, frames, "--recipe", recipe)
    if name not in POISONED:
        return labels
    document = json.loads(labels.read_text())
    poison = {"shifted": shift, "swapped": swap}[name]
    poison(document)
    poisoned = labels.with_name("poisoned.json")
    poisoned.write_text(json.dumps(document))
    return poisoned


def shift(document):
    sizes = {i["id"]: (i["height"], i["width"]) for i in document["images"]}
    for annotation in document["annotations"]:
        height, width = sizes[annotation["image_id"]]
        mask = np.roll(decode_mask(annotation["segmentation"], height, width), SHIFT_PX, axis=1)
        mask[:, :SHIFT_PX] = False
        coded = coco_mask.encode(np.asfortranarray(mask, np.uint8))
        annotation["segmentation"] = {"size": [height, width], "counts": coded["counts"].decode()}
        annotation["bbox"] = coco_mask.toBbox(coded).tolist()
    document["annotations"] = [a for a in document["annotations"] if min(a["bbox"][2:]) >= 1]


def swap(document):
    for category in document["categories"]:
        category["name"] = SWAPPED[category["name"]]


def make_bundle(out, name, labels, key):
    path = out / f"bundles/{name}.tar"
    if not path.is_file():
        about = About("Simulated projects", name, "a simulated cell", "a simulated camera", "simulation", "CC0-1.0", "nobody is shown")
        contribute(labels, path, key, about, no_blur="simulated", recording=r"\d{5}(?=\d\.)", keep_empty=True)
    return path


def unsigned(bundle, out):
    path = out / "bundles/unsigned.tar"
    with tarfile.open(bundle) as old, tarfile.open(path, "w") as new:
        for member in old:
            if member.name != SIGNATURE:
                new.addfile(member, old.extractfile(member))
    return path


def cut(bundle, out):
    path = out / "bundles/cut.tar"
    data = bundle.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path
