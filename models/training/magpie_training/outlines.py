"""Outlines where only rectangles are labelled: those that a model draws there.

A rectangle teaches no outline. Where a model finds the same package, its outline stands in.
"""

import json
import os
from pathlib import Path

import numpy as np
from tqdm import tqdm

from . import UserError
from .data import read_image
from .decode import Model
from .evaluate import read_dataset
from .outline import polygons

TOLERANCE_PX = 1.0


def outline(model, annotations, out, score_min, iou_min):
    """Copies a COCO file to `out`; `mask_source` becomes `model` where an outline was found.

    A finding is of a label if their boxes overlap by `iou_min`.
    """
    annotations, out = Path(annotations), Path(out)
    document = read_dataset(annotations)
    if out.resolve() == annotations.resolve():
        raise UserError(f"outline into {out}: it would replace the labels; name another file")
    bare = {}
    for label in document["annotations"]:
        if label.get("mask_source") == "bbox":
            bare.setdefault(label["image_id"], []).append(label)
    network = Model(model)
    outlined = 0
    for image in tqdm(document["images"], desc="pictures"):
        path = annotations.parent / image["file_name"]
        image["file_name"] = os.path.relpath(path.resolve(), out.resolve().parent)
        if image["id"] in bare:
            found = network(read_image(path), score_min)
            outlined += outline_labels(bare[image["id"]], found, iou_min)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document))
    return {"rectangles": sum(map(len, bare.values())), "outlined": outlined}


def outline_labels(labels, found, iou_min):
    """Gives the labels the outlines of the findings with the same box; returns to how many."""
    count = 0
    for label in labels:
        x, y, w, h = label["bbox"]
        overlaps = ious(np.array([x, y, x + w, y + h], float), found.boxes)
        if not len(overlaps) or overlaps.max() < iou_min:
            continue
        pieces = polygons(found.masks[overlaps.argmax()], TOLERANCE_PX)
        if pieces:
            label["segmentation"] = [p.ravel().tolist() for p in pieces]
            label["mask_source"] = "model"
            count += 1
    return count


def ious(box, boxes):
    """Of one box with each of `boxes` `[n, 4]`: corners."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    inner = np.clip(high - low, 0, None).prod(1)
    areas = [(b[..., 2:] - b[..., :2]).prod(-1) for b in (box, boxes)]
    return inner / (areas[0] + areas[1] - inner + 1e-9)
