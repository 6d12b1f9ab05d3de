"""Pictures with the model's own outlines, as files that annotation tools open.

The pictures are numbered from the one the model is least sure of, so that every tool shows
them in that order.
"""

import csv
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from . import CLASSES, UserError
from .data import polygon_area
from .decode import Model
from .judge import find_program, run_program
from .outline import TOLERANCE_SHARE, correctable

SUFFIXES = (".jpg", ".jpeg", ".png")
# Findings below this are noise; between it and the advised least score they are doubts.
DOUBT_SCORE_MIN = 0.1
COLOURS = ("#ffb43c", "#50dc50", "#3c78ff", "#dc50dc")


@dataclass
class Found:
    """A package; `mask` `[h, w]` bool."""

    name: str
    score: float
    mask: np.ndarray


@dataclass
class Prelabelled:
    path: Path
    width: int
    height: int
    found: list  # what is worth correcting, best first
    unsure: float


def export_labels(
    pictures, out, *, model, magpie=None, tolerance=TOLERANCE_SHARE, image_url="images/"
):
    """Returns the pictures in the order they were written."""
    pictures, out = Path(pictures), Path(out)
    if out.exists() and any(out.iterdir()):
        raise UserError(f"write labels to {out}: it is not empty; use another --out")
    paths = find_pictures(pictures)
    detect = detector(model, magpie)
    done = []
    for path in paths:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            print(f"left out: {path} does not decode; save it again as JPEG or PNG")
            continue
        found = detect(path, image)
        done.append(Prelabelled(path, image.shape[1], image.shape[0], *judge_found(found, detect.score_min)))
    if not done:
        raise UserError(f"read pictures {pictures}: none of them decodes")
    done.sort(key=lambda p: (-p.unsure, p.path.name))
    write_all(done, out, Path(model).stem, tolerance, image_url)
    return done


def find_pictures(folder):
    if not folder.is_dir():
        raise UserError(f"read pictures {folder}: no such folder")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise UserError(f"read pictures {folder}: no {', '.join(SUFFIXES)} in it")
    return paths


def detector(model, magpie=None):
    program = find_program(magpie)
    return ByProgram(program, model) if program else ByPython(model)


class ByPython:
    """Finds by `decode`, where the program is not built."""

    def __init__(self, model):
        self.model = Model(model)
        self.score_min = advised(self.model)

    def __call__(self, path, image):
        found = self.model(image, DOUBT_SCORE_MIN)
        return [
            Found(self.model.names[int(c)], float(s), m)
            for s, c, m in zip(found.scores, found.class_ids, found.masks)
        ]


class ByProgram:
    """Finds by `magpie detect`: what would be deployed."""

    def __init__(self, program, model):
        self.program, self.model = program, model
        self.score_min = advised(Model(model))

    def __call__(self, path, image):
        asked = ("detect", path, "--json", "--model", self.model, "--score-min", DOUBT_SCORE_MIN)
        document = json.loads(run_program(self.program, *asked))
        return [
            Found(p["type"], p["score"], coco_mask.decode(p["mask"]) > 0) for p in document["packages"]
        ]


def advised(model):
    return float(model.session.get_modelmeta().custom_metadata_map.get("magpie.score_min", 0.3))


def judge_found(found, score_min):
    """What is kept, and how unsure the model is of the picture: 1 less the mean score of
    everything it finds, doubts too; 1 where it finds nothing. Of eight such rules this one told
    best, on simulated frames, where most work was left."""
    found = sorted((f for f in found if f.score >= DOUBT_SCORE_MIN), key=lambda f: -f.score)
    unsure = 1 - sum(f.score for f in found) / len(found) if found else 1.0
    return [f for f in found if f.score >= score_min], unsure


def write_all(done, out, version, tolerance, image_url):
    for folder in ("images", "annotations", "labelme"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    digits = max(4, len(str(len(done))))
    names = [f"{n:0{digits}d}_{p.path.name}" for n, p in enumerate(done, 1)]
    outlines = [[correctable(f.mask, tolerance) for f in p.found] for p in done]
    for name, picture, shapes in zip(names, done, outlines):
        for folder in ("images", "labelme"):
            link(picture.path, out / folder / name)
        text = json.dumps(labelme(name, picture, shapes), indent=1)
        (out / "labelme" / name).with_suffix(".json").write_text(text)
    coco_path = out / "annotations" / "instances_default.json"
    coco_path.write_text(json.dumps(coco(names, done, outlines)))
    tasks = [
        label_studio(image_url + name, picture, shapes, version)
        for name, picture, shapes in zip(names, done, outlines)
    ]
    (out / "label_studio.json").write_text(json.dumps(tasks))
    (out / "label_studio.xml").write_text(label_studio_config())
    with open(out / "order.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("image", "picture", "unsure", "packages"))
        for name, picture in zip(names, done):
            table.writerow((name, picture.path, f"{picture.unsure:.3f}", len(picture.found)))


def link(source, target):
    """The same file under a second name, or a copy where the file system knows no such thing."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def coco(names, done, outlines):
    document = {
        "info": {"description": "Predictions of Magpie, to be corrected"},
        "licenses": [],
        "images": [],
        "annotations": [],
        "categories": [{"id": i, "name": n, "supercategory": ""} for i, n in enumerate(CLASSES, 1)],
    }
    for image_id, (name, picture, shapes) in enumerate(zip(names, done, outlines), 1):
        document["images"].append(
            {"id": image_id, "file_name": name, "width": picture.width, "height": picture.height}
        )
        for found, pieces in zip(picture.found, shapes):
            if not pieces:
                continue
            points = np.concatenate(pieces)
            low, high = points.min(0), points.max(0)
            flat = [piece.ravel().tolist() for piece in pieces]
            document["annotations"].append(
                {
                    "id": len(document["annotations"]) + 1,
                    "image_id": image_id,
                    "category_id": CLASSES.index(found.name) + 1,
                    "segmentation": flat,
                    "area": float(sum(polygon_area(f) for f in flat)),
                    "bbox": [*low.tolist(), *(high - low).tolist()],
                    "iscrowd": 0,
                    "attributes": {"score": round(found.score, 4)},
                }
            )
    return document


def labelme(name, picture, shapes):
    drawn = []
    for number, (found, pieces) in enumerate(zip(picture.found, shapes), 1):
        for piece in pieces:
            drawn.append(
                {
                    "label": found.name,
                    "points": piece.tolist(),
                    # Pieces of one package share a group.
                    "group_id": number if len(pieces) > 1 else None,
                    "description": f"score {found.score:.2f}",
                    "shape_type": "polygon",
                    "flags": {},
                    "mask": None,
                }
            )
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": drawn,
        "imagePath": name,
        "imageData": None,
        "imageHeight": picture.height,
        "imageWidth": picture.width,
    }


def label_studio(image, picture, shapes, version):
    """A task with its prediction; coordinates are percent of the picture."""
    scale = 100 / np.array([picture.width, picture.height])
    regions = [
        {
            "id": f"{number}-{part}",
            "from_name": "label",
            "to_name": "image",
            "type": "polygonlabels",
            "original_width": picture.width,
            "original_height": picture.height,
            "image_rotation": 0,
            "score": round(found.score, 4),
            "value": {
                "points": (piece * scale).round(4).tolist(),
                "closed": True,
                "polygonlabels": [found.name],
            },
        }
        for number, (found, pieces) in enumerate(zip(picture.found, shapes), 1)
        for part, piece in enumerate(pieces, 1)
    ]
    # Sorted by this score, the tool shows the least sure picture first.
    score = round(1 - picture.unsure, 4)
    return {
        "data": {"image": image},
        "predictions": [{"model_version": version, "score": score, "result": regions}],
    }


def label_studio_config():
    labels = "\n".join(
        f'    <Label value="{name}" background="{colour}"/>' for name, colour in zip(CLASSES, COLOURS)
    )
    return (
        '<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
        f'  <PolygonLabels name="label" toName="image">\n{labels}\n  </PolygonLabels>\n</View>\n'
    )
